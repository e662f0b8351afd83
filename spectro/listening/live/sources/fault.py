"""Sound that is none: digital zeros, or a level that does not move."""

from __future__ import annotations

import math

from spectro.listening.live.sources.pcm import Samples

__all__ = ["FaultWatch"]


_EQUAL = 1e-9  # relative: that of rounding, not of sound


class FaultWatch:
    """Looks at the level of each second of sound.

    Parameters
    ----------
    patience : float
        Seconds that a second like the one before may repeat.

    Attributes
    ----------
    level : float
        Of the last whole second, in dBFS; minus infinity for zeros, or a constant.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.level = -math.inf
        self._sum = self._squares = 0.0
        self._count = 0
        self._same = 0.0
        self._before = -1.0  # the power of the second before

    def push(self, samples: Samples, sr: int) -> str:
        """Take in samples of any number; return what is wrong, "" if nothing is."""
        first = samples[:, 0]
        while len(first):
            part, first = first[: sr - self._count], first[sr - self._count :]
            self._sum += float(part.sum(dtype="f8"))
            self._squares += float((part.astype("f8") ** 2).sum())
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
        mean = self._sum / sr
        power = max(0.0, self._squares / sr - mean * mean)
        flat = power <= 1e-15
        frozen = math.isclose(power, self._before, rel_tol=_EQUAL)
        self.level = -math.inf if flat else 10 * math.log10(power)
        self._same = self._same + 1 if flat or frozen else 0.0
        self._before = power
        self._sum = self._squares = 0.0
        self._count = 0
