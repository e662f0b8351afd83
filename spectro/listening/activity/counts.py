"""Events by hour and day, and the share of each hour in which somebody listened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

from spectro.errors import ConfigError
from spectro.listening.activity.choose import Heard, wall_time
from spectro.listening.events.store import Effort

__all__ = ["Activity", "Hour", "count"]

Hour = tuple[date, int]

_MOST_DAYS = 1_100  # three years: more could not be told apart in a picture
_SECONDS = 3_600.0


class Activity(NamedTuple):
    """What there is to draw.

    Parameters
    ----------
    days : list of date
        All of them, from the first to the last.
    counts : dict of str to dict
        For each class, how many events started in an hour of a day.
    listened : dict or None
        Share of each hour in which somebody listened, 0 to 1; None if nobody knows.
    untimed : int
        Events whose time is not known: they are in no hour.
    """

    days: list[date]
    counts: dict[str, dict[Hour, int]]
    listened: dict[Hour, float] | None
    untimed: int


def count(heard: Heard) -> Activity:
    """Count events by hour and day, and add up the effort; two who listen at once count once.

    Raises
    ------
    ConfigError
        If there is nothing with a time, or it spans more than three years.
    """
    counts: dict[str, Counter[Hour]] = {}
    untimed = 0
    for event in heard.events:
        time = wall_time(event)
        if time is None:
            untimed += 1
            continue
        counts.setdefault(event.label, Counter())[time.date(), time.hour] += 1
    listened = None if heard.effort is None else _shares(heard.effort)
    hours = [hour for each in counts.values() for hour in each] + list(listened or ())
    return Activity(_days(hours), {k: dict(counts[k]) for k in sorted(counts)}, listened, untimed)


def _days(hours: list[Hour]) -> list[date]:
    if not hours:
        raise ConfigError(
            "no event and no listening has a time of day; give spectro scan --start-time"
        )
    first, last = min(hours)[0], max(hours)[0]
    number = (last - first).days + 1
    if number > _MOST_DAYS:
        raise ConfigError(
            f"{number:,} days, from {first} to {last}, are too many for a picture; "
            "choose with --since and --until"
        )
    return [first + timedelta(days=i) for i in range(number)]


def _shares(efforts: Iterable[Effort]) -> dict[Hour, float]:
    shares: Counter[Hour] = Counter()
    for start, end in _merged(efforts):
        for hour, seconds in _by_hour(start, end):
            shares[hour] += seconds / _SECONDS  # type: ignore[assignment]
    return {hour: min(1.0, float(share)) for hour, share in shares.items()}


def _merged(efforts: Iterable[Effort]) -> Iterator[tuple[datetime, datetime]]:
    """Join times that overlap."""
    spans = sorted((e.start.replace(tzinfo=None), e.end.replace(tzinfo=None)) for e in efforts)
    begun: tuple[datetime, datetime] | None = None
    for start, end in spans:
        if begun is not None and start <= begun[1]:
            begun = begun[0], max(begun[1], end)
            continue
        if begun is not None:
            yield begun
        begun = start, end
    if begun is not None:
        yield begun


def _by_hour(start: datetime, end: datetime) -> Iterator[tuple[Hour, float]]:
    """Cut a time at full hours; of more than three years, three years are enough to refuse."""
    end = min(end, start + timedelta(days=_MOST_DAYS + 1))
    while start < end:
        following = start.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        until = min(following, end)
        yield (start.date(), start.hour), (until - start).total_seconds()
        start = until
