"""Sound that comes in piece by piece becomes pictures of windows: a file's or a microphone's.

A recording is resampled as one stream, and a window is a cut of it. Its picture is, to the level,
what :func:`spectro.pictures.spectrogram.spectrogram_image` draws of that cut. Windows that overlap
start on the grid of frames, so that the frames inside both are transformed once; those at a
window's edges see the silence around it, as every clip's do, and are each window's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spectro.clips.decode import open_part
from spectro.clips.streaming import Resampler
from spectro.clips.waveform import Waveform, check_rate, fit, mixed
from spectro.errors import ConfigError
from spectro.listening.events.finding import level_dbfs
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import (
    frame_power,
    log_image,
    log_power,
    mel_frames,
    melspectrogram,
    network_levels,
)
from spectro.plumbing.paths import place

__all__ = ["Picture", "Tap", "Windower", "check_hop", "file_pictures"]

Levels = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]
Spectrogram = npt.NDArray[np.float32]
Tap = Callable[[Waveform], None]  # given the resampled waveform as it comes, (channels, n)

_BLOCK = 1 << 16  # frames of a file decoded at a time: they stay in cache
_SLACK = 1e-6  # of a sample or a frame, for rounding
_NOTHING = 1e-15  # power that rounding leaves of a constant
_ALWAYS = 1 << 32  # frames: how long a stream may be is not known


class Picture(NamedTuple):
    """A window of a recording, as a network sees it.

    Parameters
    ----------
    start, end : float
        Seconds from the recording's start.
    levels : np.ndarray [shape=(height, width, 3)], uint8
        As :func:`spectro.pictures.spectrogram.network_levels` gives them.
    level : float
        Level of its sound in dBFS; -infinity for digital silence.
    """

    start: float
    end: float
    levels: Levels
    level: float


class Windower:
    """Cuts sound into windows as it comes in, and draws each.

    Windows are ``config.duration`` long and start every `hop` seconds. Where they overlap, a start
    moves on to the next frame (by less than ``hop_length`` samples, 23 ms by default); there is no
    drift. How the sound is cut into pieces does not matter.

    Parameters
    ----------
    config : SpectrogramConfig
        Of the model's card.
    native : int
        Sampling rate of what comes in, in Hz.
    hop : float or None
        Seconds from one window to the next; None means a window's length.
    size : int or None
        Of the model's card: the side that pictures are resized to.
    name : str
        What an error calls the sound.
    tap : callable or None
        Given the resampled waveform as it comes, shape (channels, n).

    Raises
    ------
    ConfigError
        If `hop` is shorter than a sample.
    AudioError
        If `native` is far too low for ``config.sr``.

    Examples
    --------
    >>> config = SpectrogramConfig(sr=8000, duration=1)
    >>> windower = Windower(config, 16_000, hop=0.5)
    >>> second = np.zeros((16_000, 2), np.float32)
    >>> heard = [*windower.push(second), *windower.push(second), *windower.finish()]
    >>> [(round(one.start, 2), round(one.end, 2)) for one in heard]
    [(0.0, 1.0), (0.51, 1.51), (1.0, 2.0)]
    >>> heard[0].levels.shape
    (128, 16, 3)
    """

    def __init__(
        self,
        config: SpectrogramConfig,
        native: int,
        *,
        hop: float | None = None,
        size: int | None = None,
        name: str = "the recording",
        tap: Tap | None = None,
    ) -> None:
        check_rate(native, config.sr, _ALWAYS, name, many=True)
        self.config, self.native = config, native
        self.frames = 0  # that came in
        self._size, self._name, self._tap = size, name, tap
        self._step = check_hop(hop, config) * config.sr  # samples, not rounded
        overlapping = config.hop_length <= self._step < config.n_samples
        self._grid = config.hop_length if overlapping else 1
        self._resampler = Resampler(native, config.sr)
        self._y = np.empty((1, 0), np.float32)  # the samples that windows still need
        self._at = self._end = 0  # which samples these are
        self._number = self._covered = 0
        shared = _Shared(config)
        self._shared = shared if overlapping and shared.any else None

    @property
    def seconds(self) -> float:
        """Length of what came in so far."""
        return self.frames / self.native

    def push(self, samples: Samples) -> list[Picture]:
        """Take in the next samples, shape (n, channels); return the windows that are complete now.

        A window comes as soon as its last sample has been resampled: some hundred samples later.

        Raises
        ------
        AudioError
            If they hold NaN or infinity, or are absurdly loud.
        """
        if len(samples) == 0:
            return []
        self.frames += len(samples)
        if self.config.channels == "both" and samples.shape[1] == 1:
            y = mixed(samples, "first", self._name)  # drawn once, shown twice
        else:
            y = mixed(samples, self.config.channels, self._name)
        return list(self._add(self._resampler.push(y)))

    def finish(self) -> list[Picture]:
        """End the recording: return the windows that are left, the last of which ends with it.

        It starts less than `hop` after the one before. Only a recording shorter than a window is
        padded, as a short clip was in training. After this the windower is used up.
        """
        if self.frames == 0:
            return []
        pictures = list(self._add(self._resampler.finish()))
        if self._end > self._covered:
            n = self.config.n_samples
            first = max(0, self._end - n)
            y = self._cut(first, self._end)
            whole = fit(y, n, pad=self.config.pad)
            pictures.append(self._whole(first, self.seconds, whole, level_dbfs(y)))
        return pictures

    def _add(self, piece: Waveform) -> Iterator[Picture]:
        rows = np.atleast_2d(piece)
        if self._tap is not None and rows.shape[1]:
            self._tap(rows)
        self._y = np.concatenate([self._y, rows], axis=1) if self._y.size else rows
        self._end += rows.shape[1]
        n, starts = self.config.n_samples, list[int]()
        while self._start() + n <= self._end:
            starts.append(self._start())
            self._number += 1
        if starts:
            self._covered = starts[-1] + n
            yield from self._windows(starts)
        self._forget(min(self._start(), self._end - n))

    def _start(self) -> int:
        """Return where the next window starts: on the grid, and not before its time.

        Else a recording that whole windows fill would get one more, of its last samples.
        """
        return self._grid * math.ceil(self._number * self._step / self._grid - _SLACK)

    def _forget(self, before: int) -> None:
        """Drop the samples that no window needs, not even the last one."""
        if before > self._at:
            self._y = self._y[:, before - self._at :]
            self._at = before

    def _windows(self, starts: list[int]) -> Iterator[Picture]:
        """Draw the windows that start at these samples."""
        if self._shared is not None:
            drawn = self._shared.windows(self._y, self._at, starts)
            for first, (log_S, loudest, level) in zip(starts, drawn, strict=True):
                yield self._picture(first, self._until(first), log_S, loudest, level)
            return
        for first in starts:
            y = self._cut(first, first + self.config.n_samples)
            yield self._whole(first, self._until(first), y, level_dbfs(y))

    def _until(self, first: int) -> float:
        """Return where a window ends, in seconds; the length in samples is rounded up."""
        return min((first + self.config.n_samples) / self.config.sr, self.seconds)

    def _cut(self, first: int, last: int) -> Waveform:
        return self._y[:, first - self._at : last - self._at]

    def _whole(self, first: int, end: float, y: Waveform, level: float) -> Picture:
        """Draw a window that shares nothing."""
        S = np.stack([melspectrogram(row, self.config) for row in y])
        return self._picture(first, end, log_power(S), float(S.max()), level)

    def _picture(
        self, first: int, end: float, log_S: Spectrogram, loudest: float, level: float
    ) -> Picture:
        if self.config.channels != "both":
            log_S = log_S[0]
        elif len(log_S) == 1:
            log_S = np.concatenate([log_S, log_S])
        levels = network_levels(log_image(log_S, loudest, self.config), self._size)
        return Picture(first / self.config.sr, end, levels, level)


class _Shared:
    """Log mel power of windows that start on the grid of frames; what they share is computed once.

    Frame ``g`` of a recording is centred on its sample ``g * hop_length``.
    """

    def __init__(self, config: SpectrogramConfig) -> None:
        hop, before = config.hop_length, config.n_fft // 2
        self._config = config
        # Frames of a window that lie in it whole; the others see silence before or behind it.
        self._first = min(-(-before // hop), config.n_frames)
        inside = 1 + (config.n_samples + before - config.n_fft) // hop
        self._last = min(max(inside, self._first), config.n_frames)
        self._edges = [*range(self._first), *range(self._last, config.n_frames)]
        self._inner = _Held(config.n_mels)
        self._powers = _Powers(config)

    @property
    def any(self) -> bool:
        """Whether there is a frame within a window whole."""
        return self._first < self._last

    def windows(
        self, y: Waveform, at: int, starts: list[int]
    ) -> Iterator[tuple[Spectrogram, float, float]]:
        """Give log power, its maximum before the logarithm, and level of the windows.

        Parameters
        ----------
        y : np.ndarray [shape=(channels, n)], float32
        at : int
            The number of its first sample in the recording.
        starts : list of int
            Numbers of the windows' first samples.
        """
        hop, m = self._config.hop_length, len(self._edges)
        self._fill(y, at, starts)
        S = _power(self._edge_frames(y, at, starts), self._config)
        log_edges, peaks = log_power(S), S.max(axis=(0, 1), initial=0)
        for i, start in enumerate(starts):
            inner, peak = self._inner.between(start // hop + self._first, start // hop + self._last)
            edge = log_edges[..., i * m : (i + 1) * m]
            log_S = np.concatenate(
                [edge[..., : self._first], inner, edge[..., self._first :]], axis=-1
            )
            loudest = max(peak, float(peaks[i * m : (i + 1) * m].max(initial=0)))
            yield log_S, loudest, self._powers.level(y, at, start)

    def _fill(self, y: Waveform, at: int, starts: list[int]) -> None:
        """Compute the frames inside the windows that are new."""
        config = self._config
        first, last = (start // config.hop_length for start in (starts[0], starts[-1]))
        there = self._inner.drop(first + self._first)
        if there < last + self._last:
            begin = there * config.hop_length - config.n_fft // 2 - at
            length = (last + self._last - there - 1) * config.hop_length + config.n_fft
            new = y[:, begin : begin + length]
            self._inner.add(np.stack([mel_frames(row, config) for row in new]))

    def _edge_frames(self, y: Waveform, at: int, starts: list[int]) -> npt.NDArray[np.float32]:
        """Cut the frames at both ends of the windows, shape (channels, n, n_fft)."""
        n, n_fft = self._config.n_samples, self._config.n_fft
        frames = np.zeros((len(y), len(starts), len(self._edges), n_fft), np.float32)
        for i, start in enumerate(starts):
            window = y[:, start - at : start - at + n]
            for k, j in enumerate(self._edges):
                begin = j * self._config.hop_length - n_fft // 2
                low, high = max(begin, 0), min(begin + n_fft, n)
                frames[:, i, k, low - begin : high - begin] = window[:, low:high]
        return frames.reshape(len(y), -1, n_fft)


def _power(frames: npt.NDArray[np.float32], config: SpectrogramConfig) -> Spectrogram:
    return np.stack([frame_power(rows, config) for rows in frames])


class _Held:
    """Log mel power of consecutive frames of a recording, and each frame's highest power."""

    def __init__(self, n_mels: int) -> None:
        self._log = np.empty((1, n_mels, 0), np.float32)
        self._peaks = np.empty(0, np.float32)
        self._at = 0

    def drop(self, before: int) -> int:
        """Drop the frames before this number; return the number of the next that is wanted."""
        gone = min(max(0, before - self._at), len(self._peaks))
        self._log, self._peaks = self._log[..., gone:], self._peaks[gone:]
        self._at = before if len(self._peaks) == 0 else self._at + gone
        return self._at + len(self._peaks)

    def add(self, S: Spectrogram) -> None:
        log_S, peaks = log_power(S), S.max(axis=(0, 1))
        some = len(self._peaks) > 0
        self._log = np.concatenate([self._log, log_S], axis=-1) if some else log_S
        self._peaks = np.concatenate([self._peaks, peaks])

    def between(self, first: int, last: int) -> tuple[Spectrogram, float]:
        part = slice(first - self._at, last - self._at)
        return self._log[..., part], float(self._peaks[part].max(initial=0))


class _Powers:
    """Levels of windows on the grid, from sums over its cells; as :func:`level_dbfs` has them."""

    def __init__(self, config: SpectrogramConfig) -> None:
        self._hop, self._n = config.hop_length, config.n_samples
        self._sums = np.empty((2, 1, 0))  # of samples and their squares, by channel and cell
        self._at = 0  # the number of the first cell

    def level(self, y: Waveform, at: int, start: int) -> float:
        """Return the level of the window that starts at a sample; windows come in order."""
        first, count = start // self._hop, self._n // self._hop
        gone = min(max(0, first - self._at), self._sums.shape[-1])
        self._sums, self._at = self._sums[..., gone:], first
        held = self._sums.shape[-1]
        if held < count:  # all cells that are there, so that the next windows find theirs
            new = self._sum(y[:, (first + held) * self._hop - at :])
            self._sums = np.concatenate([self._sums, new], axis=-1) if held else new
        rest = self._sum(y[:, start - at + count * self._hop : start - at + self._n], whole=True)
        total, squares = self._sums[..., :count].sum(axis=-1) + rest.sum(axis=-1)
        power = float(np.max(squares / self._n - (total / self._n) ** 2))
        return round(10 * math.log10(power), 6) if power > _NOTHING else -math.inf

    def _sum(self, y: Waveform, *, whole: bool = False) -> npt.NDArray[np.float64]:
        """Sum up the whole cells, or all that there is; shape (2, channels, cells)."""
        if not whole:
            y = y[:, : y.shape[1] // self._hop * self._hop]
        width = y.shape[1] if whole else self._hop
        cells = y.astype(np.float64).reshape(len(y), -1, width or 1)
        return np.stack([cells.sum(axis=-1), np.square(cells).sum(axis=-1)])


def file_pictures(
    path: str | Path,
    config: SpectrogramConfig,
    *,
    hop: float | None = None,
    size: int | None = None,
    tap: Tap | None = None,
) -> Iterator[Picture]:
    """Draw the windows of a sound file of any length, in one pass, in memory that does not grow.

    Parameters are those of :class:`Windower`.

    Raises
    ------
    ConfigError
        As :class:`Windower` does.
    AudioError
        If the file cannot be decoded to its end; for damage that no header shows, where it is
        reached.
    """
    check_hop(hop, config)
    with open_part(place(path)) as part:
        windower = Windower(config, part.sr, hop=hop, size=size, name=str(path), tap=tap)
        for block in part.blocks(_BLOCK):
            yield from windower.push(block)
        yield from windower.finish()


def check_hop(hop: float | None, config: SpectrogramConfig) -> float:
    """Return the step between windows in seconds; None means a window's length.

    Raises
    ------
    ConfigError
        If it is not at least one sample long.
    """
    if hop is None:
        return config.n_samples / config.sr
    if not (1 / config.sr <= hop < math.inf):
        raise ConfigError(f"hop is {hop:g} s: choose more than 0, such as {config.duration / 4:g}")
    return hop
