"""Labels of two sides brought together: which recordings are the same, and which classes.

People mark sounds in Raven, in Audacity or in a table; a scan writes its own. Each names recordings
in its way: by path, by name, or by the name of the file of labels alone.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spectro.clips.datasets.listing import is_sound, list_below, path_of
from spectro.clips.decode import file_seconds
from spectro.errors import ConfigError, DatasetError
from spectro.listening.events.annotations import Labelled, read_labels
from spectro.listening.events.tables import unguard

__all__ = ["Sides", "parse_renames", "read_durations", "read_side", "together"]

_LABELS = (".txt", ".csv", ".tsv")
_RECORDING = ("recording", "path", "file", "filename")
_SECONDS = ("duration", "seconds")
_MOST_BYTES = 1 << 26  # of a table of lengths


class Sides(NamedTuple):
    """What was marked and what was detected, with one name a recording and a class.

    Parameters
    ----------
    truth, detected : list of Labelled
    durations : dict of str to float, or None
        Seconds of every recording that was listened to; None if that is not known.
    """

    truth: list[Labelled]
    detected: list[Labelled]
    durations: dict[str, float] | None


def read_side(path: str | Path, *, label_column: str | None = None) -> list[Labelled]:
    """Read a file of labels, or all ``.txt``, ``.csv`` and ``.tsv`` files below a folder.

    A scan's Audacity labels end in a probability of two decimals, which is no part of the class; so
    do those that people began from. Where most labels of a file end so, it is taken off.

    Parameters
    ----------
    path : str or Path
    label_column : str or None
        As for :func:`spectro.listening.events.annotations.read_labels`.

    Raises
    ------
    DatasetError
        If a file cannot be read, a row is damaged, a folder holds no labels, or two files hold the
        same one.
    """
    listing = list_below(Path(path))
    files = [path_of(listing, name) for name in listing.tables(*_LABELS)]
    if Path(path).is_dir() and not files:
        raise DatasetError(f"{path}: holds no file of labels, {', '.join(_LABELS)}")
    found: dict[Labelled, str] = {}
    for file in files if Path(path).is_dir() else [str(path)]:
        own = _read(file, label_column)
        twice = next((one for one in own if one in found), None)
        if twice is not None:
            raise DatasetError(
                f"{file}: holds {twice.label!r} at {twice.start:g} s in {twice.recording}, as "
                f"{found[twice]} does; name one of them instead of the folder"
            )
        found.update(dict.fromkeys(own, file))
    return list(found)


def _read(file: str, label_column: str | None) -> list[Labelled]:
    plain = read_labels(file, label_column=label_column)
    ending = sum(bool(re.search(r"\S [01]\.\d\d$", one.label)) for one in plain)
    if 2 * ending <= len(plain):
        return plain
    return read_labels(file, label_column=label_column, scores=True)


def read_durations(paths: Iterable[str | Path]) -> dict[str, float]:
    """Find out how long the recordings are that were listened to.

    Parameters
    ----------
    paths : iterable of str or Path
        Sound files, folders of them, or tables with the columns ``recording`` (or ``path``,
        ``file``, ``filename``) and ``duration`` (or ``seconds``).

    Returns
    -------
    durations : dict of str to float
        Seconds.

    Raises
    ------
    AudioError
        If a sound file cannot be read.
    DatasetError
        If a table cannot, or a folder holds no sound.
    """
    found: dict[str, float] = {}
    for path in paths:
        listing = list_below(Path(path))
        if Path(path).is_dir() and not listing.sounds:
            raise DatasetError(f"{path}: holds no sound file; name another folder, or a table")
        if Path(path).is_dir():
            found.update({f: _seconds(f) for f in (path_of(listing, n) for n in listing.sounds)})
        elif is_sound(str(path)):
            found[str(path)] = _seconds(str(path))
        else:
            found.update(_table(path))
    return found


def _seconds(path: str) -> float:
    seconds = file_seconds(Path(path))
    if seconds is None:
        raise DatasetError(
            f"{path}: only decoding tells how long it is; give a table of recording,duration"
        )
    return seconds


def _table(path: str | Path) -> dict[str, float]:
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text, newline=""))
        columns = _columns(path, rows.fieldnames or [])
        return dict(
            _length(row, columns, f"{path}, line {rows.line_num}")
            for row in rows
            if not row.get("error")  # a scan's recordings.csv names those that cannot be read too
        )
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: is not UTF-8; save it as that") from None
    except csv.Error as error:
        raise DatasetError(f"{path}: is no CSV ({error})") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from None


def _columns(path: str | Path, header: Sequence[str]) -> tuple[str, str]:
    names = next((name for name in _RECORDING if name in header), None)
    seconds = next((name for name in _SECONDS if name in header), None)
    if names is None or seconds is None:
        raise DatasetError(
            f"{path}: is no table of lengths: name the columns recording,duration (in seconds)"
        )
    return names, seconds


def _length(
    row: Mapping[str, str | None], columns: tuple[str, str], where: str
) -> tuple[str, float]:
    name, text = (row.get(column) or "" for column in columns)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not name or not 0 <= seconds < math.inf:
        raise DatasetError(f"{where}: expected a recording and its seconds, not {text[:40]!r}")
    return unguard(name), seconds


def parse_renames(texts: Iterable[str]) -> dict[str, str]:
    """Read ``FROM=TO`` for classes that the two sides name differently; ``FROM=`` leaves one out.

    Raises
    ------
    ConfigError
        If a text has no ``=``, or gives a class two names.

    Examples
    --------
    >>> parse_renames(["door_slam=doorslam", "unsure="])
    {'door_slam': 'doorslam', 'unsure': ''}
    """
    renames: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not equals or not old:
            raise ConfigError(f"{text[:80]!r} renames no class: write it as FROM=TO")
        if renames.setdefault(old, new) != new:
            raise ConfigError(f"{old[:80]!r} is renamed twice: choose one name")
    return renames


def together(
    truth: Iterable[Labelled],
    detected: Iterable[Labelled],
    durations: Mapping[str, float] | None = None,
    renames: Mapping[str, str] | None = None,
) -> Sides:
    """Give the recordings and the classes of both sides the same names.

    Recordings are the same if their names are, without folder and suffix. Where one side has two of
    a name in different folders, their paths must be the same.

    Raises
    ------
    ConfigError
        If a class is renamed that neither side has.
    DatasetError
        If it cannot be told which of two recordings is meant.
    """
    truth, detected = list(truth), list(detected)
    _check_renames(renames or {}, {one.label for one in (*truth, *detected)})
    sources = [{one.recording for one in side} for side in (truth, detected)]
    names = _names([*sources, set(durations or {})])
    marked, found = (_renamed(side, names, renames or {}) for side in (truth, detected))
    lengths = None if durations is None else {names[k]: v for k, v in durations.items()}
    return Sides(marked, found, lengths)


def _check_renames(renames: Mapping[str, str], labels: set[str]) -> None:
    for name in renames:
        if name not in labels:
            there = ", ".join(sorted(labels))[:500]
            raise ConfigError(f"there is no class {name!r} to rename; there are {there}")


def _renamed(
    side: Iterable[Labelled], names: Mapping[str, str], renames: Mapping[str, str]
) -> list[Labelled]:
    labels = ((one, renames.get(one.label, one.label)) for one in side)
    return [
        one._replace(recording=names[one.recording], label=label)
        for one, label in labels
        if label or not one.label
    ]


def _names(sources: Sequence[set[str]]) -> dict[str, str]:
    """Map each name of a recording to the one it is scored under."""
    everything = set().union(*sources)
    short = {name: _short(name) for name in everything}
    shared = {key for source in sources for key in _twice(short[name] for name in source)}
    for name in sorted(everything):
        if name in shared:  # it says no more than the short name of two
            two = sorted(other for other in everything if short[other] == name != other)
            raise DatasetError(f"{name}: may be {two[0]} or {two[1]}; write its path in the labels")
    return {name: name if key in shared else key for name, key in short.items()}


def _twice(keys: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    return {key for key in keys if key in seen or seen.add(key)}  # type: ignore[func-returns-value]


def _short(name: str) -> str:
    """Take off the folder and a suffix of sound."""
    last = re.split(r"[/\\]", name)[-1] or name
    return last.rpartition(".")[0] if is_sound(last) else last
