"""The mel scale: which frequencies a band of the picture is made of."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from spectro.pictures.settings import SpectrogramConfig

__all__ = ["band_frequencies", "mel_filterbank"]

# Slaney's scale: linear to 1000 Hz (15 mels), above it 27 mels to a factor of 6.4.
_HZ_PER_MEL = 200 / 3
_CORNER_HZ, _CORNER_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27

Frequencies = npt.NDArray[np.float64]


@functools.lru_cache(maxsize=16)
def mel_filterbank(config: SpectrogramConfig) -> Any:
    """Compute the mel filters, as ``librosa.filters.mel(htk=False, norm="slaney")`` does.

    Triangles that peak at points even on Slaney's mel scale, each of area one in Hz. In sparse
    form: a band covers 1.5 % of the bins on average.

    Parameters
    ----------
    config : SpectrogramConfig
        Gives sr, n_fft, n_mels, fmin and fmax.

    Returns
    -------
    mel : scipy.sparse.csr_matrix [shape=(n_mels, 1 + n_fft // 2)], float32

    References
    ----------
    Malcolm Slaney, "Auditory Toolbox", Interval Research technical report 1998-010, 1998.
    """
    bins = np.fft.rfftfreq(config.n_fft, 1 / config.sr)  # Hz
    corners = _corners(config)[:, np.newaxis]
    lower, peak, upper = corners[:-2], corners[1:-1], corners[2:]
    rising = (bins - lower) / (peak - lower)
    falling = (upper - bins) / (upper - peak)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return scipy.sparse.csr_matrix((triangles * 2 / (upper - lower)).astype(np.float32))


def band_frequencies(config: SpectrogramConfig) -> Frequencies:
    """Give the frequency in Hz at which each mel band is most sensitive, shape (n_mels,)."""
    return _corners(config)[1:-1]


def _corners(config: SpectrogramConfig) -> Frequencies:
    """Give the frequencies in Hz where bands start, peak and end, shape (n_mels + 2,)."""
    lowest, highest = _hz_to_mel(np.array([config.fmin, config.fmax or config.sr / 2]))
    return _mel_to_hz(np.linspace(lowest, highest, config.n_mels + 2))


def _hz_to_mel(hz: Frequencies) -> Frequencies:
    log_part = _CORNER_MEL + np.log(np.maximum(hz, _CORNER_HZ) / _CORNER_HZ) / _LOG_STEP
    return np.where(hz < _CORNER_HZ, hz / _HZ_PER_MEL, log_part)


def _mel_to_hz(mel: Frequencies) -> Frequencies:
    log_part = _CORNER_HZ * np.exp(_LOG_STEP * (mel - _CORNER_MEL))
    return np.where(mel < _CORNER_MEL, mel * _HZ_PER_MEL, log_part)
