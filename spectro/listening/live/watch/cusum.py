"""Whether alarms are more frequent than they may be: a Poisson CUSUM (Lucas, 1985)."""

from __future__ import annotations

import math

__all__ = ["Cusum"]

# Between two false reports lie at least exp(threshold) events on average, where events come as
# often as the contract allows (Lorden, 1971): a thousand.
_THRESHOLD = math.log(1_000)
_RATIO = 3.0  # times the contract: the rate that is found soonest


class Cusum:
    """Weighs, event by event, whether they come at the contract's rate or at three times that.

    The statistic is the log likelihood ratio of what was seen since the time at which the change is
    most likely to have come: ``S = max(0, S + n log(ratio) - (ratio - 1) rate dt)``.

    Parameters
    ----------
    rate : float
        Events an hour that the contract allows, above 0.

    Attributes
    ----------
    value : float
        The statistic; it alarms at :attr:`threshold`, and is held at twice that.
    hours, events : float, int
        What was heard and counted since the likeliest time of a change.

    Examples
    --------
    >>> watch = Cusum(rate=0.5)
    >>> for _ in range(8):
    ...     watch.passed(0.1)
    ...     watch.count()
    >>> watch.alarms, round(watch.times)
    (True, 20)
    """

    threshold = _THRESHOLD

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.value = self.hours = 0.0
        self.events = 0

    def passed(self, hours: float) -> None:
        """Note that so many hours were heard."""
        self.value -= (_RATIO - 1) * self.rate * hours
        self.hours += hours
        if self.value <= 0:
            self.value = self.hours = 0.0
            self.events = 0

    def count(self) -> None:
        """Note an event."""
        self.value = min(self.value + math.log(_RATIO), 2 * self.threshold)
        self.events += 1

    @property
    def alarms(self) -> bool:
        """Whether the contract is broken."""
        return self.value >= self.threshold

    @property
    def times(self) -> float:
        """How many times the contract's rate events came, from the first of the change to now."""
        return (self.events - 1) / (self.rate * self.hours) if self.hours > 0 else math.inf

    def state(self) -> tuple[float, float, int]:
        """Return what :meth:`restore` takes."""
        return self.value, self.hours, self.events

    def restore(self, value: float, hours: float, events: int) -> None:
        """Go on from an earlier state."""
        self.value, self.hours, self.events = float(value), float(hours), int(events)
