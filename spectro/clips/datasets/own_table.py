"""A table of one's own clips: its columns, by whatever names, and where its paths start."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from spectro.clips.datasets.listing import Listing
from spectro.clips.datasets.part_columns import read_parts
from spectro.clips.datasets.places import places
from spectro.clips.table import (
    MissingColumnError,
    header_of,
    list_some,
    read_csv,
    whole_numbers,
)
from spectro.errors import DatasetError
from spectro.plumbing.paths import is_url, place

__all__ = ["TABLE", "Columns", "exists", "find", "labels_in", "propose", "read_table"]

TABLE = "clips.csv"
"""Name of the table in a folder of one's own."""

_PARTS = ("start", "end")
_CALLED = {  # what others call them: Kaggle's tables, the Hugging Face hub's, DCASE's
    "path": ("path", "filename", "file_name", "file", "filepath", "file_path", "fname", "audio"),
    "label": (
        "label",
        "primary_label",
        "ebird_code",
        "class",
        "category",
        "species",
        "scene_label",
        "target",
    ),
    "fold": ("fold", "kfold", "cv_fold"),
    "group": ("group", "author", "recordist", "recording", "recording_id", "speaker", "source"),
}
_MOST_TABLES = 1_000


class Columns(NamedTuple):
    """What a table calls its columns; None is what we call them, where it is there.

    Attributes
    ----------
    path, label, fold, group : str or None
        Names of the columns.
    """

    path: str | None = None
    label: str | None = None
    fold: str | None = None
    group: str | None = None

    @property
    def given(self) -> dict[str, str]:
        """Return the names that were given, with ours as keys."""
        return {ours: name for ours, name in self._asdict().items() if name is not None}


def find(files: Listing, columns: Columns) -> Path | None:
    """Find the table of a dataset: the file itself, ``clips.csv``, or one with the given columns.

    Raises
    ------
    DatasetError
        If columns are given and no table has them, or several do.
    """
    root = files.root
    if root.is_file():
        return root
    if (root / TABLE).is_file():
        return root / TABLE
    if not columns.given:
        return None
    wanted = {name.lower() for name in columns.given.values()}
    tables = files.tables(".csv", ".tsv")[:_MOST_TABLES]
    found = [root / name for name in tables if wanted <= header_of(root / name)]
    if len(found) != 1:
        what = f"several tables have: {list_some(map(str, found), 5)}" if found else "no table has"
        raise DatasetError(
            f"{root}: {what} the columns {', '.join(columns.given.values())}; give the table itself"
        )
    return found[0]


def read_table(file: Path, columns: Columns, inside: Path | None = None) -> pd.DataFrame:
    """Read a table of clips; relative paths start at its folder, or at one below that has them.

    Parameters
    ----------
    file : Path
        The table, or its URL.
    columns : Columns
        What it calls its columns.
    inside : Path or None
        Folder that no path may climb out of by ``..``; None means the table's own.

    Returns
    -------
    table : pandas.DataFrame
        ``path`` as one can open it, ``label``, ``listed`` (the path as listed); ``fold``,
        ``group``, ``start`` and ``end`` where it has them.

    Raises
    ------
    DatasetError
        If it cannot be read, lacks a column or holds a bad value; or a path leads out.
    """
    table = _renamed(file, columns)
    names = [name for name in Columns._fields if name in table]
    table = table[names].join(read_parts(table.drop(columns=names), file))
    for name in set(names) - {"path"}:
        table[name] = table[name].str.strip()
    if "fold" in table:
        table["fold"] = whole_numbers(table, "fold", file)
    blank = table["label"] == ""
    if blank.any():
        raise DatasetError(f"{file}: row {int(blank.to_numpy().argmax()) + 1} has no label")
    _check_parts(table, file)
    _check_urls(table["path"], file)
    table["listed"] = table["path"]
    names, labels = (table[name].astype(str).tolist() for name in ("path", "label"))
    table["path"] = places(names, labels, file, inside)
    return table


def _renamed(file: Path, columns: Columns) -> pd.DataFrame:
    """Read the text of a table, with the columns called as ours are."""
    given = columns.given
    ours = {name: given.get(name, name) for name in Columns._fields}
    required = [ours["path"], ours["label"], *(given[k] for k in ("fold", "group") if k in given)]
    optional = [ours[k] for k in ("fold", "group") if k not in given]
    try:
        table = read_csv(file, required, optional=optional)
    except MissingColumnError as error:
        if given:
            raise
        way = propose(file) or "name yours with --path-column and --label-column"
        raise DatasetError(f"{error}; {way}") from None
    taken = [name for name in given if name in table and given[name] != name]
    return table.drop(columns=taken).rename(columns={name: key for key, name in given.items()})


def propose(file: Path) -> str | None:
    """Propose how to name a table's columns, if it has some that others call so."""
    found = _known_columns(file)
    if found["path"] is None or found["label"] is None:
        return None
    options = (f"--{ours}-column {name}" for ours, name in found.items() if name)
    return f"perhaps: {' '.join(options)}"


def labels_in(file: Path) -> dict[str, str]:
    """Read the label of each clip by its name, without folders and suffix, if a table has both."""
    path, label = (_known_columns(file)[ours] for ours in ("path", "label"))
    if path is None or label is None:
        return {}
    try:
        table = read_csv(file, (path, label))
    except DatasetError:
        return {}
    stems = [PurePosixPath(name.strip().replace("\\", "/")).stem for name in table[path]]
    return dict(zip(stems, table[label].str.strip(), strict=True))


def _known_columns(file: Path) -> dict[str, str | None]:
    """Tell what a table calls its columns, as far as others call theirs so."""
    header = header_of(file)
    return {
        ours: next((name for name in names if name in header), None)
        for ours, names in _CALLED.items()
    }


def _check_parts(table: pd.DataFrame, file: Path) -> None:
    """Refuse a part that starts before the sound, or ends before it starts."""
    start, end = (
        table[name].to_numpy() if name in table else np.full(len(table), np.nan) for name in _PARTS
    )
    wrong = (start < 0) | (end <= np.where(np.isnan(start), 0, start))
    if wrong.any():
        row = int(wrong.argmax())
        raise DatasetError(
            f"{file}: row {row + 1}: from {start[row]:g} to {end[row]:g} s is no part of a sound; "
            "mend start and end, in seconds, or leave both empty for all of it"
        )


def _check_urls(paths: Iterable[str], file: Path) -> None:
    """Refuse URLs to anywhere but the store that the table itself lies in: it may be a stranger's.

    A table that makes this machine ask hosts of its choosing would reach what only this machine
    can; so none of them is asked.
    """
    own = _store(str(file)) if is_url(file) else None
    for row, path in enumerate(paths, start=1):
        if is_url(path) and ("::" in path or _store(path) != own):
            raise DatasetError(
                f"{file}: row {row}: the path {path[:200]!r} is a URL, and a table may name only "
                "files beside it, or in its own store; copy the file and name the copy"
            )


def _store(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    return scheme.lower(), rest.partition("/")[0]


def exists(path: str) -> bool:
    """Tell whether a clip is there; where that cannot be told, it is not."""
    try:
        return place(path).exists()
    except OSError:  # a name that is too long, a folder that may not be read
        return False
