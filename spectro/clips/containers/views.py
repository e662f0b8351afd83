"""A file as it should have been written: parts of it, and bytes put between them."""

from __future__ import annotations

import bisect
import io
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, NamedTuple

from spectro.plumbing.paths import is_url

__all__ = ["Piece", "Plan", "View", "mapped", "size_of"]

_KEPT = 1 << 24  # bytes of a mapped file

Piece = bytes | range  # bytes of our own, or a range of the file's


class Plan(NamedTuple):
    """How a file is read where a decoder alone would misread it.

    Attributes
    ----------
    streams : tuple of tuple of bytes or range
        One or more sounds, to be played one after the other; each is the pieces of a whole file.
    frames : int or None
        Frames of all streams; None where the decoder knows.
    container, codec : str
        What to call them; empty where the decoder's names are right.
    told : tuple of bytes or range
        The one stream once more, with its length in it, for a decoder that guesses too low a one.
    low_bits : int
        Bits of each 32 that are sound, where those are the low ones; 0 where a decoder knows.
    """

    streams: tuple[tuple[Piece, ...], ...]
    frames: int | None = None
    container: str = ""
    codec: str = ""
    told: tuple[Piece, ...] = ()
    low_bits: int = 0


class View(io.RawIOBase):
    """Pieces of a file, read as if they were one file.

    Parameters
    ----------
    path : Path
        The file.
    pieces : sequence of bytes or range
        What is read, in this order.
    """

    def __init__(self, path: Path, pieces: Sequence[Piece]) -> None:
        self._pieces = [piece for piece in pieces if len(piece)]
        self._ends = list(accumulate(len(piece) for piece in self._pieces))
        self._file = path.open("rb")
        self._at = 0

    def close(self) -> None:
        """Close the file below."""
        if not self.closed:
            self._file.close()
        super().close()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, and return it."""
        base = (0, self._at, self._ends[-1] if self._ends else 0)[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as there are bytes, and return how many there were."""
        filled = 0
        room = memoryview(buffer).cast("B")
        while filled < len(room) and (part := self._next(len(room) - filled)):
            room[filled : filled + len(part)] = part
            filled += len(part)
        return filled

    def _next(self, n: int) -> bytes:
        """Read up to `n` bytes of the piece that the next one lies in."""
        number = bisect.bisect_right(self._ends, self._at)
        if number == len(self._pieces):
            return b""
        piece = self._pieces[number]
        within = self._at - (self._ends[number] - len(piece))
        n = min(n, len(piece) - within)
        if isinstance(piece, bytes):
            part = piece[within : within + n]
        else:
            self._file.seek(piece[within])
            part = self._file.read(n)
        self._at += len(part)
        return part


def size_of(file: IO[bytes]) -> int:
    """Return the size of an open file in bytes, and go back to where it was."""
    at = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(at)
    return size


class _Mapped(mmap.mmap):
    """A mapped file that lets go of what was looked at, which else counts as memory in use."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self._kept = 0  # where the part begins that was looked at last

    def __getitem__(self, key: Any) -> Any:
        at = key.start if isinstance(key, slice) else key
        if abs((at or 0) - self._kept) > _KEPT:
            self._let_go(at or 0)
        return super().__getitem__(key)

    def find(self, mark: Any, start: int = 0, end: int | None = None) -> int:
        """Find bytes, in parts."""
        end = len(self) if end is None else min(end, len(self))
        for at in range(start, end, _KEPT):
            found = super().find(mark, at, min(end, at + _KEPT + len(mark) - 1))
            if found >= 0:
                return found
            self._let_go(at)
        return -1

    def _let_go(self, at: int) -> None:
        self._kept = at
        if hasattr(self, "madvise"):  # not on Windows
            self.madvise(mmap.MADV_DONTNEED)


@contextmanager
def mapped(path: Path) -> Iterator[bytes | mmap.mmap]:
    """Give a file's bytes, without reading those that nobody looks at if it is on a disk.

    However long the file is and however much of it is looked at, little of it stays in memory.
    """
    if is_url(path):
        yield path.read_bytes()
        return
    with path.open("rb") as file:
        if not size_of(file):
            yield b""
            return
        with _Mapped(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
