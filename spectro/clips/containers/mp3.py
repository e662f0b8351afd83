"""How long MPEG audio is where it does not say so, or not rightly: count the headers of its frames.

Encoders state the length in a Xing, Info or VBRI frame; for files without one, libsndfile guesses
from the first frames, by a factor of several where the bit rate varies. Files that were joined, cut
out of a stream or damaged have other things before and between their frames. An Info frame with the
number that was counted, put in front of the frames alone, tells it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from spectro.clips.containers.views import Piece, mapped
from spectro.errors import AudioError

__all__ = ["DECODER_DELAY", "FRAME", "Counted", "behind_tags", "count"]

FRAME = 1152  # samples in a frame of MPEG 1; half as many in layer III of MPEG 2 and 2.5
DECODER_DELAY = 2 * FRAME  # samples that a decoder may leave out at the ends

# ISO/IEC 11172-3 and 13818-3: bit rate in kbit/s by its own bits, for MPEG 1 by layer, and for
# MPEG 2 and 2.5; sampling rate in Hz by the version bits (3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5).
_KBITS = {
    1: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 0),
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0),
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
}
_LOW_1 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256, 0)
_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MPEG_1, _MONO = 3, 3
_INFO = 200  # bytes that an Info frame takes at least
_MORE = 16  # frames put behind a sound of layer I or II, so that a guess of its length is not short
_AGREEING = 4  # frames of one kind that follow each other are no accident


class Counted(NamedTuple):
    """MPEG audio, frame by frame.

    Attributes
    ----------
    samples : int
        In each channel.
    layer : int
        1, 2 or 3.
    cut : bool
        Whether its last frame is not all there.
    sound : tuple of bytes or range
        The frames, without what lies between them; of layer I and II, more than are to be read.
    told : tuple of bytes or range
        The same behind a frame that states how many there are, upon which the decoder leaves out
        its own delay of 529 samples; empty of layer I and II, which have no such frame.
    says_itself : bool
        Whether it is nothing but frames, of which the first states how many: the decoder knows.
        `sound` is then all of them, that one too, without tags and what else lies around.
    """

    samples: int
    layer: int
    cut: bool
    sound: tuple[Piece, ...]
    told: tuple[Piece, ...]
    says_itself: bool = False


class _Frame(NamedTuple):
    samples: int
    size: int
    layer: int


class _Run(NamedTuple):
    """Frames of one kind that follow each other: where they lie, and what is in them."""

    start: int
    stop: int
    samples: int
    number: int


def count(path: Path, where: range | None = None) -> Counted | None:
    """Count the samples of MPEG audio by its frames, wherever they lie.

    Parameters
    ----------
    path : Path
        The file.
    where : range or None
        Bytes of it that are MPEG audio; None means all of them.

    Returns
    -------
    counted : Counted or None
        None if there is no frame.

    Raises
    ------
    AudioError
        If it holds sounds of different rates, one after the other.
    """
    with mapped(path) as data:
        part = where or range(len(data))
        runs = list(_runs(data, part))
        if not runs:
            return None
        stated = _stated(data, runs[0].start)
        number = sum(run.number for run in runs)
        # One more or less: encoders count the frame that states it, or do not.
        if where is None and len(runs) == 1 and stated and number - 1 <= stated:
            (run,) = runs
            return Counted(run.samples, 3, False, (range(run.start, run.stop),), (), True)
        if len({_kind(_header(data, run.start)) for run in runs}) > 1:
            raise AudioError(
                f"{path}: holds sounds of different rates or kinds, one after the other; "
                "convert it to WAV"
            )
        return _counted(data, runs, part)


def _counted(data: bytes | mmap.mmap, runs: list[_Run], part: range) -> Counted:
    """Put the runs together, without frames that only state a length."""
    header, samples, number = _header(data, runs[0].start), 0, 0
    frame = _frame(header)
    assert frame is not None
    sound: list[Piece] = []
    for run in runs:
        first = run.start
        if _stated(data, run.start) is not None:
            about = _frame(_header(data, run.start))
            assert about is not None
            first, samples, number = first + about.size, samples - about.samples, number - 1
        samples, number = samples + run.samples, number + run.number
        sound.append(range(first, min(run.stop, part.stop)))
    cut = runs[-1].stop > part.stop
    if frame.layer < 3:
        more = (range(runs[0].start, runs[0].start + frame.size),) * _MORE
        return Counted(samples, frame.layer, cut, (*sound, *more), ())
    return Counted(samples, 3, cut, tuple(sound), (_info(header, number), *sound))


def _runs(data: bytes | mmap.mmap, part: range) -> Iterator[_Run]:
    """Find all frames, behind tags and whatever else lies between them."""
    at, first = behind_tags(data, part.start), True
    while (start := _sync(data, at, part.stop, lenient=first)) is not None:
        run = _walk(data, start, part.stop)
        yield run
        at, first = behind_tags(data, run.stop), False


def behind_tags(data: bytes | mmap.mmap, at: int) -> int:
    """Go behind ID3v2 tags, whose size is in four digits of base 128."""
    while data[at : at + 3] == b"ID3":
        size = 0
        for digit in data[at + 6 : at + 10]:
            size = size << 7 | digit & 0x7F
        at += size + 10
    return at


def _sync(data: bytes | mmap.mmap, at: int, stop: int, *, lenient: bool) -> int | None:
    """Find the next frame with others of its kind behind it; `lenient` takes any that is here."""
    if lenient and at < stop and _frame(_header(data, at)) is not None:
        return at
    while (at := data.find(b"\xff", at, stop)) >= 0:
        if _agree(data, at, stop):
            return at
        at += 1
    return None


def _agree(data: bytes | mmap.mmap, at: int, stop: int) -> bool:
    """Tell whether several frames of one kind follow each other from here on."""
    kind = _kind(_header(data, at))
    for _ in range(_AGREEING):
        header = _header(data, at)
        frame = _frame(header)
        if frame is None or _kind(header) != kind:
            return False
        at += frame.size
        if at >= stop:
            return at == stop
    return True


def _header(data: bytes | mmap.mmap, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _kind(header: int) -> int:
    """Return what frames of one sound have in common: version, layer and sampling rate."""
    return header & 0xFFFE_0C00


def _stated(data: bytes | mmap.mmap, at: int) -> int | None:
    """Return how many frames this one states: 0 if it leaves that out, None if it is sound."""
    head = data[at : at + 200]
    for mark in (b"Xing", b"Info"):
        if (found := head.find(mark)) >= 0:
            flags, number = (int.from_bytes(head[found + n : found + n + 4], "big") for n in (4, 8))
            return number if flags & 1 else 0
    found = head.find(b"VBRI")
    return int.from_bytes(head[found + 14 : found + 18], "big") if found >= 0 else None


def _walk(data: bytes | mmap.mmap, start: int, stop: int) -> _Run:
    """Follow the frames from here on."""
    kind, at, samples, number = _kind(_header(data, start)), start, 0, 0
    while at < stop and _kind(header := _header(data, at)) == kind:
        frame = _frame(header)
        if frame is None:
            break
        samples += frame.samples
        number += 1
        at += frame.size
    return _Run(start, at, samples, number)


def _frame(header: int) -> _Frame | None:
    """Return samples and bytes of the frame with this header; None if it is none."""
    version, layer, rate_bits = header >> 19 & 3, 4 - (header >> 17 & 3), header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer == 4 or rate_bits == 3:
        return None
    table = _KBITS[layer] if version == _MPEG_1 else _LOW_1 if layer == 1 else _LOW
    bits = table[header >> 12 & 15] * 1000
    if not bits:
        return None
    rate, padding = _RATES[version][rate_bits], header >> 9 & 1
    if layer == 1:
        return _Frame(384, (12 * bits // rate + padding) * 4, 1)
    samples = FRAME if version == _MPEG_1 or layer == 2 else FRAME // 2
    return _Frame(samples, samples // 8 * bits // rate + padding, layer)


def _info(header: int, number: int) -> bytes:
    """Make a frame of layer III that states how many follow, and holds no sound."""
    header |= 1 << 16  # no checksum
    for rate in range(1, 15):
        header = header & ~(15 << 12) & ~(1 << 9) | rate << 12
        frame = _frame(header)
        if frame and frame.size >= _INFO:
            break
    mono, first = header >> 6 & 3 == _MONO, header >> 19 & 3 == _MPEG_1
    side = (17 if mono else 32) if first else (9 if mono else 17)
    stated = b"Info" + (1).to_bytes(4, "big") + number.to_bytes(4, "big")
    content = header.to_bytes(4, "big") + bytes(side) + stated
    return content.ljust(frame.size if frame else _INFO, b"\0")
