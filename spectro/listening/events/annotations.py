"""Events as other programs have them: Raven's selection tables and Audacity's labels.

Raven opens a table beside one recording, and one table over all of them (a sound selection table);
both are written. :mod:`spectro.listening.events.labels` reads them, and those of others.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spectro.errors import DatasetError
from spectro.listening.events.finding import SCHEMA, Event
from spectro.listening.events.tables import decimal, guard, unguard
from spectro.plumbing.files import replacing, write_text

__all__ = [
    "Heard",
    "alike",
    "file_stems",
    "sound_selection_table",
    "uncell",
    "write_audacity",
    "write_raven",
]

_COLUMNS = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)",
    "High Freq (Hz)", "Begin Path", "File Offset (s)", "Annotation", "Probability", "Peak",
    "Schema",
)  # fmt: skip
_MOST_NAME = 200  # bytes of a name, so that it still fits into 255 with what is put behind it
_SUFFIX = ".Table.1.selections.txt"

# Inside a cell of a table of tabs; a quote at its start would open one in other readers.
_SPECIAL = re.compile('[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff"\\\\]')
_ESCAPED = re.compile(r'\\(?:(["\\tnr])|x([0-9a-f]{2})|u([0-9a-f]{4}))')
_SHORT = {"\t": "t", "\n": "n", "\r": "r", '"': '"', "\\": "\\"}
_OUR_LABEL = re.compile(rb"\d+\.\d{6}\t\d+\.\d{6}\t.* [01]\.\d\d")  # a line for Audacity
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


def file_stems(recordings: Sequence[str]) -> list[str]:
    """Name a file for each recording: its stem; if two share it, its name; or its path from there.

    A name of over 200 bytes is cut, and gets eight digits made of the recording's path.

    Examples
    --------
    >>> file_stems(["a/x.wav", "a/y.wav"]), file_stems(["a/x.wav", "a/x.flac"])
    (['x', 'y'], ['x.wav', 'x.flac'])
    >>> file_stems(["rec/a/x.wav", "rec/b/x.wav"])
    ['a/x.wav', 'b/x.wav']
    """
    names = _names(recordings)
    short = [_bounded(name, recording) for name, recording in zip(names, recordings, strict=True)]
    keys = [alike(name) for name in short]
    counts = Counter(keys)
    return [
        name if counts[key] == 1 else _marked(name, recording)
        for name, key, recording in zip(short, keys, recordings, strict=True)
    ]


def _names(recordings: Sequence[str]) -> list[str]:
    for part in ("stem", "name"):
        names = [str(getattr(Path(recording), part)) for recording in recordings]
        if len(set(map(alike, names))) == len(names):
            return names
    paths = [Path(os.path.abspath(recording)) for recording in recordings]
    common = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(common).as_posix() for path in paths]


def alike(name: str) -> str:
    """Return what is the same for names that some system takes for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _bounded(name: str, recording: str) -> str:
    """Cut a name that is too long for a file beside which more is written."""
    if len(os.fsencode(name)) <= _MOST_NAME:
        return name
    return _marked(name.rpartition("/")[2], recording)


def _marked(name: str, recording: str) -> str:
    """Put a mark of the recording's path behind a name that it would share with another."""
    mark = hashlib.sha256(os.fsencode(os.path.abspath(recording))).hexdigest()[:8]
    while len(os.fsencode(name)) > _MOST_NAME - len(mark) - 1:
        name = name[:-1]
    return f"{name}~{mark}"


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
    _check(path, path.is_file() and _first_line(path).endswith(b"\tSchema"))


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(10_000).rstrip()


def _check(path: Path, ours: bool) -> None:
    """Refuse to write over what is there and is not ours."""
    if path.exists() and not ours:
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


def uncell(text: str) -> str:
    """Read a text from a cell of a table of spectro's."""
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

    Raises
    ------
    DatasetError
        If a file of that name is there that spectro did not write.
    """
    found = _by_recording(events)
    written = []
    stems = file_stems([one.recording for one in heard])
    paths = [Path(folder) / f"{stem}.labels.txt" for stem in stems]
    for path in paths:
        _check_own_labels(path)
    for one, path in zip(heard, paths, strict=True):
        lines = [_audacity_line(event) for event in found.get(one.recording, [])]
        if lines:
            write_text(path, "".join(lines))
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    return written


def _check_own_labels(path: Path) -> None:
    """Refuse to write over a person's labels."""
    lines = []
    if regular := path.is_file():
        with path.open("rb") as file:
            lines = file.read(100_000).rpartition(b"\n")[0].splitlines()
    _check(path, regular and all(_OUR_LABEL.fullmatch(line) for line in lines))


def _audacity_line(event: Event) -> str:
    label = _SPECIAL.sub(lambda m: m[0] if m[0] in '"\\' else _escape(m), event.label)
    return f"{_seconds(event.start)}\t{_seconds(event.end)}\t{label} {event.peak:.2f}\n"
