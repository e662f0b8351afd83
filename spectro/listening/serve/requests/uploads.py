"""Bodies of requests to files: bounded in size, in number, in disk space and in patience."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from spectro.listening.serve.requests.refusals import RefusedError
from spectro.listening.serve.settings import ServeSettings

__all__ = ["Upload", "Uploads"]

_MB = 1_000_000
_SLOWEST = 4_096  # bytes a second, on average once the patience is over
_KINDS = re.compile(
    r"(audio|video)/.+|application/(octet-stream|ogg|x-www-form-urlencoded)"  # the last: curl's own
)
_UNSAFE = re.compile(r"[^\w.,() +-]")
_LONGEST_NAME = 100
_RESERVED = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(10))}

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Upload:
    """A sound that came, in a folder of its own.

    Attributes
    ----------
    name : str
        As the client calls it.
    path : Path
        The file. Its name is the client's, as far as a disk can be trusted with it: recorders
        write the time into it.
    size : int
        Bytes, with those that were claimed for what is made of it.
    """

    def __init__(self, folder: Path, name: str, reserve: Callable[[int], None]) -> None:
        self.name, self.size, self._reserve = name, 0, reserve
        self.folder = folder / uuid.uuid4().hex
        given = self.folder / "given"  # alone there: what is made of it may be called as it is
        given.mkdir(parents=True)
        self.path = given / _safe(name)

    def claim(self, size: int) -> None:
        """Claim room on the disk for more bytes, until it is removed.

        Raises
        ------
        RefusedError
            If there is none.
        """
        self._reserve(size)
        self.size += size

    def remove(self) -> None:
        """Remove the file, and all that was made beside it; a second time does nothing."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._reserve(-self.size)
        self.size = 0


def _safe(name: str) -> str:
    """Make a file name of what a client says: no folder, no hidden file, nothing odd."""
    last = _UNSAFE.sub("_", re.split(r"[/\\]", name)[-1])[-_LONGEST_NAME:].rstrip(". ")
    is_plain = last[:1].isalnum() and last.partition(".")[0].lower() not in _RESERVED
    return last if is_plain else f"sound-{last}"


class Uploads:
    """Takes bodies in, and counts what is there.

    Parameters
    ----------
    folder : Path
        Where they go.
    settings : ServeSettings
    """

    def __init__(self, folder: Path, settings: ServeSettings) -> None:
        self._folder, self._settings = folder, settings
        self._bytes, self._lock = 0, threading.Lock()  # scans claim and remove in a thread
        self.in_flight = 0

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self.in_flight >= self._settings.max_requests:
            raise RefusedError(503, "too many requests at once; come again", retry_after=1)
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    @asynccontextmanager
    async def receiving(
        self, receive: Receive, headers: Mapping[str, str], name: str, most_mb: float
    ) -> AsyncIterator[Upload]:
        """Take in the body of a request; the file is there until :meth:`Upload.remove`.

        Parameters
        ----------
        receive : callable
            The request's, as ASGI has it.
        headers : mapping of str to str
        name : str
            What the client calls the sound.
        most_mb : float
            What it may hold.

        Raises
        ------
        RefusedError
            If it is too large, too slow, not a sound's kind, or one too many.
        """
        with self._counted():
            _check_kind(headers.get("content-type", ""))
            _check_size(int(headers.get("content-length", 0)), most_mb)
            upload = Upload(self._folder, name, self._reserve)
            try:
                await self._take(receive, upload, most_mb)
            except BaseException:
                upload.remove()
                raise
            yield upload

    async def _take(self, receive: Receive, upload: Upload, most_mb: float) -> None:
        began = time.monotonic()
        try:
            with upload.path.open("wb") as file:
                async for chunk in self._chunks(receive):
                    upload.claim(len(chunk))
                    _check_size(upload.size, most_mb)
                    self._check_speed(upload.size, time.monotonic() - began)
                    file.write(chunk)
        except OSError as error:
            raise RefusedError(
                503, f"the sound cannot be kept ({error.strerror})", retry_after=60
            ) from None
        if not upload.size:
            raise RefusedError(422, "no sound was sent; send the file itself as the request's body")

    async def _chunks(self, receive: Receive) -> AsyncIterator[bytes]:
        more = True
        while more:
            try:
                message = await asyncio.wait_for(receive(), self._settings.patience)
            except asyncio.TimeoutError:
                raise RefusedError(408, "the sound stopped coming; send it again") from None
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "the client went away")
            yield message.get("body", b"")
            more = message.get("more_body", False)

    def _check_speed(self, size: int, seconds: float) -> None:
        if seconds > self._settings.patience and size < _SLOWEST * seconds:
            raise RefusedError(408, "the sound comes too slowly; send it again from a better line")

    def _reserve(self, size: int) -> None:
        """Count bytes; fewer, with a minus, are always taken."""
        with self._lock:
            if size > 0 and self._bytes + size > self._settings.disk_mb * _MB:
                raise RefusedError(
                    503, "there is no room for more sounds now; come again", retry_after=30
                )
            self._bytes += size


def _check_kind(stated: str) -> None:
    """Refuse what says that it is no sound."""
    kind = stated.partition(";")[0].strip().lower()
    if kind and not _KINDS.fullmatch(kind):
        raise RefusedError(
            415,
            f"the body is {kind[:80]!r}; send the sound itself: "
            "curl --data-binary @clip.wav -H 'Content-Type: audio/wav'",
        )


def _check_size(size: int, most_mb: float) -> None:
    if size > most_mb * _MB:
        raise RefusedError(413, f"the sound is larger than {most_mb:g} MB; send a part of it")
