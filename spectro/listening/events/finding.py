"""Windows' probabilities become events: smoothing, hysteresis, merging, least length, level gate.

A state machine that is fed one window at a time and holds a fixed number of them, so that a file of
a day, a microphone and a test go through the same lines. No event depends on how the windows were
fed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spectro.listening.events.settings import EventSettings

__all__ = [
    "SCHEMA",
    "Event",
    "EventTracker",
    "Origin",
    "ScoredWindow",
    "find_events",
    "is_event",
    "level_dbfs",
]

SCHEMA = 1  # of Event: raised when a column changes its name or its meaning

Probabilities = npt.NDArray[np.float64]

_LONGEST_HELD = 60.0  # s that what is too faint to be an event keeps one before it open
_TOUCHING = 1e-6  # s; windows further apart than this have sound between them that nobody heard


class Event(NamedTuple):
    """One sound that a model heard: a row of the table of events.

    Parameters
    ----------
    recording : str
        Path or name of the recording.
    start, end : float
        Seconds from the recording's start.
    begin_time : str
        When the event started, ISO 8601, with the zone if it is known; "" if the time is not known.
    label : str
        Class.
    probability : float
        Mean calibrated probability over the event's windows, after smoothing.
    peak : float
        The highest of them, which the on-threshold was compared with.
    site : str
        Where; "" if not told.
    model, thresholds : str
        Hashes of the model, and of the settings that made an event of it
        (:attr:`EventSettings.identity`).
    """

    recording: str
    start: float
    end: float
    begin_time: str
    label: str
    probability: float
    peak: float
    site: str
    model: str
    thresholds: str


def is_event(event: Event) -> bool:
    """Tell whether the values of an event that was read from a file are of its kinds."""
    numbers = (event.start, event.end, event.probability, event.peak)
    texts = (event.recording, event.begin_time, event.label, *event[7:])
    are_numbers = all(type(n) in (int, float) and math.isfinite(n) for n in numbers)
    return are_numbers and all(isinstance(text, str) for text in texts)


class Origin(NamedTuple):
    """What the events of one recording have in common; see :class:`Event`.

    Parameters
    ----------
    recording : str
    begin : datetime or None
        When the recording began; without a zone if that is not known.
    site, model : str
    here : bool
        Whether times follow this machine's zone, into summer time and back, as those of what is
        heard live do. Those of a recording keep the zone that it began in.
    """

    recording: str
    begin: datetime | None = None
    site: str = ""
    model: str = ""
    here: bool = False

    def at(self, seconds: float) -> datetime | None:
        """Return the time of day so many seconds after the beginning; None if it is not known."""
        if self.begin is None:
            return None
        if self.here:
            return datetime.fromtimestamp(self.begin.timestamp() + seconds).astimezone()
        return self.begin + timedelta(seconds=seconds)


class ScoredWindow(NamedTuple):
    """A window of a recording, and what the model made of it.

    Parameters
    ----------
    start, end : float
        Seconds.
    probabilities : array-like [shape=(n_classes,)]
        0 to 1.
    level : float
        Level of the window's sound in dBFS (:func:`level_dbfs`); infinity passes every gate.
    known : bool
        False where the model says that the sound is none of its classes: it raises nothing.
    """

    start: float
    end: float
    probabilities: npt.ArrayLike
    level: float = math.inf
    known: bool = True


def level_dbfs(y: npt.ArrayLike) -> float:
    """Return the level of a waveform in dB below full scale: 20 log10 of its root mean square.

    A constant part, as cheap converters add one, is no sound and does not count.

    Parameters
    ----------
    y : array-like [shape=(..., n)]
        Samples, 1.0 being full scale. Of several channels, the loudest counts.

    Returns
    -------
    level : float
        0 for a full-scale square wave, -3.01 for such a sine, -infinity for digital silence.

    Examples
    --------
    >>> level_dbfs([0.1, -0.1, 0.1, -0.1])
    -20.0
    >>> level_dbfs([0.0, 0.0])
    -inf
    """
    samples = np.atleast_2d(np.asarray(y, dtype=np.float64))
    power = float(np.max(np.var(samples, axis=-1), initial=0)) if samples.size else 0.0
    return round(10 * math.log10(power), 6) if power > 0 else -math.inf


class _Run:
    """Consecutive windows of one class that may be an event; a few numbers, however long it is."""

    __slots__ = ("count", "end", "held_count", "held_total", "peak", "start", "total")

    def __init__(self, start: float) -> None:
        self.start = start
        self.end: float | None = None  # of the extent; None while the last window belongs to it
        self.peak = self.total = self.held_total = 0.0
        self.count = self.held_count = 0

    def add(self, probability: float, boundary: float, extent: float) -> None:
        """Take in a window that begins at `boundary`."""
        self.held_total += probability
        self.held_count += 1
        if probability >= extent:  # what was held back lies inside the extent
            self.total, self.count, self.end = self.held_total, self.held_count, None
            self.peak = max(self.peak, probability)
        elif self.end is None:
            self.end = boundary

    def close(self, boundary: float) -> None:
        if self.end is None:
            self.end = boundary

    def join(self, later: _Run) -> None:
        """Make one of two events."""
        self.end = later.end
        self.peak = max(self.peak, later.peak)
        self.total += later.total
        self.count += later.count


class EventTracker:
    """Turns windows into events, one window at a time.

    Of overlapping windows, each stands for the time around its middle, up to half-way to the
    middles of its neighbours: a long sound fills a window by half where the window's middle meets
    the sound's edge. The first window counts from its start and the last to its end.

    Parameters
    ----------
    labels : sequence of str
        Classes, in the order of the probabilities.
    settings : EventSettings
    origin : Origin
        Copied into each event.

    Raises
    ------
    ConfigError
        If the settings name a class that is not in `labels`.

    Examples
    --------
    >>> settings = EventSettings(on=0.8, off=0.4, extent=0.4)
    >>> tracker = EventTracker(["saw"], settings, Origin("night.wav"))
    >>> heard = [0.1, 0.5, 0.9, 0.5, 0.1]
    >>> windows = [ScoredWindow(i, i + 1, [p]) for i, p in enumerate(heard)]
    >>> [event] = [*tracker.feed(windows), *tracker.finish()]
    >>> event.start, event.end, event.peak
    (1.0, 4.0, 0.9)
    """

    def __init__(self, labels: Sequence[str], settings: EventSettings, origin: Origin) -> None:
        self.labels, self.settings, self.origin = list(labels), settings, origin
        self._hash = settings.identity
        self._levels = settings.levels(labels)
        self._closing = np.minimum(self._levels.off, self._levels.extent)
        self._around: deque[tuple[ScoredWindow, Probabilities]] = deque(
            maxlen=settings.smooth_windows
        )
        self._ahead = 0  # windows in _around that wait for neighbours behind them
        self._last: ScoredWindow | None = None  # the last that was fed
        self._before: ScoredWindow | None = None  # the last that was decided
        self._runs: dict[int, _Run] = {}
        self._merging: dict[int, _Run] = {}  # events that a next one may still join

    def feed(self, windows: Iterable[ScoredWindow]) -> Iterator[Event]:
        """Take in windows, in order of time; yield the events that are over, as they end.

        Raises
        ------
        ValueError
            If a window has another number of probabilities than there are labels, one that is not
            between 0 and 1, or starts before the one before it.
        """
        for window in windows:
            yield from self.push(window)

    def push(self, window: ScoredWindow) -> list[Event]:
        """Take in one window; return the events that are known to be over now."""
        probabilities = self._checked(window)
        apart = self._last is not None and window.start > self._last.end + _TOUCHING
        events = self._flush() if apart else []  # nobody heard what lies between
        self._last = window
        self._around.append((window, probabilities))
        self._ahead += 1
        if self._ahead > self.settings.smooth_windows // 2:
            events += self._decide()
        return events

    def finish(self) -> list[Event]:
        """End the recording: return the events that are left. The tracker can be fed anew."""
        events = self._flush()
        events += [
            self._event(i, run) for i, run in sorted(self._merging.items()) if self._long(run)
        ]
        self._merging.clear()
        self._last = None
        return events

    def ongoing(self) -> list[Event]:
        """Return the events that have been raised and are not over, as far as they go by now.

        The same event comes again, longer, after the next window; its label and start tell it, and
        a gap that merging bridges may give it an earlier start.
        """
        if self._before is None:
            return []
        raised = [(i, run) for i, run in sorted(self._runs.items()) if self._raised(i, run)]
        return [self._event(i, self._so_far(i, run, self._before.end)) for i, run in raised]

    def _so_far(self, i: int, run: _Run, until: float) -> _Run:
        copy = _Run(run.start)
        copy.join(run)
        copy.close(until)
        earlier = self._merging.get(i)
        if earlier is not None and self._near(earlier, run.start):
            copy.start = earlier.start
            copy.peak = max(copy.peak, earlier.peak)
            copy.total, copy.count = copy.total + earlier.total, copy.count + earlier.count
        return copy

    def _checked(self, window: ScoredWindow) -> Probabilities:
        p = np.asarray(window.probabilities, dtype=np.float64)
        if p.shape != (len(self.labels),):
            raise ValueError(
                f"a window has probabilities of shape {p.shape}, not {len(self.labels)}"
            )
        if not (p.size == 0 or (p.min() >= 0 and p.max() <= 1 + 1e-6)):
            raise ValueError(f"a window at {window.start:g} s has a probability outside 0 to 1")
        if self._last is not None and window.start < self._last.start:
            raise ValueError(f"a window at {window.start:g} s came after a later one")
        return np.zeros_like(p) if self._silent(window) else np.minimum(p, 1.0)

    def _silent(self, window: ScoredWindow) -> bool:
        gate = self.settings.level_gate
        return not window.known or (gate is not None and not window.level >= gate)

    def _decide(self) -> list[Event]:
        """Smooth the window that has all its neighbours, or all that there will be."""
        at = len(self._around) - self._ahead
        half = self.settings.smooth_windows // 2
        window, p = self._around[at]
        if half:
            around = [p for _, p in self._around][max(0, at - half) : at + half + 1]
            smooth = np.median if self.settings.smoothing == "median" else np.mean
            p = np.zeros_like(p) if self._silent(window) else np.asarray(smooth(around, axis=0))
        self._ahead -= 1
        boundary = self._boundary(window)
        self._before = window
        self._advance(p, boundary)
        return self._settled(boundary)

    def _boundary(self, window: ScoredWindow) -> float:
        """Return where the window before ends and this one begins."""
        if self._before is None:
            return float(window.start)
        before = (self._before.start + self._before.end) / 2
        return (before + (window.start + window.end) / 2) / 2

    def _advance(self, p: Probabilities, boundary: float) -> None:
        """Let each class's run begin, go on or end; few classes have one."""
        wanted = p >= self._levels.extent
        for i in [*self._runs, *(int(i) for i in np.flatnonzero(wanted) if i not in self._runs)]:
            run = self._runs.get(i)
            if run is None:
                run = self._runs[i] = _Run(boundary)
            elif p[i] < (self._closing[i] if self._raised(i, run) else self._levels.extent[i]):
                self._end(i, boundary)
                continue
            run.add(float(p[i]), boundary, self._levels.extent[i])

    def _raised(self, i: int, run: _Run) -> bool:
        return run.peak >= float(self._levels.on[i])

    def _end(self, i: int, boundary: float) -> None:
        """Close a run; if it is an event, let it join the one before."""
        run = self._runs.pop(i)
        if not self._raised(i, run):
            return
        run.close(boundary)
        earlier = self._merging.get(i)
        if earlier is None:
            self._merging[i] = run
        else:
            earlier.join(run)

    def _settled(self, boundary: float) -> list[Event]:
        """Take out the events that nothing can join any more."""
        events = []
        for i, event in sorted(self._merging.items()):
            run = self._runs.get(i)
            waits = run is None or self._raised(i, run) or self._fresh(event, boundary)
            if waits and self._near(event, boundary if run is None else run.start):
                continue
            del self._merging[i]
            if self._long(event):
                events.append(self._event(i, event))
        return events

    def _fresh(self, event: _Run, boundary: float) -> bool:
        return boundary - (event.end or 0.0) <= self.settings.merge_gap + _LONGEST_HELD

    def _near(self, event: _Run, start: float) -> bool:
        return start - (event.end or 0.0) <= self.settings.merge_gap + 1e-9

    def _long(self, run: _Run) -> bool:
        return (run.end or 0.0) - run.start >= self.settings.min_length - 1e-9

    def _flush(self) -> list[Event]:
        """Decide what waits for neighbours, and close all runs where the last window ends."""
        events = []
        while self._ahead:
            events += self._decide()
        if self._before is not None:
            for i in sorted(self._runs):
                self._end(i, float(self._before.end))
        self._before = None
        self._around.clear()
        return events

    def _event(self, i: int, run: _Run) -> Event:
        assert run.end is not None
        return Event(
            recording=self.origin.recording,
            start=float(run.start),
            end=float(run.end),
            begin_time=_written(self.origin.at(float(run.start))),
            label=self.labels[i],
            probability=run.total / run.count,
            peak=run.peak,
            site=self.origin.site,
            model=self.origin.model,
            thresholds=self._hash,
        )


def _written(time: datetime | None) -> str:
    return "" if time is None else time.isoformat(timespec="milliseconds")


def find_events(
    windows: Iterable[ScoredWindow],
    labels: Sequence[str],
    settings: EventSettings,
    origin: Origin,
) -> Iterator[Event]:
    """Turn all windows of a recording into events, as they end; see :class:`EventTracker`."""
    tracker = EventTracker(labels, settings, origin)
    yield from tracker.feed(windows)
    yield from tracker.finish()
