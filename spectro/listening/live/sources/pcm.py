"""Raw samples and WAV headers, as they come through a pipe: of no length, or a false one."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from spectro.errors import AudioError

__all__ = ["Format", "Samples", "as_bytes", "decode", "read_header"]

Samples = npt.NDArray[np.float32]

_WIDTH = {"u8": 1, "s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}
_PLAIN = {(1, 8): "u8", (1, 16): "s16le", (1, 24): "s24le", (1, 32): "s32le", (3, 32): "f32le"}
_EXTENSIBLE = 0xFFFE
_MOST_CHANNELS = 64
_MOST_SKIPPED = 1 << 20  # bytes of chunks in front of the samples


class Format(NamedTuple):
    """How samples lie in a stream.

    Parameters
    ----------
    encoding : str
        "u8", "s16le", "s24le", "s32le" or "f32le".
    sr : int
        Hz.
    channels : int
    """

    encoding: str
    sr: int
    channels: int

    @property
    def frame(self) -> int:
        """Bytes of a sample of all channels."""
        return _WIDTH[self.encoding] * self.channels

    @property
    def bits(self) -> int:
        """Bits of a sample that hold it exactly; 24 where it is a float."""
        return {"u8": 16, "s16le": 16}.get(self.encoding, 24)


def decode(data: bytes, form: Format) -> Samples:
    """Turn bytes into samples, as libsndfile does; full scale is 1.0.

    Parameters
    ----------
    data : bytes
        A whole number of frames.
    form : Format

    Returns
    -------
    samples : np.ndarray [shape=(n, channels)], float32

    Examples
    --------
    >>> decode(bytes([0, 64, 0, 128]), Format("s16le", 8000, 1)).ravel()
    array([ 0.5, -1. ], dtype=float32)
    """
    y: npt.NDArray[Any]
    if form.encoding == "u8":
        y = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    elif form.encoding == "s16le":
        y = np.frombuffer(data, "<i2").astype(np.float32) / 32_768
    elif form.encoding == "s24le":
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        y = (padded.view("<i4").ravel() / (1 << 31)).astype(np.float32)
    elif form.encoding == "s32le":
        y = (np.frombuffer(data, "<i4") / (1 << 31)).astype(np.float32)
    else:
        y = _sane(np.frombuffer(data, "<f4"))
    return y.astype(np.float32, copy=False).reshape(-1, form.channels)


def _sane(y: Samples) -> Samples:
    """Replace what is no number by silence: one bad sample must not silence a listener."""
    return np.nan_to_num(y, nan=0.0, posinf=0.0, neginf=0.0).clip(-1e6, 1e6).astype(np.float32)


def as_bytes(samples: Samples) -> bytes:
    """Turn samples into 16-bit bytes, the inverse of :func:`decode` for "s16le"."""
    whole = np.rint(samples * 32_768).clip(-32_768, 32_767)
    return whole.astype("<i2").tobytes()


def read_header(read: Callable[[int], bytes], where: str) -> Format:
    """Read a WAV header up to its samples; the lengths that it states are not believed.

    Parameters
    ----------
    read : callable
        Gives exactly so many bytes, or fewer where the stream ends.
    where : str
        The stream's name, for the message.

    Raises
    ------
    AudioError
        If it is no WAV, or holds no plain PCM or floats.
    """
    head = read(12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:12] != b"WAVE":
        raise AudioError(
            f"{where}: does not start as a WAV does; send one, or say what the raw samples are, "
            "as in --format s16le --rate 48000 --channels 1"
        )
    form: Format | None = None
    skipped = 0
    while True:
        name, size = read(4), read(4)
        if len(size) < 4:
            raise AudioError(f"{where}: ends within its WAV header")
        length = struct.unpack("<I", size)[0]
        if name == b"data":
            break
        skipped += length
        if skipped > _MOST_SKIPPED:
            raise AudioError(f"{where}: has over 1 MiB in front of its samples; send plain WAV")
        content = read(length + length % 2)
        if name == b"fmt ":
            form = _parse_format(content, where)
    if form is None:
        raise AudioError(f"{where}: has samples but does not say of what kind; send plain WAV")
    return form


def _parse_format(content: bytes, where: str) -> Format:
    """Read the chunk ``fmt ``."""
    if len(content) < 16:
        raise AudioError(f"{where}: has a damaged WAV header")
    code, channels, sr, _, _, bits = struct.unpack_from("<HHIIHH", content)
    if code == _EXTENSIBLE and len(content) >= 26:
        code = struct.unpack_from("<H", content, 24)[0]
    encoding = _PLAIN.get((code, bits))
    if encoding is None or not 1 <= channels <= _MOST_CHANNELS or not 1_000 <= sr <= 1_000_000:
        raise AudioError(
            f"{where}: holds WAV of kind {code}, {bits} bits, {channels} channels at {sr} Hz; "
            "send 8 to 32 bits of PCM, or 32 bits of float"
        )
    return Format(encoding, sr, channels)
