"""Folds for data that has none: made once, by recording, and written down beside the data.

::

    folds.csv    group, fold: a row a recording
    folds.json   how recordings were told apart; other recordings under the same folds would leak
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from spectro.clips.datasets.places import as_written
from spectro.clips.table import MissingColumnError, read_csv, whole_numbers
from spectro.errors import DatasetError
from spectro.plumbing.files import read_json, write_text
from spectro.plumbing.settings import Record

__all__ = ["Grouping", "MadeFolds", "deal_folds", "remembered_folds"]

_FOLDS = 5  # made where nobody says how many


class Grouping(Record):
    """How recordings are told apart.

    Parameters
    ----------
    group_pattern : str or None
        By this regular expression, in the names of files.
    group_column : str or None
        By this column of a table. With neither, every file is a recording of its own.
    """

    omitted: ClassVar[frozenset[str]] = frozenset({"group_pattern", "group_column"})

    group_pattern: str | None = None
    group_column: str | None = None

    @property
    def in_words(self) -> str:
        """Say how, as the options that say so."""
        if self.group_pattern is not None:
            return f"with --group-pattern '{self.group_pattern}'"
        if self.group_column is not None:
            return f"by the column {self.group_column}"
        return "taking every file for a recording of its own"

    @classmethod
    def beside(cls, file: Path) -> Grouping | None:
        """Read how recordings were told apart when the folds in `file` were made, if it is known.

        Raises
        ------
        DatasetError
            If it is written down and cannot be read.
        """
        note = file.with_suffix(".json")
        return cls.read(note, DatasetError) if note.exists() else None


@dataclass(frozen=True)
class MadeFolds:
    """Folds that were made, and where they are kept.

    Attributes
    ----------
    fold_of : dict of str to int
        Fold, from 1, of each recording.
    file : Path
        ``folds.csv``, which :meth:`keep` writes.
    grouping : Grouping
        How recordings are told apart.
    joined : int
        Recordings that were dealt now to folds that were there.
    """

    fold_of: dict[str, int]
    file: Path
    grouping: Grouping
    joined: int = 0

    def keep(self) -> None:
        """Write them down, unless that is done.

        Raises
        ------
        DatasetError
            If they cannot be written.
        """
        note = self.file.with_suffix(".json")
        if note.exists() and not self.file.exists():
            _check_ours(note)
        if not self.file.exists() or _read_folds(self.file, None) != self.fold_of:
            _write_folds(self.file, self.fold_of)
            _write(note, self.grouping.to_text())
        elif not note.exists():  # folds of before there were notes, perhaps where none can be put
            with suppress(DatasetError):
                _write(note, self.grouping.to_text())


def _check_ours(note: Path) -> None:
    """Refuse to write over a file that is no note of ours."""
    try:
        is_ours = read_json(note, DatasetError).keys() <= Grouping.model_fields.keys()
    except DatasetError:
        is_ours = False
    if not is_ours:
        raise DatasetError(
            f"{note}: is where it is kept how recordings are told apart, and it holds something "
            "else: keep yours under another, or say where folds go with --folds-file"
        )


def remembered_folds(
    clips: pd.DataFrame,
    file: Path,
    *,
    n_folds: int | None,
    seed: int,
    grouping: Grouping | None = None,
) -> MadeFolds:
    """Return the fold of every group, from `file` as far as it goes, else dealt now.

    A group keeps its fold for ever, so scores stay comparable as data grows. Nothing is written.

    Parameters
    ----------
    clips : pandas.DataFrame
        With the columns ``label`` and ``group``.
    file : Path
        CSV with the columns ``group`` and ``fold``; it need not be there.
    n_folds : int or None
        Number of folds to make; None means as many as `file` has, or 5.
    seed : int
        Seed of the first dealing.
    grouping : Grouping or None
        How the groups were told apart; None takes every file for one.

    Raises
    ------
    DatasetError
        If there are fewer groups than folds, or `file` has another number of folds, contradicts
        itself, or was made of other groups.
    """
    grouping = grouping or Grouping()
    known = _read_folds(file, n_folds) if file.exists() else {}
    if known:
        spelled = as_written(known, clips["group"])  # on a Mac otherwise than elsewhere
        known = {spelled.get(group, group): fold for group, fold in known.items()}
        _check_same_groups(clips, known, file, grouping)
    if n_folds is None:
        n_folds = max(known.values(), default=_FOLDS)
    new = [group for group in clips["group"].unique() if group not in known]
    if not new:
        return MadeFolds(known, file, grouping)
    if not known:
        return MadeFolds(deal_folds(clips, n_folds, seed=seed), file, grouping)
    return MadeFolds(_deal_to(known, clips, n_folds), file, grouping, joined=len(new))


def _check_same_groups(
    clips: pd.DataFrame, known: dict[str, int], file: Path, grouping: Grouping
) -> None:
    """Refuse to deal other groups to the same folds: pieces of a recording would be parted."""
    before = Grouping.beside(file)
    note = file.with_suffix(".json").name
    if before is not None and before != grouping:
        raise DatasetError(
            f"{file}: the folds were made {before.in_words}, and this is {grouping.in_words}; read "
            f"the data as then, or remove {file.name} and {note} to deal the recordings anew"
        )
    if not set(known) & set(clips["group"]):
        some = ", ".join(list(known)[:3])
        raise DatasetError(
            f"{file}: holds the folds of other recordings ({some}), none of which is here "
            f"{grouping.in_words}; read the data as when they were made, with the same "
            f"--group-pattern, or remove {file.name} to deal the recordings anew"
        )


def deal_folds(clips: pd.DataFrame, n_folds: int, *, seed: int) -> dict[str, int]:
    """Deal groups into folds, classes as even as groups allow (`StratifiedGroupKFold`).

    Raises
    ------
    DatasetError
        If there are fewer groups than folds.
    """
    n_groups = clips["group"].nunique()
    if not 2 <= n_folds <= n_groups:
        raise DatasetError(
            f"cannot make {n_folds} folds of {n_groups} recordings; "
            f"ask for 2 to {n_groups} (--n-folds)"
        )
    if clips["label"].value_counts().max() < n_folds:  # scikit-learn refuses such
        names = np.random.default_rng(seed).permutation(clips["group"].unique())
        return _deal_to({}, clips, n_folds, order=names.tolist())
    from sklearn.model_selection import StratifiedGroupKFold  # 0.8 s, spared where folds are there

    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    fold_of: dict[str, int] = {}
    with warnings.catch_warnings():  # a class in fewer recordings than folds is told in our words
        warnings.simplefilter("ignore", UserWarning)
        splits = list(splitter.split(np.zeros(len(clips)), clips["label"], clips["group"]))
    for fold, (_, held_out) in enumerate(splits, start=1):
        fold_of.update(dict.fromkeys(clips["group"].iloc[held_out], fold))
    return fold_of


def _deal_to(
    known: dict[str, int], clips: pd.DataFrame, n_folds: int, order: list[str] | None = None
) -> dict[str, int]:
    """Give each new group the fold that has the fewest clips of its class, then of all."""
    fold_of = dict(known)
    labels_of = {str(group): Counter(one) for group, one in clips.groupby("group")["label"]}
    held: dict[str, Counter[int]] = defaultdict(Counter)  # clips of a class, by fold
    total: Counter[int] = Counter()

    def count(group: str) -> None:
        fold = fold_of[group]
        for label, number in labels_of[group].items():
            held[label][fold] += number
            total[fold] += number

    for group in labels_of.keys() & known.keys():
        count(group)
    new = [group for group in order or labels_of if group not in known]
    for group in new:
        alike: Counter[int] = Counter()
        for label in labels_of[group]:
            alike.update(held[label])
        fold_of[group] = min(range(1, n_folds + 1), key=lambda k: (alike[k], total[k], k))
        count(group)
    return fold_of


def _read_folds(file: Path, n_folds: int | None) -> dict[str, int]:
    try:
        table = read_csv(file, ("group", "fold"), lines=True)
    except MissingColumnError as error:
        raise DatasetError(
            f"{error}; folds that were made are kept under this name: keep yours under another, "
            "or say where ours go with --folds-file (folds of your own are a column of a clips.csv)"
        ) from None
    if table["group"].duplicated().any():
        twice = table.loc[table["group"].duplicated(), "group"].iloc[0]
        raise DatasetError(f"{file}: lists {twice} twice; a recording has one fold")
    folds = whole_numbers(table, "fold", file)
    fold_of = {str(group): fold for group, fold in zip(table["group"], folds, strict=True)}
    if min(fold_of.values(), default=1) < 1:
        raise DatasetError(f"{file}: a fold is below 1; folds count from 1")
    highest = max(fold_of.values(), default=n_folds)
    if n_folds is not None and highest != n_folds:
        raise DatasetError(
            f"{file}: holds {highest} folds and {n_folds} were asked for; "
            "remove the file to deal the recordings anew"
        )
    if highest is not None and n_folds is None and highest > len(fold_of):
        raise DatasetError(
            f"{file}: has a fold {highest} of {len(fold_of)} recordings; folds count from 1, and "
            "each has a recording: number them so, or remove the file to deal the recordings anew"
        )
    return fold_of


def _write_folds(file: Path, fold_of: dict[str, int]) -> None:
    table = pd.DataFrame(sorted(fold_of.items()), columns=["group", "fold"])
    _write(file, table.to_csv(index=False, lineterminator="\n"))


def _write(file: Path, text: str) -> None:
    try:
        write_text(file, text)
    except OSError as error:
        raise DatasetError(
            f"{file}: cannot write the folds beside the data ({error.strerror}); "
            "name another place with --folds-file"
        ) from None
