"""A recording of any length as a picture of which any part can be drawn at once.

One pass writes the mel-spectrogram to disk, a byte a band and column, and a second time with a
column for 64: pictures of the whole and of a second then both read little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from spectro.clips.waveform import Waveform, Window, windows
from spectro.pictures.colors import palette
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import melspectrogram

__all__ = ["Overview", "draw_overview", "n_bytes"]

Columns = npt.NDArray[np.uint8]
Power = npt.NDArray[np.float32]

_PER_SECOND = 50  # columns kept at most; of more, the loudest counts
_BANDS = 128
_BLOCK = 8.0  # s drawn at a time
_COARSER = 64
_LOWEST_DB, _HIGHEST_DB = -100.0, 60.0
_STEP_DB = (_HIGHEST_DB - _LOWEST_DB) / 255


class Overview:
    """A drawn recording.

    Parameters
    ----------
    folder : Path
        Where :func:`draw_overview` wrote.
    config : SpectrogramConfig
        Of its bands.
    rate : float
        Columns a second.
    seconds : float
        Length of the recording.
    """

    def __init__(self, folder: Path, config: SpectrogramConfig, rate: float, seconds: float):
        self.config, self.rate, self.seconds = config, rate, seconds
        shape = (-1, config.n_mels)
        self._fine = np.memmap(folder / "fine", np.uint8, "r").reshape(shape)
        self._coarse = np.memmap(folder / "coarse", np.uint8, "r").reshape(shape)
        self._loudest = int(self._coarse.max(initial=0))

    def picture(self, start: float, end: float, width: int) -> Image.Image:
        """Draw the part from `start` to `end` seconds.

        Parameters
        ----------
        start, end : float
            Seconds; what lies outside of the recording is cut.
        width : int
            Columns at most; fewer where there are no more.

        Returns
        -------
        image : PIL.Image.Image [mode="P"]
            80 dB below the loudest of the recording, or what the model's pictures have.
        """
        columns, rate = self._fine, self.rate
        if (end - start) * rate > _COARSER * width:
            columns, rate = self._coarse, rate / _COARSER
        first = min(max(0, math.floor(start * rate)), len(columns) - 1)
        last = min(len(columns), max(first + 1, math.ceil(end * rate)))
        loudest = _pooled(np.asarray(columns[first:last]), width)
        image = Image.fromarray(np.ascontiguousarray(self._levels(loudest).T[::-1]))
        image.putpalette(palette(self.config.cmap))
        return image

    def _levels(self, columns: Columns) -> Columns:
        below = (columns.astype(np.float32) - self._loudest) * (_STEP_DB / self.config.top_db)
        levels: Columns = np.rint(255 * np.clip(1 + below, 0, 1)).astype(np.uint8)
        return levels


def _pooled(columns: Columns, width: int) -> Columns:
    """Bring columns to at most `width`; the loudest of those that share one counts."""
    if len(columns) <= width:
        return columns
    starts = np.arange(width) * len(columns) // width
    pooled: Columns = np.maximum.reduceat(columns, starts, axis=0)
    return pooled


def n_bytes(seconds: float) -> int:
    """Return how many bytes the drawing of so many seconds takes on disk at most."""
    return math.ceil(seconds * 1.5 * _PER_SECOND * _BANDS * (1 + 1 / _COARSER))


def draw_overview(
    path: Path,
    folder: Path,
    config: SpectrogramConfig,
    progress: Callable[[float], None] = lambda seconds: None,
) -> Overview:
    """Draw a recording, in one pass, in flat memory.

    Parameters
    ----------
    path : Path
        Sound file.
    folder : Path
        Where the columns go.
    config : SpectrogramConfig
        Of the model; of more than 128 bands, 128 are drawn.
    progress : callable
        Told how many seconds are drawn; what it raises ends the drawing.

    Raises
    ------
    AudioError
        If the file cannot be decoded to its end.
    """
    shown = config.replace(n_mels=min(config.n_mels, _BANDS))
    pool = max(1, round(config.sr / config.hop_length / _PER_SECOND))
    step = pool * config.hop_length / config.sr  # s a column
    margin = 2 * math.ceil(config.n_fft / config.sr / step)  # columns that two blocks share
    end = 0.0
    with (folder / "fine").open("wb") as fine:
        for window, columns in _blocks(path, shown, pool, step, margin):
            fine.write(_bytes(columns))
            end = window.end
            progress(end)
    _coarsen(folder, shown.n_mels)
    return Overview(folder, shown, 1 / step, end)


def _blocks(
    path: Path, config: SpectrogramConfig, pool: int, step: float, margin: int
) -> Iterator[tuple[Window, Power]]:
    """Draw block after block, without the columns at a block's edges, which see its end as silence.

    The blocks overlap by `margin` columns, and each is used from and to the middle of that.
    """
    block = max(1, round(_BLOCK / step))
    duration, hop = (block + margin) * step, block * step
    count, rest, last = 0, None, None
    walk = windows(path, sr=config.sr, duration=duration, hop=hop, channels=config.channels)
    for window in walk:
        columns = _columns(window.y, config, pool)
        fresh = columns[max(0, count - round(window.start / step)) :]
        used = max(0, len(fresh) - margin // 2)
        yield window, fresh[:used]
        count, rest, last = count + used, fresh[used:], window
    if last is not None and rest is not None:
        yield last, rest


def _columns(y: Waveform, config: SpectrogramConfig, pool: int) -> Power:
    """Compute mel power, shape (columns, bands); of `pool` frames the loudest counts."""
    S = melspectrogram(y, config)
    if S.ndim == 3:
        S = S.mean(axis=0)
    frames = np.ascontiguousarray(S.T)
    starts = np.arange(0, len(frames), pool)
    pooled: Power = np.maximum.reduceat(frames, starts, axis=0)
    return pooled


def _bytes(power: Power) -> bytes:
    S_db = 10 * np.log10(np.maximum(power, 1e-10))
    scaled = (np.clip(S_db, _LOWEST_DB, _HIGHEST_DB) - _LOWEST_DB) / _STEP_DB
    steps: Columns = np.rint(scaled).astype(np.uint8)
    return steps.tobytes()


def _coarsen(folder: Path, n_mels: int) -> None:
    fine = np.memmap(folder / "fine", np.uint8, "r").reshape(-1, n_mels)
    with (folder / "coarse").open("wb") as coarse:
        for first in range(0, len(fine), _COARSER):
            coarse.write(fine[first : first + _COARSER].max(axis=0).tobytes())
