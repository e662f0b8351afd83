"""Columns that say which part of a recording a clip is, whatever a program calls them.

======================= ===========================================================================
who                     calls them
======================= ===========================================================================
we                      ``start``, ``end``
Raven                   ``Begin Time (s)``, ``End Time (s)``; ``File Offset (s)`` in each file
BirdNET, OpenSoundscape ``Start (s)``, ``End (s)``; ``start_time``, ``end_time``
DCASE, scaper           ``onset``, ``offset``; ``onset``, ``duration``
AudioSet, RFCX          ``start_seconds``, ``end_seconds``; ``t_min``, ``t_max``
Kaleidoscope, librosa   ``offset``, ``duration``
======================= ===========================================================================
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from spectro.clips.table import seconds
from spectro.errors import DatasetError

__all__ = ["is_part_column", "read_parts"]

_WORDS = {
    **dict.fromkeys(("start", "begin", "beginning", "onset", "from"), "start"),
    **dict.fromkeys(("end", "stop", "finish", "until", "to", "ending"), "end"),
    **dict.fromkeys(("duration", "dur"), "duration"),
    "offset": "offset",
}
_FILLERS = frozenset(
    {
        *("time", "times", "t", "in", "at", "position", "pos", "timestamp", "point", "of", "the"),
        *("segment", "clip", "event", "part", "call", "annotation", "chunk", "window", "selection"),
    }
)
_BOUNDS = {"min": "start", "max": "end"}  # of t or x: RFCX, Praat
_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("sample", "samples", "frame", "frames", "index", "idx"), 0.0),
}
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_GLUED = re.compile(r"(start|begin|end|stop|onset|offset)(time|sec|seconds|ms|s)")
_AGAIN = re.compile(r"\.\d+$")  # pandas' mark of a second column of one name
_DATE = re.compile(r"\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{4}")


class _Column(NamedTuple):
    """What a column says: ``start``, ``end``, ``duration``, ``offset`` or ``file offset``.

    `unit` is in seconds; 0 of what counts samples or frames, 1 where the name gives none.
    """

    name: str
    says: str
    unit: float


def is_part_column(name: str) -> bool:
    """Tell whether a column may say where a clip starts or ends, by its name."""
    return _column(name) is not None


def read_parts(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Read where the clips start and end, in seconds.

    Parameters
    ----------
    table : pandas.DataFrame
        Of text, with the columns of the file.
    file : Path
        For messages.

    Returns
    -------
    parts : pandas.DataFrame
        ``start`` and ``end``, as far as the table has them; NaN where a cell is empty.

    Raises
    ------
    DatasetError
        If several columns say the same, one counts something else than time, or a value is no
        number.
    """
    found = [column for name in table.columns if (column := _column(str(name)))]
    found = _settled([column for column in found if not _holds_dates(table, column)], file)
    by = {column.says: column for column in found}
    _check_raven(table, by, file)
    parts = {
        says: _values(table, by[says], file)
        for says in ("start", "end", "duration")
        if says in by and (says != "duration" or {"start", "end"} & set(by) == {"start"})
    }
    if "duration" in parts:
        length = parts.pop("duration")
        parts["end"] = parts["start"].fillna(0) + length
    return pd.DataFrame(parts, index=table.index)


def _column(name: str) -> _Column | None:
    """Read a column's name: its unit, and what is left without words that say nothing."""
    text = _CAMEL.sub(" ", _AGAIN.sub("", name.strip())).lower()
    words = [word for word in re.split(r"[^a-z]+", _GLUED.sub(r"\1 \2", text)) if word]
    unit = 1.0
    if words[:1] in (["t"], ["x"]) and words[1:2] and words[1] in _BOUNDS and len(words) < 4:
        unit = _UNITS.get(words[2], -1.0) if len(words) > 2 else 1.0
        return _Column(name, _BOUNDS[words[1]], unit) if unit >= 0 else None
    if words in (["xmin"], ["xmax"], ["tmin"], ["tmax"]):
        return _Column(name, _BOUNDS[words[0][1:]], 1.0)
    if len(words) > 1 and words[-1] in _UNITS:
        unit = _UNITS[words.pop()]
    if words == ["file", "offset"]:
        return _Column(name, "file offset", unit)
    left = [word for word in words if word not in _FILLERS]
    return _Column(name, _WORDS[left[0]], unit) if len(left) == 1 and left[0] in _WORDS else None


def _holds_dates(table: pd.DataFrame, column: _Column) -> bool:
    """Tell whether a column says when something was recorded."""
    cells = table[column.name].dropna().astype(str)
    return bool(len(cells)) and bool(cells.str.strip().str.match(_DATE).all())


def _settled(found: list[_Column], file: Path) -> list[_Column]:
    """Settle which of the columns count; what may mean two things is asked for."""
    says = {column.says for column in found}
    if "from" in map(_plain, found) and "end" not in says:
        found = [column for column in found if _plain(column) != "from"]
    if "to" in map(_plain, found) and "start" not in says:
        found = [column for column in found if _plain(column) != "to"]
    if "offset" in says:
        found = _offset(found, says, file)
    for meaning in ("start", "end"):
        same = [column for column in found if column.says == meaning]
        timed = [column for column in same if column.unit] or same
        if len(timed) > 1:
            names = " and ".join(column.name.strip() for column in timed[:5])
            raise DatasetError(
                f"{file}: the columns {names} say where a clip {meaning}s; keep one, and rename or "
                "remove the others"
            )
        if timed and not timed[0].unit:
            raise DatasetError(
                f"{file}: the column {timed[0].name.strip()} counts samples or frames; write "
                f"seconds, in a column {meaning}"
            )
        found = [column for column in found if column.says != meaning] + timed
    return found


def _plain(column: _Column) -> str:
    return column.name.strip().lower()


def _offset(found: list[_Column], says: set[str], file: Path) -> list[_Column]:
    """Take an offset for an end beside a start, for a start beside a duration."""
    if "start" in says:
        meaning = "end"
    elif "duration" in says and "end" not in says:
        meaning = "start"
    else:
        name = next(column.name for column in found if column.says == "offset").strip()
        raise DatasetError(
            f"{file}: the column {name} may say where a clip starts or where it ends; call it "
            "start or end, or something else if it says neither"
        )
    return [c._replace(says=meaning) if c.says == "offset" else c for c in found]


def _check_raven(table: pd.DataFrame, by: dict[str, _Column], file: Path) -> None:
    """Refuse times that run on over several files, as Raven's do where it opened them as one."""
    if "file offset" not in by or "start" not in by:
        return
    own, whole = (np.asarray(_values(table, by[key], file)) for key in ("file offset", "start"))
    differs = ~np.isclose(own, whole, atol=1e-3, equal_nan=True)
    if differs.any():
        row = int(differs.argmax())
        names = [by[key].name.strip() for key in ("start", "file offset")]
        raise DatasetError(
            f"{file}: row {row + 1}: {names[0]} is {whole[row]:g} and {names[1]} {own[row]:g}: the "
            "times run on over several files; write each clip's start and end within its own file"
        )


def _values(table: pd.DataFrame, column: _Column, file: Path) -> pd.Series[float]:
    return pd.Series(seconds(table, column.name, file), index=table.index) * column.unit
