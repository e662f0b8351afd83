"""Shared by the layouts whose metadata lists every clip: compare the list with the disk."""

from __future__ import annotations

import os

import pandas as pd

from spectro.clips.table import absent_note
from spectro.plumbing.paths import place

__all__ = ["split_present"]


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
