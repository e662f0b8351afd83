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

import codecs
import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from spectro.errors import DatasetError
from spectro.plumbing.files import LARGEST_TABLE
from spectro.plumbing.words import counted

# A file name may hold bytes that are no Unicode. Strings of pyarrow, which pandas takes where it is
# installed, cannot hold them.
pd.set_option("mode.string_storage", "python")

__all__ = [
    "COLUMNS",
    "Dataset",
    "MissingColumnError",
    "absent_note",
    "alike_labels",
    "clip_table",
    "header_of",
    "leaking_groups",
    "leaks_in_words",
    "list_some",
    "read_csv",
    "seconds",
    "split_present",
    "whole_numbers",
]

_SEPARATORS = (",", ";", "\t", "|")
_HEADER = 1 << 16  # bytes that the names of columns take at most
_SHOWN = 200  # characters of what is wrong
_WHOLE = re.compile(r"(?:fold[ _-]*)?(\d{1,6})(?:[.,]0*)?", re.IGNORECASE)
_SEP = re.compile(r"\Asep=.(\r\n|\r|\n)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")

COLUMNS = ("path", "label", "fold", "group", "start", "end")


class MissingColumnError(DatasetError):
    """A table lacks a column that it must have."""


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
    reading : dict
        Options that it was read with, as :func:`spectro.load_dataset` takes them.
    made_folds : MadeFolds or None
        Folds that were made for it (:mod:`spectro.clips.datasets.folds`); None where it has its
        own.

    Examples
    --------
    >>> import tempfile
    >>> from spectro import load_dataset, write_sample
    >>> sounds = write_sample(tempfile.mkdtemp(), sources=1, slices=1, folds=2)
    >>> dataset = load_dataset(sounds)
    >>> dataset.labels[:2], dataset.folds, list(dataset.clips.columns)
    (['air_conditioner', 'car_horn'], (1, 2), ['path', 'label', 'fold', 'group', 'start', 'end'])
    """

    name: str
    root: Path
    clips: pd.DataFrame
    folds: tuple[int, ...]
    notes: tuple[str, ...] = ()
    absent: tuple[str, ...] = field(default=(), repr=False)
    licence: str = ""
    citation: str = ""
    reading: dict[str, Any] = field(default_factory=dict)
    made_folds: Any = field(default=None, repr=False)

    def keep_folds(self) -> None:
        """Write down the folds that were made for it, so that they never change.

        Raises
        ------
        DatasetError
            If they cannot be written.
        """
        if self.made_folds is not None:
            self.made_folds.keep()

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


def read_csv(
    path: Path, required: Iterable[str], *, optional: Iterable[str] = (), lines: bool = False
) -> pd.DataFrame:
    """Read a CSV as text, checking that the `required` columns are there.

    It may be UTF-8 or UTF-16, and be separated by commas, semicolons, tabs
    or bars. Blanks around the names of columns do not count, nor does their case.

    Raises
    ------
    DatasetError
        If it cannot be read, a column is missing, or a cell of a required column, or of an
        `optional` one that is there, is empty, or goes on over several lines. With `lines` it may:
        in a table of ours, which has the names that files have.
    """
    required, optional = tuple(required), tuple(optional)
    table = _parse(_text(path), path, (*required, *optional))
    table = table.rename(columns=_names(table.columns, (*required, *optional)))
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise MissingColumnError(
            f"{path}: has no column {', '.join(missing)}; it has {list_some(table.columns, 20)}"
        )
    for column in (*required, *(name for name in optional if name in table.columns)):
        empty = table[column].isna()
        if empty.any():
            raise DatasetError(f"{path}: row {int(empty.argmax()) + 1} has no {column}")
        broken = table[column].astype(str).str.contains(r"[\r\n]")
        if broken.any() and not lines:
            raise DatasetError(
                f"{path}: row {int(broken.to_numpy().argmax()) + 1}: the {column} goes on over "
                "several lines; a quotation mark is missing or one too many"
            )
    return table


def header_of(path: Path) -> frozenset[str]:
    """Read the names of a table's columns, in lower case; none if it is no table."""
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            return frozenset()
        with path.open("rb") as file:
            line = _first_line(_decoded(file.read(_HEADER), errors="replace"))
    except (OSError, ValueError):
        return frozenset()
    return _cells(line, _separator(line, ()))


def _text(path: Path) -> str:
    """Read a file of a bounded size as text."""
    try:
        if not path.is_file():
            raise DatasetError(f"{path}: is not a regular file, and so no table; name a CSV")
        with path.open("rb") as file:
            data = file.read(LARGEST_TABLE + 1)
        text = _decoded(data)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read as CSV ({error.strerror or error})") from None
    except ValueError as error:
        raise DatasetError(
            f"{path}: cannot be read as CSV ({_short(error)}); save it as UTF-8"
        ) from None
    if (too_large := len(data) > LARGEST_TABLE) or "\0" in text:
        what = "is too large for a table of clips" if too_large else "holds NUL characters"
        raise DatasetError(f"{path}: cannot be read as CSV (it {what}); name a CSV")
    return text


def _decoded(data: bytes, errors: str = "strict") -> str:
    """Decode UTF-8, or UTF-16 by its byte order mark or the zeros of its first letters.

    The first line may be Excel's ``sep=;``, which is no row.
    """
    coding = "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        coding = "utf-16"
    elif data[1:2] == data[3:4] == b"\0":
        coding = "utf-16-le"
    elif data[:1] == data[2:3] == b"\0":
        coding = "utf-16-be"
    text = data.decode(coding, errors)
    return _SEP.sub("", text, count=1)


def _parse(text: str, path: Path, wanted: Sequence[str]) -> pd.DataFrame:
    line = _first_line(text)
    separator = _separator(line, wanted)
    header = _cell_list(line, separator)
    for name in wanted:  # pandas would number the second
        if header.count(name.lower()) > 1:
            raise DatasetError(f"{path}: has the column {name} twice; remove or rename one")
    try:
        table: pd.DataFrame = pd.read_csv(
            io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, na_values=[""]
        )
    except ValueError as error:
        raise DatasetError(f"{path}: cannot be read as CSV ({_short(error)})") from None
    if not isinstance(table.index, pd.RangeIndex):
        raise DatasetError(f"{path}: cannot be read as CSV (rows have more cells than the header)")
    return table


def _first_line(text: str) -> str:
    """Return the first line, whatever ends it: old spreadsheets end lines by a carriage return."""
    return next(io.StringIO(text, newline=None), "").rstrip("\n")


def _cells(line: str, separator: str) -> frozenset[str]:
    """Return the cells of a header without blanks and case; none where it is no CSV."""
    return frozenset(_cell_list(line, separator))


def _cell_list(line: str, separator: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # a cell longer than the csv module takes
        return []
    return [cell.strip().lower() for cell in cells]


def _separator(line: str, wanted: Sequence[str]) -> str:
    """Choose the separator that gives the most of the wanted columns, then the most columns."""

    def found(separator: str) -> tuple[int, int]:
        cells = _cells(line, separator)
        return len(cells & {name.lower() for name in wanted}), len(cells)

    return max(_SEPARATORS, key=found)  # of equals, the first


def _names(columns: Iterable[str], wanted: Sequence[str]) -> dict[str, str]:
    """Tell how columns are called whose names are the wanted ones but for blanks and case."""
    asked = {name.lower(): name for name in wanted}
    plain = ((column, str(column).strip().lower()) for column in columns)
    return {column: asked[name] for column, name in plain if name in asked}


def _short(error: object) -> str:
    words = " ".join(str(error).split())
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."


def whole_numbers(table: pd.DataFrame, column: str, path: Path) -> list[int]:
    """Read a column of text as whole numbers; ``1.0`` and ``fold1`` are 1.

    Raises
    ------
    DatasetError
        If a value is none; it names the row of `path`.
    """
    numbers = []
    for row, value in enumerate(table[column], start=1):
        match = _WHOLE.fullmatch(str(value).strip())
        if match is None:
            raise DatasetError(
                f"{path}: row {row}: {column} is not a whole number: {_short(value)!r}; "
                "number the folds from 1"
            )
        numbers.append(int(match[1]))
    return numbers


def seconds(table: pd.DataFrame, column: str, path: Path) -> list[float]:
    """Read a column of text as seconds; an empty cell is NaN.

    A decimal comma is read where it can be nothing else: not where points occur too, and not where
    three digits follow each comma, which may then part thousands.

    Raises
    ------
    DatasetError
        If a value is no number; it names the row of `path`.
    """
    values = table[column].fillna("").str.strip().replace("nan", "").tolist()
    commas = [value for value in values if "," in value]
    points = any("." in value for value in values)
    decimal = not points and not all(len(value.rpartition(",")[2]) == 3 for value in commas)
    numbers = []
    for row, value in enumerate(values, start=1):
        text = value.replace(",", ".", 1) if decimal else value
        if text and not _NUMBER.fullmatch(text):
            raise DatasetError(
                f"{path}: row {row}: {column} is not a number: {_short(value)!r}; "
                "write seconds, with a decimal point"
            )
        numbers.append(float(text or "nan"))
    return numbers


def split_present(
    table: pd.DataFrame, on_disk: pd.Series
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Keep the clips that are on disk and say what is not.

    A fold of which no clip is there was not downloaded: it is reported by number. Elsewhere, each
    clip without a file is reported by name.

    Parameters
    ----------
    table : pandas.DataFrame
        Listed clips, with the columns ``path`` and ``fold``.
    on_disk : pandas.Series of bool
        Which of them have a file.

    Returns
    -------
    present : pandas.DataFrame
        The rows whose file exists.
    absent : list of str
        Names of clips that should lie in the folds that are there.
    notes : list of str
        Both findings in words; empty where all is there.
    """
    folds_there = set(table.loc[on_disk, "fold"])
    fold_there = table["fold"].isin(folds_there)
    absent = [os.path.basename(path) for path in table.loc[~on_disk & fold_there, "path"]]
    notes = []
    if not fold_there.all():
        gone = sorted(set(table["fold"]) - folds_there)
        notes.append(
            f"{len(gone)} of {counted(table['fold'].nunique(), 'fold')} are not on disk: "
            f"{', '.join(str(fold) for fold in gone)} ({int((~fold_there).sum()):,} of "
            f"{counted(len(table), 'clip')})"
        )
    if absent:
        notes.append(absent_note(absent))
    return table[on_disk], absent, notes


def alike_labels(labels: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of labels that differ in nothing but blanks, case or composed letters."""
    groups: dict[str, set[str]] = {}
    for label in labels:
        shown = (c for c in unicodedata.normalize("NFKC", label) if unicodedata.category(c) != "Cf")
        plain = "".join(shown).casefold()
        groups.setdefault(re.sub(r"[\s_-]+", "", plain), set()).add(label)
    return [tuple(sorted(group)) for group in groups.values() if len(group) > 1]
