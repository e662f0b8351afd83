"""Chunks of IFF files: each a name of four bytes and a size, then so many bytes. RIFF, AIFF, CAF.

A size is a claim of a file that may come from anywhere: how many chunks are walked has a bound, and
nothing is read but heads.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

__all__ = ["BIG", "CAF", "LITTLE", "MOST_CHUNKS", "chunks", "is_chain"]

LITTLE, BIG, CAF = "<4sI", ">4sI", ">4sq"  # a chunk's head, for struct: RIFF, RIFX and AIFF, CAF
MOST_CHUNKS = 1_000  # a real file has ten
_IN_DS64 = (0, 0xFFFF_FFFF)  # sizes of RF64's sound that stand in the chunk ds64


def chunks(file: IO[bytes], at: int, size: int, head: str) -> Iterator[tuple[bytes, int, int]]:
    """Walk over the chunks of a file.

    Parameters
    ----------
    file : binary file
    at : int
        Where the first chunk begins.
    size : int
        Bytes of the file.
    head : str
        `LITTLE`, `BIG` or `CAF`.

    Yields
    ------
    name : bytes
    place : int
        Where its content begins; the file is there.
    stated : int
        Bytes of it that the file promises; of RF64's sound, those of the chunk ds64.
    """
    length, sound = struct.calcsize(head), None
    for _ in range(MOST_CHUNKS):
        file.seek(min(at, size))
        read = file.read(length)
        if len(read) < length:
            return
        name, stated = struct.unpack(head, read)
        if name == b"ds64":
            sound = int.from_bytes(file.read(16)[8:], "little")
            file.seek(at + length)
        elif name == b"data" and sound is not None and stated in _IN_DS64:
            stated = sound
        yield name, at + length, stated
        if stated < 0:
            return
        at += length + stated + (0 if head == CAF else stated % 2)


def is_chain(file: IO[bytes], at: int, size: int, head: str) -> bool:
    """Tell whether nothing but chunks, or zeros, lies from here to the end."""
    if at >= size:
        return True
    file.seek(at)
    if not file.read(4_096).strip(b"\0"):
        return True
    first = True
    for name, start, stated in chunks(file, at, size, head):
        if not _is_name(name) or not 0 <= stated <= size + 1 - start:
            return not first and not name.strip(b"\0")
        first = False
    return not first


def _is_name(name: bytes) -> bool:
    return all(32 <= byte < 127 for byte in name)
