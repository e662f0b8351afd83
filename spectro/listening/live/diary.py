"""Events that are over, and when was listened, kept in a file of months for ``spectro events``.

The file is written by a thread of its own: another program may hold it for a while, or the disk may
be full, and listening goes on. What cannot be written waits in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from spectro.errors import DatasetError
from spectro.listening.events.finding import Event, Origin
from spectro.listening.events.store import EventStore

__all__ = ["Diary"]

_EVERY = 10.0  # s between two looks for something to write
_MOST = 100_000  # events that may wait


@dataclass
class _Stretch:
    """A time in which a source was listened to without a hole."""

    source: str
    origin: Origin
    seconds: float
    written: datetime | None = None  # up to when it is in the file

    @property
    def end(self) -> datetime:
        assert self.origin.begin is not None
        return self.origin.begin + timedelta(seconds=self.seconds)


class Diary:
    """Keeps what a listener heard, and that it listened.

    Parameters
    ----------
    store : EventStore
    say : callable
        Told of (what, text): that the file cannot be written, that it can be again, that events had
        to be dropped.
    """

    def __init__(self, store: EventStore, say: Callable[[str, str], None]) -> None:
        self._store, self._say = store, say
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._events: list[Event] = []
        self._stretches: dict[tuple[str, int], _Stretch] = {}  # by source and number
        self._failing = False

    def over(self, event: Event) -> None:
        """Keep an event that is over."""
        with self._lock:
            self._events.append(event)

    def heard(self, source: str, stretch: int, origin: Origin, seconds: float) -> None:
        """Say that a stretch of a source was listened to, so far for so many seconds.

        A source that was lost begins another stretch. One whose beginning is not known is not kept:
        no hour can be given to it.
        """
        if origin.begin is None:
            return
        key = (source, stretch)
        with self._lock:
            kept = self._stretches.get(key)
            if kept is None:  # the beginning stays as first told; a clock put right moves the end
                self._stretches[key] = _Stretch(source, origin, seconds)
            else:
                moved = (origin.begin - kept.origin.begin).total_seconds()  # type: ignore[operator]
                kept.seconds = max(kept.seconds, seconds + moved)

    def step(self) -> float:
        """Write what waits; return the seconds until the next look."""
        self.write()
        return _EVERY

    def write(self) -> None:
        """Write what waits, or keep it for the next time."""
        with self._writing:
            with self._lock:
                events, self._events = self._events, []
                stretches = [(one, one.end) for one in self._stretches.values()]
            try:
                self._add(events, stretches)
            except (DatasetError, OSError) as error:
                self._keep(events, str(error))
                return
            with self._lock:
                self._forget_ended()
            if self._failing:
                self._say("written again", "")
            self._failing = False

    def _add(self, events: list[Event], stretches: list[tuple[_Stretch, datetime]]) -> None:
        if events:
            self._store.add(events)
        for one, end in stretches:
            begin, site = one.origin.begin, one.origin.site
            if begin is not None and end != one.written:
                self._store.add_effort(one.source, begin, end, site=site, until=one.written)
                one.written = end

    def _keep(self, events: list[Event], why: str) -> None:
        with self._lock:
            waiting = events + self._events
            self._events = waiting[-_MOST:]
        if not self._failing:
            self._say("not written", why)
        self._failing = True
        if len(waiting) > _MOST:
            dropped = len(waiting) - _MOST
            self._say("dropped", f"{dropped:,} of the oldest events: too many wait")

    def _forget_ended(self) -> None:
        """Keep of each source the stretch that may go on, and what is not written yet."""
        last = {source: (source, stretch) for source, stretch in self._stretches}
        self._stretches = {
            key: one
            for key, one in self._stretches.items()
            if key == last[key[0]] or one.written != one.end
        }
