"""The process of a service: its socket, its signals, its end."""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from spectro.errors import ConfigError
from spectro.listening.backends import Backend
from spectro.listening.serve.app import application
from spectro.listening.serve.service import Service
from spectro.listening.serve.settings import ServeSettings
from spectro.listening.serve.sites import Sites
from spectro.plumbing.files import scratch, sweep

__all__ = ["LOOPBACK", "address", "bound", "serve", "serving"]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_IDLE = 10.0  # s that a connection may last without a whole request
_CONNECTIONS = 2_000  # of more, each is told 503


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection on which no request is in hand for a while.

    uvicorn waits for ever for the rest of a request's head, and for a body that nobody wants.
    """

    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._disarm()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Take in what came; while a request is in hand, the application does the waiting."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._disarm()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of this one."""
        super().on_response_complete()
        self._arm()

    def _arm(self) -> None:
        self._disarm()
        self._watch = self.loop.call_later(_IDLE, self.transport.abort)

    def _disarm(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """Bind a listening socket.

    Raises
    ------
    ConfigError
        If the address is taken, or is none of this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, address = found[0][0], found[0][4]
        opened = socket.create_server(address[:2], family=family, backlog=1_024)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{host}:{port} cannot be listened on ({why}); choose another") from None
    with opened:
        yield opened


def address(opened: socket.socket) -> str:
    """Write where a socket listens as a URL."""
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serving(app: Any, opened: socket.socket, *, drain: float, ready: Callable[[], None]) -> None:
    """Answer on a socket until told to end by SIGTERM or SIGINT; then finish what is in hand.

    Parameters
    ----------
    app : callable
        ASGI application.
    opened : socket.socket
        Of :func:`bound`.
    drain : float
        Seconds that requests in hand have to end.
    ready : callable
        Called before the first request is answered.
    """
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(drain)),
        limit_concurrency=_CONNECTIONS,
        backlog=1_024,
    )
    # uvicorn raises a signal that it caught again, once it is done: that must not kill the process
    # before its temporary files are removed.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            ready()
            uvicorn.Server(config).run(sockets=[opened])
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(
    listener: Backend,
    name: str,
    *,
    host: str,
    port: int,
    settings: ServeSettings,
    sites: Sites,
    token: str = "",
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve a model until the process is told to end.

    Parameters
    ----------
    listener, name, settings, sites
        As for :class:`~spectro.listening.serve.service.Service`.
    host : str
        Address to listen on. On a loopback address, requests that call the service by another
        name are refused.
    port : int
        0 takes a free one.
    token : str
        See :func:`~spectro.listening.serve.app.application`.
    ready : callable
        Told the service's address.

    Raises
    ------
    ConfigError
        If the address cannot be listened on.
    """
    folder = Path(tempfile.gettempdir())
    sweep(folder)
    with bound(host, port) as opened, scratch(folder) as own:
        own.chmod(0o700)
        hosts = LOOPBACK if opened.getsockname()[0] in LOOPBACK else frozenset[str]()
        service = Service(listener, name, own, settings, sites)
        app = application(service, token=token, hosts=hosts)
        serving(app, opened, drain=settings.drain, ready=lambda: ready(address(opened)))
