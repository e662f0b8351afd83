"""The band in which alarms have their power, over what is always there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Band", "BandWatch", "band_power", "narrowest"]

Power = npt.NDArray[np.float64]

_LOWEST = 50.0  # Hz
_PER_OCTAVE = 6
_N_FFT = 4_096
_SHARE = 0.9  # of the power that a band must hold to be named
_SLOWNESS = 0.9  # of the mean of the background, a value every few seconds
_EVERY = 10.0  # s


class Band(tuple[float, float, float]):
    """Lowest and highest frequency in Hz, and the share of the power between them."""

    __slots__ = ()

    def __str__(self) -> str:
        """Say it to a person."""
        low, high, share = self
        return f"{100 * share:.0f} % of it at {low / 1000:.1f} to {high / 1000:.1f} kHz"


def band_power(y: npt.NDArray[np.float32], sr: int) -> Power:
    """Return the power of a sound in bands of a sixth of an octave from 50 Hz up.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)], float32
    sr : int
        Hz.

    Returns
    -------
    power : np.ndarray [shape=(bands,)]
        Mean over frames of 4,096 samples, Hann window, half overlapping (Welch, 1967).
    """
    y = np.pad(y, (0, max(0, _N_FFT - len(y))))
    frames = np.lib.stride_tricks.sliding_window_view(y, _N_FFT)[:: _N_FFT // 2]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(_N_FFT), axis=-1)) ** 2
    mean = spectrum.mean(axis=0)
    frequencies = np.fft.rfftfreq(_N_FFT, 1 / sr)
    places = np.searchsorted(_edges(sr), frequencies, side="right") - 1
    inside = (places >= 0) & (places < len(_edges(sr)) - 1)
    number = len(_edges(sr)) - 1
    power: Power = np.bincount(places[inside], mean[inside], number).astype(np.float64)
    return power


def _edges(sr: int) -> Power:
    """Return the edges of the bands in Hz."""
    number = int(np.log2(sr / 2 / _LOWEST) * _PER_OCTAVE)
    return _LOWEST * 2.0 ** (np.arange(number + 1) / _PER_OCTAVE)


def narrowest(power: Power, sr: int, share: float = _SHARE) -> Band:
    """Find the narrowest band that holds a share of the power.

    Examples
    --------
    >>> t = np.arange(16_000) / 16_000
    >>> low, high, held = narrowest(band_power(np.sin(2 * np.pi * 1000 * t), 16_000), 16_000)
    >>> low < 1000 < high < 1.3 * low
    True
    """
    total = np.concatenate([[0.0], np.cumsum(power)])
    if total[-1] <= 0:
        return Band((0.0, sr / 2, 1.0))
    wanted = share * total[-1] * (1 - 1e-12)
    ends = np.searchsorted(total, total[:-1] + wanted)
    widths = np.where(ends < len(total), ends - np.arange(len(ends)), len(total) + 1)
    held = [total[min(e, len(total) - 1)] - total[i] for i, e in enumerate(ends)]
    best = min(range(len(widths)), key=lambda i: (widths[i], -held[i]))
    edges = _edges(sr)
    return Band((float(edges[best]), float(edges[ends[best]]), float(held[best] / total[-1])))


class BandWatch:
    """The power of a source when nothing is heard, and how far events rise above it.

    Parameters
    ----------
    sr : int
        Hz.
    """

    def __init__(self, sr: int) -> None:
        self.sr = sr
        self._background: Power | None = None
        self._waited = _EVERY

    def quiet(self, y: npt.NDArray[np.float32], seconds: float) -> None:
        """Take in sound in which nothing was heard; one second of it in ten is looked at."""
        self._waited += seconds
        if self._waited < _EVERY:
            return
        self._waited = 0.0
        now = band_power(y[-self.sr :], self.sr)
        before = self._background
        self._background = now if before is None else _SLOWNESS * before + (1 - _SLOWNESS) * now

    def excess(self, y: npt.NDArray[np.float32]) -> Power:
        """Return an event's power above the background in each band, as shares of their sum."""
        power = band_power(y, self.sr)
        if self._background is not None:
            above = np.maximum(0.0, power - self._background)
            power = above if above.sum() > 0 else power
        total = power.sum()
        return power / total if total > 0 else power
