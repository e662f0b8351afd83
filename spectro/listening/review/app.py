"""The routes of a review, all under a word that only its address tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Annotated

from fastapi import APIRouter, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from spectro.errors import AudioError, ConfigError
from spectro.listening.review.evidence import picture, sound
from spectro.listening.review.session import Given, Session, State
from spectro.listening.serve.requests.guards import Guard

__all__ = ["application"]

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_KEPT = {"Cache-Control": "private, max-age=3600"}
_SHARED = "draw.js"  # of the service's page

Number = Annotated[int, Path(ge=0)]


def application(session: Session, word: str, hosts: frozenset[str]) -> Guard:
    """Make the ASGI application of a review.

    Parameters
    ----------
    session : Session
    word : str
        First part of every path.
    hosts : frozenset of str
        See :class:`~spectro.listening.serve.requests.guards.Guard`.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    router = APIRouter(prefix=f"/{word}")
    _handle_errors(app)
    _add_events(router, session)
    _add_verdicts(router, session)
    app.include_router(router)
    _add_page(app, word)
    return Guard(app, token="", hosts=hosts, open_paths=frozenset(), answered=lambda *_: None)


def _handle_errors(app: FastAPI) -> None:
    def handler(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def told(request: Request, error: Exception) -> Response:
            why = getattr(error, "strerror", None) or error
            return JSONResponse({"detail": str(why)[:500]}, status)

        return told

    for kind, status in (
        (ConfigError, 409),
        (AudioError, 422),
        (RequestValidationError, 422),
        (OSError, 507),
    ):
        app.add_exception_handler(kind, handler(status))


def _add_events(router: APIRouter, session: Session) -> None:
    @router.get("/state")
    def state() -> State:
        return session.state()

    @router.get("/events/{number}/picture")
    def event_picture(number: Number) -> Response:
        return _evidence(session, number, picture, "image/png")

    @router.get("/events/{number}/sound")
    def event_sound(number: Number) -> Response:
        return _evidence(session, number, sound, "audio/wav")


def _evidence(session: Session, number: int, make: Callable[..., bytes], kind: str) -> Response:
    if number >= len(session.detections):
        return JSONResponse({"detail": "there is no such event"}, 404)
    return Response(make(session.detections[number]), media_type=kind, headers=_KEPT)


def _add_verdicts(router: APIRouter, session: Session) -> None:
    @router.post("/verdict")
    def verdict(given: Given) -> State:
        session.give(given)
        return session.state()

    @router.post("/undo")
    def undo() -> State:
        session.undo()
        return session.state()


def _add_page(app: FastAPI, word: str) -> None:
    """Serve the files of the page from memory."""
    files = list((resources.files("spectro.listening.review") / "page").iterdir())
    files.append(resources.files("spectro.listening.serve") / "page" / _SHARED)
    for file in files:
        name = "" if file.name == "index.html" else file.name
        kind = _TYPES[file.name[file.name.rfind(".") :]]
        answer = _page_file(file.read_bytes(), kind)
        app.add_route(f"/{word}/{name}", answer, include_in_schema=False)


def _page_file(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return answer
