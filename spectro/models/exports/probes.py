"""Sounds that a model must not be fooled by: silence, noise and hum, drawn as its clips are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import soxr

from spectro.models.card import ModelCard
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import network_levels, spectrogram_image

__all__ = ["PROBES", "hum_pictures", "noise_pictures", "probe_pictures", "probe_waveforms"]

PROBES = ("silence", "loud noise", "faint noise", "pink noise", "hum at 50 Hz", "hum at 60 Hz")

_RATES = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000)  # of recordings
_OF_A_RATE = 6


def probe_pictures(card: ModelCard) -> npt.NDArray[np.uint8]:
    """Draw the sounds of `PROBES` as the model's clips are drawn.

    Parameters
    ----------
    card : ModelCard
        Gives the settings of the pictures and their size.

    Returns
    -------
    levels : np.ndarray [shape=(len(PROBES), height, width, 3)], uint8
        The same on every call.
    """
    return _drawn(probe_waveforms(card.spectrogram), card.spectrogram, card.size)


def noise_pictures(config: SpectrogramConfig, size: int | None) -> npt.NDArray[np.uint8]:
    """Draw noise as a model's clips are drawn: pink, white, blue, and white of other rates.

    Parameters
    ----------
    config : SpectrogramConfig
    size : int or None
        Side that pictures are resized to.

    Returns
    -------
    levels : np.ndarray [shape=(n, height, width, 3)], uint8
        Some of each; the same on every call.
    """
    rng = np.random.default_rng(0)
    n, sr = config.n_samples, config.sr
    waves = [_coloured(rng.standard_normal(n), power) for power in (-1, 0, 1) for _ in range(4)]
    # A recording at 8 kHz has nothing above 4 kHz, so that fewer bands are loud; of one at 48 kHz
    # the resampler's slope dims the last bands.
    for rate in _RATES:
        for _ in range(_OF_A_RATE if rate != sr else 0):
            y = rng.standard_normal(-(-n * rate // sr) + rate // 10)
            waves.append(soxr.resample(y, rate, sr, quality="HQ")[-n:])
    return _drawn([0.1 * y for y in waves], config, size)


def hum_pictures(config: SpectrogramConfig, size: int | None) -> npt.NDArray[np.uint8]:
    """Draw hum of the mains and of machines as a model's clips are drawn, loud and faint.

    Parameters
    ----------
    config : SpectrogramConfig
    size : int or None
        Side that pictures are resized to.

    Returns
    -------
    levels : np.ndarray [shape=(n, height, width, 3)], uint8
        The same on every call.
    """
    rng = np.random.default_rng(0)
    hums = [_hum(config, hz, harmonics) for hz in (50, 60, 100, 120) for harmonics in (1, 8, 40)]
    noise = 1e-4 * rng.standard_normal(config.n_samples)  # of a microphone
    return _drawn([each for y in hums for each in (y, y + noise)], config, size)


def _hum(config: SpectrogramConfig, hz: int, harmonics: int) -> npt.NDArray[np.float64]:
    k = np.arange(1, min(harmonics, config.sr // 2 // hz) + 1)[:, np.newaxis]
    t = np.arange(config.n_samples) / config.sr
    return np.asarray((0.1 / k * np.sin(2 * np.pi * k * hz * t)).sum(axis=0))


def _drawn(
    waves: Sequence[npt.NDArray[np.floating]], config: SpectrogramConfig, size: int | None
) -> npt.NDArray[np.uint8]:
    pictures = [spectrogram_image(_channels(y.astype(np.float32), config), config) for y in waves]
    return np.stack([network_levels(picture, size) for picture in pictures])


def probe_waveforms(config: SpectrogramConfig) -> list[npt.NDArray[np.float32]]:
    """Make the sounds of `PROBES`, each ``config.n_samples`` long; the same on every call."""
    rng = np.random.default_rng(0)
    n = config.n_samples
    white = rng.standard_normal(n).astype(np.float32)
    waves = [np.zeros(n), 0.1 * white, 1e-4 * white, 0.1 * _coloured(white, -1)]
    waves += [_hum(config, hz, 8) for hz in (50, 60)]
    return [wave.astype(np.float32) for wave in waves]


def _coloured(white: npt.NDArray[np.floating], power: int) -> npt.NDArray[np.float64]:
    """Give noise whose power goes with a power of the frequency, of about the level of `white`."""
    spectrum = np.fft.rfft(white)
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (power / 2)
    noise = np.fft.irfft(spectrum, len(white))
    return noise / max(float(noise.std()), 1e-12)


def _channels(y: npt.NDArray[np.float32], config: SpectrogramConfig) -> npt.NDArray[np.float32]:
    return np.stack([y, y]) if config.channels == "both" else y
