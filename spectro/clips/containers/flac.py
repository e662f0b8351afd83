"""FLAC files that do not say how long they are, and those that hold several sounds.

An encoder that writes to a pipe leaves 0 for the number of samples, which by the format (RFC 9639)
means "unknown". The last frame's header has its own number, and its two checksums tell that it is
one and that it is whole.
"""

from __future__ import annotations

import functools
import mmap
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from spectro.clips.containers.mp3 import behind_tags
from spectro.clips.containers.views import Piece, Plan, mapped
from spectro.errors import AudioError

__all__ = ["MARK", "plan", "split"]

MARK = b"fLaC"
_STREAMINFO = 34  # bytes, the first metadata block
_ANOTHER = (MARK + b"\x00\x00\x00\x22", MARK + b"\x80\x00\x00\x22")
_MOST_STREAMS = 10_000  # one behind the other; an album has a dozen
_TAG = 128  # bytes of an ID3v1 tag
_LARGEST_FRAME = 1 << 20  # bytes: 8 channels of 65,535 samples of 16 bits, uncompressed
_TRIED = 32  # places that may be the last frame's; chance makes hardly one
_BLOCK_SIZES = {1: 192, **{n: 144 << n for n in range(2, 6)}, **{n: 1 << n for n in range(8, 16)}}


def plan(path: Path) -> Plan | None:
    """Say how a FLAC file is to be read; None if libsndfile reads it right as it is.

    Raises
    ------
    AudioError
        If a stream of unknown length is cut.
    """
    with mapped(path) as data:
        at = behind_tags(data, 0)  # some programs put an ID3 tag in front
        if data[at : at + len(MARK)] != MARK:
            return None
        found = split(path, data, at)
        return found or (Plan(((range(at, len(data)),),)) if at else None)


def split(path: Path, data: bytes | mmap.mmap, at: int = 0) -> Plan | None:
    """Do as :func:`plan`, of FLAC that starts at `at`."""
    starts = list(islice(_starts(data, at), _MOST_STREAMS + 1))
    if len(starts) > _MOST_STREAMS:
        raise AudioError(
            f"{path}: is made of more than {_MOST_STREAMS:,} FLAC streams, one behind the other; "
            "encode it again (ffmpeg -i IN OUT.flac)"
        )
    parts = [range(a, b) for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]
    known = [_stated(data, part.start) for part in parts]
    if len(parts) == 1 and known[0] and not _ends_as_stated(data, parts[0], known[0]):
        known[0] = _more_than(path, data, parts[0], known[0])
        if known[0] != _stated(data, at):
            return Plan((_stating(data, parts[0], known[0]),), known[0])
    if len(parts) == 1 and (known[0] or _frames_at(data, parts[0]) is None):
        return None
    streams, frames = [], 0
    for part, stated in zip(parts, known, strict=True):
        n = stated or _counted(path, data, part)
        streams.append(_stating(data, part, n))
        frames += n
    return Plan(tuple(streams), frames)


def _starts(data: bytes | mmap.mmap, at: int) -> Iterator[int]:
    """Yield where streams start."""
    nearest = dict.fromkeys(_ANOTHER, 0)  # where each was found last; each is looked for once
    while at >= 0:
        yield at
        behind = _frames_at(data, range(at, len(data)))
        if behind is None:
            return
        for mark, n in nearest.items():
            if 0 <= n < behind:
                nearest[mark] = data.find(mark, behind)
        at = min((n for n in nearest.values() if n >= 0), default=-1)


def _frames_at(data: bytes | mmap.mmap, part: range) -> int | None:
    """Return where the frames start, behind the metadata blocks; None if there are none."""
    at, last = part.start + 4, False
    while not last:
        head = data[at : at + 4]
        if len(head) < 4 or at >= part.stop:
            return None
        last = bool(head[0] & 0x80)
        at += 4 + int.from_bytes(head[1:], "big")
    return at if at < part.stop else None


def _stated(data: bytes | mmap.mmap, at: int) -> int:
    """Return the number of samples that a stream states, or 0: the low 36 bits of eight bytes."""
    return int.from_bytes(data[at + 18 : at + 26], "big") & (1 << 36) - 1


def _ends_as_stated(data: bytes | mmap.mmap, part: range, stated: int) -> bool:
    """Tell quickly whether the last frame ends with the stated number of samples."""
    fixed = int.from_bytes(data[part.start + 8 : part.start + 10], "big")
    start, at = max(part.start, part.stop - _LARGEST_FRAME), part.stop - 1
    while (at := data.rfind(b"\xff", start, at)) >= 0:
        if data[at + 1] & 0xFE == 0xF8 and _behind(data[at : at + 16], fixed) == stated:
            return True
    return False


def _more_than(path: Path, data: bytes | mmap.mmap, part: range, stated: int) -> int:
    """Return how many samples there are, or what is stated where that is more, or not known."""
    try:
        return max(stated, _counted(path, data, part))
    except AudioError:
        return stated


def _stating(data: bytes | mmap.mmap, part: range, n: int) -> tuple[Piece, ...]:
    """Put the number of samples into a stream's header."""
    head = bytearray(data[part.start : part.start + 8 + _STREAMINFO])
    fields = int.from_bytes(head[18:26], "big") >> 36 << 36
    head[18:26] = (fields | n).to_bytes(8, "big")
    return bytes(head), range(part.start + len(head), part.stop)


def _counted(path: Path, data: bytes | mmap.mmap, part: range) -> int:
    """Find the last frame, which must end where the stream does; return the sample behind it."""
    stop = part.stop
    if data[stop - _TAG : stop - _TAG + 3] == b"TAG":
        stop -= _TAG
    start = max(_frames_at(data, part) or part.start, stop - _LARGEST_FRAME)
    tail = bytes(data[start:stop]).rstrip(b"\0")
    fixed = int.from_bytes(data[part.start + 8 : part.start + 10], "big")
    for end in (tail + bytes(n) for n in (0, 1, 2)):  # a checksum may end in zeros
        at, tried = len(end), 0
        while (at := end.rfind(b"\xff", 0, at)) >= 0 and tried < _TRIED:
            found = _behind(end[at : at + 16], fixed)
            tried += found is not None
            if found is not None and _crc16(end[at:]) == 0:
                return found
    raise AudioError(
        f"{path}: truncated, or followed by something that is no FLAC: it ends in no whole frame, "
        "and its header does not say how long it is; encode it again (ffmpeg -i IN OUT.flac)"
    )


def _behind(head: bytes, fixed: int) -> int | None:
    """Return the number of the sample behind the frame with this header; None if it is none."""
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    coded, number, at = _coded(head)
    size, rate = head[2] >> 4, head[2] & 15
    n = _BLOCK_SIZES.get(size, 0)
    if size in (6, 7):
        width = size - 5
        n, at = int.from_bytes(head[at : at + width], "big") + 1, at + width
    at += {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if not n or not coded or rate == 15 or at >= len(head) or _crc8(head[: at + 1]):
        return None
    return (number if head[1] & 1 else number * fixed) + n


def _coded(head: bytes) -> tuple[bool, int, int]:
    """Decode the frame's or sample's number, which is coded as UTF-8 codes a letter."""
    first, at = head[4], 5
    ones = 8 - (first ^ 0xFF).bit_length()
    if ones == 0:
        return True, first, at
    if ones == 1 or ones == 8:  # noqa: PLR1714
        return False, 0, at
    number = first & (0x7F >> ones)
    for byte in head[5 : 4 + ones]:
        if byte >> 6 != 2:
            return False, 0, at
        number = number << 6 | byte & 0x3F
    return True, number, 4 + ones


def _crc8(data: bytes) -> int:
    return _crc(data, 0x07, 8)


def _crc16(data: bytes) -> int:
    return _crc(data, 0x8005, 16)


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    """Return the checksum of some bytes; 0 of bytes that end in their own."""
    table, mask, shift, crc = _table(polynomial, bits), (1 << bits) - 1, bits - 8, 0
    for byte in data:
        crc = crc << 8 & mask ^ table[crc >> shift ^ byte]
    return crc


@functools.cache
def _table(polynomial: int, bits: int) -> list[int]:
    top, mask, table = 1 << (bits - 1), (1 << bits) - 1, []
    for byte in range(256):
        crc = byte << (bits - 8)
        for _ in range(8):
            crc = (crc << 1 ^ (polynomial if crc & top else 0)) & mask
        table.append(crc)
    return table
