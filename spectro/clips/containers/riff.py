"""WAV, RIFX, RF64, BW64 and W64: where the sound lies, how much of it there is, and what it is.

libsndfile takes the header's word for sizes that recorders never filled in, guesses where the width
of a sample is told twice and differently, and takes MPEG frames for a sound of known length. What
such a file holds is found out here, and handed on under a header that says so.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np

from spectro.clips.containers import mp3
from spectro.clips.containers.iff import BIG, LITTLE, MOST_CHUNKS, chunks, is_chain
from spectro.clips.containers.sizes import UNKNOWN_FROM, sound_bytes
from spectro.clips.containers.views import Piece, Plan, size_of
from spectro.errors import AudioError

__all__ = ["Wave", "fault", "is_foreign", "is_plain", "plan", "read"]

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # format tags (mmreg.h)
MPEG_TAGS = (0x50, 0x55)  # layers I and II; layer III
# What libsndfile decodes by itself: MS ADPCM, A-law, mu-law, IMA ADPCM, GSM, NMS and G.721 ADPCM.
_KNOWN = (PCM, 2, FLOAT, 6, 7, 0x11, 0x31, 0x38, 0x40, 0x64, *MPEG_TAGS)
WIDE = (b"RF64", b"BW64")  # sizes of 64 bits, in a chunk of their own (EBU 3306, ITU-R BS.2088)
_LARGEST = 0xFFFF_FF00  # bytes of sound that a 32-bit header can tell of
_W64_PAD = 8  # bytes that chunks of W64 fill up to
_HEADER = 4_096  # bytes that hold the chunks in front of the sound, of a file that did not open
_BITS = {PCM: range(1, 33), FLOAT: (32, 64)}  # that libsndfile decodes
_MOST_ALIGN, _MOST_BYTE_RATE = 0xFFFF, 0xFFFF_FFFF  # that a header can tell of
_LOOK = 1 << 20  # samples looked at, at a time, to see which bits of a wide one are used

Order = Literal["<", ">"]


@dataclass(frozen=True)
class Wave:
    """What a WAV file says of itself, and where its sound lies.

    Attributes
    ----------
    form : bytes
        ``RIFF``, ``RIFX``, ``RF64``, ``BW64`` (RF64 by another name) or ``riff`` (W64).
    fmt : bytes
        Its format chunk.
    fact : int or None
        Frames that the fact chunk states.
    data : range
        Bytes of the file that are sound.
    stated : int
        Bytes of sound that the header states.
    """

    form: bytes
    fmt: bytes
    fact: int | None
    data: range
    stated: int

    @property
    def order(self) -> Order:
        """Byte order of the header."""
        return ">" if self.form == b"RIFX" else "<"

    @property
    def tag(self) -> int:
        """What the sound is coded as; of an extensible header, the tag within."""
        tag = self._field("H", 0)
        return self._field("H", 24) if tag == EXTENSIBLE and len(self.fmt) >= 26 else tag

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self._field("H", 2)

    @property
    def rate(self) -> int:
        """Sampling rate in Hz."""
        return self._field("I", 4)

    @property
    def byte_rate(self) -> int:
        """Bytes a second."""
        return self._field("I", 8)

    @property
    def align(self) -> int:
        """Bytes of a frame, or of a block of them."""
        return self._field("H", 12)

    @property
    def bits(self) -> int:
        """Bits of a sample."""
        return self._field("H", 14)

    def _field(self, kind: str, at: int) -> int:
        return int(struct.unpack_from(self.order + kind, self.fmt, at)[0])


def read(path: Path) -> Wave | None:
    """Read the header of a WAV file, or return None if it has no format or no sound.

    Raises
    ------
    AudioError
        If bytes of sound are missing.
    """
    with path.open("rb") as file:
        form = file.read(4)
        size = size_of(file)
        if form == b"riff":
            return _read_w64(path, file, size)
        order: Order = ">" if form == b"RIFX" else "<"
        return _read_riff(path, file, size, form, order)


def _head(order: Order) -> str:
    return BIG if order == ">" else LITTLE


def _read_riff(path: Path, file: IO[bytes], size: int, form: bytes, order: Order) -> Wave | None:
    riff_size = int(struct.unpack(order + "I", file.read(4).ljust(4, b"\0"))[0])
    fmt, fact = b"", None
    for name, at, stated in chunks(file, 12, size, _head(order)):
        if name == b"fmt ":
            fmt = file.read(min(stated, 1_024))
        elif name == b"fact" and form not in WIDE:
            fact = int(struct.unpack(order + "I", file.read(4).ljust(4, b"\0"))[0])
        elif name == b"data":
            whole = abs(riff_size + 8 - size) <= 1 and form not in WIDE
            told = 0 if form in WIDE and stated == 0xFFFF_FFFF else stated  # no ds64 told it
            return _wave(path, file, (form, fmt, fact), at, told, size, order, whole)
    return None


def _wave(
    path: Path,
    file: IO[bytes],
    header: tuple[bytes, bytes, int | None],
    at: int,
    stated: int,
    size: int,
    order: Order,
    whole: bool,
) -> Wave | None:
    form, fmt, fact = header
    if len(fmt) < 16:
        return None
    followed = stated >= size - at or any(
        is_chain(file, at + stated + pad, size, _head(order)) for pad in (0, 1)
    )
    unknown = 1 << 62 if form in WIDE else UNKNOWN_FROM
    blocks = struct.unpack_from(order + "H", fmt)[0] not in (PCM, FLOAT, EXTENSIBLE)
    n = sound_bytes(
        path,
        stated,
        size - at,
        header=at,
        whole=whole,
        followed=followed,
        unknown=unknown,
        blocks=blocks,
    )
    return Wave(form, fmt, fact, range(at, at + n), stated)


def _read_w64(path: Path, file: IO[bytes], size: int) -> Wave | None:
    """Read a W64 file: as WAV, with identifiers of 16 bytes and sizes of 8 that count these 24."""
    fmt, fact, at = b"", None, 40
    for _ in range(MOST_CHUNKS):
        file.seek(min(at, size))
        head = file.read(24)
        if len(head) < 24:
            return None
        name, stated = head[:4], int(struct.unpack("<Q", head[16:])[0]) - 24
        if name == b"fmt ":
            fmt = file.read(max(0, min(stated, 1_024)))
        elif name == b"fact":
            fact = int(struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0])
        elif name == b"data":
            break
        if stated < 0:
            return None
        at += -(-(stated + 24) // 8) * 8
    if len(fmt) < 16:
        return None
    start, there = at + 24, size - at - 24
    unknown = stated <= 0 or stated >= 1 << 62
    n = there if unknown else sound_bytes(path, stated, there, header=start, unknown=1 << 62)
    return Wave(b"riff", fmt, fact, range(start, start + n), stated)


def is_plain(head: bytes, size: int) -> bool:
    """Tell from its first bytes whether a WAV file is as most are: PCM, and all sizes agree.

    Parameters
    ----------
    head : bytes
        What it begins with.
    size : int
        Bytes of the file.
    """
    if len(head) < 44 or head[:4] != b"RIFF" or head[8:20] != b"WAVEfmt \x10\0\0\0":
        return False
    riff, _, _, tag, channels, _, _, align, bits, name, n = struct.unpack(
        "<I8sIHHIIHH4sI", head[4:44]
    )
    agreed = riff + 8 == size and n + 44 == size and align == channels * -(-bits // 8)
    return bool(tag == PCM and name == b"data" and agreed)


def plan(path: Path) -> Plan | None:
    """Say how a WAV file is to be read; None if libsndfile reads it right as it is.

    Raises
    ------
    AudioError
        If bytes of sound are missing, or the header contradicts itself.
    """
    wave = read(path)
    if wave is None or not wave.channels or not wave.rate:
        return None
    if wave.tag in MPEG_TAGS:
        return _mpeg(path, wave)
    if wave.tag == PCM and wave.align != wave.channels * -(-wave.bits // 8):
        return _contradicted(path, wave)
    as_it_is = len(wave.data) == wave.stated and wave.form != b"BW64"  # which it does not know
    if wave.form == b"riff":  # of which it plays what lies behind the sound
        as_it_is = as_it_is and path.stat().st_size - wave.data.stop < _W64_PAD
    if as_it_is or wave.tag not in _KNOWN:
        return None
    return _mended(wave, wave.fmt)


def fault(path: Path) -> str:
    """Say what the header of a WAV file says that no sound can have; empty if there is nothing.

    Raises
    ------
    AudioError
        If bytes of sound are missing.
    """
    wave = read(path)
    if wave is None:
        with path.open("rb") as file:
            head, size = file.read(_HEADER), size_of(file)
        if head[:4] != b"riff" and head[8:12] not in (b"WAVE", b""):
            return f"it is RIFF, but no WAV: {head[8:12].decode('ascii', 'replace')!r}"
        lacks = "format" if b"fmt " not in head else "sound"
        return f"its {size:,} bytes hold the header of a WAV file without its {lacks}"
    odd = {"channels": wave.channels, "Hz": wave.rate, "bits a sample": wave.bits}
    wrong = [f"{value} {name}" for name, value in odd.items() if not value]
    if wrong:
        return f"its header says {' and '.join(wrong)}"
    is_plain_pcm = wave.tag in (PCM, FLOAT) and wave.bits not in _BITS[wave.tag]
    kind = "floating point" if wave.tag == FLOAT else "whole numbers"
    return f"its header says {wave.bits} bits a sample, of {kind}" if is_plain_pcm else ""


def is_foreign(path: Path) -> bool:
    """Tell whether a WAV file is in a codec that libsndfile does not know."""
    wave = read(path)
    return wave is not None and wave.tag not in _KNOWN


def _mpeg(path: Path, wave: Wave) -> Plan:
    found = mp3.count(path, wave.data)
    if found is None:
        raise AudioError(f"{path}: says that it holds MPEG audio, and no frame of it is there")
    missing = (wave.fact or 0) - found.samples
    if missing > 2 * mp3.DECODER_DELAY and (wave.fact or 0) < UNKNOWN_FROM:
        raise AudioError(
            f"{path}: truncated, its header promises {wave.fact} frames and {found.samples} "
            "are there"
        )
    codec = f"MPEG_LAYER_{'I' * found.layer}"
    return Plan((found.sound,), found.samples, "WAV", codec, found.told)


def _contradicted(path: Path, wave: Wave) -> Plan:
    """Read samples whose width is told twice and differently."""
    width = -(-wave.bits // 8)
    as_said = wave.byte_rate == wave.rate * wave.channels * width
    wide = wave.align == 4 * wave.channels and 16 < wave.bits <= 24
    wide = wide and wave.align * wave.rate <= _MOST_BYTE_RATE
    low = _uses_low_bits(path, wave) if wide else None
    if low is None and as_said and wave.bits and wave.channels * width <= _MOST_ALIGN:
        align = struct.pack(wave.order + "H", wave.channels * width)  # two against one
        return _mended(wave, wave.fmt[:12] + align + wave.fmt[14:])
    if low is None:
        raise AudioError(
            f"{path}: its header says {wave.bits} bits a sample and {wave.align} bytes for "
            f"{wave.channels} of them, which contradict each other; export it again"
        )
    frames = len(wave.data) // wave.align
    data = wave.data[: frames * wave.align]
    bits = wave.bits if low else 32
    return Plan(
        (_header(wave, _pcm32(wave), data),), frames, "WAV", f"PCM_{wave.bits}", (), bits % 32
    )


def _pcm32(wave: Wave) -> bytes:
    """Return the format of 32-bit samples."""
    align = 4 * wave.channels
    return struct.pack(
        wave.order + "HHIIHH", PCM, wave.channels, wave.rate, align * wave.rate, align, 32
    )


def _uses_low_bits(path: Path, wave: Wave) -> bool | None:
    """Tell whether samples lie in the low bits of four bytes, as arecord's S24_LE do.

    Of samples in the low bits the high byte is but the sign, or zero; of those in the high bits the
    low byte is zero. None: neither holds for all. Both hold for sound that is faint or coarse; the
    low bits are then taken, as the one writer of such headers that is known has it.
    """
    low = high = True
    dtype = np.dtype(wave.order + "i4")
    with path.open("rb") as file:
        file.seek(wave.data.start)
        left = len(wave.data) // 4
        while left > 0 and (low or high):
            x = np.frombuffer(file.read(4 * min(left, _LOOK)), dtype)
            left -= len(x) or left
            spare = 32 - wave.bits
            top = x >> wave.bits
            low = low and bool(((top == 0) | (top == -1)).all())
            high = high and not (x & (2**spare - 1)).any()
    return low if low or high else None


def _mended(wave: Wave, fmt: bytes) -> Plan:
    container = {b"riff": "W64", b"RF64": "RF64", b"BW64": "RF64"}.get(wave.form, "WAV")
    return Plan((_header(wave, fmt, wave.data),), container=container)


def _header(wave: Wave, fmt: bytes, data: range) -> tuple[Piece, ...]:
    """Put a header in front of sound that says what it is and how much."""
    order, n = wave.order, len(data)
    chunks = b"fmt " + struct.pack(order + "I", len(fmt)) + fmt + bytes(len(fmt) % 2)
    if wave.fact is not None and wave.stated == n:
        chunks += b"fact" + struct.pack(order + "II", 4, min(wave.fact, 0xFFFF_FFFF))
    if n < _LARGEST:
        form = b"RIFX" if order == ">" else b"RIFF"
        whole = struct.pack(order + "I", 4 + len(chunks) + 8 + n)
        return form + whole + b"WAVE" + chunks + b"data" + struct.pack(order + "I", n), data
    align = struct.unpack_from(order + "H", fmt, 12)[0] or 1
    sizes = struct.pack("<QQQI", 4 + 36 + len(chunks) + 8 + n, n, n // align, 0)
    form = b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", len(sizes)) + sizes
    return form + chunks + b"data\xff\xff\xff\xff", data
