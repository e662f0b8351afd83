"""A watch over the contract on alarms: which class breaks it, in which band, in which clips."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from spectro.listening.live.clock import local_time
from spectro.listening.live.watch.band import Power, narrowest
from spectro.listening.live.watch.cusum import Cusum

__all__ = ["BudgetWatch", "Drift"]

_CLIPS = 6
_PROFILES = 30
_AGAIN = 24.0  # h after which a contract that is still broken is told again


class Drift(NamedTuple):
    """A class that alarms more often than it may.

    Parameters
    ----------
    label : str
    times : float
        The contract's rate.
    since : float
        The likeliest time of the change, in seconds since 1970.
    band : str
        Where its power lies, in words.
    clips : tuple of str
        Evidence of the last of them.
    """

    label: str
    times: float
    since: float
    band: str
    clips: tuple[str, ...]

    def __str__(self) -> str:
        """Say it to a person."""
        since = local_time(self.since).strftime("%A %d %B, %H:%M")
        clips = f"; listen to {', '.join(self.clips)}" if self.clips else ""
        return f"{self.label}: {self.times:.1f} x its contract since {since}, {self.band}{clips}"


class _Class:
    def __init__(self, rate: float) -> None:
        self.cusum = Cusum(rate)
        self.profiles: deque[Power] = deque(maxlen=_PROFILES)
        self.clips: deque[str] = deque(maxlen=_CLIPS)
        self.told_for: float | None = None  # h since it was told


class BudgetWatch:
    """Counts one source's events against its thresholds' contract.

    Parameters
    ----------
    budget : float
        False events an hour that each class may cost.
    labels : iterable of str
        Classes that are raised.
    """

    def __init__(self, budget: float, labels: Iterable[str]) -> None:
        self._classes = {label: _Class(budget) for label in labels}
        self._sr = 0

    def passed(self, seconds: float) -> None:
        """Note that so much sound was heard."""
        for one in self._classes.values():
            one.cusum.passed(seconds / 3600)
            if one.told_for is not None:
                one.told_for += seconds / 3600

    def count(self, label: str, profile: Power, sr: int, clip: str, now: float) -> Drift | None:
        """Note an event; return what is to be told, if anything is.

        Parameters
        ----------
        label : str
        profile : np.ndarray [shape=(bands,)]
            Of :meth:`.band.BandWatch.excess`.
        sr : int
            Hz.
        clip : str
            Its evidence; "" for none.
        now : float
            Seconds since 1970.
        """
        one = self._classes.get(label)
        if one is None:
            return None
        if sr != self._sr:  # other bands
            self._sr = sr
            for each in self._classes.values():
                each.profiles.clear()
        one.profiles.append(profile)
        one.clips.extend([clip] if clip else [])
        one.cusum.count()
        if not one.cusum.alarms or (one.told_for is not None and one.told_for < _AGAIN):
            return None
        one.told_for = 0.0
        return self._drift(label, one, now)

    def over(self) -> list[str]:
        """Return the classes that keep their contract again since the last call."""
        found = []
        for label, one in self._classes.items():
            if one.told_for is not None and one.cusum.value == 0:
                one.told_for = None
                found.append(label)
        return found

    def _drift(self, label: str, one: _Class, now: float) -> Drift:
        band = narrowest(np.mean(list(one.profiles), axis=0), self._sr)
        since = now - 3600 * one.cusum.hours
        return Drift(label, one.cusum.times, since, str(band), tuple(one.clips))

    def state(self) -> str:
        """Return the counts as JSON, for :meth:`restore` after a restart."""
        counts = {label: (*one.cusum.state(), one.told_for) for label, one in self._classes.items()}
        return json.dumps(counts)

    def restore(self, text: str) -> None:
        """Go on from earlier counts; damaged ones are passed over."""
        try:
            for label, (value, hours, events, told_for) in json.loads(text).items():
                if label in self._classes:
                    one = self._classes[label]
                    one.cusum.restore(value, hours, events)
                    one.told_for = None if told_for is None else float(told_for)
        except (ValueError, TypeError, AttributeError, RecursionError):
            return
