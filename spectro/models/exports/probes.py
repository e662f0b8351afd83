"""Sounds that a model must not be fooled by: silence, noise and hum, drawn as its clips are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

from spectro.models.card import ModelCard
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import network_levels, spectrogram_image

__all__ = ["PROBES", "noise_pictures", "probe_pictures", "probe_waveforms"]

PROBES = ("silence", "loud noise", "faint noise", "pink noise", "hum at 50 Hz", "hum at 60 Hz")


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
    config = card.spectrogram
    pictures = [spectrogram_image(_channels(y, config), config) for y in probe_waveforms(config)]
    return np.stack([network_levels(picture, card.size) for picture in pictures])


def noise_pictures(config: SpectrogramConfig, size: int | None) -> npt.NDArray[np.uint8]:
    """Draw noise as a model's clips are drawn: pink, white and blue, cut off, or resampled.

    Parameters
    ----------
    config : SpectrogramConfig
    size : int or None
        Side that pictures are resized to.

    Returns
    -------
    levels : np.ndarray [shape=(20, height, width, 3)], uint8
        Four of each; the same on every call.
    """
    rng = np.random.default_rng(0)
    # Power of the frequency in the power spectrum, and where it ends: a recording at 16 kHz that is
    # resampled to 22.05 kHz has nothing above 0.73 of the band.
    kinds = [(-1, 1.0), (0, 1.0), (1, 1.0), (0, 0.75)]
    waves = [
        _coloured(rng.standard_normal(config.n_samples), power, end)
        for power, end in kinds
        for _ in range(4)
    ]
    # Most microphones give 44.1 or 48 kHz; the resampler's slope dims the last bands.
    twice = rng.standard_normal((4, 2 * config.n_samples))
    waves += [soxr.resample(y, 2 * config.sr, config.sr, quality="HQ") for y in twice]
    pictures = [
        spectrogram_image(_channels((0.1 * y).astype(np.float32), config), config) for y in waves
    ]
    return np.stack([network_levels(picture, size) for picture in pictures])


def probe_waveforms(config: SpectrogramConfig) -> list[npt.NDArray[np.float32]]:
    """Make the sounds of `PROBES`, each ``config.n_samples`` long; the same on every call."""
    rng = np.random.default_rng(0)
    n = config.n_samples
    t = np.arange(n) / config.sr
    white = rng.standard_normal(n).astype(np.float32)
    waves = [np.zeros(n), 0.1 * white, 1e-4 * white, 0.1 * _coloured(white, -1)]
    k = np.arange(1, 9)[:, np.newaxis]  # harmonics
    waves += [(0.1 / k * np.sin(2 * np.pi * k * hz * t)).sum(axis=0) for hz in (50, 60)]
    return [wave.astype(np.float32) for wave in waves]


def _coloured(
    white: npt.NDArray[np.floating], power: int, end: float = 1.0
) -> npt.NDArray[np.float64]:
    """Give noise whose power goes with a power of the frequency, of about the level of `white`.

    Above `end`, a share of the band, there is nothing.
    """
    spectrum = np.fft.rfft(white)
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (power / 2)
    spectrum[round(end * len(spectrum)) :] = 0
    noise = np.fft.irfft(spectrum, len(white))
    return noise / max(float(noise.std()), 1e-12)


def _channels(y: npt.NDArray[np.float32], config: SpectrogramConfig) -> npt.NDArray[np.float32]:
    return np.stack([y, y]) if config.channels == "both" else y
