"""Sound that comes in piece by piece becomes pictures of windows: a file's or a microphone's.

A recording is resampled as one stream, and a window is a cut of it. Its picture is, to the level,
what :func:`spectro.pictures.spectrogram.spectrogram_image` draws of that cut. Windows that overlap
start on the grid of frames, so that the frames inside both are transformed once; those at a
window's edges see the silence around it, as every clip's do, and are each window's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spectro.clips.decode import open_part
from spectro.clips.streaming import Resampler
from spectro.clips.waveform import Waveform, check_rate, fit, mixed
from spectro.errors import ConfigError
from spectro.listening.events import level_dbfs
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import mel_frames, melspectrogram, network_levels, power_image
from spectro.plumbing.paths import place

__all__ = ["Picture", "Windower", "check_hop", "file_pictures"]

Levels = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]
Spectrogram = npt.NDArray[np.float32]

_BLOCK = 1 << 16  # frames of a file decoded at a time: they stay in cache
_SLACK = 1e-6  # of a sample or a frame, for rounding
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
    ) -> None:
        check_rate(native, config.sr, _ALWAYS, name, many=True)
        self.config, self.native = config, native
        self.frames = 0  # that came in
        self._size, self._name = size, name
        self._step = check_hop(hop, config) * config.sr  # samples, not rounded
        overlapping = config.hop_length <= self._step < config.n_samples
        self._grid = config.hop_length if overlapping else 1
        self._resampler = Resampler(native, config.sr)
        self._y = np.empty((1, 0), np.float32)  # the samples that windows still need
        self._at = self._end = 0  # which samples these are
        self._number = self._covered = 0
        self._frames = _Frames(config) if overlapping else None

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
            S = self._power(fit(y, n, pad=self.config.pad))
            pictures.append(self._picture(first, self.seconds, S, y))
        return pictures

    def _add(self, piece: Waveform) -> Iterator[Picture]:
        rows = np.atleast_2d(piece)
        self._y = np.concatenate([self._y, rows], axis=1) if self._y.size else rows
        self._end += rows.shape[1]
        n = self.config.n_samples
        while self._start() + n <= self._end:
            first = self._start()
            yield self._window(first)
            self._covered = first + n
            self._number += 1
        self._forget(min(self._start(), self._end - n))

    def _start(self) -> int:
        """Return where the next window starts: on the grid, and not before its time.

        Else a recording that whole windows fill would get one more, of its last samples.
        """
        return self._grid * math.ceil(self._number * self._step / self._grid - _SLACK)

    def _forget(self, before: int) -> None:
        """Drop the samples that no window needs, not even the last one."""
        if before > self._at:
            self._y = self._y[:, before - self._at :].copy()
            self._at = before

    def _cut(self, first: int, last: int) -> Waveform:
        return self._y[:, first - self._at : last - self._at]

    def _window(self, first: int) -> Picture:
        last = first + self.config.n_samples
        y = self._cut(first, last)
        if self._frames is None:
            S = self._power(y)
        else:
            S = self._frames.power(self._y, first - self._at, first // self._grid)
        end = min(last / self.config.sr, self.seconds)  # the length in samples is rounded up
        return self._picture(first, end, S, y)

    def _power(self, y: Waveform) -> Spectrogram:
        return np.stack([melspectrogram(row, self.config) for row in y])

    def _picture(self, first: int, end: float, S: Spectrogram, y: Waveform) -> Picture:
        if self.config.channels != "both":
            S = S[0]
        elif len(S) == 1:
            S = np.concatenate([S, S])
        levels = network_levels(power_image(S, self.config), self._size)
        return Picture(first / self.config.sr, end, levels, level_dbfs(y))


class _Frames:
    """Mel power of windows that start on the grid of frames, each frame within them computed once.

    Frame ``g`` of a recording is centred on its sample ``g * hop_length``.
    """

    def __init__(self, config: SpectrogramConfig) -> None:
        hop, before = config.hop_length, config.n_fft // 2
        self._config = config
        # Frames of a window that lie in it whole; the others see silence before or behind it.
        self._first = min(-(-before // hop), config.n_frames)
        inside = 1 + (config.n_samples + before - config.n_fft) // hop
        self._last = min(max(inside, self._first), config.n_frames)
        self._held = np.empty((1, config.n_mels, 0), np.float32)
        self._at = 0  # the number of the first that is held

    def power(self, y: Waveform, at: int, number: int) -> Spectrogram:
        """Return the mel power of a window, shape (channels, n_mels, n_frames).

        Parameters
        ----------
        y : np.ndarray [shape=(channels, n)], float32
        at : int
            Where in it the window starts.
        number : int
            Of the frame that is centred there.
        """
        self._hold(y, at, number)
        window = y[:, at : at + self._config.n_samples]
        S = np.empty((len(y), *self._config.shape), np.float32)
        S[..., self._first : self._last] = self._held
        self._edges(window, S)
        return S

    def _hold(self, y: Waveform, at: int, number: int) -> None:
        """Keep the frames inside the window, and compute those that are new."""
        first, last = number + self._first, number + self._last
        held = self._held[..., max(0, first - self._at) :]
        there = first + held.shape[-1]
        hop = self._config.hop_length
        begin = at + (there - number) * hop - self._config.n_fft // 2
        new = y[:, begin : begin + (last - there - 1) * hop + self._config.n_fft]
        if there < last:
            more = self._transform(new)
            held = np.concatenate([held, more], axis=-1) if held.size else more
        self._held, self._at = held, first

    def _edges(self, window: Waveform, S: Spectrogram) -> None:
        """Compute the frames at both ends of a window."""
        config, before = self._config, self._config.n_fft // 2
        reach = (self._first - 1) * config.hop_length + config.n_fft - before
        silence = np.zeros((len(window), before), np.float32)
        if self._first:
            head = np.pad(window, ((0, 0), (before, before)))[:, : reach + before]
            S[..., : self._first] = self._transform(head)
        if self._last < config.n_frames:
            tail = window[:, self._last * config.hop_length - before :]
            S[..., self._last :] = self._transform(np.concatenate([tail, silence], axis=1))

    def _transform(self, y: Waveform) -> Spectrogram:
        return np.stack([mel_frames(row, self._config) for row in y])


def file_pictures(
    path: str | Path,
    config: SpectrogramConfig,
    *,
    hop: float | None = None,
    size: int | None = None,
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
        windower = Windower(config, part.sr, hop=hop, size=size, name=str(path))
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
