"""The chunks of a WAV file that hold words: GUANO and the comment. The sound is never read.

The files come from anywhere: a chunk's size is a claim, and how much is read has a bound.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

__all__ = ["Words", "read_words"]

_MOST_CHUNKS = 1000  # walked; a real file has ten
_MOST_BYTES = 1 << 20  # of one chunk that are read; a real one has a few hundred
_UNKNOWN = 0xFFFFFFFF  # RF64: the size stands in the chunk ds64


class Words(NamedTuple):
    """What a recorder wrote into its file: the texts as they stand there, "" for none.

    Parameters
    ----------
    guano : str
        The chunk ``guan``.
    comment : str
        ``ICMT`` of the chunk ``LIST INFO``.
    """

    guano: str = ""
    comment: str = ""


def read_words(path: str | Path) -> Words:
    """Read the words of a WAV file (RIFF or RF64).

    Parameters
    ----------
    path : str or Path
        Any file; only a regular one is opened to the end.

    Returns
    -------
    words : Words
        Empty for a file that is no WAV file. Of a damaged file, what stands before the damage.

    Raises
    ------
    OSError
        If the file is not there, or cannot be read.
    """
    # Without O_NONBLOCK, opening a pipe waits for its other end.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            return Words()
        return _words(file, about.st_size)


def _words(file: IO[bytes], size: int) -> Words:
    guano = comment = ""
    for name, content in _chunks(file, size):
        if name == b"guan" and not guano:
            guano = _text(content)
        elif name == b"LIST" and content[:4] == b"INFO" and not comment:
            comment = _comment(content[4:])
    return Words(guano, comment)


def _chunks(file: IO[bytes], size: int) -> Iterator[tuple[bytes, bytes]]:
    """Give the small chunks of a WAV file that may hold words, in order."""
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return
    at, data_size = 12, 0
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:
            return
        name, length = struct.unpack("<4sI", header)
        if name in (b"guan", b"LIST", b"ds64"):
            content = file.read(min(length, _MOST_BYTES))
            yield name, content
            if name == b"ds64" and len(content) >= 16:
                data_size = struct.unpack("<Q", content[8:16])[0]
        if name == b"data" and length == _UNKNOWN:
            length = data_size or size
        at += 8 + length + length % 2
        if at >= size:
            return


def _comment(info: bytes) -> str:
    """Find ICMT among the entries of LIST INFO."""
    at = 0
    while at + 8 <= len(info):
        name, length = struct.unpack("<4sI", info[at : at + 8])
        if name == b"ICMT":
            return _text(info[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    return ""


def _text(content: bytes) -> str:
    """Decode a text that ends at the first NUL, if it has one."""
    return content.split(b"\0", 1)[0].decode("utf-8", errors="replace").strip()
