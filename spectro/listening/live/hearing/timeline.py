"""When a stretch of sound began, kept right while the clocks of machine and sound card differ."""

from __future__ import annotations

import math

__all__ = ["Timeline"]

_WINDOW = 60.0  # s of sound over which the least delay is taken
_MOST_OFF = 1.0  # s that the two clocks may differ


class Timeline:
    """Compares when sound should have come, by its samples, with when it came.

    A sound card's clock is off by some seconds a day, and the machine's may be set while it runs.
    Sound comes late at times, but never early, so the least delay of a minute tells.

    Parameters
    ----------
    began : float
        When the first sample sounded, in seconds since 1970.
    buffer : float
        Seconds of sound that may wait.
    """

    def __init__(self, began: float, buffer: float) -> None:
        self.began = began
        self._window = max(_WINDOW, 2 * buffer)
        self._least = math.inf
        self._since = 0.0

    def moved(self, at: float, came: float) -> float:
        """Return by how many seconds the beginning moves now; 0 mostly.

        Parameters
        ----------
        at : float
            Second of the stretch at which a block starts.
        came : float
            When it sounded, by the clock of the machine, in seconds since 1970.
        """
        self._least = min(self._least, came - self.began - at, key=abs)
        if at - self._since < self._window:
            return 0.0
        off, self._least, self._since = self._least, math.inf, at
        if abs(off) <= _MOST_OFF:
            return 0.0
        self.began += off
        return off
