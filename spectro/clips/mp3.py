"""How long an MP3 is where it does not say so: count the headers of its frames.

Encoders state the length in a Xing, Info or VBRI frame; for files without one, libsndfile guesses
from the first frames, by a factor of several where the bit rate varies.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["DECODER_DELAY", "FRAME", "counted_samples"]

FRAME = 1152  # samples in a frame of MPEG 1; half as many in MPEG 2 and 2.5
DECODER_DELAY = 2 * FRAME  # samples that a decoder may leave out at the ends

# ISO/IEC 11172-3 and 13818-3, layer III, by the header's version bits (3: MPEG 1, 2: MPEG 2,
# 0: MPEG 2.5): bit rate in kbit/s and sampling rate in Hz, by their own bits.
_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_KBITS = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    2: _LOW,
    0: _LOW,
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def counted_samples(path: Path) -> int | None:
    """Count the samples of an MP3 by its frames, or return None if the file states its length."""
    data = path.read_bytes()
    at = _behind_tag(data)
    if any(mark in data[at : at + 200] for mark in (b"Xing", b"Info", b"VBRI")):
        return None
    samples = 0
    while (frame := _frame(int.from_bytes(data[at : at + 4], "big"))) is not None:
        samples += frame[0]
        at += frame[1]
    return samples


def _behind_tag(data: bytes) -> int:
    """Return where sound starts: behind an ID3v2 tag, whose size is in four digits of base 128."""
    if data[:3] != b"ID3":
        return 0
    size = 0
    for digit in data[6:10]:
        size = size << 7 | digit
    return size + 10


def _frame(header: int) -> tuple[int, int] | None:
    """Return samples and bytes of the layer III frame with this header; None if it is none."""
    version, layer, rate_bits = header >> 19 & 3, header >> 17 & 3, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer != 1 or rate_bits == 3:
        return None
    kbits = _KBITS[version][header >> 12 & 15]
    if not kbits:
        return None
    samples = FRAME if version == 3 else FRAME // 2
    padding = header >> 9 & 1
    return samples, samples // 8 * kbits * 1000 // _RATES[version][rate_bits] + padding
