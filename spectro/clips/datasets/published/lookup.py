"""Published datasets as people have them: the table and the clips that it names, wherever they lie.

The official archive, Kaggle's copy and a folder above either differ in nothing but folders.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from spectro.clips.datasets.listing import Listing, by_folder, path_of
from spectro.clips.datasets.places import plain
from spectro.clips.table import header_of, list_some, read_csv, whole_numbers
from spectro.errors import DatasetError

__all__ = [
    "Found",
    "find_clips",
    "find_tables",
    "folder_of",
    "left_out",
    "one_encoding",
    "read",
    "whole",
]

_MOST_HEADERS = 200  # tables whose first line is read


def find_tables(files: Listing, name: str, marks: frozenset[str]) -> list[str]:
    """Return the tables that have the name, or the columns, of a dataset's own.

    Parameters
    ----------
    files : Listing
        Of the folder.
    name : str
        What the dataset calls its table; the case does not count.
    marks : frozenset of str
        Columns that tell it apart, in lower case.
    """
    tables = files.tables(".csv", ".tsv")[:_MOST_HEADERS]
    return [
        table
        for table in tables
        if PurePosixPath(table).name.lower() == name.lower()
        or marks <= header_of(files.root / table)
    ]


def _only(files: Listing, tables: list[str], name: str) -> str:
    """Choose the table of a dataset: the one with its name, else the only one.

    Raises
    ------
    DatasetError
        If there are several, of which none has the name.
    """
    by_name = [table for table in tables if PurePosixPath(table).name.lower() == name.lower()]
    if not by_name and len(tables) > 1:
        raise DatasetError(
            f"{files.root}: several tables have the columns of {name}: {list_some(tables, 5)}; "
            f"name one of them, or join them to one called {name}"
        )
    return (by_name or tables)[0]


def folder_of(table: Path, marks: frozenset[str]) -> Path | None:
    """Return the folder of the dataset whose table `table` is; None if it is another table."""
    if not marks <= header_of(table):
        return None
    inside = table.parent.name.lower() in ("meta", "metadata")
    return table.parent.parent if inside else table.parent


@dataclass(frozen=True)
class Found:
    """A dataset's table, and the listing of the folder that it was found in."""

    files: Listing
    name: str
    table: pd.DataFrame

    @property
    def path(self) -> Path:
        """Return the table's file."""
        return self.files.root / self.name

    def locate(
        self, column: str, official: str, *, in_folds: bool = False
    ) -> tuple[pd.DataFrame, Path]:
        """Find the clips that the table names.

        Parameters
        ----------
        column : str
            Holds the names of the files.
        official : str
            Folder that they lie in where nobody moved them.
        in_folds : bool
            Whether a file lies in a folder ``foldN``.

        Returns
        -------
        table : pandas.DataFrame
            The table with ``fold`` as numbers, ``path``, and whether it is ``on_disk``.
        root : Path
            The folder that holds both the table and the clips.

        Raises
        ------
        DatasetError
            If no clip is on disk.
        """
        table = self.table.copy()
        table["fold"] = whole_numbers(table, "fold", self.path)
        keys = [str(name).replace("\\", "/") for name in table[column]]
        if in_folds:
            keys = [f"fold{fold}/{key}" for fold, key in zip(table["fold"], keys, strict=True)]
        found = find_clips(self.files, keys)
        if in_folds and not any(found):  # all in one folder
            found = find_clips(self.files, [key.rpartition("/")[2] for key in keys])
            self._check_folders(table, found)
        home = PurePosixPath(self.name).parent
        home = home.parent if home.name in ("meta", "metadata") else home
        if not any(found):
            raise DatasetError(
                f"{self.path}: none of the {len(table):,} listed clips is in {official}/ "
                f"or elsewhere below {self.files.root}; the first was looked for as "
                f"{home / official / keys[0]}"
            )
        table["on_disk"] = [place is not None for place in found]
        table["path"] = [
            path_of(self.files, place or str(home / official / key))
            for place, key in zip(found, keys, strict=True)
        ]
        return table, self.files.root / _common([self.name, *filter(None, found)])

    def _check_folders(self, table: pd.DataFrame, found: list[str | None]) -> None:
        """Refuse clips that lie in the folder of another fold than the table says."""
        for row, (fold, place) in enumerate(zip(table["fold"], found, strict=True), start=1):
            folder = PurePosixPath(place or "").parent.name
            number = re.fullmatch(r"fold[ _-]?(\d+)", folder, re.IGNORECASE)
            if number and int(number[1]) != fold:
                raise DatasetError(
                    f"{self.path}: row {row}: fold is {fold}, and the clip lies in {folder}; take "
                    "table and folders as published"
                )

    def left_out(self, table: pd.DataFrame) -> list[str]:
        """Say in a note which sound files are not in the table."""
        listed = set(table["path"])
        others = [name for name in self.files.sounds if path_of(self.files, name) not in listed]
        return left_out(others, f"not in {self.path.name}")


def left_out(names: Iterable[str], why: str) -> list[str]:
    """Say in a note that sound files are left out, and why; no note where there are none."""
    others = sorted(names)
    are = "file is" if len(others) == 1 else "files are"
    told = f"{len(others):,} sound {are} {why} and left out: {by_folder(others)}"
    return [told] if others else []


def one_encoding(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Of files in one folder that differ in nothing but their suffix, keep the WAV, or the first.

    Returns
    -------
    kept, others : list of str
    """
    kept: dict[str, str] = {}
    names = list(names)
    for name in sorted(names, key=lambda name: (not name.lower().endswith(".wav"), name)):
        kept.setdefault(_stem(name), name)
    taken = set(kept.values())
    return [n for n in names if n in taken], [n for n in names if n not in taken]


def read(
    files: Listing,
    metadata: Path,
    marks: frozenset[str],
    columns: Iterable[str],
    optional: Iterable[str] = (),
) -> Found:
    """Read a dataset's own table, without blanks around its cells.

    Parameters
    ----------
    files : Listing
        Of the folder.
    metadata : Path
        Where the table lies officially; its name.
    marks : frozenset of str
        Columns that tell it apart, in lower case.
    columns : iterable of str
        Columns that have to be there.
    optional : iterable of str
        Columns that are called so, whatever their case, if they are there.

    Raises
    ------
    DatasetError
        If there is no table, several, or one that cannot be read.
    """
    tables = find_tables(files, metadata.name, marks)
    if not tables:
        raise DatasetError(
            f"{files.root}: holds no {metadata.name}, the table of the dataset; give the folder "
            "that holds table and clips"
        )
    official = [table for table in tables if table.endswith(metadata.as_posix())]
    name = official[0] if official else _only(files, tables, metadata.name)
    homes = {_home(table) for table in tables}
    if any(not _inside(home, _home(name)) and not _inside(_home(name), home) for home in homes):
        raise DatasetError(
            f"{files.root}: holds several datasets: {', '.join(tables[:5])}; give the folder of one"
        )
    return Found(files, name, _trimmed(files.root / name, columns, optional))


def _trimmed(file: Path, columns: Iterable[str], optional: Iterable[str]) -> pd.DataFrame:
    """Read a table, and drop the blanks around its cells; of `columns`, none may be blank."""
    required = tuple(columns)
    table = read_csv(file, required)
    called = {name.lower(): name for name in optional}
    table = table.rename(columns=lambda name: called.get(str(name).strip().lower(), name))
    for column in table.columns:
        cells = table[column].str.strip()
        blank = cells == ""
        if column in required and blank.any():
            raise DatasetError(f"{file}: row {int(blank.to_numpy().argmax()) + 1} has no {column}")
        table[column] = cells
    return table


def whole(number: str) -> str:
    """Write a number that a spreadsheet made a decimal one of, as ``7.0``, as it was."""
    return re.sub(r"^(\d+)\.0+$", r"\1", str(number))


def _home(table: str) -> PurePosixPath:
    folder = PurePosixPath(table).parent
    return folder.parent if folder.name in ("meta", "metadata") else folder


def _inside(folder: PurePosixPath, other: PurePosixPath) -> bool:
    return folder == other or other in folder.parents


def find_clips(files: Listing, keys: Sequence[str]) -> list[str | None]:
    """Find each file by the end of its path, encoded as the table says or otherwise.

    Of copies, those with the most others around them, then those nearest to the top.

    Parameters
    ----------
    files : Listing
        Of the folder.
    keys : sequence of str
        Paths as the table has them, with forward slashes.
    """
    wanted = {_stem(plain(key)).rpartition("/")[2] for key in keys}
    named: dict[str, list[str]] = {}
    for file in files.sounds:
        if (name := _stem(plain(file)).rpartition("/")[2]) in wanted:
            named.setdefault(name, []).append(file)
    options = [_options(_stem(plain(key)), named) for key in keys]
    counts = Counter(home for found in options for home in found.values())

    def best(found: dict[str, str], key: str) -> str:
        suffix = key[len(_stem(key)) :]
        return min(
            found,
            key=lambda file: (
                not file.endswith(suffix),
                not file.endswith(key),
                -counts[found[file]],
                file.count("/"),
                file,
            ),
        )

    return [best(found, key) if found else None for found, key in zip(options, keys, strict=True)]


def _options(stem: str, named: dict[str, list[str]]) -> dict[str, str]:
    """Map the files that may be the one to the folder that the table's path starts at."""
    files = named.get(stem.rpartition("/")[2], ())
    return {
        file: own[: -len(stem)]
        for file in files
        if f"/{(own := _stem(plain(file)))}".endswith(f"/{stem}")
    }


def _stem(name: str) -> str:
    """Return a path without its suffix."""
    folder, slash, own = name.rpartition("/")
    return f"{folder}{slash}{own.rpartition('.')[0] or own}"


def _common(names: list[str]) -> str:
    """Return the deepest folder that holds all files."""
    return os.path.commonpath([str(PurePosixPath(name).parent) for name in names]).strip(".")
