"""Events of months in one SQLite file, and when somebody listened at all.

::

    store = EventStore("events.sqlite")
    store.add(found.events)
    store.add_effort("garden", began, ended, site="north")

Adding the same again does no harm. Several processes may write to one file.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from spectro.errors import DatasetError
from spectro.listening.events.finding import Event, is_event
from spectro.listening.events.tables import unicode_only
from spectro.listening.scan import Found, ScanSettings
from spectro.plumbing.files import open_regular

__all__ = ["Effort", "EventStore", "add_found", "event_id", "is_store"]

_APPLICATION = 0x53504556  # "SPEV", in the file's header
_VERSION = 1
_MARK = b"SQLite format 3\0"
_DECIMALS = 6
_LONGEST = 1 << 20  # bytes of a value, or of a row
_SHOWN = 80  # characters of a name that a message shows
_PATIENCE = 30.0  # s to wait for another writer
_AT_ONCE = 200  # recordings that are added together, while other writers wait
_BY_RECORDING = "CREATE INDEX IF NOT EXISTS by_recording ON events (recording, site, model)"
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY, {", ".join(f"{name} NOT NULL" for name in Event._fields)}
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_time ON events (begin_time);
CREATE TABLE IF NOT EXISTS effort (
    source TEXT NOT NULL, site TEXT NOT NULL, began TEXT NOT NULL, ended TEXT NOT NULL,
    PRIMARY KEY (source, site, began, ended)
) WITHOUT ROWID;
"""


class Effort(NamedTuple):
    """A time in which somebody listened.

    Parameters
    ----------
    source : str
        Who: a recording, or a source of sound.
    site : str
    start, end : datetime
        By the recorder's clock; with a zone or without, as in the events.
    """

    source: str
    site: str
    start: datetime
    end: datetime


def add_found(store: EventStore, found: Iterable[Found], settings: ScanSettings) -> int:
    """Add what a scan found in recordings, and that they were listened to; return the new events.

    What the same model found in one before, with other settings, goes, and so does the time that it
    was said to be of. A recording is known by its whole path: recorders at two sites give the same
    names.

    Raises
    ------
    DatasetError
        As the methods of :class:`EventStore`.
    """
    added, left = 0, iter(found)
    while some := list(itertools.islice(left, _AT_ONCE)):
        with store._writing() as connection:
            for one in some:
                whole = os.path.realpath(one.heard.recording)
                _say_heard(connection, one, whole, settings.site)
                events = [event._replace(recording=whole) for event in one.events]
                added += _insert(connection, events, (whole, settings.site, settings.model))
    return added


def _say_heard(connection: sqlite3.Connection, found: Found, whole: str, site: str) -> None:
    """Say when a recording was made, instead of what was said of it before."""
    source = (_plain(whole), _plain(site))
    connection.execute("DELETE FROM effort WHERE (source, site) = (?, ?)", source)
    if found.begin is not None:
        ended = found.begin + timedelta(seconds=found.heard.duration)
        row = (*source, found.begin.isoformat(), ended.isoformat())
        connection.execute("INSERT OR IGNORE INTO effort VALUES (?, ?, ?, ?)", row)


def _insert(
    connection: sqlite3.Connection, events: Iterable[Event], instead_of: tuple[str, ...] | None
) -> int:
    """Insert events; of a recording, site and model, others than these are removed."""
    rows = [(event_id(event), *map(_plain, event)) for event in events]
    if instead_of is not None:
        kept = json.dumps([row[0] for row in rows])
        connection.execute(
            "DELETE FROM events WHERE (recording, site, model) = (?, ?, ?) "
            "AND id NOT IN (SELECT value FROM json_each(?))",
            (*map(_plain, instead_of), kept),
        )
    before = connection.total_changes
    marks = ", ".join("?" * (len(Event._fields) + 1))
    connection.executemany(f"INSERT OR IGNORE INTO events VALUES ({marks})", rows)
    return connection.total_changes - before


def event_id(event: Event) -> str:
    """Name an event by its content: 32 hexadecimal digits, the same whenever it is found again."""
    text = json.dumps([_plain(value) for value in event], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def is_store(path: str | Path) -> bool:
    """Tell whether a file is an SQLite file.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with open_regular(path) as file:
        return file.read(len(_MARK)) == _MARK


class EventStore:
    """A file of events and of effort.

    Parameters
    ----------
    path : str or Path
        Made by the first that is added.
    patience : float
        Seconds to wait for another writer.

    Raises
    ------
    DatasetError
        By every method, if the file is none of these, damaged, or cannot be written or read.
    """

    def __init__(self, path: str | Path, patience: float = _PATIENCE) -> None:
        self.path, self.patience = Path(path), patience

    def prepare(self) -> None:
        """Find out whether it can be written, before there is anything to write."""
        self.add(())

    def add(
        self, events: Iterable[Event], *, instead_of: tuple[str, str, str] | None = None
    ) -> int:
        """Add events, all or none; return how many were new.

        Numbers are kept to six decimals, as in the tables, so that an event is the same from there.

        Parameters
        ----------
        events : iterable of Event
        instead_of : tuple of str, or None
            Recording, site and model: other events of all three are removed.
        """
        with self._writing() as connection:
            return _insert(connection, events, instead_of)

    def add_effort(
        self,
        source: str,
        start: datetime,
        end: datetime,
        *,
        site: str = "",
        instead_of: tuple[datetime, datetime] | None = None,
    ) -> None:
        """Say that somebody listened from `start` to `end`, whether or not there was an event.

        Parameters
        ----------
        source : str
            A recording, or a source of sound.
        start, end : datetime
            By the same clock as the events' ``begin_time``.
        site : str
        instead_of : tuple of datetime, or None
            Start and end that were said before, of a time that went on since, or was told wrong.
        """
        if end < start:
            raise DatasetError(f"{source}: listening ended, {end}, before it began, {start}")
        row = (_plain(source), _plain(site), start.isoformat(), end.isoformat())
        with self._writing() as connection:
            if instead_of is not None:
                query = "DELETE FROM effort WHERE (source, site, began, ended) = (?, ?, ?, ?)"
                connection.execute(query, (*row[:2], *(time.isoformat() for time in instead_of)))
            connection.execute("INSERT OR IGNORE INTO effort VALUES (?, ?, ?, ?)", row)

    def events(self) -> Iterator[Event]:
        """Read all events, in order of time; those without a time come first."""
        columns = ", ".join(Event._fields)
        with self._reading() as connection:
            query = f"SELECT {columns} FROM events ORDER BY begin_time, recording, start, label"
            for row in connection.execute(query):
                yield _event(row, self.path)

    def effort(self) -> Iterator[Effort]:
        """Read when somebody listened, in order of time."""
        with self._reading() as connection:
            query = "SELECT source, site, began, ended FROM effort ORDER BY began, source"
            for source, site, began, ended in connection.execute(query):
                try:
                    times = datetime.fromisoformat(began), datetime.fromisoformat(ended)
                except (TypeError, ValueError):
                    raise DatasetError(f"{self.path}: a time in it is none; restore it") from None
                yield Effort(str(source), str(site), *times)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._told(), closing(sqlite3.connect(self.path, timeout=self.patience)) as connection:
            _bound(connection)
            _prepare(connection, self.patience)
            _check(connection, self.path)
            connection.execute("PRAGMA synchronous = FULL")
            with connection:
                connection.execute(_BY_RECORDING)  # files of earlier versions lack it
                yield connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if not self.path.is_file():
            raise DatasetError(f"{self.path}: no such file; spectro scan and listen write it")
        address = f"{self.path.absolute().as_uri()}?mode=ro"
        opened = sqlite3.connect(address, uri=True, timeout=self.patience)
        with self._told(), closing(opened) as connection:
            _bound(connection)
            _check(connection, self.path)
            yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise DatasetError(
                f"{self.path}: is no file of events, or cannot be read or written ({error}); "
                "name another, or restore it"
            ) from None


def _prepare(connection: sqlite3.Connection, patience: float) -> None:
    """Make the tables of a new file; of several that do so at once, each waits for the others.

    SQLite itself does not wait where the kind of journal is changed.
    """
    until = time.monotonic() + patience
    while True:
        try:
            if _is_new(connection):
                connection.execute("PRAGMA journal_mode = WAL")
                _create(connection)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= until:
                raise
            time.sleep(0.02)


def _create(connection: sqlite3.Connection) -> None:
    """Make the tables, all at once: another process sees none of them, or all."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)


def _is_new(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (marked,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return tables == 0 and marked in (0, _APPLICATION) and version in (0, _VERSION)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse the files of other programs and of later versions."""
    (marked,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if marked != _APPLICATION:
        raise DatasetError(f"{path}: is another program's file; name another")
    if version != _VERSION:
        raise DatasetError(
            f"{path}: has schema {version}, not {_VERSION}; read it with the version of spectro "
            "that wrote it"
        )
    found = _parts(connection)
    if not {"events", "effort"} <= found.keys():
        raise DatasetError(f"{path}: holds no table of events; restore it, or name another")
    ours = _our_parts()
    other = sorted(name for name, text in found.items() if ours.get(name) != text)
    if other:  # a trigger or a computed column works with every row, for ever if it likes
        raise DatasetError(
            f"{path}: {unicode_only(other[0][:_SHOWN])!r} in it is not of spectro's making; name "
            "another, or drop it"
        )


def _parts(connection: sqlite3.Connection) -> dict[str, str]:
    """Return what belongs to the two tables, themselves, indexes and triggers: SQL by name."""
    query = (
        "SELECT name, sql FROM sqlite_master WHERE lower(tbl_name) IN ('events', 'effort') "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"  # names that SQLite gives, and nobody else
    )
    return {str(name): " ".join(str(text).split()) for name, text in connection.execute(query)}


@functools.cache
def _our_parts() -> dict[str, str]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(f"{_SCHEMA};{_BY_RECORDING};")
        return _parts(connection)


def _bound(connection: sqlite3.Connection) -> None:
    """Trust nothing that the file defines, and read no value that is longer than any of ours."""
    connection.execute("PRAGMA trusted_schema = OFF")
    if sys.version_info >= (3, 11):
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)


def _plain(value: object) -> object:
    if isinstance(value, str):
        return unicode_only(value)
    return round(float(value), _DECIMALS) if isinstance(value, float) else value


def _event(row: tuple[object, ...], path: Path) -> Event:
    """Check a row, and make an event of it."""
    event = Event(*row)  # type: ignore[arg-type]
    if not is_event(event):
        raise DatasetError(f"{path}: an event in it is damaged; restore the file")
    return event
