"""Around every request: who may ask, what browsers must not do, and the count of it all."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from spectro.listening.serve.requests.refusals import RefusedError

__all__ = ["Guard"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
}
_OPEN = ("/healthz", "/openapi.json")  # asked without a token


class Guard:
    """Checks requests before the application sees them, and marks what it answers.

    Parameters
    ----------
    app : callable
        ASGI application.
    token : str
        What a bearer must show; "" for nothing. The page itself and the health are open.
    hosts : frozenset of str
        Names under which the service may be called; none means any. A page elsewhere whose name
        is made to lead here (DNS rebinding) calls it by another.
    open_paths : frozenset of str
        Files of the page.
    answered : callable
        Told the route and the status of each answer.
    """

    def __init__(
        self,
        app: App,
        *,
        token: str,
        hosts: frozenset[str],
        open_paths: frozenset[str],
        answered: Callable[[str, int], None],
    ) -> None:
        self._app, self._token, self._hosts = app, token.encode(), hosts
        self._open = open_paths | {*_OPEN}
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answered(_route(scope), message["status"])
                message["headers"] = [*message["headers"], *_marks(message["headers"])]
            await send(message)

        try:
            self._check(scope)
        except RefusedError as refusal:
            await _refuse(refusal, marked)
        else:
            await self._app(scope, receive, marked)

    def _check(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        host = _host(headers.get(b"host", b"").decode("latin-1"))
        if self._hosts and host not in self._hosts:
            raise RefusedError(
                421, f"this service is not called {host[:100]!r}; use its own address"
            )
        if headers.get(b"sec-fetch-site") == b"cross-site" and scope["method"] != "GET":
            raise RefusedError(403, "pages of other sites may not use this service")
        if self._token and scope["path"] not in self._open:
            self._check_token(headers.get(b"authorization", b""))

    def _check_token(self, shown: bytes) -> None:
        kind, _, token = shown.partition(b" ")
        if kind.lower() != b"bearer" or not secrets.compare_digest(token.strip(), self._token):
            refusal = RefusedError(401, "show the service's token: Authorization: Bearer TOKEN")
            refusal.headers["WWW-Authenticate"] = "Bearer"
            raise refusal


def _host(stated: str) -> str:
    """Take the port away from a Host header."""
    if stated.startswith("["):
        return stated.partition("]")[0][1:].lower()
    return stated.partition(":")[0].lower()


def _route(scope: Scope) -> str:
    """Name the route, of which there are few, and not the path, of which there are many."""
    route = scope.get("route")
    return str(getattr(route, "path", "none"))


def _marks(given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    marks = {**_HEADERS, "cache-control": "no-store"}
    names = {name.lower() for name, _ in given}
    return [(k.encode(), v.encode()) for k, v in marks.items() if k.encode() not in names]


async def _refuse(refusal: RefusedError, send: Send) -> None:
    body = json.dumps({"detail": refusal.told}).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **{name.lower(): value for name, value in refusal.headers.items()},
    }
    start = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": start})
    await send({"type": "http.response.body", "body": body})
