"""Part of a long recording that a padding policy chooses, without the recording in memory.

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

__all__ = ["Heard", "resampled", "survey", "window"]

Waveform = npt.NDArray[np.float32]
Blocks = Callable[[], Iterator[Waveform]]  # one pass over the whole waveform

_HELD = 1 << 16  # samples held back, so that the length can be made right at the end


class Heard(NamedTuple):
    """What one pass over a waveform tells: its length in samples, and a checksum of all bytes."""

    length: int
    checksum: int


def resampled(blocks: Iterator[Waveform], native: int, sr: int) -> Iterator[Waveform]:
    """Bring a waveform to `sr` Hz in pieces; its length is rounded up, as librosa does.

    Parameters
    ----------
    blocks : iterator of np.ndarray [shape=(..., n)], float32
        The waveform, at least one piece.
    native, sr : int
        Its sampling rate, and the one wanted, in Hz.
    """
    if native == sr:
        yield from blocks
        return
    streams: list[Any] = []
    frames = given = 0
    held: Waveform | None = None
    for block in blocks:
        rows = np.atleast_2d(block)
        streams = streams or [_stream(native, sr) for _ in rows]
        frames += rows.shape[-1]
        held = _join(held, _pieces(streams, rows, last=False))
        ready = max(0, held.shape[-1] - _HELD)
        if ready:
            yield _like(block, held[:, :ready])
            given, held = given + ready, held[:, ready:]
    assert held is not None
    held = _join(held, _pieces(streams, np.zeros((len(held), 0), np.float32), last=True))
    left = -(-frames * sr // native) - given
    held = np.pad(held[:, :left], ((0, 0), (0, max(0, left - held.shape[-1]))))
    yield _like(block, held)


def _stream(native: int, sr: int) -> Any:
    return soxr.ResampleStream(native, sr, 1, dtype="float32", quality="HQ")


def _pieces(streams: list[Any], rows: Waveform, *, last: bool) -> Waveform:
    parts = [
        stream.resample_chunk(np.ascontiguousarray(row), last=last)
        for stream, row in zip(streams, rows, strict=True)
    ]
    return np.stack(parts)


def _join(held: Waveform | None, more: Waveform) -> Waveform:
    return more if held is None else np.concatenate([held, more], axis=-1)


def _like(block: Waveform, rows: Waveform) -> Waveform:
    return rows if block.ndim > 1 else rows[0]


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
