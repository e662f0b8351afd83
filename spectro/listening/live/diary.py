"""Events that are over, and when was listened, kept in a file of months for ``spectro events``.

The file is written by a thread of its own: another program may hold it for a while, or the disk may
be full, and listening goes on. What cannot be written waits in memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from spectro.errors import DatasetError
from spectro.listening.events.finding import Event, Origin
from spectro.listening.events.store import EventStore

__all__ = ["Diary"]

_EVERY = 10.0  # s between two looks for something to write
_MOST = 100_000  # events, and times of listening, that may wait

Span = tuple[datetime, datetime]
Noted = tuple[str, Event]


@dataclass
class _Stretch:
    """A time in which a source was listened to without a hole.

    Attributes
    ----------
    source : str
    number : int
        Of the source's stretch of sound.
    origin : Origin
        When and where that began.
    first, last : float
        Seconds from there.
    written : tuple of datetime, or None
        What the file has of it.
    """

    source: str
    number: int
    origin: Origin
    first: float
    last: float
    written: Span | None = None

    @property
    def span(self) -> Span:
        first, last = self.origin.at(self.first), self.origin.at(self.last)
        assert first is not None and last is not None
        return first, last


class Diary:
    """Keeps what a listener heard, and that it listened.

    Parameters
    ----------
    store : EventStore
    say : callable
        Told of (what, text): that the file cannot be written, that it can be again, that something
        had to be dropped.
    """

    def __init__(self, store: EventStore, say: Callable[[str, str], None]) -> None:
        self._store, self._say = store, say
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._events: list[Noted] = []
        self._settled: list[str] = []
        self._open: dict[str, _Stretch] = {}  # by source
        self._ended: list[_Stretch] = []
        self._failing = False

    def over(self, name: str, event: Event) -> None:
        """Keep an event that is over, and tell by this name when the file has it."""
        with self._lock:
            self._events.append((name, event))

    def settled(self) -> list[str]:
        """Return the names of events that the file has since the last time, or never will."""
        with self._lock:
            names, self._settled = self._settled, []
            return names

    def heard(self, source: str, number: int, origin: Origin, first: float, last: float) -> None:
        """Say that a part of a stretch of a source was listened to.

        Parameters
        ----------
        source : str
        number : int
            Of the stretch; one that was lost and came back begins another.
        origin : Origin
            When and where it began, as far as is known now: a clock that is put right moves it. A
            stretch whose beginning is not known is not kept, as no hour can be given to it.
        first, last : float
            Seconds from there.
        """
        if origin.begin is None:
            return
        with self._lock:
            one = self._open.get(source)
            if one is None or one.number != number:
                self._end(source)
                self._open[source] = _Stretch(source, number, origin, first, last)
            else:
                one.origin, one.last = origin, last

    def deaf(self, source: str) -> None:
        """Say that what comes from a source is no sound: a dead microphone is no listener."""
        with self._lock:
            self._end(source)

    def step(self) -> float:
        """Write what waits; return the seconds until the next look."""
        self.write()
        return _EVERY

    def finish(self, seconds: float) -> None:
        """Write what waits for the last time, in so many seconds; say what is not kept."""
        self._store.patience = seconds
        self.write(seconds)
        with self._lock:
            events, times = len(self._events), len(self._ended)
            times += sum(one.written != one.span for one in self._open.values())
        if events or times:
            self._say("not kept", f"{events:,} events and {times:,} times of listening")

    def write(self, patience: float = -1) -> None:
        """Write what waits, or keep it for the next time."""
        if not self._writing.acquire(timeout=patience):
            return
        try:
            self._write()
        finally:
            self._writing.release()

    def _write(self) -> None:
        with self._lock:
            events, self._events = self._events, []
            stretches = [(one, one.span) for one in (*self._ended, *self._open.values())]
        try:
            self._add([event for _, event in events], stretches)
        except (DatasetError, OSError) as error:
            self._keep(events, str(error))
            return
        with self._lock:
            self._ended = [one for one in self._ended if one.written != one.span]
            self._settled += [name for name, _ in events]
        if self._failing:
            self._say("written again", "")
        self._failing = False

    def _add(self, events: list[Event], stretches: list[tuple[_Stretch, Span]]) -> None:
        if events:
            self._store.add(events)
        for one, span in stretches:
            if span != one.written:
                site = one.origin.site
                self._store.add_effort(one.source, *span, site=site, instead_of=one.written)
                one.written = span

    def _keep(self, events: list[Noted], why: str) -> None:
        """Put back what could not be written; of too much, the oldest is dropped."""
        with self._lock:
            waiting = events + self._events
            dropped = max(0, len(waiting) - _MOST) + max(0, len(self._ended) - _MOST)
            self._settled += [name for name, _ in waiting[:-_MOST]]
            self._events, self._ended = waiting[-_MOST:], self._ended[-_MOST:]
        if not self._failing:
            self._say("not written", why)
        self._failing = True
        if dropped:
            self._say("dropped", f"{dropped:,} of the oldest: too many wait")

    def _end(self, source: str) -> None:
        one = self._open.pop(source, None)
        if one is not None and one.written != one.span:
            self._ended.append(one)
