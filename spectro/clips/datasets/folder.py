"""Anyone's own data: a folder a class, or a CSV.

- Folder a class: ``ROOT/{label}/**/*.wav`` (or any other format that libsndfile reads).
- CSV: ``ROOT/clips.csv``, or a CSV file itself, with the columns ``path`` (relative to the CSV) and
  ``label``, and optionally ``fold``, ``group``, ``start`` and ``end`` (seconds).
- Folds: those of the CSV; else made once, seeded, stratified by class and never cutting a recording
  apart, and written to ``folds.csv`` beside the data so that they never change under the user.
- Licence and citation: the user's own.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd

from spectro.clips.datasets.folds import remembered_folds
from spectro.clips.table import (
    Dataset,
    absent_note,
    clip_table,
    leaks_in_words,
    list_some,
    read_csv,
)
from spectro.errors import DatasetError
from spectro.plumbing.paths import is_url, place

__all__ = ["SUFFIXES", "load", "looks_like"]

SUFFIXES = {
    *(".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aif", ".aiff", ".aifc", ".caf", ".au", ".snd"),
}
_TABLE = "clips.csv"


def looks_like(root: Path) -> bool:
    """Tell whether `root` is a CSV, has a ``clips.csv``, or has folders with sound files."""
    if root.is_file():
        return root.suffix.lower() == ".csv"
    return (root / _TABLE).is_file() or next(iter(_sound_files(root)), None) is not None


def load(
    root: Path,
    *,
    n_folds: int | None = None,
    seed: int = 0,
    group_pattern: str | None = None,
    folds_file: Path | None = None,
) -> Dataset:
    """Read the clip table of a folder of one's own.

    Parameters
    ----------
    root : Path
        Folder with a folder a class, folder with a ``clips.csv``, or a CSV.
    n_folds : int or None
        Folds to make where the data brings none; None means as many as were made before, or 5.
    seed : int
        Seed of their first dealing.
    group_pattern : str or None
        Regular expression that finds the recording's name within a clip's file name (its first
        group if it has one). None takes every file for a recording of its own.
    folds_file : Path or None
        Where made folds are kept; None means ``folds.csv`` beside the data.

    Returns
    -------
    Dataset

    Raises
    ------
    DatasetError
        If nothing is found, the pattern does not match a file, or folds cannot be made or kept.
    """
    table_file = root if root.is_file() else root / _TABLE
    if table_file.is_file():
        table, home = _from_csv(table_file), table_file.parent
        name = root.stem if root.is_file() else root.resolve().name
    else:
        table, home, name = _from_folders(root), root, root.resolve().name
    on_disk = table["path"].map(lambda path: place(path).exists())
    absent = [os.path.basename(path) for path in table.loc[~on_disk, "path"]]
    table = table[on_disk].copy()
    notes = [absent_note(absent)] if absent else []
    if table.empty:
        raise DatasetError(f"{root}: none of the {len(absent):,} listed clips is on disk")
    if "group" not in table:
        table["group"] = [_group(place(path), home, group_pattern) for path in table["path"]]
        if group_pattern is None:
            notes.append(
                "every file counts as a recording of its own; where several were cut from one, "
                "say how to tell with --group-pattern, or scores will be too high"
            )
    notes += _give_folds(table, folds_file or home / "folds.csv", n_folds, seed)
    clips = clip_table(table, root)
    return Dataset(
        name=name,
        root=home,
        clips=clips,
        folds=tuple(sorted(set(clips["fold"]))),
        notes=(*notes, *_thin_classes(clips)),
        absent=tuple(absent),
    )


def _from_csv(file: Path) -> pd.DataFrame:
    """Read a table of clips; relative paths start at the CSV's folder."""
    table = read_csv(file, ("path", "label"), optional=("fold", "group"))
    table["path"] = [
        path if is_url(path) else str(file.parent / str(path)) for path in table["path"]
    ]
    return table


def _from_folders(root: Path) -> pd.DataFrame:
    """List the sound files, labelled by the first folder below `root`."""
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder")
    rows = [
        {"path": str(path), "label": path.relative_to(root).parts[0]} for path in _sound_files(root)
    ]
    if not rows:
        raise DatasetError(
            f"{root}: holds no sound file in a folder a class; put clips into "
            f"{root}/LABEL/ or list them in {root}/{_TABLE}"
        )
    return pd.DataFrame(rows)


def _sound_files(root: Path) -> list[Path]:
    return [
        path
        for path in sorted(root.glob("*/**/*"))
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]


def _group(path: Path, home: Path, pattern: str | None) -> str:
    """Name the recording that a clip was cut from."""
    if pattern is None:
        return path.relative_to(home).as_posix() if path.is_relative_to(home) else path.as_posix()
    try:
        match = re.search(pattern, path.name)
    except re.error as error:
        raise DatasetError(
            f"--group-pattern '{pattern}' is no regular expression: {error}"
        ) from None
    group = match and match.group(1 if match.re.groups else 0)
    if group is None:
        raise DatasetError(
            f"{path}: --group-pattern '{pattern}' finds nothing in the file name; give one that "
            "fits every name, or move the file away"
        )
    return group


def _give_folds(table: pd.DataFrame, file: Path, n_folds: int | None, seed: int) -> list[str]:
    """Fill the ``fold`` column in place unless the data brought one; return what to tell."""
    if "fold" in table:
        return leaks_in_words(table)
    fold_of = remembered_folds(table, file, n_folds=n_folds, seed=seed)
    table["fold"] = table["group"].map(fold_of)
    return [f"{max(fold_of.values())} folds made by recording, kept in {file}"]


def _thin_classes(clips: pd.DataFrame) -> list[str]:
    """Name the classes that some fold cannot score for want of recordings."""
    n_folds = clips["fold"].nunique()
    present = clips.groupby("label")["fold"].nunique()
    thin = [f"{label} (in {count})" for label, count in present.items() if count < n_folds]
    return [f"classes absent from some of the {n_folds} folds: {list_some(thin)}"] if thin else []
