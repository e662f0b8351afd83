"""What a scan leaves behind: tables for people and programs, evidence, a page.

All of it is written from what was kept of each recording, in the order of the recordings, each file
in one step: it does not depend on who scanned what, nor on how often that was interrupted.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from spectro.listening.events.annotations import (
    Heard,
    sound_selection_table,
    write_audacity,
    write_raven,
)
from spectro.listening.events.finding import Event
from spectro.listening.events.tables import (
    decimal,
    guard,
    unicode_only,
    write_csv,
    write_jsonl,
    write_parquet,
)
from spectro.listening.scan import Found, Outcome, ScanSettings, heard_in
from spectro.models.card import ModelCard
from spectro.plumbing.files import write_text

__all__ = ["FILES", "FORMATS", "Format", "Results", "Summary", "began_at", "failed", "write_tables"]

Format = Literal["csv", "jsonl", "parquet", "audacity", "raven"]
FORMATS: tuple[Format, ...] = get_args(Format)

FILES: dict[Format, tuple[str, ...]] = {
    "jsonl": ("events.jsonl",),
    "parquet": ("events.parquet",),
    "audacity": ("audacity",),
    "raven": ("raven", "raven-all.selections.txt"),
}
"""What each format is written as, beside the CSV that is always written."""

_COLUMNS = ("recording", "seconds", "sr", "began", "began_from", "events", "error", "schema")
_SCHEMA = 2  # of recordings.csv: raised when a column changes its name or its meaning


class Results(NamedTuple):
    """A scan that is over.

    Parameters
    ----------
    out : Path
        The folder.
    recordings : sequence of str
        All that were asked for.
    settings : ScanSettings
    card : ModelCard
    errors : dict of str to str
        Why a recording could not be read.
    """

    out: Path
    recordings: Sequence[str]
    settings: ScanSettings
    card: ModelCard
    errors: dict[str, str]

    def found(self) -> Iterator[Found]:
        """Give what was found in each recording that could be read, in order."""
        readable = (one for one in self.recordings if one not in self.errors)
        return heard_in(readable, self.out, self.settings)

    def with_lost(self) -> Results:
        """Name the recordings too of which nothing is kept any more.

        Another scan with other settings, in the same folder at the same time, puts what it finds
        in the place of what this one found.
        """
        there = {one.heard.recording for one in self.found()}
        lost = [one for one in self.recordings if one not in there and one not in self.errors]
        why = "another scan put what it found in the place; scan again, with an --out of its own"
        return self._replace(errors={**self.errors, **{one: f"{one}: {why}" for one in lost}})

    def events(self) -> Iterator[Event]:
        """Give all events, in order."""
        return (event for one in self.found() for event in one.events)

    def heard(self) -> list[Heard]:
        """Return the recordings that could be read, in order."""
        return [one.heard for one in self.found()]


def write_tables(results: Results, formats: Iterable[Format] = ()) -> list[Path]:
    """Write ``recordings.csv``, ``events.csv``, and what else is asked for; return the paths.

    Raises
    ------
    MissingExtraError
        If Parquet is asked for, and pyarrow is not installed.
    DatasetError
        If a table of Raven's is there that spectro did not write.
    """
    written = [_write_recordings(results)]
    for name in dict.fromkeys(("csv", *formats)):
        written += _WRITERS[name](results)
    return written


def _write_recordings(results: Results) -> Path:
    path, buffer = results.out / "recordings.csv", io.StringIO()
    rows = csv.writer(buffer, lineterminator="\n")
    rows.writerow(_COLUMNS)
    found = {one.heard.recording: _told(one) for one in results.found()}
    for recording in results.recordings:
        told, error = found.get(recording), results.errors.get(recording) or "not read"
        about = [*told, ""] if told else ["", "", "", "", "", guard(unicode_only(error))]
        rows.writerow([guard(unicode_only(recording)), *about, _SCHEMA])
    write_text(path, buffer.getvalue())
    return path


def _told(found: Found) -> tuple[str, int, str, str, int]:
    """Give what the table says of a recording, without its events, which may be many."""
    heard, began_from = found.heard, found.source if found.begin else ""
    return decimal(heard.duration), heard.sr, began_at(found), began_from, len(found.events)


def began_at(found: Found) -> str:
    """Return when a recording began, ISO 8601; "" if nothing tells."""
    return "" if found.begin is None else found.begin.isoformat()


def _csv(results: Results) -> list[Path]:
    write_csv(path := results.out / "events.csv", results.events())
    return [path]


def _jsonl(results: Results) -> list[Path]:
    write_jsonl(path := results.out / FILES["jsonl"][0], results.events())
    return [path]


def _parquet(results: Results) -> list[Path]:
    write_parquet(path := results.out / FILES["parquet"][0], results.events())
    return [path]


def _audacity(results: Results) -> list[Path]:
    folder = results.out / FILES["audacity"][0]
    folder.mkdir(exist_ok=True)
    write_audacity(folder, results.heard(), results.events())
    return [folder]


def _raven(results: Results) -> list[Path]:
    folder, whole = (results.out / name for name in FILES["raven"])
    spectrogram = results.card.spectrogram
    folder.mkdir(exist_ok=True)
    band = {"low": spectrogram.fmin, "high": spectrogram.fmax or spectrogram.sr / 2}
    heard = results.heard()
    write_raven(folder, heard, results.events(), **band)
    sound_selection_table(whole, heard, results.events(), **band)
    return [folder, whole]


_WRITERS: dict[Format, Callable[[Results], list[Path]]] = {
    "csv": _csv, "jsonl": _jsonl, "parquet": _parquet, "audacity": _audacity, "raven": _raven,
}  # fmt: skip


class Summary(NamedTuple):
    """What a scan comes to.

    Parameters
    ----------
    events : dict of str to int
        By class, in the model's order; classes without events too.
    hours : float
        That were heard, now or before.
    recordings : int
    sources : dict of str to int
        How many recordings' times of day came from "start-time", "GUANO", "comment", "name", or
        from nowhere ("none").
    """

    events: dict[str, int]
    hours: float
    recordings: int
    sources: dict[str, int]

    @classmethod
    def of(cls, results: Results) -> Summary:
        """Add up a scan."""
        events, sources = dict.fromkeys(results.card.labels, 0), dict[str, int]()
        seconds, recordings = 0.0, 0
        for one in results.found():
            seconds, recordings = seconds + one.heard.duration, recordings + 1
            sources[one.source] = sources.get(one.source, 0) + 1
            for event in one.events:
                events[event.label] = events.get(event.label, 0) + 1
        return cls(events, seconds / 3600, recordings, sources)


def failed(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """Return why each recording that could not be read could not."""
    return {one.recording: one.error for one in outcomes if one.error}
