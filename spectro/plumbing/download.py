"""One URL to one file: gone on with where it broke off, and complete and checked or not there.

While it is under way, two files stand beside the target: ``NAME.part`` with the bytes so far, and
``NAME.part.json`` with what they are part of: URL, whole length, and the validator (a strong
``ETag``, else ``Last-Modified``) by which the server knows its file again. A later try asks for the
rest with ``Range`` and ``If-Range`` (RFC 9110, sections 13 and 14), so half of one file never meets
half of another; without a validator it starts over.
"""

from __future__ import annotations

import errno
import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from spectro.errors import DatasetError
from spectro.plumbing.transfer import BrokenOffError, Part, Progress, Transfer

__all__ = ["PATIENCE", "Patience", "Progress", "check", "disk_full", "download"]

_GAIN = 1 << 20  # bytes that a try must bring to count as one that got on
_LONGEST_PAUSE = 60.0  # s


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often."""

    timeout: float = 30.0  # s without a connection or a byte
    tries: int = 5  # in a row that may bring next to nothing
    pause: float = 1.0  # s before the second try; doubled for each further one, up to a minute


PATIENCE = Patience()


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
    """Download `url` to `target`, going on with what an earlier run left.

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
        Called with the bytes that are there and the whole number, or None if nobody knows it.
    patience : Patience
        Timeout, tries and pauses.

    Returns
    -------
    Path
        `target`, complete and checked.

    Raises
    ------
    DatasetError
        If it cannot be had, is not what was published, or the disk is full. What came is kept for
        the next run, except where it is wrong.
    """
    target = Path(target)
    if target.exists():
        check(target, size=size, checksum=checksum)
        return target
    if not re.match(r"https?://", url, re.IGNORECASE):
        raise DatasetError(f"{url}: is no http or https address")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Part(target, url)
    with requests.Session() as session, disk_full(part.path):
        session.max_redirects = 10
        _persist(Transfer(session, part, size, most, progress, patience.timeout), patience)
    try:
        check(part.path, size=size, checksum=checksum)
    except DatasetError as problem:
        part.discard()
        raise DatasetError(f"{problem}; it is removed: run it again, or name a mirror") from None
    part.path.replace(target)
    part.discard()
    return target


def check(path: Path, *, size: int | None = None, checksum: str | None = None) -> None:
    """Compare a file with its published `size` in bytes and `checksum`, as "md5:9aa6...".

    Raises DatasetError if it is another file.
    """
    found = path.stat().st_size
    if size is not None and found != size:
        raise DatasetError(f"{path}: has {found:,} bytes, not the published {size:,}")
    if checksum is not None:
        algorithm, _, published = checksum.partition(":")
        digest = hashlib.new(algorithm, usedforsecurity=False)
        with path.open("rb") as file:
            for block in iter(lambda: file.read(_GAIN), b""):
                digest.update(block)
        if digest.hexdigest() != published.lower():
            why = f"its {algorithm} is {digest.hexdigest()}, not the published {published}"
            raise DatasetError(f"{path}: {why}")


@contextmanager
def disk_full(path: Path) -> Iterator[None]:
    """Say in one line that there is no room left for `path`."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DatasetError(f"{path}: the disk is full; make room and run it again") from None


def _persist(transfer: Transfer, patience: Patience) -> None:
    """Try until all is there, or until tries in a row brought next to nothing."""
    part, idle, best = transfer.part, 0, transfer.part.size
    while True:
        try:
            return transfer.attempt()
        except BrokenOffError as problem:
            idle += 1
            if part.size >= best + _GAIN:
                idle, best = 1, part.size
            if idle >= patience.tries:
                kept = f"{part.size:,} bytes are kept in {part.path}: run it again to go on"
                if not (part.size and part.about()):
                    part.discard()
                    kept = "nothing is kept: run it again later"
                raise DatasetError(f"{part.url}: {problem.why} ({idle} tries); {kept}") from None
            pause = patience.pause * 2 ** (idle - 1) if problem.wait is None else problem.wait
            time.sleep(min(pause, _LONGEST_PAUSE))
