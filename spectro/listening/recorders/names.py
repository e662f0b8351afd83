"""What a recorder's file name says: when the recording began, and where it was made.

The names of AudioMoth, Song Meter, SWIFT, OwlSense, SoundTrap, Frontier Labs' BAR and others. A
name that only looks like a date gives none: a wrong time of day is worse than no time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import NamedTuple, TypeVar

__all__ = ["YEARS", "NamedPlace", "begin_in_name", "moment", "place_in_name", "zone"]

YEARS = range(1970, 2100)
"""In which a recorder may have written its time."""

T = TypeVar("T")


class NamedPlace(NamedTuple):
    """Degrees north and east."""

    latitude: float
    longitude: float


_ZONE = r"(?P<zone>Z(?![A-Za-z])|[+-]\d{2}(?::?\d{2})?)"
_DATE = r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
_TIME = r"(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)"
_FRACTION = r"(?:\.(?P<fraction>\d{1,6})(?![0-9A-Za-z]))?"
_BEHIND = r"(?![0-9])(?=(?P<behind>[+-]\d+:?)?)"  # a zone that was cut or mistyped, or a counter

_PATTERNS = [
    re.compile(pattern)
    for pattern in (
        # 20180226T040000.5+1000, WOO_20170611_100000+1000, ..._20171121$143444
        rf"(?<!\d){_DATE}[T_$-]{_TIME}{_FRACTION}{_ZONE}(?![0-9])",
        # SWIFT: ..._20200101_053000_-0400
        rf"(?<!\d){_DATE}[_T]{_TIME}_(?P<zone>[+-]\d{{4}})(?=[_.]|$)(?!\.\d)",
        # FNQ-RBS_20190102_044802_010: milliseconds
        rf"(?<!\d){_DATE}_{_TIME}_(?P<fraction>\d{{3}})$",
        # 20180226_040000, PREFIX_20180226_040000T
        rf"(?<!\d){_DATE}[T_$-]{_TIME}{_FRACTION}{_BEHIND}",
        # OwlSense: ..._2023-05-06_T21-30-00
        r"(?<!\d)(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[_T ]{1,2}"
        rf"(?P<hour>\d\d)-(?P<minute>\d\d)-(?P<second>\d\d){_BEHIND}",
        # 20070415051314
        rf"(?<!\d){_DATE}{_TIME}(?!\d)",
        # SoundTrap: 671629352.181204100002
        rf"^\d{{6,}}\.(?P<short>\d\d)(?P<month>\d\d)(?P<day>\d\d){_TIME}(?!\d)",
        # short_time_180801_1630
        r"(?<![0-9A-Za-z])(?P<short>\d\d)(?P<month>\d\d)(?P<day>\d\d)_"
        r"(?P<hour>\d\d)(?P<minute>\d\d)(?![0-9A-Za-z])",
        # a_2359-01012015: day first
        r"(?<![0-9A-Za-z])(?P<hour>\d\d)(?P<minute>\d\d)-"
        r"(?P<day>\d\d)(?P<month>\d\d)(?P<year>\d{4})(?![0-9A-Za-z])",
    )
]
# AudioMoth's old firmware: seconds since 1970, in eight capital hexadecimal digits.
_UNIX_TIME = re.compile(r"[0-9A-F]{8}")
_UNSET = 0x00100000  # a clock that was never set counts from 1970: the first twelve days
_AUDIOMOTHS = range(0x52000000, 0x80000000)  # 2013 to 2038: other eight digits are a serial number

_PLACES = [
    re.compile(pattern)
    for pattern in (
        # Bar29 [27.2819 90.1361], Bar29 _27.2819 90.1361_
        r"[_\[ ](?P<latitude>[+-]?\d{1,2}\.\d+) (?P<longitude>[+-]?\d{1,3}\.\d+)[_\]]",
        # ISO 6709: _-18.2656+144.5564, _+13-090
        r"(?:^|[_ ])(?P<latitude>[+-]\d{1,2}(?:\.\d+)?)(?P<longitude>[+-]\d{1,3}(?:\.\d+)?)"
        r"(?![0-9.])",
    )
]


def begin_in_name(name: str) -> datetime | None:
    """Find when a recording began in its file name.

    Parameters
    ----------
    name : str
        Without its folder, with its extension.

    Returns
    -------
    begin : datetime or None
        With a zone only if the name has one; None if the name holds no time of day.

    Examples
    --------
    >>> begin_in_name("WOO_20170611_100000+1000.wav").isoformat()
    '2017-06-11T10:00:00+10:00'
    >>> begin_in_name("5B07C752.WAV").isoformat()
    '2018-05-25T08:20:34+00:00'
    >>> begin_in_name("site12_take4.wav")
    """
    stem = _stem(name)
    if _UNIX_TIME.fullmatch(stem):
        return _unix_time(int(stem, 16))
    return _first(_PATTERNS, stem, _begin)


def _unix_time(seconds: int) -> datetime | None:
    if seconds < _UNSET or seconds in _AUDIOMOTHS:
        return datetime.fromtimestamp(seconds, tz=timezone.utc)
    return None


def place_in_name(name: str) -> NamedPlace | None:
    """Find where a recording was made in its file name.

    Examples
    --------
    >>> place_in_name("20210617T080000+0000_Rec2_-18.2656+144.5564.flac")
    NamedPlace(latitude=-18.2656, longitude=144.5564)
    """
    return _first(_PLACES, _stem(name), _place)


def _stem(name: str) -> str:
    """Take off the extension: letters and digits behind the last dot, not decimals."""
    stem, dot, extension = name.rpartition(".")
    return stem if dot and stem and not extension.isdigit() else name


def _first(
    patterns: list[re.Pattern[str]], stem: str, read: Callable[[re.Match[str]], T | None]
) -> T | None:
    """Return what `read` makes of the first match that means something."""
    for pattern in patterns:
        for match in pattern.finditer(stem):
            if (found := read(match)) is not None:
                return found
    return None


def _begin(match: re.Match[str]) -> datetime | None:
    part = match.groupdict()
    year = int(part["year"]) if part.get("year") else 2000 + int(part["short"])
    if year not in YEARS:
        return None
    if part.get("behind") and not _is_counter(part["behind"]):
        return None  # the whole time is in doubt
    told = part.get("zone") or "Z"
    if not _on_clocks(told):
        return None
    if told.startswith("-00"):
        return None  # Greenwich is never told so: it is the first of a row of files
    numbers = [year, *(int(part.get(name) or 0) for name in ("month", "day", "hour", "minute"))]
    fraction = (part.get("fraction") or "").ljust(6, "0")
    return moment(*numbers, int(part.get("second") or 0), int(fraction), zone=part.get("zone"))


def _is_counter(text: str) -> bool:
    """Tell whether the digits behind a time number files, as they cannot be a zone.

    Examples
    --------
    >>> [_is_counter(text) for text in ("-0001", "-12345", "-0400", "-9", "+0001")]
    [True, True, False, False, False]
    """
    digits = text[1:]
    if text[0] != "-" or not digits.isdigit() or len(digits) == 1:
        return False
    hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "00")
    return len(digits) > 4 or int(hours) == 0 or not _on_clocks(f"-{int(hours):02}{minutes}")


def _place(match: re.Match[str]) -> NamedPlace | None:
    found = NamedPlace(float(match["latitude"]), float(match["longitude"]))
    return found if abs(found.latitude) <= 90 and abs(found.longitude) <= 180 else None


def moment(*numbers: int, zone: str | None = None) -> datetime | None:
    """Make a time of its numbers, from the year to the microsecond.

    Parameters
    ----------
    *numbers : int
        Year, month, day, hour, minute, second, microsecond. 24:00 is the next day's 0:00.
    zone : str or None
        As :func:`zone` reads it; None or "" for none stated.

    Returns
    -------
    moment : datetime or None
        None if there is no such time.
    """
    year, month, day, hour, minute, second, microsecond = numbers
    at_midnight = hour == 24 and minute == second == microsecond == 0
    try:
        found = datetime(year, month, day, hour % 24 if at_midnight else hour, minute, second)
        found = found.replace(microsecond=microsecond)
        found += timedelta(days=at_midnight)
        return found.replace(tzinfo=_zone(zone)) if zone else found
    except (ValueError, OverflowError):
        return None


def _zone(text: str) -> timezone:
    found = zone(text)
    if found is None:
        raise ValueError(text)
    return found


def zone(text: str) -> timezone | None:
    """Read a zone: ``Z``, ``+10``, ``-5``, ``+0130``, ``+01:30``; None if it is none.

    Examples
    --------
    >>> zone("-0430")
    datetime.timezone(datetime.timedelta(days=-1, seconds=70200))
    """
    if text in ("Z", "z"):
        return timezone.utc
    parts = re.fullmatch(r"([+-])(\d{1,2})(?::?(\d{2}))?", text)
    if parts is None or int(parts[2]) > 14 or int(parts[3] or 0) > 59:
        return None
    ahead = timedelta(hours=int(parts[2]), minutes=int(parts[3] or 0))
    return timezone(-ahead if parts[1] == "-" else ahead)


def _on_clocks(text: str) -> bool:
    """Tell whether clocks have a zone today: from -12 to +14 hours, in quarters of an hour.

    Examples
    --------
    >>> [_on_clocks(text) for text in ("Z", "+0545", "-0001", "-1300")]
    [True, True, False, False]
    """
    found = zone(text)
    minutes = found.utcoffset(None).total_seconds() / 60 if found else 1
    return minutes % 15 == 0 and -720 <= minutes <= 840 and not 0 < abs(minutes) < 60
