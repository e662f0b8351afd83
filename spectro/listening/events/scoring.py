"""Detected events against those that people marked: precision, recall, false alarms an hour.

Each marked event is found by at most one detected one and the other way round, and as many are
paired as can be (maximum bipartite matching): no order of the events changes a score.
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from spectro.errors import ConfigError, DatasetError

__all__ = ["ClassScore", "EventScores", "Span", "by_stem", "match", "score_events"]

_SLACK = 1e-6  # s, for rounding


class Span(Protocol):
    """What is scored: :class:`~spectro.listening.events.finding.Event`, ``Labelled``, or alike."""

    @property
    def recording(self) -> str:
        """Path or name of the recording."""
        ...

    @property
    def start(self) -> float:
        """Seconds."""
        ...

    @property
    def end(self) -> float:
        """Seconds."""
        ...

    @property
    def label(self) -> str:
        """Class."""
        ...


class ClassScore(NamedTuple):
    """How well the events of one class were found.

    Parameters
    ----------
    label : str
        Class; "" for all together.
    found : int
        Marked events that a detected one was paired with.
    marked, detected : int
        Events there are.
    hours : float or None
        Length of all recordings; None if it is not known.
    """

    label: str
    found: int
    marked: int
    detected: int
    hours: float | None

    @property
    def precision(self) -> float | None:
        """Share of the detected events that were marked, 0 to 1; None if none was detected."""
        return self.found / self.detected if self.detected else None

    @property
    def recall(self) -> float | None:
        """Share of the marked events that were detected, 0 to 1; None if none was marked."""
        return self.found / self.marked if self.marked else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None if there are no events at all."""
        events = self.marked + self.detected
        return 2 * self.found / events if events else None

    @property
    def false_alarms(self) -> int:
        """Detected events that nobody marked."""
        return self.detected - self.found

    @property
    def alarms_per_hour(self) -> float | None:
        """False alarms an hour; None if the length of the recordings is not known."""
        return self.false_alarms / self.hours if self.hours else None

    def row(self) -> dict[str, str | float | None]:
        """Return all of it as one row of a table."""
        return {
            "label": self.label,
            "marked": self.marked,
            "detected": self.detected,
            "found": self.found,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "false_alarms": self.false_alarms,
            "alarms_per_hour": self.alarms_per_hour,
        }


class EventScores(NamedTuple):
    """Scores by class, and of all events together.

    Parameters
    ----------
    classes : dict of str to ClassScore
        Sorted by class: those that were marked or detected.
    overall : ClassScore
        Each event counts once, whatever its class.
    rule : str
        When two events can be paired, in words.
    """

    classes: dict[str, ClassScore]
    overall: ClassScore
    rule: str

    @property
    def macro_f1(self) -> float | None:
        """Mean F1 over the classes that were marked; None if there are none."""
        marked = [score.f1 or 0.0 for score in self.classes.values() if score.marked]
        return sum(marked) / len(marked) if marked else None


def score_events(
    truth: Iterable[Span],
    detected: Iterable[Span],
    *,
    durations: Mapping[str, float] | None = None,
    collar: float | None = None,
    end_share: float = 0.5,
) -> EventScores:
    """Score detected events.

    Parameters
    ----------
    truth, detected : iterable of events
        Events of one class in one recording can be paired; recordings are told apart by their
        exact name (see :func:`by_stem`).
    durations : mapping of str to float, or None
        Length in seconds of every recording that was listened to, those without events too.
        None: no alarms an hour.
    collar : float or None
        None: events can be paired if they overlap. Else their starts may differ by this many
        seconds, and their ends by as many, or by `end_share` of the marked event's length if that
        is more (sed_eval's event-based metric, which takes 0.2 s and 0.5).
    end_share : float
        0 to 1.

    Raises
    ------
    ConfigError
        If `collar` is negative, or `end_share` is not between 0 and 1.
    DatasetError
        If an event lies in a recording that `durations` lacks.

    Examples
    --------
    >>> from spectro.listening.events.labels import Labelled
    >>> truth = [Labelled("a", 1, 2, "saw"), Labelled("a", 5, 6, "saw")]
    >>> found = [Labelled("a", 1.5, 3, "saw"), Labelled("a", 8, 9, "saw")]
    >>> scores = score_events(truth, found, durations={"a": 1800})
    >>> scores.overall.precision, scores.overall.recall, scores.overall.alarms_per_hour
    (0.5, 0.5, 2.0)
    """
    if collar is not None and not collar >= 0:
        raise ConfigError(f"collar is {collar:g} s: choose 0 or more")
    if not 0 <= end_share <= 1:
        raise ConfigError(f"end_share is {end_share:g}: choose it between 0 and 1")
    wanted, found = _grouped(truth), _grouped(detected)
    _check_recordings({recording for _, recording in {**wanted, **found}}, durations)
    hours = None if durations is None else sum(durations.values()) / 3600
    labels = sorted({label for label, _ in {**wanted, **found}})
    classes = {}
    for label in labels:
        keys = [key for key in {**wanted, **found} if key[0] == label]
        paired = sum(len(match(wanted[k], found[k], collar, end_share)) for k in keys)
        marks, alarms = (sum(len(events[k]) for k in keys) for events in (wanted, found))
        classes[label] = ClassScore(label, paired, marks, alarms, hours)
    return EventScores(classes, _overall(classes, hours), _rule(collar, end_share))


def _grouped(events: Iterable[Span]) -> defaultdict[tuple[str, str], list[Span]]:
    groups: defaultdict[tuple[str, str], list[Span]] = defaultdict(list)
    for event in events:
        groups[event.label, event.recording].append(event)
    return groups


def _check_recordings(recordings: set[str], durations: Mapping[str, float] | None) -> None:
    unknown = sorted(recordings - set(durations)) if durations is not None else []
    if unknown:
        raise DatasetError(
            f"{unknown[0]}: has events, and is not among the recordings that were listened to; "
            "name every recording, or leave out those without marks with --marked-only"
        )


def _overall(classes: dict[str, ClassScore], hours: float | None) -> ClassScore:
    scores = classes.values()
    found, marked = sum(s.found for s in scores), sum(s.marked for s in scores)
    return ClassScore("", found, marked, sum(s.detected for s in scores), hours)


def _rule(collar: float | None, end_share: float) -> str:
    if collar is None:
        return "any overlap"
    return f"starts within {collar:g} s, ends within {collar:g} s or {end_share:.0%} of the length"


def match(
    truth: Sequence[Span], detected: Sequence[Span], collar: float | None, end_share: float = 0.5
) -> list[tuple[int, int]]:
    """Pair as many events as can be, each with at most one.

    Parameters
    ----------
    truth, detected : sequence of events
        Of one class and one recording.
    collar, end_share
        As for :func:`score_events`.

    Returns
    -------
    pairs : list of tuple of int
        Indices into `truth` and `detected`, sorted.
    """
    order = sorted(range(len(detected)), key=lambda j: (detected[j].start, detected[j].end, j))
    place = {j: k for k, j in enumerate(order)}
    groups = _by_length(order, detected)
    edges = []
    for event in truth:
        until = event.end if collar is None else event.start + collar
        near: list[int] = []
        for longest, starts, some in groups:
            since = event.start - (longest if collar is None else collar)
            near += some[_first(starts, since) : _first(starts, until, after=True)]
        found = [j for j in near if _pairable(event, detected[j], collar, end_share)]
        edges.append(sorted(found, key=place.__getitem__))
    return _maximum(edges)


def _by_length(
    order: list[int], detected: Sequence[Span]
) -> list[tuple[float, list[float], list[int]]]:
    """Group events of like length: one long event would else make all before it candidates.

    Returns
    -------
    groups : list of (longest, starts, indices)
        Of each group its greatest length in seconds, and its events in order of their starts.
    """
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for j in order:
        alike[math.frexp(detected[j].end - detected[j].start)[1]].append(j)
    return [
        (
            max(detected[j].end - detected[j].start for j in some),
            [detected[j].start for j in some],
            some,
        )
        for some in alike.values()
    ]


def _first(starts: list[float], time: float, *, after: bool = False) -> int:
    """Return the index of the first start at or after `time`, or the first behind it."""
    if after:
        return bisect.bisect_right(starts, time + _SLACK)
    return bisect.bisect_left(starts, time - _SLACK)


def _pairable(marked: Span, found: Span, collar: float | None, end_share: float) -> bool:
    if collar is None:
        overlap = min(marked.end, found.end) - max(marked.start, found.start)
        point = marked.start == marked.end or found.start == found.end  # a moment, without length
        return overlap > 0 or (overlap == 0 and point)
    at_end = max(collar, end_share * (marked.end - marked.start))
    near = abs(marked.start - found.start) <= collar + 1e-9
    return near and abs(marked.end - found.end) <= at_end + 1e-9


def _maximum(edges: list[list[int]]) -> list[tuple[int, int]]:
    """Pair left nodes with right ones, as many as can be, by augmenting paths."""
    partner: dict[int, int] = {}  # left node of a right one
    for root in range(len(edges)):
        _augment(edges, partner, root)
    return sorted((i, j) for j, i in partner.items())


def _augment(edges: list[list[int]], partner: dict[int, int], root: int) -> None:
    """Pair `root` too, if the others can make room: breadth first, so that no stack grows."""
    came: dict[int, int] = {}  # left node from which a right one was reached
    took: dict[int, int | None] = {root: None}  # right node that a left one would give up
    queue = deque([root])
    while queue:
        node = queue.popleft()
        for j in edges[node]:
            if j in came:
                continue
            came[j] = node
            if j not in partner:
                _turn(came, took, partner, j)
                return
            took[partner[j]] = j
            queue.append(partner[j])


def _turn(
    came: dict[int, int], took: dict[int, int | None], partner: dict[int, int], free: int
) -> None:
    """Give each node on the path to `free` the one after it."""
    at: int | None = free
    while at is not None:
        node = came[at]
        partner[at] = node
        at = took[node]


def by_stem(names: Iterable[str | Path]) -> dict[str, str]:
    """Map the stem of each recording to its name, for labels that know only the stem.

    Raises
    ------
    DatasetError
        If two recordings share one.
    """
    found: dict[str, str] = {}
    for name in map(str, names):
        other = found.setdefault(Path(name).stem, name)
        if other != name:
            raise DatasetError(f"{name}: has the stem of {other}; name one of them anew")
    return found
