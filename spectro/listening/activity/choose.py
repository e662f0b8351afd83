"""Events and effort from a store or a table, and the part of them that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from spectro.errors import ConfigError, DatasetError
from spectro.listening.events.finding import Event
from spectro.listening.events.store import Effort, EventStore, is_store
from spectro.listening.events.tables import read_csv
from spectro.listening.recorders import parse_start_time

__all__ = ["Choice", "Heard", "choose", "read_events", "wall_time"]


class Heard(NamedTuple):
    """Events, and when somebody listened; None if that is not known."""

    events: list[Event]
    effort: list[Effort] | None


class Choice(NamedTuple):
    """Which events are wanted.

    Parameters
    ----------
    since, until : datetime or None
        By the recorder's clock, without a zone: events that start from `since` on, before `until`.
    labels, sites : frozenset of str
        None in them means all.
    min_probability : float
        Of the event's peak, 0 to 1.
    """

    since: datetime | None = None
    until: datetime | None = None
    labels: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()
    min_probability: float = 0.0


def read_events(path: str | Path) -> Heard:
    """Read the file of a store, or a table of events as CSV, which knows nothing of effort.

    Raises
    ------
    DatasetError
        If it is neither, or damaged.
    """
    try:
        if is_store(path):
            store = EventStore(path)
            return Heard(list(store.events()), list(store.effort()))
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from None
    return Heard(list(read_csv(path)), None)


def wall_time(event: Event) -> datetime | None:
    """Return when an event started by the recorder's own clock; None if that is not known.

    Raises
    ------
    DatasetError
        If what it says is no time.
    """
    if not event.begin_time:
        return None
    try:
        return parse_start_time(event.begin_time).replace(tzinfo=None)
    except ConfigError:
        raise DatasetError(
            f"{event.recording}: the event at {event.start:g} s has the time "
            f"{event.begin_time[:80]!r}, which is none; mend it"
        ) from None


def choose(heard: Heard, choice: Choice) -> Heard:
    """Keep what was asked for. Events without a time are kept where no time was asked for."""
    events = [event for event in heard.events if _wanted(event, choice)]
    if heard.effort is None:
        return Heard(events, None)
    return Heard(events, list(_effort(heard.effort, choice)))


def _wanted(event: Event, choice: Choice) -> bool:
    if choice.labels and event.label not in choice.labels:
        return False
    if choice.sites and event.site not in choice.sites:
        return False
    if event.peak < choice.min_probability:
        return False
    if choice.since is None and choice.until is None:
        return True
    time = wall_time(event)
    if time is None or (choice.since is not None and time < choice.since):
        return False
    return choice.until is None or time < choice.until


def _effort(efforts: Iterable[Effort], choice: Choice) -> Iterator[Effort]:
    """Cut effort to the times that were asked for."""
    for effort in efforts:
        if choice.sites and effort.site not in choice.sites:
            continue
        start, end = (time.replace(tzinfo=None) for time in (effort.start, effort.end))
        start, end = max(start, choice.since or start), min(end, choice.until or end)
        if start < end:
            yield effort._replace(start=start, end=end)
