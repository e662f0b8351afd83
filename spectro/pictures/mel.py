"""The mel scale: which frequencies a band of the picture is made of."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spectro.pictures.settings import SpectrogramConfig

__all__ = ["Bands", "band_frequencies", "mel_bands", "mel_filterbank", "mel_product"]

# Slaney's scale: linear to 1000 Hz (15 mels), above it 27 mels to a factor of 6.4.
_HZ_PER_MEL = 200 / 3
_CORNER_HZ, _CORNER_MEL = 1000.0, 15.0
_LOG_STEP = np.log(6.4) / 27

_CALL = 100  # products a frame that cost as much as one more call of numpy

Frequencies = npt.NDArray[np.float64]
Power = npt.NDArray[np.float32]


def mel_filterbank(config: SpectrogramConfig) -> npt.NDArray[np.float32]:
    """Compute the mel filters, as ``librosa.filters.mel(htk=False, norm="slaney")`` does.

    Triangles that peak at points even on Slaney's mel scale, each of area one in Hz.

    Parameters
    ----------
    config : SpectrogramConfig
        Gives sr, n_fft, n_mels, fmin and fmax.

    Returns
    -------
    mel : np.ndarray [shape=(n_mels, 1 + n_fft // 2)], float32

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
    return (triangles * 2 / (upper - lower)).astype(np.float32)


class Bands(NamedTuple):
    """Filters of neighbouring bands, without the bins that none of them has.

    Attributes
    ----------
    bands, bins : slice
        Which bands, and which bins of the spectrum they are made of.
    weights : np.ndarray [shape=(bands, bins)], float32
    """

    bands: slice
    bins: slice
    weights: npt.NDArray[np.float32]


@functools.lru_cache(maxsize=16)
def mel_bands(config: SpectrogramConfig) -> tuple[Bands, ...]:
    """Cut the filterbank, 98.5 % of which are zeros, into small dense pieces.

    The weights are those of :func:`mel_filterbank` times ``n_fft ** 2``: for spectra that were
    divided by `n_fft`. Where that is a power of two, this rounds nothing.
    """
    mel, corners = mel_filterbank(config), _corners(config)
    bins = np.fft.rfftfreq(config.n_fft, 1 / config.sr)
    low = np.searchsorted(bins, corners[:-2], side="right")
    high = np.searchsorted(bins, corners[2:], side="left")
    scale = np.float32(config.n_fft) ** 2
    found = []
    for first, last in _neighbours(low.tolist(), high.tolist()):
        inside = slice(int(low[first]), int(high[last - 1]))
        weights = np.ascontiguousarray(mel[first:last, inside]) * scale
        found.append(Bands(slice(first, last), inside, weights))
    return tuple(found)


def _neighbours(low: list[int], high: list[int]) -> Iterator[tuple[int, int]]:
    """Say which bands to compute in one go: as many as cost less than a call of their own."""
    first = 0
    for band in range(1, len(low)):
        before = (high[band - 1] - low[first]) * (band - first)
        with_it = (high[band] - low[first]) * (band + 1 - first)
        if with_it - before - (high[band] - low[band]) > _CALL:
            yield first, band
            first = band
    yield first, len(low)


def mel_product(power: Power, config: SpectrogramConfig, out: Power) -> None:
    """Sum the power of the bins of each band, in one order whatever lies beside it.

    Equal to the bit to ``scipy.sparse.csr_matrix(mel) @ power``, and to itself on every machine
    without fused multiply-add: no BLAS, whose order depends on the processor, and whose threads
    would fight ours.

    Parameters
    ----------
    power : np.ndarray [shape=(1 + n_fft // 2, n)], float32
        Squared spectra of `n` frames, each divided by ``n_fft ** 2``; at least two.
    config : SpectrogramConfig
        Settings.
    out : np.ndarray [shape=(n_mels, n)], float32
        Where the sums go.
    """
    for bands, bins, weights in mel_bands(config):
        np.einsum("bk,kf->bf", weights, power[bins], out=out[bands])


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
