"""The outbox: messages that lie on disk until they are delivered.

SQLite with a write-ahead log and ``synchronous=FULL``: what :meth:`Outbox.commit` returned from is
there after a crash or a power cut. Where the disk is full, messages wait in memory, are delivered
from there, and are written as soon as there is room.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from spectro.errors import ConfigError

__all__ = ["Batch", "Message", "Outbox"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS message(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, channel TEXT NOT NULL,
    body TEXT NOT NULL, made REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0, aside INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS message_head ON message(channel, aside, seq);
CREATE TABLE IF NOT EXISTS kept(
    kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY(kind, id));
"""
_NOTE_FAILED = "UPDATE message SET attempts = ?, due = ?, aside = ? WHERE seq = ?"
_VERSION = 1
_MOST = 200_000  # messages a channel; a network that is gone for years must not fill the disk
_MOST_IN_MEMORY = 10_000


class Message(NamedTuple):
    """A message in line.

    Parameters
    ----------
    seq : int
        Its place in line; negative in memory.
    id : str
        The same whenever it is delivered again.
    body : str
        JSON.
    made : float
        Seconds since 1970.
    attempts : int
        That failed.
    due : float
        When it is tried next, in seconds since 1970.
    """

    seq: int
    id: str
    body: str
    made: float
    attempts: int
    due: float


class Batch:
    """Changes that are written all or none."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, str, str, float]] = []
        self.changes: list[tuple[str, tuple[Any, ...]]] = []

    def send(self, channel: str, id: str, body: str, made: float) -> None:
        """Put a message in the channel's line."""
        self.messages.append((channel, id, body, made))

    def keep(self, kind: str, id: str, body: str) -> None:
        """Keep something for the next start: an event that is going on, a count."""
        self.changes.append(("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (kind, id, body)))

    def drop(self, kind: str, id: str) -> None:
        """Keep it no longer."""
        self.changes.append(("DELETE FROM kept WHERE kind = ? AND id = ?", (kind, id)))


class Outbox:
    """Messages of all channels, each in its order. Threads may share it.

    Parameters
    ----------
    path : str or Path
        The database; made where it is not there.

    Raises
    ------
    ConfigError
        If it is none, or another version's, or another process has it.

    Attributes
    ----------
    trouble : str
        Why messages wait in memory; "" while the disk takes them.
    lost : int
        Messages dropped since the start as more waited than may.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self.trouble, self.lost = "", 0
        self._memory: dict[int, tuple[str, Message]] = {}
        self._changes: dict[tuple[str, str], tuple[str, tuple[Any, ...]]] = {}  # the last of each
        self._failed: dict[int, tuple[Message, bool]] = {}  # as it is now; whether it is set aside
        self._done: set[int] = set()  # delivered, and could not be deleted yet
        self._moved: dict[int, int] = {}  # from memory to disk, while they may be under way
        self._next = -(1 << 40)
        try:
            self._db = self._opened()
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: is no outbox that can be used ({error})") from None
        self._counts = self._counted()

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=1, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA locking_mode=EXCLUSIVE")  # one listener an outbox
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise sqlite3.DatabaseError(f"version {version} of it is another spectro's")
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version={_VERSION}")
        db.execute("UPDATE message SET aside = 0, attempts = 0, due = 0 WHERE aside = 1")
        return db

    def _counted(self) -> Counter[str]:
        rows = self._db.execute("SELECT channel, count(*) FROM message GROUP BY channel")
        return Counter(dict(rows.fetchall()))

    def commit(self, batch: Batch) -> None:
        """Write all changes of a batch: to the disk, or to memory while that cannot be."""
        with self._lock:
            self.flush()
            if self.trouble or not self._try(lambda db: self._write(db, batch)):
                self._hold(batch)
            self._counts.update(channel for channel, *_ in batch.messages)
            self._bound({channel for channel, *_ in batch.messages})

    def flush(self) -> None:
        """Write what waits in memory, if the disk takes it now."""
        with self._lock:
            if not (self._memory or self._changes or self._done or self._failed):
                self.trouble = ""
                return
            moved: dict[int, int] = {}
            if self._try(lambda db: self._write_what_waits(db, moved)):
                self.trouble = ""
                self._moved.update(moved)
                for old in [*self._moved][: -2 * _MOST_IN_MEMORY]:
                    del self._moved[old]
                self._memory.clear()
                self._changes.clear()
                self._done.clear()
                self._failed.clear()

    def _write_what_waits(self, db: sqlite3.Connection, moved: dict[int, int]) -> None:
        for seq, (channel, message) in sorted(self._memory.items()):
            moved[seq] = self._insert(db, channel, message)
        db.executemany("DELETE FROM message WHERE seq = ?", [(i,) for i in self._done])
        for seq, (message, aside) in self._failed.items():
            on_disk = moved.get(seq, seq)
            db.execute(_NOTE_FAILED, (message.attempts, message.due, aside, on_disk))
        for change, values in self._changes.values():
            db.execute(change, values)

    def head(self, channel: str) -> Message | None:
        """Return the message that is next; None if none is in line."""
        with self._lock:
            found = self._first_on_disk(channel)
            if found is not None:
                return found
            for seq, (owner, message) in sorted(self._memory.items()):
                later, aside = self._failed.get(seq, (message, False))
                if owner == channel and not aside:
                    return later
            return None

    def _first_on_disk(self, channel: str) -> Message | None:
        """Skip what was delivered, or set aside, and could not be written down as such."""
        rows = self._db.execute(
            "SELECT seq, id, body, made, attempts, due FROM message "
            "WHERE channel = ? AND aside = 0 ORDER BY seq LIMIT ?",
            (channel, len(self._done) + len(self._failed) + 1),
        )
        for found in map(Message._make, rows.fetchall()):
            message, aside = self._failed.get(found.seq, (found, False))
            if message.seq not in self._done and not aside:
                return message
        return None

    def done(self, channel: str, message: Message) -> None:
        """Take a delivered message out."""
        with self._lock:
            seq = self._moved.pop(message.seq, message.seq)
            self._counts[channel] -= 1
            if self._memory.pop(seq, None) is None:
                self._done.add(seq)
            self._failed.pop(seq, None)
            self.flush()

    def failed(self, channel: str, message: Message, due: float, *, aside: bool = False) -> None:
        """Note an attempt that failed, and when the next is due.

        Parameters
        ----------
        channel : str
        message : Message
        due : float
            Seconds since 1970.
        aside : bool
            Let the others pass: it was refused too often. It is tried again at the next start.
        """
        with self._lock:
            message = message._replace(seq=self._moved.get(message.seq, message.seq))
            later = message._replace(attempts=message.attempts + 1, due=due)
            if message.seq in self._memory:
                self._memory[message.seq] = (channel, later)
            self._failed[message.seq] = (later, aside)
            self.flush()

    def kept(self, kind: str) -> dict[str, str]:
        """Return what is kept of a kind, by id."""
        with self._lock:
            rows = self._db.execute("SELECT id, body FROM kept WHERE kind = ?", (kind,))
            return dict(rows.fetchall())

    def waiting(self, channel: str) -> int:
        """Return how many messages of a channel are not delivered."""
        with self._lock:
            return self._counts[channel]

    def aside(self, channel: str) -> int:
        """Return how many messages of a channel were set aside."""
        with self._lock:
            query = "SELECT count(*) FROM message WHERE channel = ? AND aside = 1"
            return int(self._db.execute(query, (channel,)).fetchone()[0])

    def close(self) -> None:
        """Write what can be written, and close the file."""
        with self._lock:
            self.flush()
            self._db.close()

    def _try(self, work: Callable[[sqlite3.Connection], object]) -> bool:
        """Do all of it or nothing; note why where the disk does not take it."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            work(self._db)
            self._db.execute("COMMIT")
            return True
        except sqlite3.Error as error:
            self.trouble = str(error)
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            return False

    def _write(self, db: sqlite3.Connection, batch: Batch) -> None:
        for channel, name, body, made in batch.messages:
            self._insert(db, channel, Message(0, name, body, made, 0, 0.0))
        for change, values in batch.changes:
            db.execute(change, values)

    def _insert(self, db: sqlite3.Connection, channel: str, message: Message) -> int:
        done = db.execute(
            "INSERT INTO message(id, channel, body, made, attempts, due) VALUES (?, ?, ?, ?, ?, ?)",
            (message.id, channel, *message[2:]),
        )
        return int(done.lastrowid or 0)

    def _hold(self, batch: Batch) -> None:
        for channel, name, body, made in batch.messages:
            message = Message(self._next, name, body, made, 0, 0.0)
            self._memory[self._next] = (channel, message)
            self._next += 1
        for change, values in batch.changes:
            self._changes[values[:2]] = (change, values)

    def _bound(self, channels: set[str]) -> None:
        """Drop the oldest where more wait than may; that is counted."""
        while len(self._memory) > _MOST_IN_MEMORY:
            channel, _ = self._memory.pop(min(self._memory))
            self._counts[channel] -= 1
            self.lost += 1
        for channel in channels:
            over = self._counts[channel] - _MOST
            if over > 0 and not self.trouble:
                self._drop_oldest(channel, over)

    def _drop_oldest(self, channel: str, number: int) -> None:
        drop = (
            "DELETE FROM message WHERE seq IN "
            "(SELECT seq FROM message WHERE channel = ? ORDER BY seq LIMIT ?)"
        )
        if self._try(lambda db: db.execute(drop, (channel, number))):
            self._counts[channel] -= number
            self.lost += number
