"""What a synthesised sound is made of: kinds of source, and parameters with their ranges.

A parameter is drawn evenly from 0 to 1, its *place*, and stands for a value between the ends of its
range, by equal ratios or by equal steps. A network is asked for places, so that all count alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # settings are read without waiting for torch
    from torch import Tensor

__all__ = ["KINDS", "PARAMETERS", "SCENE", "USED", "Range", "Ranges", "index"]


class Range(NamedTuple):
    """Between which values a parameter lies.

    Parameters
    ----------
    low, high : float
    ratio : bool
        By equal ratios, else by equal steps.
    top : float
        What share of the sampling rate the high end may reach, of a frequency; more could not be
        heard, or would come back as another.
    """

    low: float
    high: float
    ratio: bool = True
    top: float = math.inf


_SOURCE = {
    "pitch": Range(60, 2_500, top=0.25),  # Hz; glide and vibrato reach 1.8 times it
    "glide": Range(-1.5, 1.5, ratio=False),  # octaves from start to end
    "tilt": Range(-18, -1, ratio=False),  # dB an octave, of harmonics
    "vibrato_rate": Range(2, 12),  # Hz
    "vibrato": Range(0.004, 0.08),  # of the pitch
    "breath": Range(-40, -6, ratio=False),  # dB of noise in it
    "voice_pitch": Range(70, 1_000, top=0.25),  # Hz, of speech, song and children's shouts
    "formant_1": Range(250, 900, top=0.45),  # Hz, about as Peterson and Barney (JASA, 1952) have it
    "formant_2": Range(900, 2_700, top=0.45),
    "fm_ratio": Range(0.4, 5),
    "fm_index": Range(0.4, 8),
    "centre": Range(80, 9_000, top=0.45),  # Hz, of a band of noise
    "width": Range(0.08, 3.5),  # octaves
    "impulse_rate": Range(2, 90),  # Hz
    "jitter": Range(0.0, 0.5, ratio=False),  # of the time between impulses
    "resonance": Range(150, 7_000, top=0.45),  # Hz
    "mode_2": Range(1, 3, ratio=False),  # times the resonance
    "mode_3": Range(1, 3, ratio=False),
    "ringing": Range(0.001, 0.12),  # s to 1/e
}
_ENVELOPE = {
    "event_rate": Range(0.25, 7),  # Hz; at least one event in the clip
    "duty": Range(0.05, 1.3, ratio=False),  # share of the time between events; from 1 on it is all
    "attack": Range(0.02, 0.3),  # s
    "release": Range(0.02, 0.8),  # s to 1/e
    "am_rate": Range(0.5, 18),  # Hz
    "am_depth": Range(0.0, 1.0, ratio=False),
}
_SCENE = {
    "second": Range(-20, -4, ratio=False),  # dB of the second source
    "background": Range(-60, -5, ratio=False),  # dB of the background
    "slope": Range(-9, 0, ratio=False),  # dB an octave, of the background
    "echo": Range(0.2, 2.5),  # s until a room's echo is 60 dB down
    "wet": Range(-30, 0, ratio=False),  # dB of the echo
    "high_cut": Range(900, 11_000, top=0.45),  # Hz
    "low_cut": Range(15, 600),
}

PARAMETERS = {**_SOURCE, **_ENVELOPE, **_SCENE}
"""Ranges of all parameters, in the order of their columns."""

SCENE = tuple(_SCENE)
"""Parameters of the mixture, of which a sound has one each."""

_PITCHED = ("pitch", "glide", "vibrato_rate", "vibrato")

KINDS: dict[str, tuple[str, ...]] = {
    "harmonics": (*_PITCHED, "tilt", "breath"),
    "voice": ("voice_pitch", *_PITCHED[1:], "breath", "formant_1", "formant_2"),
    "modulated": (*_PITCHED, "fm_ratio", "fm_index"),
    "chirps": ("pitch", "glide", "tilt"),
    "noise": ("centre", "width"),
    "impulses": ("impulse_rate", "jitter", "resonance", "mode_2", "mode_3", "ringing"),
}
"""Kinds of source, each with the parameters of its own; all have those of the envelope."""

_NAMES = tuple(PARAMETERS)

USED = tuple(
    tuple(name in own or name in _ENVELOPE or name in _SCENE for name in _NAMES)
    for own in KINDS.values()
)
"""Which parameters each kind has."""


def index(name: str) -> int:
    """Return the column of a parameter."""
    return _NAMES.index(name)


@dataclass(frozen=True)
class Ranges:
    """What places stand for in clips of one kind.

    Parameters
    ----------
    sr : int
        Sampling rate in Hz.
    duration : float
        Of a clip in s.
    """

    sr: int
    duration: float

    def value(self, places: Tensor, name: str) -> Tensor:
        """Turn places into values.

        Parameters
        ----------
        places : Tensor [shape=(n, parameters)]
            From 0 to 1.
        name : str
            Of the parameter.

        Returns
        -------
        values : Tensor [shape=(n, 1)]
        """
        low, high = self._ends(name)
        place = places[:, index(name), None]
        if PARAMETERS[name].ratio:
            return low * (high / low) ** place
        return low + (high - low) * place

    def _ends(self, name: str) -> tuple[float, float]:
        low, high, _, top = PARAMETERS[name]
        high = min(high, top * self.sr)
        if name == "event_rate":
            low = max(low, 1 / self.duration)
        return (min(low, high / 2) if PARAMETERS[name].ratio else low), high
