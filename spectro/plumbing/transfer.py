"""One try at bringing a file, or the rest of it, from a server; and the part that tries leave.

HTTP by the book: ``Range`` and ``If-Range`` (RFC 9110, sections 13 and 14), a validator kept beside
the part, lengths compared with what was announced.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import urllib3

from spectro import __version__
from spectro.errors import DatasetError
from spectro.plumbing.files import read_json, write_text

__all__ = ["BrokenOffError", "Part", "Progress", "Transfer", "short"]

Progress = Callable[[int, "int | None"], None]
"""Told how many bytes are done, and of how many (None where nobody knows)."""

_CHUNK = 1 << 18  # bytes read at once, and lost at most when the line goes dead
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses that pass


@dataclass(eq=False)
class BrokenOffError(Exception):
    """A try failed in a way that another may not; `wait` is what the server asked for, in s."""

    why: str
    wait: int | None = None


class Part:
    """The bytes so far, and in a file of its own what they are part of."""

    def __init__(self, target: Path, url: str) -> None:
        self.url = url
        self.path = target.with_name(f"{target.name}.part")
        self._about = target.with_name(f"{target.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    def about(self) -> dict[str, Any]:
        """Return what is known of the whole; empty if the bytes cannot be gone on with."""
        try:
            about = read_json(self._about, DatasetError)
        except DatasetError:
            return {}
        total, validator = about.setdefault("total", None), about.get("validator")
        fits = total is None or (isinstance(total, int) and self.size <= total)
        usable = isinstance(validator, str) and validator.isprintable() and validator
        return about if usable and fits and about.get("url") == self.url else {}

    def begin(self, response: requests.Response, total: int | None) -> None:
        """Drop the bytes of before and note what is about to come."""
        self.discard()
        about = {"url": self.url, "total": total, "validator": _validator(response)}
        write_text(self._about, json.dumps(about) + "\n")

    def same(self, response: requests.Response) -> bool:
        """Tell whether an answer with the rest is about the file that the bytes are of."""
        about, whole = self.about(), _whole_length(response)
        total = about["total"] or whole  # either may be unknown
        return _validator(response) in ("", about["validator"]) and (whole or total) == total

    def discard(self) -> None:
        """Remove both files, the bytes first: never are they without what they are part of."""
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)


@dataclass(frozen=True)
class Transfer:
    """Everything that one try after the other needs."""

    session: requests.Session
    part: Part
    size: int | None
    most: int | None
    progress: Progress
    timeout: float

    def attempt(self) -> None:
        """Ask for what is missing and write it behind what is there."""
        about = self.part.about()
        have = self.part.size if about else 0
        if have and have == about["total"]:
            return
        headers = {"Accept-Encoding": "identity", "User-Agent": f"spectro/{__version__}"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": about["validator"]}
        with self._ask(headers) as response:
            start = self._position(response, have)
            if start is not None:
                total = _whole_length(response)
                self._check_length(total, start)
                if not start:
                    self.part.begin(response, total)
                self._write(response, start, total)

    def _ask(self, headers: dict[str, str]) -> requests.Response:
        url = self.part.url
        try:
            response = self.session.get(url, headers=headers, stream=True, timeout=self.timeout)
        except requests.TooManyRedirects:
            raise DatasetError(f"{url}: redirects without end") from None
        except (requests.Timeout, requests.ConnectionError) as problem:
            raise BrokenOffError(f"cannot be reached: {short(problem)}") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as problem:
            raise DatasetError(f"{url}: cannot be asked for ({short(problem)})") from None
        hops = [hop.url.lower() for hop in (*response.history, response)]
        if hops[0].startswith("https:") and not all(hop.startswith("https:") for hop in hops):
            response.close()
            raise DatasetError(f"{url}: redirects to {response.url} by way of http; refused")
        return response

    def _position(self, response: requests.Response, have: int) -> int | None:
        """Find where the bytes of this answer belong; None if none are missing."""
        status, said = response.status_code, response.headers.get("Content-Range", "").strip()
        if status == 200:
            return 0
        if have and status == 416 and said == f"bytes */{have}":
            return None
        if have and status in (206, 416):
            if status == 206 and said.startswith(f"bytes {have}-") and self.part.same(response):
                return have
            self.part.discard()
            raise BrokenOffError(f"sent another part than was asked for ({said or 'unnamed'})")
        why = f"answers {status} {response.reason or ''}".strip()
        if status in _LATER:
            raise BrokenOffError(why, _number(response.headers.get("Retry-After", "")))
        raise DatasetError(f"{self.part.url}: {why}; see whether the address is right")

    def _check_length(self, total: int | None, start: int) -> None:
        """Stop before a byte is written if it is another file, or there is no room for it."""
        if total is None:
            return
        url, free = self.part.url, shutil.disk_usage(self.part.path.parent).free
        if self.size is not None and total != self.size:
            raise DatasetError(f"{url}: has {total:,} bytes there, not the published {self.size:,}")
        if self.most is not None and total > self.most:
            raise DatasetError(f"{url}: has {total:,} bytes, more than the {self.most:,} allowed")
        if total - start > free:
            lack = f"{total - start:,} bytes are to come, the disk has {free:,} left"
            raise DatasetError(f"{self.part.path}: {lack}; make room and run it again")

    def _write(self, response: requests.Response, start: int, total: int | None) -> None:
        done, total = start, total or self.size
        ceiling = total or self.most
        with self.part.path.open("ab" if start else "wb") as file:
            self.progress(done, total)
            for block in _blocks(response):
                done += len(block)
                if ceiling is not None and done > ceiling:
                    raise DatasetError(f"{self.part.url}: sends more than {ceiling:,} bytes")
                file.write(block)
                self.progress(done, total)
        if total is not None and done < total:
            raise BrokenOffError(f"broke off after {done:,} of {total:,} bytes")


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """Read the body as it is on the wire: the gzip of a ``.tar.gz`` is no ``Content-Encoding``."""
    try:
        yield from response.raw.stream(_CHUNK, decode_content=False)
    except urllib3.exceptions.HTTPError as problem:
        raise BrokenOffError(f"the connection broke off: {short(problem)}") from None


def _validator(response: requests.Response) -> str:
    """Tell this version of the file from another; empty if the server gives nothing to do so."""
    etag = response.headers.get("ETag", "")
    if etag:
        return etag if etag.startswith('"') else ""  # W/"..." promises no bytes
    return response.headers.get("Last-Modified", "")


def _whole_length(response: requests.Response) -> int | None:
    """Read how long the whole file is; None where the server does not say."""
    name = "Content-Range" if response.status_code == 206 else "Content-Length"
    return _number(response.headers.get(name, "").rpartition("/")[2])


def _number(said: str) -> int | None:
    return int(said) if re.fullmatch(r"[0-9]{1,18}", said.strip()) else None


def short(problem: Exception) -> str:
    """Return the last clause of a nested message, on one line."""
    return " ".join(str(problem).split()).rpartition(": ")[2].rstrip("'\")> ") or "unknown"
