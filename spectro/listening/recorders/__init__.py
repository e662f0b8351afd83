"""When a recording began, and where: told by the user, or by what the recorder wrote.

In that order: a start that the user gives, GUANO, AudioMoth's comment, the file name. A time zone
that nobody states is not guessed.
"""

from __future__ import annotations

import os
import re
from datetime import MAXYEAR, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from spectro.errors import AudioError, ConfigError
from spectro.listening.recorders.names import (
    YEARS,
    NamedPlace,
    begin_in_name,
    moment,
    place_in_name,
)
from spectro.listening.recorders.riff import Words, read_words
from spectro.listening.unread import unread

__all__ = ["Beginning", "Source", "beginning", "parse_comment", "parse_guano", "parse_start_time"]

Source = Literal["start-time", "GUANO", "comment", "name", "none"]

_COMMENT = re.compile(
    r"Recorded at (\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,6}))? (\d{1,2})/(\d{1,2})/(\d{4})"
    r" \(UTC([+-]\d{1,2}(?::?\d{2})?)?\)"
)
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?"
    r"\s*(Z|z|[+-]\d{1,2}(?::?\d{2})?)?"
)


class Beginning(NamedTuple):
    """When a recording began, and where.

    Parameters
    ----------
    time : datetime or None
        Without a zone if none is stated; None if nothing tells the time.
    source : "start-time", "GUANO", "comment", "name" or "none"
        What told the time.
    place : NamedPlace or None
        From GUANO or the name.
    unread : str
        A time that is there and cannot be read, with where it stands; "" for none.
    """

    time: datetime | None = None
    source: Source = "none"
    place: NamedPlace | None = None
    unread: str = ""

    def __str__(self) -> str:
        """Say it to a person in a few words."""
        if self.time is None:
            told = "start time not known"
        else:
            zone = "" if self.time.tzinfo else ", time zone not stated"
            told = f"began {self.time.isoformat(sep=' ')} (from {self._told_by}{zone})"
        return f"{told}; not readable: {self.unread}" if self.unread else told

    @property
    def _told_by(self) -> str:
        names = {"start-time": "--start-time", "comment": "the comment", "name": "the file name"}
        return names.get(self.source, self.source)


def beginning(path: str | Path, start_time: datetime | None = None) -> Beginning:
    """Find out when a recording began.

    Parameters
    ----------
    path : str or Path
        Sound file.
    start_time : datetime or None
        What the user says, which counts before all else (:func:`parse_start_time`).

    Raises
    ------
    AudioError
        If the file cannot be read.
    """
    try:
        words = read_words(path)
    except OSError as error:
        raise AudioError(unread(str(path), error)) from None
    return _beginning(os.path.basename(path), words, start_time)


def _beginning(name: str, words: Words, start_time: datetime | None) -> Beginning:
    guano, place, bad_guano = parse_guano(words.guano)
    told: list[tuple[Source, datetime | None]] = [
        ("start-time", start_time),
        ("GUANO", guano),
        ("comment", parse_comment(words.comment)),
        ("name", begin_in_name(name)),
    ]
    place = place or place_in_name(name)
    unread = f"GUANO Timestamp {bad_guano[:80]!r}" if bad_guano else ""
    if not unread and "Recorded at" in words.comment and told[2][1] is None:
        unread = f"comment {words.comment[:80]!r}"
    for source, time in told:
        if time is not None:
            return Beginning(time, source, place, unread)
    return Beginning(place=place, unread=unread)


def parse_comment(comment: str) -> datetime | None:
    """Read the time of AudioMoth's comment, whose dates have the day first.

    Parameters
    ----------
    comment : str
        The comment, or a text that holds it.

    Returns
    -------
    begin : datetime or None
        With the zone that the comment states; None if it holds no time that exists.

    Examples
    --------
    >>> text = "Recorded at 19:22:55 14/12/2020 (UTC-5) by AudioMoth 24F at medium gain ..."
    >>> parse_comment(text).isoformat()
    '2020-12-14T19:22:55-05:00'
    """
    match = _COMMENT.search(comment)
    if match is None:
        return None
    hour, minute, second, fraction, day, month, year, zone = match.groups()
    numbers = (int(year), int(month), int(day), int(hour), int(minute), int(second))
    return _of_recorder(moment(*numbers, int((fraction or "").ljust(6, "0")), zone=zone or "Z"))


def parse_guano(text: str) -> tuple[datetime | None, NamedPlace | None, str]:
    """Read the time and the place of a GUANO text.

    Parameters
    ----------
    text : str
        Lines ``Key: value``; "" for none.

    Returns
    -------
    begin : datetime or None
        With a zone only if the text has one.
    place : NamedPlace or None
    unread : str
        A ``Timestamp`` that is there and cannot be read; else "".
    """
    fields = dict(_guano_field(line) for line in text.splitlines() if ":" in line)
    stamp = fields.get("Timestamp", "")
    begin = _of_recorder(_timestamp(stamp))
    return begin, _guano_place(fields.get("Loc Position", "")), stamp if begin is None else ""


def _of_recorder(time: datetime | None) -> datetime | None:
    """Give a time that a recorder can have written; others may lie beyond the calendar soon."""
    return time if time is not None and time.year in YEARS else None


def _guano_field(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()


def _guano_place(text: str) -> NamedPlace | None:
    try:
        latitude, longitude = map(float, text.replace(",", " ").split()[:2])
    except ValueError:
        return None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):  # nor is NaN
        return None
    return NamedPlace(latitude, longitude)


def _timestamp(text: str) -> datetime | None:
    """Read an ISO 8601 time; Python's own reader knows all its forms only since 3.11."""
    match = _TIMESTAMP.fullmatch(text.strip())
    if match is None:
        return None
    numbers, fraction = match.groups()[:6], (match[7] or "")[:6].ljust(6, "0")
    return moment(*(int(number or 0) for number in numbers), int(fraction), zone=match[8])


def parse_start_time(text: str) -> datetime:
    """Read a start time that the user gives: ISO 8601, with a zone or without.

    Raises
    ------
    ConfigError
        If it is none.

    Examples
    --------
    >>> parse_start_time("2026-05-01 04:30").isoformat()
    '2026-05-01T04:30:00'
    """
    time = _timestamp(text)
    if time is None or time.year == MAXYEAR:  # in which a recording would end beyond the calendar
        raise ConfigError(f"{text!r} is no start time: write it as 2026-05-01T04:30:00+02:00")
    return time
