"""A waveform resampled as it comes in, and the part of it that a padding policy chooses.

Sample for sample what :func:`spectro.clips.waveform.fit` makes of the whole waveform: soxr gives
the same numbers in pieces as at once, and the place that "random" draws depends on a checksum
alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

__all__ = ["Heard", "Resampler", "resampled", "survey", "window"]

Waveform = npt.NDArray[np.float32]
Blocks = Callable[[], Iterator[Waveform]]  # one pass over the whole waveform


class Heard(NamedTuple):
    """What one pass over a waveform tells: its length in samples, and a checksum of all bytes."""

    length: int
    checksum: int


class Resampler:
    """Brings a waveform to another sampling rate as it comes in.

    The pieces joined are what resampling the whole gives, whatever their lengths; the length in
    total is rounded up, as librosa does. A piece comes some hundred samples later, the reach of the
    filter.

    Parameters
    ----------
    native, sr : int
        The sampling rate that comes in, and the one that goes out, in Hz.
    """

    def __init__(self, native: int, sr: int) -> None:
        self._native, self._sr = native, sr
        self._streams: list[Any] = []
        self._frames = self._given = 0
        self._held = np.empty((0, 0), np.float32)
        self._flat = True

    def push(self, block: Waveform) -> Waveform:
        """Take in the next samples, shape (..., n); return those that are ready, perhaps none."""
        if self._native == self._sr:
            return block
        rows = np.atleast_2d(block)
        if not self._streams:
            self._streams = [_stream(self._native, self._sr) for _ in rows]
            self._held, self._flat = np.empty((len(rows), 0), np.float32), block.ndim == 1
        self._frames += rows.shape[-1]
        self._take(rows, last=False)
        return self._give(self._frames * self._sr // self._native)  # no more can there be

    def finish(self) -> Waveform:
        """Return what is left."""
        if not self._streams:
            return np.empty(0, np.float32)
        self._take(np.empty((len(self._streams), 0), np.float32), last=True)
        total = -(-self._frames * self._sr // self._native)
        missing = max(0, total - self._given - self._held.shape[-1])
        self._held = np.pad(self._held, ((0, 0), (0, missing)))
        return self._give(total)

    def _take(self, rows: Waveform, *, last: bool) -> None:
        pieces = _pieces(self._streams, rows, last=last)
        held = self._held.shape[-1]
        self._held = np.concatenate([self._held, pieces], axis=-1) if held else pieces

    def _give(self, upto: int) -> Waveform:
        """Give the samples up to this one, as far as they are there."""
        ready, self._held = np.split(self._held, [max(0, upto - self._given)], axis=-1)
        self._given += ready.shape[-1]
        return ready[0] if self._flat else ready


def resampled(blocks: Iterator[Waveform], native: int, sr: int) -> Iterator[Waveform]:
    """Bring a waveform to `sr` Hz in pieces, none of them empty; see :class:`Resampler`."""
    resampler = Resampler(native, sr)
    for block in blocks:
        piece = resampler.push(block)
        if piece.shape[-1]:
            yield piece
    rest = resampler.finish()
    if rest.shape[-1]:
        yield rest


def _stream(native: int, sr: int) -> Any:
    return soxr.ResampleStream(native, sr, 1, dtype="float32", quality="HQ")


def _pieces(streams: list[Any], rows: Waveform, *, last: bool) -> Waveform:
    parts = [
        stream.resample_chunk(np.ascontiguousarray(row), last=last)
        for stream, row in zip(streams, rows, strict=True)
    ]
    return np.stack(parts)


def survey(blocks: Blocks) -> Heard:
    """Measure a waveform: its length, and the CRC-32 of its bytes, channel after channel."""
    length = checksum = 0
    rows = 1
    row = 0
    while row < rows:
        length = 0
        for block in blocks():
            every = np.atleast_2d(block)
            rows, length = len(every), length + every.shape[-1]
            checksum = zlib.crc32(np.ascontiguousarray(every[row]).tobytes(), checksum)
        row += 1
    return Heard(length, checksum)


def window(blocks: Iterator[Waveform], n_samples: int, offset: int) -> Waveform:
    """Lay a waveform into silence of `n_samples`, starting at `offset`; what sticks out is cut.

    All of it is gone through, so that damage is found wherever it is.
    """
    out: Waveform | None = None
    at = offset
    for block in blocks:
        if out is None:
            out = np.zeros((*block.shape[:-1], n_samples), dtype=np.float32)
        n = block.shape[-1]
        first, last = max(0, at), min(n_samples, at + n)
        if first < last:
            out[..., first:last] = block[..., first - at : last - at]
        at += n
    assert out is not None
    return out
