"""Sound that is none: digital zeros, or a level that does not move."""

from __future__ import annotations

import math

import numpy as np

from spectro.listening.live.sources.pcm import Samples

__all__ = ["FLAT", "FaultWatch"]

FLAT = 1e-15  # power of digital silence, or of a constant
_EQUAL = 1e-9  # relative: that of rounding, not of sound


class FaultWatch:
    """Looks at the level of each second of sound, of each channel.

    A source is at fault where all its channels are: a plug that is free beside a microphone gives
    zeros for ever.

    Parameters
    ----------
    patience : float
        Seconds that a second like the one before may repeat.
    first_only : bool
        Whether the model hears the first channel alone.

    Attributes
    ----------
    level : float
        Of the last whole second of the loudest channel, in dBFS; minus infinity for zeros, or a
        constant.
    """

    def __init__(self, patience: float, *, first_only: bool = False) -> None:
        self.patience, self._channels = patience, 1 if first_only else None
        self.level = -math.inf
        self._sum = self._squares = np.zeros(1)
        self._count = 0
        self._same = 0.0
        self._before = np.array([-1.0])  # the power of the second before

    def push(self, samples: Samples, sr: int) -> str:
        """Take in samples of any number; return what is wrong, "" if nothing is."""
        rest = samples[:, : self._channels].astype("f8")
        while len(rest):
            part, rest = rest[: sr - self._count], rest[sr - self._count :]
            self._sum = self._sum + part.sum(axis=0)
            self._squares = self._squares + (part**2).sum(axis=0)
            self._count += len(part)
            if self._count >= sr:
                self._second(sr)
        return self.fault

    @property
    def fault(self) -> str:
        """What is wrong now; "" if nothing is."""
        if self._same < self.patience:
            return ""
        what = "a level that does not move" if math.isfinite(self.level) else "digital silence"
        return f"{what} for {self._same:.0f} s"

    def _second(self, sr: int) -> None:
        """Compare a second with the one before; real sound never has the same power twice."""
        power = np.maximum(0.0, self._squares / sr - (self._sum / sr) ** 2)
        flat = power <= FLAT
        frozen = np.isclose(power, self._before, rtol=_EQUAL, atol=0)
        self.level = -math.inf if flat.all() else 10 * math.log10(power.max())
        self._same = self._same + 1 if (flat | frozen).all() else 0.0
        self._before = power
        self._sum = self._squares = np.zeros(1)
        self._count = 0
