"""Events as other programs have them: Raven's selection tables and Audacity's labels.

Raven opens a table beside one recording, and one table over all of them (a sound selection table);
both are written. All are read too, and plain CSV.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spectro.errors import DatasetError
from spectro.listening.events.finding import SCHEMA, Event
from spectro.listening.events.tables import decimal, guard, unguard
from spectro.plumbing.files import replacing, write_text

__all__ = [
    "Heard",
    "Labelled",
    "file_stems",
    "raven_tables",
    "read_audacity",
    "read_labels",
    "read_raven",
    "sound_selection_table",
    "write_audacity",
    "write_raven",
]

BEGIN, END = "Begin Time (s)", "End Time (s)"
_VIEW, _BEGIN_PATH, _OFFSET = "View", "Begin Path", "File Offset (s)"
_COLUMNS = (
    "Selection", _VIEW, "Channel", BEGIN, END, "Low Freq (Hz)", "High Freq (Hz)",
    _BEGIN_PATH, _OFFSET, "Annotation", "Probability", "Peak", "Schema",
)  # fmt: skip
_LABEL_COLUMNS = ("Annotation", "Species", "Label", "Tag", "Class", "Common Name")
_MOST_BYTES = 1 << 26  # of a file of labels that is read
_SUFFIX = ".Table.1.selections.txt"

# Inside a cell of a table of tabs; a quote at its start would open one in other readers.
_SPECIAL = re.compile('[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff"\\\\]')
_ESCAPED = re.compile(r'\\(?:(["\\tnr])|x([0-9a-f]{2})|u([0-9a-f]{4}))')
_SHORT = {"\t": "t", "\n": "n", "\r": "r", '"': '"', "\\": "\\"}
_LONG = {letter: character for character, letter in _SHORT.items()}


class Heard(NamedTuple):
    """A recording that was listened to.

    Parameters
    ----------
    recording : str
        As in the events.
    duration : float
        Seconds: its frames over its rate, not rounded.
    sr : int
        Its own sampling rate in Hz.
    """

    recording: str
    duration: float
    sr: int


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


def file_stems(recordings: Sequence[str]) -> list[str]:
    """Name a file for each recording: its stem; if two share it, its name; or its path from there.

    Examples
    --------
    >>> file_stems(["a/x.wav", "a/y.wav"]), file_stems(["a/x.wav", "a/x.flac"])
    (['x', 'y'], ['x.wav', 'x.flac'])
    >>> file_stems(["rec/a/x.wav", "rec/b/x.wav"])
    ['a/x.wav', 'b/x.wav']
    """
    for part in ("stem", "name"):
        names = [str(getattr(Path(recording), part)) for recording in recordings]
        if len({name.casefold() for name in names}) == len(names):
            return names
    paths = [Path(os.path.abspath(recording)) for recording in recordings]
    common = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(common).as_posix() for path in paths]


def write_raven(
    folder: str | Path,
    heard: Sequence[Heard],
    events: Iterable[Event],
    *,
    low: float = 0,
    high: float = math.inf,
) -> list[Path]:
    """Write a selection table for each recording that has events, each in one step.

    A recording without events gets none, and loses one that was written before.

    Parameters
    ----------
    folder : str or Path
        Where ``<stem>.Table.1.selections.txt`` go.
    heard : sequence of Heard
        The recordings, in order.
    events : iterable of Event
    low, high : float
        Band that the model hears, in Hz; cut at half a recording's rate.

    Returns
    -------
    paths : list of Path
        The tables.

    Raises
    ------
    DatasetError
        If a table of that name is there that spectro did not write.
    """
    found = _by_recording(events)
    stems = file_stems([one.recording for one in heard])
    paths = [Path(folder) / f"{stem}{_SUFFIX}" for stem in stems]
    for path in paths:
        _check_own(path)
    for one, path in zip(heard, paths, strict=True):
        own = found.get(one.recording, [])
        if own:
            write_text(path, "".join(_raven([(one, own, 0.0)], low, high)))
        else:
            path.unlink(missing_ok=True)
    return [path for one, path in zip(heard, paths, strict=True) if one.recording in found]


def _check_own(path: Path) -> None:
    """Refuse to write over a person's table."""
    if not path.exists():
        return
    with path.open("rb") as file:
        if not file.readline(10_000).rstrip().endswith(b"\tSchema"):
            raise DatasetError(f"{path}: spectro did not write it; choose another folder")


def sound_selection_table(
    path: str | Path,
    heard: Sequence[Heard],
    events: Iterable[Event],
    *,
    low: float = 0,
    high: float = math.inf,
) -> int:
    """Write one table over all recordings, which Raven opens as a sound selection table.

    Its times go on from one recording to the next, as if they were one after the other; ``Begin
    Path`` and ``File Offset (s)`` tell each recording and its own time. Parameters are those of
    :func:`write_raven`; returns how many rows.
    """
    found, count, at = _by_recording(events), 0, 0.0
    parts = []
    for one in heard:
        parts.append((one, found.get(one.recording, []), at))
        at += one.duration
        count += len(parts[-1][1])
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.writelines(_raven(parts, low, high))
    return count


def raven_tables(folder: str | Path) -> list[Path]:
    """Return the selection tables below a folder, sorted."""
    return sorted(Path(folder).rglob("*.selections.txt"))


def _by_recording(events: Iterable[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: (event.start, event.end, event.label)):
        found[event.recording].append(event)
    return found


def _raven(
    parts: Iterable[tuple[Heard, list[Event], float]], low: float, high: float
) -> Iterator[str]:
    yield "\t".join(_COLUMNS) + "\n"
    numbers = itertools.count(1)
    for one, events, at in parts:
        top = min(high, one.sr / 2)
        for event in events:
            yield _raven_row(next(numbers), event, at, (min(low, top), top))


def _raven_row(number: int, event: Event, at: float, band: tuple[float, float]) -> str:
    cells = (
        str(number), "Spectrogram 1", "1", *map(_seconds, (at + event.start, at + event.end)),
        *(f"{hertz:.1f}" for hertz in band), _cell(event.recording), _seconds(event.start),
        _cell(event.label),
        decimal(event.probability), decimal(event.peak), str(SCHEMA),
    )  # fmt: skip
    return "\t".join(cells) + "\n"


def _seconds(number: float) -> str:
    """Write a time, never as a whole number: crowsetta refuses a column of those."""
    return f"{number:.6f}"


def _cell(text: str) -> str:
    r"""Write a text into one cell: tabs, newlines, quotes and backslashes as ``\t``, ``\n`` ..."""
    return guard(_SPECIAL.sub(_escape, text))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if character in _SHORT:
        return "\\" + _SHORT[character]
    return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"


def _uncell(text: str) -> str:
    """Undo :func:`_cell`."""
    return _ESCAPED.sub(
        lambda match: _LONG[match[1]] if match[1] else chr(int(match[2] or match[3], 16)),
        unguard(text),
    )


def write_audacity(
    folder: str | Path, heard: Sequence[Heard], events: Iterable[Event]
) -> list[Path]:
    r"""Write a file of labels for each recording that has events, ``<stem>.labels.txt``.

    The probability stands in the label (``chainsaw 0.93``): the format has no column for it. Tabs
    and newlines in a label become ``\t`` and ``\n``. Returns the files.
    """
    found = _by_recording(events)
    written = []
    for one, stem in zip(heard, file_stems([one.recording for one in heard]), strict=True):
        path = Path(folder) / f"{stem}.labels.txt"
        lines = [_audacity_line(event) for event in found.get(one.recording, [])]
        if lines:
            write_text(path, "".join(lines))
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    return written


def _audacity_line(event: Event) -> str:
    label = _SPECIAL.sub(lambda m: m[0] if m[0] in '"\\' else _escape(m), event.label)
    return f"{_seconds(event.start)}\t{_seconds(event.end)}\t{label} {event.peak:.2f}\n"


def read_labels(
    path: str | Path, *, label_column: str | None = None, scores: bool = False
) -> list[Labelled]:
    """Read the labels of a Raven table, an Audacity file or a CSV, told apart by what they hold.

    Parameters
    ----------
    path : str or Path
        A CSV has the columns ``start``, ``end`` and ``label``, and ``recording`` if it is of
        several; the table of events is one.
    label_column : str or None
        Of a Raven table; None takes ``Annotation``, ``Species``, ``Label``, ``Tag``, ``Class`` or
        ``Common Name``, whichever is there first.
    scores : bool
        Whether a number at the end of an Audacity label is its probability.

    Raises
    ------
    DatasetError
        If the file cannot be read, is too big, or a row is damaged.
    """
    text = _read(path)
    first = (text.splitlines() or [""])[0]
    if BEGIN in first.split("\t"):
        return read_raven(path, label_column=label_column)
    if "start" in re.split(r"[,;\t]", first.lower().replace(" ", "")):
        return _read_csv(path, text)
    return read_audacity(path, scores=scores)


def _read(path: str | Path) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise DatasetError(f"{path}: has more than {_MOST_BYTES >> 20} MiB; split it")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: is not UTF-8; save it as that") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from None


def _lines(path: str | Path) -> list[str]:
    return _read(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _recording_of(path: str | Path) -> str:
    """Return the stem of the recording that a file of labels lies beside."""
    name = Path(path).name
    return re.sub(r"(\.Table\.\d+)?(\.selections|\.labels|\.audacity)?\.txt$", "", name)


def read_raven(path: str | Path, *, label_column: str | None = None) -> list[Labelled]:
    """Read a selection table, or a sound selection table; see :func:`read_labels`.

    Of the rows that Raven writes for each view of a selection, that of the spectrogram counts.
    """
    lines = _lines(path)
    header = lines[0].split("\t")
    column = _label_column(path, header, label_column)
    rows = [
        (number, dict(zip(header, line.split("\t"), strict=False)))
        for number, line in enumerate(lines[1:], 2)
        if line.strip()
    ]
    drawn = {row.get("Selection") for _, row in rows if not _waveform(row)}
    return [
        _raven_label(row, column, f"{path}, line {number}", path)
        for number, row in rows
        if not _waveform(row) or row.get("Selection") not in drawn
    ]


def _waveform(row: dict[str, str]) -> bool:
    return row.get(_VIEW, "").startswith("Waveform")


def _label_column(path: str | Path, header: list[str], wanted: str | None) -> str:
    for name in (BEGIN, END):
        if name not in header:
            raise DatasetError(f"{path}: has no column {name!r}: is it a Raven selection table?")
    for name in (wanted,) if wanted else _LABEL_COLUMNS:
        if name in header:
            return name
    there = ", ".join(name for name in header if name)
    raise DatasetError(f"{path}: no column names the class; choose one with --label: {there}")


def _raven_label(row: dict[str, str], column: str, where: str, path: str | Path) -> Labelled:
    own = row.get("Schema") == str(SCHEMA)
    start, end = _span(row.get(BEGIN, ""), row.get(END, ""), where)
    recording = row.get(_BEGIN_PATH) or row.get("Begin File") or _recording_of(path)
    if row.get(_OFFSET) and (row.get(_BEGIN_PATH) or row.get("Begin File")):
        offset, _ = _span(row[_OFFSET], row[_OFFSET], where)
        start, end = offset, round(offset + end - start, 9)
    label = row.get(column) or ""
    probability = _probability(row.get("Probability"), where)
    if own:
        recording, label = _uncell(recording), _uncell(label)
    return Labelled(recording, start, end, label, probability)


def _probability(text: str | None, where: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise DatasetError(f"{where}: the probability {text[:40]!r} is no number") from None


def _span(start: str, end: str, where: str) -> tuple[float, float]:
    """Read two times; some programs write a decimal comma."""
    try:
        first, last = (float(text.strip().replace(",", ".")) for text in (start, end))
    except ValueError:
        raise DatasetError(
            f"{where}: expected a start and an end in seconds, not {start[:40]!r} and {end[:40]!r}"
        ) from None
    if not 0 <= first <= last < math.inf:
        raise DatasetError(f"{where}: from {start[:40]} to {end[:40]} s is no part of a recording")
    return first, last


def read_audacity(path: str | Path, *, scores: bool = False) -> list[Labelled]:
    r"""Read a file of labels, without the lines ``\⇥low⇥high``; see :func:`read_labels`."""
    found = []
    for number, line in enumerate(_lines(path), 1):
        if not line.strip() or line.startswith("\\\t"):
            continue
        start, end, label = [*line.split("\t", 2), "", ""][:3]
        span = _span(start, end, f"{path}, line {number}")
        name, probability = _scored(label) if scores else (label, None)
        found.append(Labelled(_recording_of(path), *span, name, probability))
    return found


def _scored(label: str) -> tuple[str, float | None]:
    match = re.fullmatch(r"(.*\S) ([01](?:\.\d+)?)", label, re.DOTALL)
    return (match[1], float(match[2])) if match else (label, None)


def _read_csv(path: str | Path, text: str) -> list[Labelled]:
    found = []
    separator = max(",;\t", key=text.partition("\n")[0].count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        rows.fieldnames = names = [str(name).strip().lower() for name in rows.fieldnames or ()]
        for name in ("label", "start", "end"):
            if names.count(name) > 1:
                raise DatasetError(f"{path}: has the column {name} twice; remove or rename one")
        for row in rows:
            found.append(_csv_label(row, f"{path}, line {rows.line_num}", path))
    except csv.Error as error:
        raise DatasetError(f"{path}: is no CSV ({error})") from None
    return found


def _csv_label(row: dict[str, str], where: str, path: str | Path) -> Labelled:
    span = _span(row.get("start") or "", row.get("end") or "", where)
    if row.get("label") is None:
        raise DatasetError(f"{where}: has no label; name the columns start, end, label")
    recording, label = row.get("recording") or row.get("path") or Path(path).stem, row["label"]
    if "schema" in row:
        recording, label = unguard(recording), unguard(label)
    elif not (label := label.strip()) or "\n" in label:
        raise DatasetError(f"{where}: {label[:40]!r} is no label; mend the row")
    probability = _probability(row.get("peak") or row.get("probability"), where)
    return Labelled(recording, *span, label, probability)
