"""Pictures in which nothing happens: steady noise, and hum.

A network that never heard noise alone gives it the class that looks most like it, and may be sure:
white noise was taken for a phone with 97 %, hum for a gun shot. Such pictures need no network to be
told. In noise a band changes over time no more than chance makes noise change, and none stands out
of its neighbours; in hum some do, and nothing changes at all. Needs numpy and pydantic alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field

from spectro.plumbing.settings import Settings

__all__ = ["Steady", "Texture", "texture"]

_ROOM = (1.03, 1.15, 1.5)  # over the change, the relief and the inner change
_STILL = 1.0  # least limit of hum, a third of a decibel of 80: that of the mains is never even
_MOST_STILL = 3.0  # where hum changes more, as in pictures of a quarter of a second, it is not told
_ENDS = 20  # parts of a picture, of which the first and the last hold where a window cuts
_EDGE = 2  # bands beside one that is not loud: there a microphone or codec cuts off
_LOUD = 0.5  # bands at least so bright as the brightest count: below it is what the noise hides

Floats = npt.NDArray[np.floating]


class Texture(NamedTuple):
    """What a picture looks like, in steps of brightness from 0 to 255.

    Attributes
    ----------
    change : np.ndarray [shape=(n,)]
        Standard deviation of a band over time, over that of noise in the band where it is known;
        mean over the loud bands.
    relief : np.ndarray [shape=(n,)]
        Difference between neighbouring bands, each its mean over time; mean over the loud bands,
        but for two beside a band that is not loud and two at each end, where a microphone, a codec
        or a resampler may cut off. 255 where none are left: a narrow band stands out.
    inner : np.ndarray [shape=(n,)]
        As `change`, but for the first and the last twentieth of the picture, where a window cuts
        through a sound. 255 where it is dark in between: a short sound lies there.
    """

    change: Floats
    relief: Floats
    inner: Floats


class Steady(Settings):
    """What counts as steady noise, at most so much of both, or as hum: it is judged unknown.

    Parameters
    ----------
    change, relief : float
        As of :class:`Texture`; a little above those of noise that was synthesised and drawn as the
        model's clips are.
    bands : tuple of float
        Standard deviation of noise over time in each band, which `change` is relative to: a narrow
        band changes more than a wide one, and of a recording at 8 kHz only narrow ones are loud.
        Empty: `change` is in steps of brightness.
    still : float
        Of `inner` in hum, likewise; 0 tells no hum.
    spared : tuple of str
        Classes that sound like noise or hum themselves, such as rain: whatever is heard as one of
        them is left as it is.
    """

    table: ClassVar[str] = "steady"

    change: float = Field(ge=0, le=255)
    relief: float = Field(ge=0, le=255)
    still: float = Field(0, ge=0, le=255)
    bands: tuple[Annotated[float, Field(ge=0.01, le=255)], ...] = Field((), max_length=10_000)
    spared: tuple[Annotated[str, Field(min_length=1, max_length=1_000)], ...] = ()

    @classmethod
    def fitted(cls, noise: npt.NDArray[np.uint8], hum: npt.NDArray[np.uint8]) -> Steady:
        """Leave some room over noise and hum that were synthesised and drawn.

        Parameters
        ----------
        noise, hum : np.ndarray [shape=(n, height, width, 3)], uint8
            Of :func:`spectro.models.exports.probes.noise_pictures` and ``hum_pictures``.
        """
        bands = tuple(round(float(each), 2) for each in _bands(noise))
        found = texture(noise, bands)
        still = max(_STILL, _ROOM[2] * float(texture(hum).inner.max()))
        return cls(
            bands=bands,
            change=round(_ROOM[0] * float(found.change.max()), 3),
            relief=round(_ROOM[1] * float(found.relief.max()), 3),
            still=round(still, 3) if still <= _MOST_STILL else 0,
        )

    def covers(self, levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Tell which pictures show steady noise, or hum.

        Parameters
        ----------
        levels : np.ndarray [shape=(n, height, width, 3)], uint8
            Of :func:`spectro.pictures.spectrogram.network_levels`.
        """
        found = texture(levels, self.bands if len(self.bands) == levels.shape[1] else ())
        noise = (found.change <= self.change) & (found.relief <= self.relief)
        return np.asarray(noise | (self.still > 0) & (found.inner <= self.still))


def texture(levels: npt.NDArray[np.uint8], bands: Sequence[float] = ()) -> Texture:
    """Measure how much pictures change over time, and from band to band.

    Parameters
    ----------
    levels : np.ndarray [shape=(n, height, width, 3)], uint8
        Of :func:`spectro.pictures.spectrogram.network_levels`.
    bands : sequence of float
        What `change` is relative to, a number a band; none, and it is in steps of brightness.

    Examples
    --------
    >>> texture(np.full((1, 128, 173, 3), 7, np.uint8))  # silence
    Texture(change=array([0.]), relief=array([0.]), inner=array([0.]))
    """
    brightness = levels.mean(axis=3, dtype=np.float32)
    loud = _loud(brightness)
    change = _change(brightness, loud, bands)
    return Texture(change, _relief(brightness, loud), _inner(brightness))


def _bands(noise: npt.NDArray[np.uint8]) -> Floats:
    """Give the standard deviation over time of each band in those pictures in which it is loud."""
    brightness = noise.mean(axis=3, dtype=np.float32)
    loud, spread = _loud(brightness), brightness.std(axis=2)
    count = loud.sum(axis=0)
    mean = np.where(loud, spread, 0).sum(axis=0) / np.maximum(count, 1)
    return np.asarray(np.maximum(np.where(count > 0, mean, spread[loud].mean()), 0.01))


def _loud(brightness: Floats) -> npt.NDArray[np.bool_]:
    """Tell which bands are loud."""
    bands = brightness.mean(axis=2)
    return np.asarray(bands >= _LOUD * bands.max(axis=1, keepdims=True))


def _change(brightness: Floats, loud: npt.NDArray[np.bool_], bands: Sequence[float] = ()) -> Floats:
    """Give the standard deviation of a band over time, mean over the loud ones."""
    spread = brightness.std(axis=2) / (np.array(bands) if len(bands) else 1.0)
    return np.asarray(np.where(loud, spread, 0).sum(axis=1) / loud.sum(axis=1))


def _relief(brightness: Floats, loud: npt.NDArray[np.bool_]) -> Floats:
    around = np.pad(loud, ((0, 0), (_EDGE, _EDGE)))
    inner = np.all(sliding_window_view(around, 2 * _EDGE + 1, axis=1), axis=2)
    pairs = inner[:, 1:] & inner[:, :-1]
    count = pairs.sum(axis=1)
    between = np.abs(np.diff(brightness.mean(axis=2), axis=1))
    steps = np.where(pairs, between, 0).sum(axis=1)
    return np.where(count > 0, steps / np.maximum(count, 1), 255)


def _inner(brightness: Floats) -> Floats:
    width = brightness.shape[2]
    end = -(-width // _ENDS)
    between = brightness[:, :, end : max(end + 1, width - end)]
    bright = between.mean(axis=2).max(axis=1) >= _LOUD * brightness.max(axis=(1, 2))
    return np.where(bright, _change(between, _loud(between)), 255)
