"""AIFF, CAF and AU: how much sound they hold where the header's size is wrong or unknown."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO

from spectro.clips.containers.iff import BIG, CAF, chunks, is_chain
from spectro.clips.containers.sizes import UNKNOWN_FROM, sound_bytes
from spectro.clips.containers.views import Plan, size_of

__all__ = ["plan_aiff", "plan_au", "plan_caf"]

_EVER = 1 << 62
# Codes of AIFF-C whose frames are as many bytes each: the bits of the header count.
_PLAIN = (b"", b"NONE", b"twos", b"sowt", b"raw ", b"in24", b"in32", b"fl32", b"FL32", b"fl64",
          b"FL64")  # fmt: skip
_BYTES = (b"ulaw", b"ULAW", b"alaw", b"ALAW")  # one a sample, whatever the header says


def plan_au(path: Path) -> Plan | None:
    """Say how an AU file is to be read; None if libsndfile reads it right as it is.

    Raises
    ------
    AudioError
        If bytes of sound are missing.
    """
    with path.open("rb") as file:
        head, size = file.read(24), size_of(file)
    if len(head) < 24:
        return None
    order = ">" if head[:4] == b".snd" else "<"
    start, stated = struct.unpack(order + "II", head[4:12])
    if start > size:
        return None
    n = sound_bytes(path, stated, size - start, header=start, followed=bool(stated))
    if stated in (n, 0xFFFF_FFFF):
        return None
    head = head[:8] + struct.pack(order + "I", min(n, 0xFFFF_FFFF)) + head[12:]
    return Plan(((head, range(24, start + n)),))


def plan_aiff(path: Path) -> Plan | None:
    """Say how an AIFF file is to be read; None if libsndfile reads it right as it is.

    Raises
    ------
    AudioError
        If bytes of sound are missing.
    """
    with path.open("rb") as file:
        size = size_of(file)
        form = file.read(12)
        whole = abs(int.from_bytes(form[4:8], "big") + 8 - size) <= 1
        comm = (0, b"")
        for name, at, stated in chunks(file, 12, size, BIG):
            if name == b"COMM":
                comm = (at, file.read(22))
            elif name == b"SSND":
                return _aiff(path, file, comm, (at, stated, size), whole)
    return None


def _aiff(
    path: Path, file: IO[bytes], comm: tuple[int, bytes], sound: tuple[int, int, int], whole: bool
) -> Plan | None:
    """Give an AIFF file the sizes of the sound that it holds."""
    (where, fields), (at, stated, size) = comm, sound
    followed = is_chain(file, at + stated + stated % 2, size, BIG)
    n = sound_bytes(path, stated, size - at, header=at, whole=whole, followed=followed)
    if len(fields) < 18 or n < 8:
        return None
    channels, frames, bits = struct.unpack(">HIH", fields[:8])
    code = fields[18:22] if _is_compressed(file) else b""
    width = 1 if code in _BYTES else -(-bits // 8)
    if code not in _PLAIN + _BYTES or not channels * width:
        return None
    there = (n - 8) // (channels * width)
    if n == stated and (frames == there or 0 < frames < UNKNOWN_FROM):
        return None
    file.seek(0)
    head = bytearray(file.read(at))
    head[4:8] = struct.pack(">I", min(at + n - 8, 0xFFFF_FFFF))
    head[at - 4 : at] = struct.pack(">I", min(n, 0xFFFF_FFFF))
    head[where + 2 : where + 6] = struct.pack(">I", min(there, 0xFFFF_FFFF))
    return Plan(((bytes(head), range(at, at + n)),))


def _is_compressed(file: IO[bytes]) -> bool:
    """Tell AIFF-C from AIFF."""
    file.seek(8)
    return file.read(4) == b"AIFC"


def plan_caf(path: Path) -> Plan | None:
    """Say how a CAF file is to be read; None if libsndfile reads it right as it is.

    Raises
    ------
    AudioError
        If bytes of sound are missing.
    """
    with path.open("rb") as file:
        size = size_of(file)
        for name, at, stated in chunks(file, 8, size, CAF):
            if name != b"data":
                continue
            followed = is_chain(file, at + max(stated, 0), size, CAF)
            known = stated if stated >= 0 else _EVER
            n = sound_bytes(path, known, size - at, header=at, followed=followed, unknown=_EVER)
            if n == stated:
                return None
            file.seek(0)
            head = file.read(at - 8) + struct.pack(">q", n)
            return Plan(((head, range(at, at + n)),))
    return None
