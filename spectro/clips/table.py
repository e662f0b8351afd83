"""The clip table: one row a clip, the same columns whatever the layout it was read from.

========= ======= ==========================================================================
column    type    meaning
========= ======= ==========================================================================
``path``  str     the sound file
``label`` str     its class
``fold``  int     the fold it is scored in
``group`` str     the recording it was cut from: what must not sit on both sides of a split
``start`` float   first second of the clip within the file; NaN means the file's start
``end``   float   last second of the clip within the file; NaN means the file's end
========= ======= ==========================================================================
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from spectro.errors import DatasetError
from spectro.plumbing.paths import place

__all__ = [
    "COLUMNS",
    "Dataset",
    "absent_note",
    "clip_table",
    "leaking_groups",
    "leaks_in_words",
    "list_some",
    "read_csv",
    "split_present",
    "whole_numbers",
]

COLUMNS = ("path", "label", "fold", "group", "start", "end")


@dataclass(frozen=True)
class Dataset:
    """A clip table and what one must know about it.

    Attributes
    ----------
    name : str
        Short name, used for folders: "urbansound8k", "esc50"...
    root : Path
        The folder it was read from.
    clips : pandas.DataFrame
        The clip table, only of clips that are on disk, sorted by path.
    folds : tuple of int
        All folds of the dataset, on disk or not: an honest score needs to know.
    notes : tuple of str
        What the user should hear: missing folds, absent clips, groups that leak. A line each.
    absent : tuple of str
        Clips that the metadata lists in folds that are there, without their file.
    licence, citation : str
        Of the sounds; empty where they are the user's own.
    """

    name: str
    root: Path
    clips: pd.DataFrame
    folds: tuple[int, ...]
    notes: tuple[str, ...] = ()
    absent: tuple[str, ...] = field(default=(), repr=False)
    licence: str = ""
    citation: str = ""

    @property
    def labels(self) -> list[str]:
        """Return the classes in alphabetical order: the order of every probability column."""
        return sorted(self.clips["label"].unique())

    @property
    def missing_folds(self) -> list[int]:
        """Folds of the dataset that are not on disk."""
        return sorted(set(self.folds) - set(self.clips["fold"]))


def clip_table(rows: pd.DataFrame | list[dict[str, Any]], root: Path) -> pd.DataFrame:
    """Build a clip table from a row or dict a clip; `start` and `end` may be left out.

    Raises
    ------
    DatasetError
        If there is no clip at all, or a value is missing or of the wrong kind.
    """
    clips = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    if clips.empty:
        raise DatasetError(f"{root}: holds no clip; is it the right folder?")
    for column in ("path", "label", "fold", "group"):
        if clips[column].isna().any():
            row = clips.loc[clips[column].isna()].iloc[0]
            raise DatasetError(f"{root}: the clip {row['path']} has no {column}")
    try:
        clips = clips.astype(
            {"label": str, "fold": int, "group": str, "start": float, "end": float}
        )
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{root}: a fold, start or end is not a number ({error})") from None
    clips["path"] = clips["path"].map(str)
    _check_parts(clips)
    return clips.sort_values(["path", "start"], ignore_index=True)


def _check_parts(clips: pd.DataFrame) -> None:
    """Refuse parts that end before they start."""
    backwards = clips[(clips["start"] < 0) | (clips["end"] <= clips["start"].fillna(0))]
    for row in backwards.itertuples():
        raise DatasetError(f"{row.path}: a clip from {row.start} s to {row.end} s is no clip")


def leaking_groups(clips: pd.DataFrame) -> list[str]:
    """Return the groups that sit in more than one fold, in order."""
    folds = clips.groupby("group")["fold"].nunique()
    leaking = [str(group) for group in folds.index[folds > 1]]
    return sorted(leaking, key=lambda group: (len(group), group))  # numbers by size


def leaks_in_words(clips: pd.DataFrame) -> list[str]:
    """Name the groups that sit in more than one fold, in a line; no line where none does."""
    leaking = leaking_groups(clips)
    told = f"{len(leaking)} source recordings sit in more than one fold: {list_some(leaking)}"
    return [told] if leaking else []


def list_some(names: Iterable[str], most: int = 10) -> str:
    """Join names for a message: the first `most`, then how many more."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def absent_note(names: Sequence[str]) -> str:
    """Say in a note which clips a table lists and the disk does not hold."""
    are = "clip is" if len(names) == 1 else "clips are"
    return f"{len(names):,} listed {are} absent: {list_some(names)}"


def read_csv(path: Path, required: Iterable[str], *, optional: Iterable[str] = ()) -> pd.DataFrame:
    """Read a CSV as text, checking that the `required` columns are there.

    Raises
    ------
    DatasetError
        If it cannot be read, a column is missing, or a cell of a required column, or of an
        `optional` one that is there, is empty.
    """
    required = tuple(required)
    try:
        with path.open("rb") as file:
            table = pd.read_csv(file, dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read as CSV ({error})") from None
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise DatasetError(
            f"{path}: has no column {', '.join(missing)}; it has {', '.join(table.columns)}"
        )
    for column in (*required, *(name for name in optional if name in table.columns)):
        empty = table[column].isna()
        if empty.any():
            raise DatasetError(f"{path}: row {int(empty.argmax()) + 1} has no {column}")
    return table


def whole_numbers(table: pd.DataFrame, column: str, path: Path) -> list[int]:
    """Read a column of text as whole numbers.

    Raises
    ------
    DatasetError
        If a value is none; `path` is the file to name.
    """
    try:
        return [int(value) for value in table[column]]
    except ValueError as error:
        raise DatasetError(f"{path}: a {column} is not a whole number ({error})") from None


def split_present(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Keep the clips that are on disk and say what is not.

    A fold of which no clip is there was not downloaded: it is reported by number. Elsewhere, each
    clip without a file is reported by name.

    Parameters
    ----------
    table : pandas.DataFrame
        Listed clips, with the columns ``path`` and ``fold``.

    Returns
    -------
    present : pandas.DataFrame
        The rows whose file exists.
    absent : list of str
        Names of clips that should lie in the folds that are there.
    notes : list of str
        Both findings in words; empty where all is there.
    """
    on_disk = table["path"].map(_Folders().holds)
    folds_there = set(table.loc[on_disk, "fold"])
    fold_there = table["fold"].isin(folds_there)
    absent = [os.path.basename(path) for path in table.loc[~on_disk & fold_there, "path"]]
    notes = []
    if not fold_there.all():
        gone = sorted(set(table["fold"]) - folds_there)
        notes.append(
            f"{len(gone)} of {table['fold'].nunique()} folds are not on disk: "
            f"{', '.join(str(fold) for fold in gone)} ({int((~fold_there).sum()):,} of "
            f"{len(table):,} clips)"
        )
    if absent:
        notes.append(absent_note(absent))
    return table[on_disk], absent, notes


class _Folders:
    """Answers "is this file there" by listing each folder once, not asking once a file."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}

    def holds(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if folder not in self._names:
            there = place(folder)
            names = (file.name for file in there.iterdir()) if there.is_dir() else ()
            self._names[folder] = frozenset(names)
        return name in self._names[folder]
