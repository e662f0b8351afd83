"""The chunks of a WAV file that hold words: GUANO and the comment. The sound is never read.

The files come from anywhere: a chunk's size is a claim, and how much is read has a bound.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import IO, NamedTuple

from spectro.clips.containers.iff import LITTLE, chunks

__all__ = ["Words", "read_words"]

_MOST_BYTES = 1 << 20  # of one chunk that are read; a real one has a few hundred


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
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return Words()
    for name, _, stated in chunks(file, 12, size, LITTLE):
        if name == b"guan" and not guano:
            guano = _text(file.read(min(stated, _MOST_BYTES)))
        elif name == b"LIST" and not comment:
            comment = _comment(file.read(min(stated, _MOST_BYTES)))
    return Words(guano, comment)


def _comment(info: bytes) -> str:
    """Find ICMT among the entries of LIST INFO."""
    at = 4 if info[:4] == b"INFO" else len(info)
    while at + 8 <= len(info):
        name, length = struct.unpack("<4sI", info[at : at + 8])
        if name == b"ICMT":
            return _text(info[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    return ""


def _text(content: bytes) -> str:
    """Decode a text that ends at the first NUL, if it has one."""
    return content.split(b"\0", 1)[0].decode("utf-8", errors="replace").strip()
