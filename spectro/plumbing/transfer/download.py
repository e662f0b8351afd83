"""Download one file over HTTP: it appears whole and checked, or not at all.

The bytes so far lie in ``NAME.part`` beside the file. Where a checksum is published, a broken
download goes on from there with a Range request, in this run or the next one. Where none is,
nothing could tell whether the rest belongs to the same file, so it starts over.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError

from spectro import __version__
from spectro.errors import DatasetError
from spectro.plumbing.files import writing

__all__ = ["PATIENCE", "Patience", "Progress", "check", "download"]

Progress = Callable[[int, "int | None"], None]
"""Called with the number of bytes done, and of how many (None where it is not known)."""

_CHUNK = 1 << 18  # bytes read at once, and lost at most when the connection dies
_GAIN = 1 << 20  # bytes that a try must bring for the tries to be counted anew
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)  # statuses after which to ask again


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to ask it."""

    timeout: float = 30.0  # s without a connection or a byte
    tries: int = 5  # in a row
    pause: float = 1.0  # s, doubled from the second repetition on, up to two minutes


PATIENCE = Patience()


class _Retry(urllib3.Retry):
    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        """Wait as long as the server asks for, but never an hour."""
        return min(super().get_retry_after(response) or 0, 60)


def download(
    url: str,
    target: str | Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    most: int | None = None,
    progress: Progress = lambda done, total: None,
    patience: Patience = PATIENCE,
) -> Path:
    """Download `url` to `target`.

    Parameters
    ----------
    url : str
        Of http or https. Redirects are followed, but not from https to http.
    target : str or Path
        File to write. If it is there, it is checked and nothing is downloaded.
    size, checksum : int, str, optional
        As published: bytes, and digits with their algorithm, "md5:9aa6...".
    most : int, optional
        Bytes beyond which to stop, where `size` is not known.
    progress : callable
        Called with the bytes that are there and the whole number, or None if it is not known.
    patience : Patience
        Timeout, tries and pauses.

    Returns
    -------
    Path
        `target`, complete and checked.

    Raises
    ------
    DatasetError
        If it cannot be had, is not what was published, or the disk is full. With a checksum, what
        came is kept for the next run, except where it is wrong.
    """
    target = Path(target)
    if target.exists():
        check(target, size=size, checksum=checksum)
        return target
    if not re.match(r"https?://", url, re.IGNORECASE):
        raise DatasetError(f"{url}: is no http or https address")
    part = target.with_name(f"{target.name}.part")
    with writing(part, DatasetError):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _Transfer(url, part, size, most, checksum is not None, progress).run(patience)
            _check_part(part, size, checksum)
            part.replace(target)
        finally:
            if checksum is None:
                part.unlink(missing_ok=True)
    return target


def check(path: Path, *, size: int | None = None, checksum: str | None = None) -> None:
    """Compare a file with its published `size` in bytes and `checksum`, as "md5:9aa6...".

    Raises DatasetError if it is another file, or no regular file.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: is no regular file")
    found = path.stat().st_size
    if size is not None and found != size:
        raise DatasetError(f"{path}: has {found:,} bytes, not the published {size:,}")
    if checksum is not None:
        algorithm, _, published = checksum.partition(":")
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with path.open("rb") as file:
            while block := file.read(_GAIN):
                digest.update(block)
        if digest.hexdigest() != published.lower():
            why = f"its {algorithm} is {digest.hexdigest()}, not the published {published}"
            raise DatasetError(f"{path}: {why}")


def _check_part(part: Path, size: int | None, checksum: str | None) -> None:
    try:
        check(part, size=size, checksum=checksum)
    except DatasetError as problem:
        part.unlink(missing_ok=True)
        raise DatasetError(f"{problem}; it is removed: run it again, or name a mirror") from None


@dataclass(frozen=True)
class _Transfer:
    """What every try needs; with `resume`, a try goes on where the one before it broke off."""

    url: str
    part: Path
    size: int | None
    most: int | None
    resume: bool
    progress: Progress

    def run(self, patience: Patience) -> None:
        """Try until all is there, or until tries in a row brought next to nothing."""
        fresh = again = _Retry(
            patience.tries - 1,
            backoff_factor=patience.pause,
            status_forcelist=_TEMPORARY,
            raise_on_status=False,
        )
        with requests.Session() as session:
            session.max_redirects = 10
            session.mount("http://", HTTPAdapter(max_retries=fresh))
            session.mount("https://", HTTPAdapter(max_retries=fresh))
            best = self._have()
            while not self._have() or self._have() != self.size:
                try:
                    return self._attempt(session, patience.timeout)
                except HTTPError as problem:
                    if self._have() >= best + _GAIN:
                        again, best = fresh, self._have()
                    try:
                        again = again.increment("GET", self.url, error=problem)
                    except MaxRetryError:
                        why = f"the connection broke off ({patience.tries} tries)"
                        raise self._failed(why, "run it again later") from None
                again.sleep()

    def _have(self) -> int:
        """Count the bytes that need not come again."""
        return self.part.stat().st_size if self.resume and self.part.exists() else 0

    def _failed(self, why: str, advice: str) -> DatasetError:
        kept, have = f"nothing is kept: {advice}", self._have()
        if have:
            kept = f"{have:,} bytes are kept in {self.part}: {advice}, it goes on from there"
        return DatasetError(f"{self.url}: {why}; {kept}")

    def _attempt(self, session: requests.Session, timeout: float) -> None:
        """Ask for what is missing and write it behind what is there."""
        have = self._have()
        # Identity: the gzip of a .tar.gz must not be decoded on the way.
        headers = {"Accept-Encoding": "identity", "User-Agent": f"spectro/{__version__}"}
        headers |= {"Range": f"bytes={have}-"} if have else {}
        try:
            response = session.get(self.url, headers=headers, stream=True, timeout=timeout)
        except (requests.RequestException, HTTPError, ValueError) as problem:
            why = f"cannot be reached: {_short(problem)}"
            raise self._failed(why, "run it again later, or name a mirror") from None
        with response:
            start = self._start(response, have)
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if re.fullmatch(r"[0-9]{1,18}", length) else self.size
            self._check_total(total, start)
            self._write(response, start, total)

    def _start(self, response: requests.Response, have: int) -> int:
        """Return where in the file the bytes of this answer begin."""
        urls = [answer.url.lower() for answer in (*response.history, response)]
        if urls[0].startswith("https:") and any(url.startswith("http:") for url in urls):
            raise DatasetError(f"{self.url}: redirects to {response.url} by way of http; refused")
        if response.status_code == 200:
            return 0
        if have and response.status_code in (206, 416):
            said = response.headers.get("Content-Range", "")
            if response.status_code == 206 and said.startswith(f"bytes {have}-"):
                return have
            self.part.unlink()
            raise ProtocolError(f"sent another part than was asked for ({said or 'unnamed'})")
        later = response.status_code in _TEMPORARY
        why = f"answers {response.status_code} {response.reason or ''}".strip()
        raise self._failed(
            why, "run it again later" if later else "see whether the address is right"
        )

    def _check_total(self, total: int | None, start: int) -> None:
        """Stop before a byte is written if it is another file, or there is no room for it."""
        if total is None:
            return
        free = shutil.disk_usage(self.part.parent).free
        if self.size is not None and total != self.size:
            why = f"has {total:,} bytes there, not the published {self.size:,}"
            raise DatasetError(f"{self.url}: {why}; name a mirror")
        if self.most is not None and total > self.most:
            why = f"has {total:,} bytes, more than the {self.most:,} allowed"
            raise DatasetError(f"{self.url}: {why}; name a mirror")
        if total - start > free:
            lack = f"{total - start:,} bytes are to come, the disk has {free:,} left"
            raise DatasetError(f"{self.part}: {lack}; make room and run it again")

    def _write(self, response: requests.Response, done: int, total: int | None) -> None:
        ceiling = self.most if total is None else total
        with self.part.open("ab" if done else "wb") as file:
            self.progress(done, total)
            for block in response.raw.stream(_CHUNK, decode_content=False):
                done += len(block)
                if ceiling is not None and done > ceiling:
                    raise DatasetError(f"{self.url}: sends more than {ceiling:,} bytes; stopped")
                file.write(block)
                self.progress(done, total)
        if total is not None and done < total:
            raise ProtocolError(f"{done:,} of {total:,} bytes came")


def _short(problem: Exception) -> str:
    """Return the last clause of a nested message, on one line."""
    return " ".join(str(problem).split()).rpartition(": ")[2].rstrip("'\")> ") or "unknown"
