"""Which columns of a table of labels tell where, from when to when, and what.

Raven, BirdNET, Kaleidoscope, OpenSoundscape, crowsetta, DESED and people by hand each have names of
their own for the same four things.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from spectro.clips.datasets.listing import is_sound
from spectro.errors import DatasetError

__all__ = ["Columns", "Time", "find_columns", "is_header", "length_columns"]

_STARTS = (
    *("start", "begin", "onset", "starttime", "begintime", "onsettime", "eventstart"),
    *("eventonset", "eventbegin", "starttimes", "timestart", "tstart", "tmin", "mint", "xmin"),
    *("startsec", "startseconds", "segmentstart", "startoffset", "from"),
)
_ENDS = (
    *("end", "stop", "endtime", "stoptime", "offsettime", "eventend", "eventoffset", "eventstop"),
    *("endtimes", "timeend", "tend", "tmax", "maxt", "xmax", "endsec", "endseconds", "finish"),
    *("segmentend", "endoffset", "to"),
)
_LENGTHS = ("duration", "length", "dur", "eventduration", "deltatime")
_BOTH = "offset"  # the end beside an onset, the start beside a duration
_LABELS = (
    *("label", "annotation", "species", "eventlabel", "tag", "class", "commonname", "category"),
    *("event", "eventclass", "eventtype", "classname", "speciesname", "soundclass", "soundevent"),
    *("labels", "manualid", "scientificname", "speciescode", "top1match", "calltype", "name"),
)
_RECORDINGS = (
    *("recording", "beginpath", "path", "filepath", "recordingpath", "audiopath", "soundpath"),
    *("beginfile", "filename", "file", "audiofile", "audiofilename", "soundfile", "soundfilename"),
    *("wavfile", "wavfilename", "wav", "mediafile", "sourcefile", "inputfile", "recordingfile"),
    *("recordingname", "recordingfilename", "recordingid", "notatedpath", "audio", "fname"),
    *("soundscape", "clip", "clipname", "audioname", "filenames", "files", "filepaths", "source"),
    *("infile", "media", "track"),
)
_FOLDERS = ("indir", "folder", "directory")  # Kaleidoscope's, beside a name without one
_OFFSETS = ("fileoffset",)  # Raven's: the start in the recording itself, not in a row of them
_PROBABILITIES = ("peak", "probability", "confidence", "score", "prob")
_SHORTENED = 400  # characters of a list of columns that are told
_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), 0.001),
}


class Time(NamedTuple):
    """A column of times, and how many seconds its unit is."""

    column: str
    unit: float


class Columns(NamedTuple):
    """The columns of a table of labels.

    Parameters
    ----------
    start, end : Time
    is_length : bool
        Whether `end` tells how long the event is.
    label : str
    recording : tuple of str
        The first of them that is not empty names the recording; none where the table's name does.
    folders : tuple of str
        Put before the recording.
    offset : Time or None
        Where the event starts in its recording, if `start` counts through several.
    probability : tuple of str
    """

    start: Time
    end: Time
    is_length: bool
    label: str
    recording: tuple[str, ...]
    folders: tuple[str, ...]
    offset: Time | None
    probability: tuple[str, ...]


def is_header(cells: Sequence[str]) -> bool:
    """Tell whether the cells of a line name columns, one of which may be a start."""
    named = {_key(cell)[0] for cell in cells}
    return not named.isdisjoint((*_STARTS, _BOTH))


def find_columns(
    path: str | Path,
    header: Sequence[str],
    rows: Sequence[dict[str, str]],
    label_column: str | None = None,
) -> Columns:
    """Find the columns of a table of labels.

    Parameters
    ----------
    path : str or Path
        Named in errors.
    header : sequence of str
        As it stands there.
    rows : sequence of dict
        By these names. A column whose cells all look like names of sounds names the recordings.
    label_column : str or None
        Taken for the class where the table has it.

    Raises
    ------
    DatasetError
        If no column tells a start, an end or a class, or two of one name do.

    Examples
    --------
    >>> found = find_columns("x", ["filename", "onset", "offset", "event_label"], [])
    >>> found.start.column, found.end.column, found.label, found.recording
    ('onset', 'offset', 'event_label', ('filename',))
    """
    header = [name for name in header if name.strip()]
    starts, ends, is_length = _times(path, header)
    label = next((name for name in header if name == label_column), None)
    label = label or next(iter(_named(header, _LABELS)), None)
    if label is None:
        raise DatasetError(
            f"{path}: no column names the class; choose one with --label: {_told(header)}"
        )
    recordings = _named(header, _RECORDINGS)
    if not recordings:
        recordings = [name for name in header if _holds_sounds(name, rows) and name != label]
    offsets = _named(header, _OFFSETS)
    found = Columns(
        _time(starts[0]), _time(ends[0]), is_length, label, tuple(recordings),
        tuple(_named(header, _FOLDERS)), _time(offsets[0]) if offsets else None,
        tuple(_named(header, _PROBABILITIES)),
    )  # fmt: skip
    _check_once(path, header, found)
    return found


def length_columns(path: str | Path, header: Sequence[str]) -> tuple[str, Time]:
    """Find the columns of a table of lengths: the recording, and how long it is.

    Raises
    ------
    DatasetError
        If there is none of either.
    """
    recordings, lengths = _named(header, _RECORDINGS), _named(header, (*_LENGTHS, "seconds"))
    if not recordings or not lengths:
        raise DatasetError(
            f"{path}: is no table of lengths: name the columns recording,duration (in seconds); "
            f"found {_told(header)}"
        )
    return recordings[0], _time(lengths[0])


def _times(path: str | Path, header: Sequence[str]) -> tuple[list[str], list[str], bool]:
    """Find the columns of starts, and of ends or lengths."""
    starts, ends, lengths, both = (
        _named(header, names) for names in (_STARTS, _ENDS, _LENGTHS, (_BOTH,))
    )
    if not starts and lengths:  # Kaleidoscope's: where it starts in the file, and how long it is
        starts = both
    elif not ends and starts:
        ends = both
    is_length = not ends
    ends = ends or lengths
    for found, what, names in ((starts, "start", _STARTS), (ends, "end", _ENDS)):
        if not found:
            raise DatasetError(
                f"{path}: no column tells the {what} of an event in seconds; looked for "
                f"{', '.join(names[:3])} or alike, and found {_told(header)}"
            )
    return starts, ends, is_length


def _key(name: str) -> tuple[str, float]:
    """Return the name of a column without case, blanks and unit, and the unit's seconds.

    Examples
    --------
    >>> _key("Begin Time (s)"), _key("onset_ms"), _key("EventLabel")
    (('begintime', 1.0), ('onset', 0.001), ('eventlabel', 1.0))
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.strip())
    words = re.findall(r"[^\W_]+", apart.lower())
    unit = _SECONDS.get(words[-1]) if len(words) > 1 else None
    return "".join(words[:-1] if unit else words), unit or 1.0


def _named(header: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the columns of these names, in the order of the names, each once."""
    found = [column for name in names for column in header if _key(column)[0] == name]
    return list(dict.fromkeys(found))


def _time(column: str) -> Time:
    return Time(column, _key(column)[1])


def _holds_sounds(column: str, rows: Sequence[dict[str, str]]) -> bool:
    cells = [row.get(column) or "" for row in rows]
    return bool(cells) and all(is_sound(cell.strip()) for cell in cells)


def _check_once(path: str | Path, header: Sequence[str], found: Columns) -> None:
    """Refuse a table in which a column that counts stands twice."""
    for name in (found.start.column, found.end.column, found.label, *found.recording[:1]):
        if sum(other.strip().lower() == name.strip().lower() for other in header) > 1:
            raise DatasetError(
                f"{path}: has the column {name.strip().lower()} twice; remove or rename one"
            )


def _told(header: Sequence[str]) -> str:
    told = ", ".join(name.strip() for name in header)
    return told if len(told) <= _SHORTENED else f"{told[:_SHORTENED]} ..."
