"""How long MPEG audio is where it does not say so: count the headers of its frames.

Encoders state the length in a Xing, Info or VBRI frame; for files without one, libsndfile guesses
from the first frames, by a factor of several where the bit rate varies. An Info frame with the
number that was counted, put in front, tells it.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import NamedTuple

from spectro.clips.containers.views import Piece, mapped

__all__ = ["DECODER_DELAY", "FRAME", "Counted", "count"]

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
_SKIPPED = 4_096  # bytes that may lie before the first frame of MPEG audio in another container


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
        The frames; of layer I and II, more than are to be read.
    told : tuple of bytes or range
        The same behind a frame that states how many there are, upon which the decoder leaves out
        its own delay of 529 samples; empty of layer I and II, which have no such frame.
    """

    samples: int
    layer: int
    cut: bool
    sound: tuple[Piece, ...]
    told: tuple[Piece, ...]


class _Frame(NamedTuple):
    samples: int
    size: int
    layer: int


def count(path: Path, where: range | None = None) -> Counted | None:
    """Count the samples of MPEG audio by its frames.

    Parameters
    ----------
    path : Path
        The file.
    where : range or None
        Bytes of it that are MPEG audio; None means all of them.

    Returns
    -------
    counted : Counted or None
        None if it states its length by itself, or there is no frame.
    """
    with mapped(path) as data:
        part = where or range(len(data))
        first = _first(data, part, 0 if where is None else _SKIPPED)
        if first is None:
            return None
        header = int.from_bytes(data[first : first + 4], "big")
        frame = _frame(header)
        if frame is None or (where is None and _states_length(data, first)):
            return None
        at = first + frame.size if _states_length(data, first) else first
        samples, number, end = _walk(data, at, part.stop)
        sound = part[at - part.start :]
        cut = end > part.stop
        if frame.layer < 3:
            more = (sound[: frame.size],) * _MORE
            return Counted(samples, frame.layer, cut, (sound, *more), ())
        return Counted(samples, 3, cut, (sound,), (_info(header, number), sound))


def _first(data: bytes | mmap.mmap, part: range, skipped: int) -> int | None:
    """Find the first frame: behind an ID3v2 tag, whose size is in four digits of base 128."""
    at = part.start
    if data[at : at + 3] == b"ID3":
        size = 0
        for digit in data[at + 6 : at + 10]:
            size = size << 7 | digit
        at += size + 10
    for start in range(at, min(at + skipped, part.stop) + 1):
        frame = _frame(int.from_bytes(data[start : start + 4], "big"))
        if frame and (not skipped or _follows(data, start + frame.size, part.stop)):
            return start
    return None


def _follows(data: bytes | mmap.mmap, at: int, stop: int) -> bool:
    """Tell whether another frame, or the end, is here."""
    return at >= stop or _frame(int.from_bytes(data[at : at + 4], "big")) is not None


def _states_length(data: bytes | mmap.mmap, at: int) -> bool:
    return any(mark in data[at : at + 200] for mark in (b"Xing", b"Info", b"VBRI"))


def _walk(data: bytes | mmap.mmap, at: int, stop: int) -> tuple[int, int, int]:
    """Return samples and number of the frames from here on, and where the last one ends."""
    samples = number = 0
    while at < stop and (frame := _frame(int.from_bytes(data[at : at + 4], "big"))) is not None:
        samples += frame.samples
        number += 1
        at += frame.size
    return samples, number, at


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
