"""What a person said of events: a CSV of clips that ``spectro render`` reads.

``path, label, start, end, group`` are a clip table's; ``verdict, heard, probability, peak`` say
what became of what the model heard. Events that were skipped are not in it: they come again.
"""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock, Timeout

from spectro.clips.clip import printable
from spectro.errors import DatasetError
from spectro.listening.events.finding import Event
from spectro.listening.events.tables import decimal
from spectro.plumbing.files import write_text

__all__ = ["COLUMNS", "Key", "Verdict", "VerdictName", "Verdicts", "key_of", "read_verdicts"]

VerdictName = Literal["yes", "no", "other"]
Key = tuple[str, str, str, str, str]  # recording, file, start, end, what the model heard

_MOST_BYTES = 1 << 28


class Verdict(NamedTuple):
    """One row: a clip with its label, and what the model had said.

    Parameters
    ----------
    path : str
        The recording, so that the table's reader finds it.
    label : str
        What it is, by the person.
    start, end : str
        Seconds.
    group : str
        The recording as the events name it; of what was heard live, its source and day.
    verdict : "yes", "no" or "other"
    heard : str
        The class that the model heard.
    probability, peak : str
        As the event has them.
    """

    path: str
    label: str
    start: str
    end: str
    group: str
    verdict: VerdictName
    heard: str
    probability: str
    peak: str

    @property
    def key(self) -> Key:
        """Which event this is about."""
        return self.group, _last(self.path), self.start, self.end, self.heard


COLUMNS = Verdict._fields


def key_of(event: Event, file: Path) -> Key:
    """Tell an event, and the file that it is heard in, from others."""
    name, times = printable(event.recording), (decimal(event.start), decimal(event.end))
    return name, _last(file.name), *times, event.label


def _last(path: str) -> str:
    """Return a file's name, whichever system wrote its path; its folder may have moved."""
    return re.split(r"[/\\]", path)[-1]


class Verdicts:
    """The verdicts of one review, on disk after each.

    Parameters
    ----------
    path : Path
        The CSV; what is in it already counts.

    Raises
    ------
    DatasetError
        If it is there and is no table of verdicts, or another review writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _locked(path)  # each review writes the whole table
        self._rows: dict[Key, Verdict] = {}
        if path.exists():
            self._rows = {verdict.key: verdict for verdict in read_verdicts(path)}

    def close(self) -> None:
        """Let another review write to it."""
        if self._lock is not None:
            self._lock.release()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    @property
    def last(self) -> Key | None:
        """Which event the last verdict is about; None if there is none."""
        return next(reversed(self._rows), None)

    @property
    def labels(self) -> set[str]:
        """Every label that was given."""
        return {verdict.label for verdict in self._rows.values()}

    def count(self, name: VerdictName) -> int:
        """Return how many verdicts were this one."""
        return sum(verdict.verdict == name for verdict in self._rows.values())

    def give(self, event: Event, file: Path, verdict: VerdictName, label: str) -> None:
        """Write a verdict down; when this returns, it is on disk, whole.

        Parameters
        ----------
        event : Event
        file : Path
            Where its recording is.
        verdict : "yes", "no" or "other"
        label : str
            What the clip is to be learned as.
        """
        group, _, start, end, heard = key_of(event, file)
        numbers = decimal(event.probability), decimal(event.peak)
        row = Verdict(self._named(file), label, start, end, group, verdict, heard, *numbers)
        rows = {key: kept for key, kept in self._rows.items() if key != row.key}
        self._save({**rows, row.key: row})

    def undo(self) -> None:
        """Take the last verdict back, one of an earlier session too."""
        last = self.last
        self._save({key: row for key, row in self._rows.items() if key != last})

    def _save(self, rows: dict[Key, Verdict]) -> None:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows.values())
        write_text(self.path, buffer.getvalue())
        self._rows = rows

    def _named(self, file: Path) -> str:
        """Name a recording as the reader of the table wants it: relative to it, if below it."""
        whole, home = file.absolute(), self.path.absolute().parent
        below = whole.is_relative_to(home)
        return whole.relative_to(home).as_posix() if below else str(whole)


def _locked(path: Path) -> FileLock | None:
    """Hold a table for this process alone, as long as it is reviewed; None where no file can be."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise DatasetError(
            f"{path}: another review writes to it; end that one, or name another --out"
        ) from None
    except (OSError, NotImplementedError):  # no permission, a disk without locks
        return None
    return lock


def read_verdicts(path: Path) -> list[Verdict]:
    """Read a table of verdicts, in the order in which they were given.

    Raises
    ------
    DatasetError
        If it is no such table.
    """
    if not path.exists():
        raise DatasetError(f"{path}: no such file")
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            raise DatasetError(f"{path}: is no table of verdicts; name another file")
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); name another file") from None
    if tuple(header) != COLUMNS:
        raise DatasetError(
            f"{path}: is no table of verdicts, whose columns are {','.join(COLUMNS)}; "
            "name another file"
        )
    return [_verdict(row, f"{path}, row {number}") for number, row in enumerate(rows, 1)]


def _verdict(row: list[str], where: str) -> Verdict:
    whole = len(row) == len(COLUMNS) and row[5] in ("yes", "no", "other") and row[1]
    if not whole or not _is_stretch(row[2], row[3]):
        raise DatasetError(f"{where}: is no verdict; mend it, or delete the row")
    return Verdict(*row)  # type: ignore[arg-type]


def _is_stretch(start: str, end: str) -> bool:
    try:
        return 0 <= float(start) <= float(end) < math.inf
    except ValueError:
        return False
