"""Events that were raised and are not over: their ids, and the window in which each was surest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spectro.listening.events.finding import Event, EventTracker, ScoredWindow
from spectro.listening.live.delivery.messages import new_id

__all__ = ["Happening", "Raised", "RaisedEvents"]

_RECENT = 64  # windows in which an event's surest is looked for when it is raised
_LATE = 1e-9


@dataclass
class Raised:
    """An event that goes on.

    Attributes
    ----------
    id : str
    event : Event
        As far as it is known.
    window : ScoredWindow
        The window in which the network was surest of its class.
    """

    id: str
    event: Event
    window: ScoredWindow


class Happening(NamedTuple):
    """An event was raised, or is over.

    Parameters
    ----------
    state : "raised" or "over"
    raised : Raised
    """

    state: str
    raised: Raised


class RaisedEvents:
    """Follows the events of a tracker from the moment at which they are certain to be events.

    Parameters
    ----------
    tracker : EventTracker
    hop : float
        Seconds between two windows.
    """

    def __init__(self, tracker: EventTracker, hop: float) -> None:
        self._tracker, self._hop = tracker, hop
        self._open: dict[str, Raised] = {}
        self._windows: deque[ScoredWindow] = deque(maxlen=_RECENT)

    def push(self, window: ScoredWindow) -> list[Happening]:
        """Take in a window; return what it raised and ended."""
        over = self._tracker.push(window)
        found = self._ended(over)
        self._windows.append(window)
        for event in self._tracker.ongoing():
            if event.label not in self._open and self._is_certain(event, window):
                self._open[event.label] = self._new(event)
                found.append(Happening("raised", self._open[event.label]))
            elif event.label in self._open:
                self._go_on(self._open[event.label], event, window)
        return found

    def finish(self) -> list[Happening]:
        """End the stretch: all events are over."""
        found = self._ended(self._tracker.finish())
        self._open.clear()
        return found

    def open(self) -> Iterable[Raised]:
        """Return the events that go on."""
        return self._open.values()

    def _ended(self, events: Sequence[Event]) -> list[Happening]:
        found = []
        for event in events:
            raised = self._open.pop(event.label, None)
            if raised is None:
                raised = self._new(event)
                found.append(Happening("raised", raised))
            raised.event = event
            found.append(Happening("over", raised))
        return found

    def _is_certain(self, event: Event, window: ScoredWindow) -> bool:
        """Tell whether it will be long enough even if it ends now, half-way to the next window."""
        end = event.end - max(0.0, window.end - window.start - self._hop) / 2
        return end - event.start >= self._tracker.settings.min_length - _LATE

    def _new(self, event: Event) -> Raised:
        i = self._tracker.labels.index(event.label)
        inside = [w for w in self._windows if w.end > event.start and w.start < event.end]
        surest = max(inside or self._windows, key=_by(i))
        return Raised(new_id(), event, surest)

    def _go_on(self, raised: Raised, event: Event, window: ScoredWindow) -> None:
        raised.event = event
        rate = _by(self._tracker.labels.index(event.label))
        if rate(window) > rate(raised.window):
            raised.window = window


def _by(i: int) -> Callable[[ScoredWindow], float]:
    def rate(window: ScoredWindow) -> float:
        p: npt.NDArray[np.float64] = np.asarray(window.probabilities)
        return float(p[i]) if window.known else -1.0

    return rate
