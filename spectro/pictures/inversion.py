"""A picture back to sound: what it keeps of a clip, and what it does not, can be heard.

Not part of the way from sound to score. Phase is guessed (Griffin-Lim), so that even the best
picture sounds somewhat hollow; what lies below its range, or between two bands, is gone.

References
----------
D. Griffin, J. Lim, "Signal estimation from modified short-time Fourier transform", IEEE
Transactions on Acoustics, Speech, and Signal Processing 32 (2), 1984.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from spectro.clips.waveform import Waveform
from spectro.errors import ConfigError
from spectro.pictures.mel import mel_filterbank
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import spectrogram_image

__all__ = ["heard", "sound_of"]

_PEAK = 0.9  # of full scale: a picture drawn below its own maximum knows no loudness


def sound_of(image: Image.Image, config: SpectrogramConfig, *, n_iter: int = 32) -> Waveform:
    """Make a sound whose picture is like `image`.

    Parameters
    ----------
    image : PIL.Image.Image [mode="P"]
        Of :func:`spectro.pictures.spectrogram.spectrogram_image`.
    config : SpectrogramConfig
        The settings it was drawn with; ``db_range`` must be "fixed", since otherwise the picture
        does not say which level is how many dB.
    n_iter : int
        Rounds of Griffin-Lim.

    Returns
    -------
    y : np.ndarray [shape=(config.n_samples,)], float32
        At ``config.sr``, its highest sample at 0.9 of full scale; all zero for a black picture.

    Raises
    ------
    ConfigError
        If ``db_range`` is not "fixed".
    """
    import librosa

    if config.db_range != "fixed":
        raise ConfigError(f"db_range is {config.db_range}: its grey levels stand for no known dB")
    grey = np.asarray(image)[::-1].astype(np.float32)
    power = np.where(grey > 0, 10 ** ((grey / 255 - 1) * config.top_db / 10), 0)
    y = librosa.griffinlim(
        _magnitudes(power, config),
        n_iter=n_iter,
        hop_length=config.hop_length,
        win_length=config.win_length or config.n_fft,
        n_fft=config.n_fft,
        length=config.n_samples,
        pad_mode="constant",
        **_seed(librosa.griffinlim, 0),
    )
    peak = float(np.abs(y).max())
    sound: Waveform = (y * (_PEAK / peak) if peak > 0 else y).astype(np.float32)
    return sound


def heard(
    pictures: Mapping[str, tuple[Waveform, SpectrogramConfig]], *, n_iter: int = 32
) -> dict[str, Waveform]:
    """Draw waveforms and make sound of the pictures: what each of several settings keeps.

    Parameters
    ----------
    pictures : mapping of str to (waveform, SpectrogramConfig)
        What to draw and how, each with its title, as :func:`spectro.pictures.plots.spectrograms`
        takes them.
    n_iter : int
        Rounds of Griffin-Lim.

    Returns
    -------
    sounds : dict of str to np.ndarray, float32
        Of :func:`sound_of`, with the same titles.
    """
    return {
        title: sound_of(spectrogram_image(y, config), config, n_iter=n_iter)
        for title, (y, config) in pictures.items()
    }


def _seed(function: Callable[..., Any], number: int) -> dict[str, Any]:
    """Name the seed as this librosa does: ``rng`` from 1.0, ``random_state`` before."""
    known = inspect.signature(function).parameters
    return {"rng" if "rng" in known else "random_state": number}


def _magnitudes(power: Waveform, config: SpectrogramConfig) -> Waveform:
    """Share the power of each band among its FFT bins, shape (1 + n_fft // 2, n_frames).

    Each bin takes the mean density of the bands it lies in: smooth, never below zero, and much
    quicker than the least squares of `librosa.feature.inverse.mel_to_stft`.
    """
    mel = mel_filterbank(config)
    density = power / np.maximum(mel.sum(axis=1)[:, np.newaxis], 1e-10)  # power of one bin
    in_bands = mel.sum(axis=0)[:, np.newaxis]
    bins: Waveform = np.sqrt((mel.T @ density) / np.maximum(in_bands, 1e-10))
    return bins
