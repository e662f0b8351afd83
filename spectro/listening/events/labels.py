"""Labels that people and other programs wrote: tables with a header, and lines without one.

Tables of Raven, BirdNET, Kaleidoscope, DESED and alike are read by their columns
(:mod:`spectro.listening.events.columns`), Audacity's and sed_eval's lines by their numbers.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spectro.errors import DatasetError
from spectro.listening.events.annotations import uncell
from spectro.listening.events.columns import Columns, find_columns, is_header
from spectro.listening.events.finding import SCHEMA
from spectro.listening.events.tables import unguard
from spectro.plumbing.files import read_bounded

__all__ = ["Labelled", "has_column", "raven_tables", "read_labels", "recording_of"]

_MOST_BYTES = 1 << 26  # of a file of labels that is read
_NOTHING = ("", "nan", "none", "na")  # what a recording without an event has for its times
_ENDINGS = re.compile(  # what programs put behind the recording's name in that of its labels
    r"(\.birdnet)?(\.table\.\d+)?"
    r"(\.(selections?(\.table)?|labels?|annotations?|audacity|raven|kaleidoscope"
    r"|results?(\.(r|csv|table|audacity|kaleidoscope))?))?(\.birdnet)?\.(txt|csv|tsv)$",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(\d+):([0-5]\d):([0-5]\d(?:[.,]\d+)?)")

Row = dict[str, str]


class Labelled(NamedTuple):
    """A sound that somebody marked in a recording.

    Parameters
    ----------
    recording : str
        Path or name of the recording, as the file of labels has it; else its stem.
    start, end : float
        Seconds from the recording's start.
    label : str
    probability : float or None
        None where the file has none.
    """

    recording: str
    start: float
    end: float
    label: str
    probability: float | None = None


class _Lines(NamedTuple):
    """The rows of a file, each with the number of its line."""

    rows: list[tuple[int, list[str]]]
    separator: str


def raven_tables(folder: str | Path) -> list[Path]:
    """Return the selection tables below a folder, sorted."""
    return sorted(Path(folder).rglob("*.selections.txt"))


def read_labels(
    path: str | Path, *, label_column: str | None = None, scores: bool = False
) -> list[Labelled]:
    """Read a file of labels, by its header, or by the numbers in its first line.

    Parameters
    ----------
    path : str or Path
        A table of tabs, commas or semicolons whose header names a start, an end or a duration, a
        class and, if it is of several recordings, the recording; the table of events is one. Or
        lines of start, end and label, with the recording before them, or recording and scene.
    label_column : str or None
        Of a table; where it has none of that name, ``Label``, ``Annotation``, ``Species`` or
        alike, whichever comes first.
    scores : bool
        Whether a number at the end of an Audacity label is its probability.

    Raises
    ------
    DatasetError
        If the file cannot be read, is too big, its columns are not known, or a row is damaged.
    """
    lines = _lines(path)
    if not lines.rows:
        return []
    first = lines.rows[0][1]
    if is_header(first) or not any(_seconds(cell) is not None for cell in first):
        return _read_table(path, lines, label_column)
    return list(_read_lines(path, lines, scores))


def has_column(path: str | Path, name: str) -> bool:
    """Tell whether a file has a header with this column."""
    lines = _lines(path)
    return bool(lines.rows) and name in lines.rows[0][1]


def _lines(path: str | Path) -> _Lines:
    """Read a file as rows of cells."""
    text = _read(path)
    lines = [(n, line) for n, line in enumerate(re.split(r"\r\n|\r|\n", text), 1) if line.strip()]
    first = lines[0][1] if lines else ""
    separator = "\t" if "\t" in first else max(";,", key=first.count)
    if separator == "\t":  # a quote in Raven's and Audacity's is one
        return _Lines([(n, line.split("\t")) for n, line in lines], separator)
    if separator not in first:
        return _Lines([(n, line.split(None, 2)) for n, line in lines], " ")
    table = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        rows = [(table.line_num, row) for row in table if any(map(str.strip, row))]
        return _Lines(rows, separator)
    except csv.Error as error:
        raise DatasetError(f"{path}: is no CSV ({error})") from None


def _read(path: str | Path) -> str:
    try:
        content = read_bounded(path, _MOST_BYTES)
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # Windows' "Unicode"
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: is not UTF-8; save it as that, as CSV or text") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from None


def recording_of(path: str | Path) -> str:
    """Return the stem of the recording that a file of labels lies beside.

    Examples
    --------
    >>> recording_of("x/a.BirdNET.selection.table.txt"), recording_of("a.Table.1.selections.txt")
    ('a', 'a')
    """
    name = Path(path).name
    return _ENDINGS.sub("", name) or name


# Tables with a header


def _read_table(path: str | Path, lines: _Lines, label_column: str | None) -> list[Labelled]:
    header = lines.rows[0][1]
    header = [" ".join(header)] if lines.separator == " " else header
    rows = [
        (number, dict(zip(header, map(_unquoted, cells) if lines.separator == "\t" else cells,
                          strict=False)))
        for number, cells in lines.rows[1:]
    ]  # fmt: skip
    columns = find_columns(path, header, [row for _, row in rows], label_column)
    rows = _one_a_selection(rows)
    tabs = lines.separator == "\t"
    read = (_row(row, columns, path, f"{path}, line {number}", tabs=tabs) for number, row in rows)
    found = [one for one in read if one is not None]
    if "Selection" in header and columns.offset is None:
        _check_times_are_own(path, found)
    return found


def _unquoted(cell: str) -> str:
    """Take off the quotes that spreadsheets put around a cell of a table of tabs."""
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"') if quoted else cell


def _one_a_selection(rows: list[tuple[int, Row]]) -> list[tuple[int, Row]]:
    """Of the rows that Raven writes for each view of a selection, keep that of the spectrogram."""
    drawn = {row.get("Selection") for _, row in rows if not _is_waveform(row)}
    return [
        (number, row)
        for number, row in rows
        if not _is_waveform(row) or row.get("Selection") not in drawn
    ]


def _is_waveform(row: Row) -> bool:
    return (row.get("View") or "").startswith("Waveform")


def _row(
    row: Row, columns: Columns, path: str | Path, where: str, *, tabs: bool
) -> Labelled | None:
    """Read a row; None for a recording that is listed because it has no event."""
    recording = next((row[name] for name in columns.recording if row.get(name)), "")
    label = row.get(columns.label)
    start, end = row.get(columns.start.column) or "", row.get(columns.end.column) or ""
    empty = all((text or "").strip().lower() in _NOTHING for text in (start, end, label))
    if recording and empty:
        return None
    first, last = _times(row, columns, where, in_recording=bool(recording))
    own = str(SCHEMA) in (row.get("Schema"), row.get("schema")) or (not tabs and "schema" in row)
    if own:
        mend = uncell if tabs else unguard
        recording, label = mend(recording), mend(label or "")
    else:
        label = _label(label, where, may_be_empty=tabs)
        recording = _in_folder(recording.strip(), row, columns)
    probability = _probability(row, columns, where, own=own)
    return Labelled(recording or recording_of(path), first, last, label, probability)


def _in_folder(recording: str, row: Row, columns: Columns) -> str:
    """Put the folders that other columns tell before the name of a recording."""
    if not recording or "/" in recording or "\\" in recording:
        return recording
    folders = [(row.get(name) or "").strip() for name in columns.folders]
    return "/".join([*filter(None, folders), recording])


def _label(label: str | None, where: str, *, may_be_empty: bool) -> str:
    if label is None and not may_be_empty:
        raise DatasetError(f"{where}: has no label; mend the row")
    label = (label or "").strip()
    if (not label and not may_be_empty) or "\n" in label:
        raise DatasetError(f"{where}: {label[:40]!r} is no label; mend the row")
    return label


def _times(row: Row, columns: Columns, where: str, *, in_recording: bool) -> tuple[float, float]:
    start, end = row.get(columns.start.column) or "", row.get(columns.end.column) or ""
    if columns.is_length:
        first, length = _span(start, end, where, (columns.start.unit, columns.end.unit), apart=True)
        last = round(first + length, 9)
    else:
        first, last = _span(start, end, where, (columns.start.unit, columns.end.unit))
    text = row.get(columns.offset.column) if columns.offset and in_recording else ""
    if text and columns.offset:
        offset, _ = _span(text, text, where, (columns.offset.unit,) * 2)
        first, last = offset, round(offset + last - first, 9)
    return first, last


def _check_times_are_own(path: str | Path, found: Sequence[Labelled]) -> None:
    """Refuse times that may count on from one recording to the next, as Raven's do."""
    by_recording: dict[str, list[Labelled]] = {}
    for one in found:
        by_recording.setdefault(one.recording, []).append(one)
    parts = list(by_recording.values())
    goes_on = all(
        max(one.start for one in before) < min(one.start for one in after)
        for before, after in itertools.pairwise(parts)
    )
    if len(parts) > 1 and goes_on:
        raise DatasetError(
            f"{path}: is of {len(parts):,} recordings, and may count its times from the first of "
            "them; add Raven's measurement File Offset (s), or write a table a recording"
        )


def _probability(row: Row, columns: Columns, where: str, *, own: bool) -> float | None:
    text = next((row[name] for name in columns.probability if row.get(name)), None)
    if not text:
        return None
    try:
        return float(text.replace(",", "."))
    except ValueError:
        if not own:  # others have words there, as high
            return None
        raise DatasetError(f"{where}: the probability {text[:40]!r} is no number") from None


# Times


def _seconds(text: str) -> float | None:
    """Read a time in seconds, or as h:mm:ss; some programs write a decimal comma."""
    clock = _CLOCK.fullmatch(text.strip())
    try:
        if clock:
            hours, minutes, seconds = clock.groups()
            return 3600 * int(hours) + 60 * int(minutes) + float(seconds.replace(",", "."))
        return float(text.strip().replace(",", "."))
    except ValueError:
        return None


def _span(
    start: str,
    end: str,
    where: str,
    units: tuple[float, float] = (1.0, 1.0),
    *,
    apart: bool = False,
) -> tuple[float, float]:
    """Read two times; `apart`, the second is a length."""
    first, last = _seconds(start), _seconds(end)
    if first is None or last is None:
        raise DatasetError(
            f"{where}: expected a start and an end in seconds, not {start[:40]!r} and {end[:40]!r}"
        )
    if units != (1.0, 1.0):
        first, last = round(first * units[0], 9), round(last * units[1], 9)
    if not (0 <= first < math.inf and (0 if apart else first) <= last < math.inf):
        raise DatasetError(f"{where}: from {start[:40]} to {end[:40]} s is no part of a recording")
    return first, last


# Lines without a header


def _read_lines(path: str | Path, lines: _Lines, scores: bool) -> Iterator[Labelled]:
    r"""Read lines of start, end and label; without Audacity's lines ``\⇥low⇥high``."""
    at = _first_time(lines.rows[0][1])
    for number, cells in lines.rows:
        if cells[0] == "\\":
            continue
        where = f"{path}, line {number}"
        start, end = [*cells, "", "", ""][at : at + 2]
        first, last = _span(start, end, where)
        label, probability = _label_of(cells[at + 2 :], at, scores=scores)
        recording = cells[0].strip() if at else recording_of(path)
        yield Labelled(recording, first, last, label, probability)


def _first_time(cells: Sequence[str]) -> int:
    """Return the place of the start: first, behind the recording, or behind its scene too."""
    for at in (0, 1, 2):
        first, last = (_seconds(cell) for cell in [*cells, "", "", "", ""][at : at + 2])
        if first is not None and last is not None and first <= last:
            return at
    return 0


def _label_of(cells: Sequence[str], at: int, *, scores: bool) -> tuple[str, float | None]:
    if not cells:
        return "", None
    if at:
        return cells[0].strip(), None
    probability = _seconds(cells[1]) if len(cells) == 2 else None  # BirdNET's for Audacity
    if probability is not None and 0 <= probability <= 1:
        return cells[0].strip(), probability
    label = "\t".join(cells).strip()
    return _scored(label) if scores else (label, None)


def _scored(label: str) -> tuple[str, float | None]:
    match = re.fullmatch(r"(.*\S) ([01](?:\.\d+)?)", label, re.DOTALL)
    return (match[1], float(match[2])) if match else (label, None)
