"""Pictures in which nothing happens: steady noise.

A network that never heard noise alone gives it the class that looks most like it, and may be sure:
white noise was taken for a phone with 97 %. Such pictures need no network to be told: over time a
band changes no more than chance makes noise change, and no band stands out of its neighbours. Needs
numpy and pydantic alone.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field

from spectro.plumbing.settings import Settings

__all__ = ["Steady", "Texture", "texture"]

_EDGE = 2  # bands beside one that is not loud: there a microphone or codec cuts off
_LOUD = 0.5  # bands at least so bright as the brightest count: below it is what the noise hides

Floats = npt.NDArray[np.floating]


class Texture(NamedTuple):
    """What a picture looks like, in steps of brightness from 0 to 255.

    Attributes
    ----------
    change : np.ndarray [shape=(n,)]
        Standard deviation of a band over time, mean over the loud bands.
    relief : np.ndarray [shape=(n,)]
        Difference between neighbouring bands, each its mean over time; mean over the loud bands,
        but for two beside a band that is not loud, where a microphone or codec may cut off. 255
        where none are left: a narrow band stands out.
    """

    change: Floats
    relief: Floats


class Steady(Settings):
    """What counts as steady noise: at most so much of both is judged unknown.

    Parameters
    ----------
    change, relief : float
        As of :class:`Texture`; a little above those of noise that was synthesised and drawn as the
        model's clips are.
    spared : tuple of str
        Classes that sound like steady noise themselves, such as rain: whatever is heard as one of
        them is left as it is.
    """

    table: ClassVar[str] = "steady"

    change: float = Field(ge=0, le=255)
    relief: float = Field(ge=0, le=255)
    spared: tuple[Annotated[str, Field(min_length=1, max_length=1_000)], ...] = ()

    def covers(self, levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Tell which pictures show steady noise.

        Parameters
        ----------
        levels : np.ndarray [shape=(n, height, width, 3)], uint8
            Of :func:`spectro.pictures.spectrogram.network_levels`.
        """
        found = texture(levels)
        return np.asarray((found.change <= self.change) & (found.relief <= self.relief))


def texture(levels: npt.NDArray[np.uint8]) -> Texture:
    """Measure how much pictures change over time, and from band to band.

    Parameters
    ----------
    levels : np.ndarray [shape=(n, height, width, 3)], uint8
        Of :func:`spectro.pictures.spectrogram.network_levels`.

    Examples
    --------
    >>> texture(np.full((1, 128, 173, 3), 7, np.uint8))  # silence
    Texture(change=array([0.]), relief=array([0.]))
    """
    brightness = levels.mean(axis=3, dtype=np.float32)
    bands = brightness.mean(axis=2)
    loud = bands >= _LOUD * bands.max(axis=1, keepdims=True)
    change = np.where(loud, brightness.std(axis=2), 0).sum(axis=1) / loud.sum(axis=1)
    around = np.pad(loud, ((0, 0), (_EDGE, _EDGE)), mode="edge")
    inner: npt.NDArray[np.bool_] = np.all(
        sliding_window_view(around, 2 * _EDGE + 1, axis=1), axis=2
    )
    pairs = inner[:, 1:] & inner[:, :-1]
    count = pairs.sum(axis=1)
    steps = np.where(pairs, np.abs(np.diff(bands, axis=1)), 0).sum(axis=1)
    return Texture(change, np.where(count > 0, steps / np.maximum(count, 1), 255))
