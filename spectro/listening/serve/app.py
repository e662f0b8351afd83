"""The routes of a service."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from importlib import resources
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer

from spectro import __version__
from spectro.errors import ConfigError, SpectroError
from spectro.listening.events.tables import csv_header, csv_line
from spectro.listening.serve.answers import Health, Model, Prediction, Problem, ScanAnswer
from spectro.listening.serve.metrics import CONTENT_TYPE_LATEST
from spectro.listening.serve.requests.guards import Guard
from spectro.listening.serve.requests.refusals import STATUSES, RefusedError
from spectro.listening.serve.service import Service
from spectro.listening.serve.sites import How
from spectro.listening.serve.sounds import png, predict

__all__ = ["application"]

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_WIDEST = 4_096
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY = {
    "requestBody": {
        "required": True,
        "description": "The sound itself, as in its file; the bytes count, not the type.",
        "content": {"audio/*": _BINARY, "video/*": _BINARY, "application/octet-stream": _BINARY},
    }
}

Name = Annotated[str, Query(max_length=255, description="What the sound is called.")]
Number = Annotated[str, Path(max_length=100, description="Id of the scan.")]
Seconds = Annotated[float, Query(ge=0, le=1e7, allow_inf_nan=False)]


def application(service: Service, *, token: str = "", hosts: frozenset[str] = frozenset()) -> Guard:
    """Make the ASGI application of a service.

    Parameters
    ----------
    service : Service
        Closed when the application shuts down.
    token : str
        What clients must show as a bearer; "" for nothing.
    hosts : frozenset of str
        See :class:`~spectro.listening.serve.requests.guards.Guard`.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        forgetting = asyncio.create_task(_forget(service))
        yield
        forgetting.cancel()
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="spectro",
        version=__version__,
        description="A model that hears: sounds in, probabilities and events out.",
        docs_url=None,  # these pages load scripts from another host
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(HTTPBearer(auto_error=False))] if token else [],
    )
    _handle_errors(app)
    _add_predict(app, service)
    _add_scan(app, service)
    _add_results(app, service)
    _add_tables(app, service)
    _add_about(app, service)
    paths = _add_page(app)
    answered = service.metrics.answered
    return Guard(app, token=token, hosts=hosts, open_paths=paths, answered=answered)


async def _forget(service: Service) -> None:
    """Remove old scans though nobody asks."""
    while True:
        await asyncio.sleep(60)
        service.scans.forget_old()


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """State what a route may refuse with."""
    always = (400, 401, 403, 405, 421)
    return {
        status: {"model": Problem, "description": STATUSES[status]}
        for status in sorted({*always, *statuses})
    }


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return JSONResponse({"detail": error.told}, error.status, error.headers)

    @app.exception_handler(SpectroError)
    async def failed(request: Request, error: SpectroError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 500)

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> JSONResponse:
        told = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
        return JSONResponse({"detail": told[:500]}, 422)


def _add_predict(app: FastAPI, service: Service) -> None:
    settings = service.settings

    @app.post(
        "/predict",
        responses=_problems(408, 413, 415, 422, 500, 503),
        openapi_extra=_BODY,
        summary="Name the sound",
    )
    async def predict_sound(
        request: Request, name: Name = "sound", picture: bool = False
    ) -> Prediction:
        """Give the probability of each class, as ``spectro predict`` does."""
        taken = service.uploads.receiving(request.receive, request.headers, name, settings.max_mb)
        async with taken as upload:
            work = functools.partial(
                predict,
                service.classifier,
                upload,
                most_seconds=settings.max_seconds,
                picture=picture,
            )
            try:
                with service.metrics.predicting.time():
                    loop = asyncio.get_running_loop()
                    answer = await loop.run_in_executor(service.threads, work)
            finally:
                upload.remove()
        service.metrics.audio.inc(answer.heard)
        return answer


def _add_scan(app: FastAPI, service: Service) -> None:
    @app.post(
        "/scan",
        status_code=202,
        responses=_problems(404, 408, 413, 415, 422, 429, 500, 503),
        openapi_extra=_BODY,
        summary="Find the events of a recording",
    )
    async def scan(
        request: Request,
        response: Response,
        name: Name = "recording",
        site: Annotated[
            str,
            Query(max_length=100, description="Whose thresholds count; see `sites` of the model."),
        ] = "",
        start_time: Annotated[
            datetime | None, Query(description="When it began, before what it says itself.")
        ] = None,
    ) -> ScanAnswer:
        """Take a recording, and scan it when those before it are done; ask under its id."""
        how = await asyncio.to_thread(_how, service, site, start_time)
        service.scans.check_room()
        most = service.settings.max_scan_mb
        taken = service.uploads.receiving(request.receive, request.headers, name, most)
        async with taken as upload:
            try:
                started = service.scans.submit(upload, how)
            except RefusedError:
                upload.remove()
                raise
        response.headers["Location"] = f"/scan/{started.id}"
        return started.answer()


def _instant(time: datetime) -> datetime:
    """Write a time with a zone that no clock has as the same moment in UTC, if there is one."""
    if time.tzinfo is None or abs(time.utcoffset() or timedelta()) <= timedelta(hours=14):
        return time
    try:
        return time.astimezone(timezone.utc)
    except OverflowError:  # in the year 0 or 10,000
        return time


def _how(service: Service, site: str, start_time: datetime | None) -> How:
    began = None if start_time is None else _instant(start_time).isoformat()
    how = service.sites.at(site)
    try:
        return how._replace(settings=how.settings.replace(start_time=began))
    except ConfigError as error:  # a zone a day away from any place on earth, say
        raise RefusedError(422, str(error)) from None


def _add_results(app: FastAPI, service: Service) -> None:
    @app.get("/scan/{number}", responses=_problems(404, 422), summary="How far a scan is")
    async def scan_state(number: Number) -> ScanAnswer:
        """Give progress, and the events once it is done."""
        return service.scans.get(number).answer()

    @app.delete(
        "/scan/{number}",
        status_code=204,
        responses=_problems(404, 422),
        summary="Give a scan up and forget it",
    )
    async def remove_scan(number: Number) -> Response:
        """Stop it if it runs, and remove the recording."""
        service.scans.remove(number)
        return Response(status_code=204)


def _add_tables(app: FastAPI, service: Service) -> None:
    @app.get(
        "/scan/{number}/events.csv",
        response_class=Response,
        responses={
            **_problems(404, 409, 422),
            200: {"content": {"text/csv": {"schema": {"type": "string"}}}},
        },
        summary="The table of events",
    )
    async def events_table(number: Number) -> Response:
        """Give the table that ``spectro scan`` writes."""
        scan = service.scans.get(number)
        if scan.state != "done":
            raise RefusedError(409, "the scan is not done; ask again", retry_after=1)
        text = csv_header() + "".join(map(csv_line, scan.events))
        return Response(text, media_type="text/csv")

    @app.get(
        "/scan/{number}/picture",
        response_class=Response,
        responses={**_problems(404, 409, 422), 200: {"content": {"image/png": _BINARY}}},
        summary="A part of the recording as a picture",
    )
    async def scan_picture(
        number: Number,
        start: Seconds = 0,
        end: Seconds | None = None,
        width: Annotated[int, Query(ge=1, le=_WIDEST)] = 1_024,
    ) -> Response:
        """Draw the mel-spectrogram from `start` to `end` seconds, at most `width` columns."""
        scan = service.scans.get(number)
        last = math.inf if end is None else end
        until = min(last, scan.seconds or last)
        work = functools.partial(lambda: png(scan.picture(start, until, width)))
        loop = asyncio.get_running_loop()
        return Response(await loop.run_in_executor(None, work), media_type="image/png")


def _add_about(app: FastAPI, service: Service) -> None:
    @app.get("/model", responses=_problems(), summary="The model's card")
    async def model() -> Model:
        """Say what the model is, what it is worth, and how it is used here."""
        return service.about()

    @app.get("/healthz", responses=_problems(), summary="That the service is there")
    async def healthz() -> Health:
        """Say how much is in hand."""
        return Health(status="ok", requests=service.uploads.in_flight, scans=service.scans.waiting)

    @app.get(
        "/metrics",
        response_class=Response,
        responses={**_problems(), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        summary="Counters for Prometheus",
    )
    async def metrics() -> Response:
        """Give all counters as text."""
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _add_page(app: FastAPI) -> frozenset[str]:
    """Serve the files of the page from memory; return their paths."""
    paths = set()
    for file in (resources.files("spectro.listening.serve") / "page").iterdir():
        suffix = file.name[file.name.rfind(".") :]
        path = "/" if file.name == "index.html" else f"/{file.name}"
        app.add_route(path, _page_file(file.read_bytes(), _TYPES[suffix]), include_in_schema=False)
        paths.add(path)
    return frozenset(paths)


def _page_file(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return answer
