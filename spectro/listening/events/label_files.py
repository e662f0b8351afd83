"""Labels of two sides brought together: which recordings are the same, and which classes.

People mark sounds in Raven, in Audacity or in a table; a scan writes its own. Each names recordings
in its way: by path, by name, or by the name of the file of labels alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from spectro.clips.datasets.listing import Listing, list_below, path_of
from spectro.errors import ConfigError, DatasetError
from spectro.listening.events.durations import short_name
from spectro.listening.events.labels import Labelled, has_column, read_labels, recording_of
from spectro.listening.events.tables import read_jsonl

__all__ = ["Side", "Sides", "check_label_column", "parse_renames", "read_side", "together"]

_LABELS = (".txt", ".csv", ".tsv")


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


class Side(NamedTuple):
    """The labels of one side, and the scans that they come from.

    Parameters
    ----------
    events : list of Labelled
        In the order of the files; of a file that lists an event twice, both.
    scans : list of str
        The ``recordings.csv`` of each scan, where all labels are those of scans; else none.
    empty : list of str
        Recordings whose file of labels holds none.
    """

    events: list[Labelled]
    scans: list[str]
    empty: list[str]

    @property
    def recordings(self) -> set[str]:
        """The recordings that have labels, or an empty file of them, without folder and suffix."""
        return {short_name(name) for name in (*self.empty, *(e.recording for e in self.events))}


def read_side(path: str | Path, *, label_column: str | None = None) -> Side:
    """Read a file of labels, or all ``.txt``, ``.csv`` and ``.tsv`` files below a folder.

    Of the folder of a scan, its table of events alone is read.

    A scan's Audacity labels end in a probability of two decimals, which is no part of the class; so
    do those that people began from. Where most labels of a file end so, it is taken off.

    Parameters
    ----------
    path : str or Path
    label_column : str or None
        As for :func:`spectro.listening.events.labels.read_labels`.

    Raises
    ------
    DatasetError
        If a file cannot be read, a row is damaged, a folder holds no labels, or two files hold the
        same one.
    """
    files, scans = _files(path)
    found: dict[Labelled, str] = {}
    events: list[Labelled] = []
    empty = []
    for file in files:
        own = _read(file, label_column)
        if not own:
            empty.append(recording_of(file))
        twice = next((one for one in own if one in found), None)
        if twice is not None:
            raise DatasetError(
                f"{file}: holds {twice.label!r} at {twice.start:g} s in {twice.recording}, as "
                f"{found[twice]} does; name one of them instead of the folder"
            )
        found.update(dict.fromkeys(own, file))
        events += own
    return Side(events, scans if len(scans) == len(files) else [], empty)


def check_label_column(paths: Iterable[str | Path], name: str) -> None:
    """Refuse a column of classes that no file of labels has.

    Raises
    ------
    ConfigError
        If none has it.
    """
    files = [file for path in paths for file in _files(path)[0]]
    if not any(has_column(file, name) for file in files):
        raise ConfigError(f"--label {name[:80]}: no file of labels has a column of that name")


def _files(path: str | Path) -> tuple[list[str], list[str]]:
    """Return the files of labels of a side, and the ``recordings.csv`` of the scans among them."""
    if not Path(path).is_dir():
        return [str(path)], []
    listing = list_below(Path(path))
    tables = listing.tables(*_LABELS)
    scans = [str(PurePosixPath(name).parent) for name in tables if _is_scan(listing, name)]
    outside = [name for name in tables if not any(_is_below(name, scan) for scan in scans)]
    files = outside + [f"{scan}/events.csv" for scan in scans]
    if not files:
        raise DatasetError(f"{path}: holds no file of labels, {', '.join(_LABELS)}")
    heard = [path_of(listing, f"{scan}/recordings.csv") for scan in scans]
    return [path_of(listing, name) for name in files], heard


def _is_scan(listing: Listing, name: str) -> bool:
    """Tell whether a table lists the recordings of a scan, whose events lie beside it."""
    beside = str(PurePosixPath(name).with_name("events.csv"))
    if PurePosixPath(name).name != "recordings.csv" or beside not in listing.files:
        return False
    return has_column(path_of(listing, name), "seconds") and has_column(
        path_of(listing, beside), "schema"
    )


def _is_below(name: str, folder: str) -> bool:
    return folder == "." or name.startswith(f"{folder}/")


def _read(file: str, label_column: str | None) -> list[Labelled]:
    if file.lower().endswith(".jsonl"):
        return [Labelled(*one[:3], one.label, one.peak) for one in read_jsonl(file)]
    plain = read_labels(file, label_column=label_column)
    ending = sum(bool(re.search(r"\S [01]\.\d\d$", one.label)) for one in plain)
    if 2 * ending <= len(plain):
        return plain
    return read_labels(file, label_column=label_column, scores=True)


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
        If it cannot be told which of two recordings is meant; or if the two sides have events in
        different recordings only, and no `durations` say that all of them were listened to.
    """
    truth, detected = (
        [one._replace(label=unicodedata.normalize("NFC", one.label)) for one in side]
        for side in (truth, detected)
    )
    _check_renames(renames or {}, {one.label for one in (*truth, *detected)})
    sources = [{one.recording for one in side} for side in (truth, detected)]
    names = _names([*sources, set(durations or {})])
    if durations is None:
        _check_shared(*({names[name] for name in source} for source in sources))
    marked, found = (_renamed(side, names, renames or {}) for side in (truth, detected))
    lengths = None if durations is None else {names[k]: v for k, v in durations.items()}
    return Sides(marked, found, lengths)


def _check_shared(marked: set[str], heard: set[str]) -> None:
    """Refuse two sides that have no recording in common: nothing can be found in such."""
    if marked and heard and not marked & heard:
        raise DatasetError(
            f"no recording has both marked and detected events: marked are {_some(marked)}, "
            f"detected {_some(heard)}; name them alike, in a column recording or by the names of "
            "the files of labels; or name all that were listened to with --durations"
        )


def _some(names: set[str]) -> str:
    told = ", ".join(name[:80] for name in sorted(names)[:3])
    return f"{told} ({len(names):,} in all)" if len(names) > 3 else told


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
    short = {name: short_name(name) for name in everything}
    shared = {key for source in sources for key in _twice(short[name] for name in source)}
    for name in sorted(everything):
        if name in shared:  # it says no more than the short name of two
            which = sorted(other for other in everything if short[other] == name != other)
            raise DatasetError(
                f"{name}: may be {' or '.join(which[:2])}; write its path in the labels"
            )
    return {name: name if key in shared else key for name, key in short.items()}


def _twice(keys: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    return {key for key in keys if key in seen or seen.add(key)}  # type: ignore[func-returns-value]
