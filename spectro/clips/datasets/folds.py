"""Folds for data that has none: made once, by recording, and written down beside the data."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from spectro.clips.table import read_csv, whole_numbers
from spectro.errors import DatasetError
from spectro.plumbing.files import write_text

__all__ = ["deal_folds", "remembered_folds"]

_FOLDS = 5  # made where nobody says how many


def remembered_folds(
    clips: pd.DataFrame, file: Path, *, n_folds: int | None, seed: int
) -> dict[str, int]:
    """Return the fold of every group, from `file` as far as it goes, else dealt and added to it.

    A group keeps its fold for ever, so scores stay comparable as data grows.

    Parameters
    ----------
    clips : pandas.DataFrame
        With the columns ``label`` and ``group``.
    file : Path
        CSV with the columns ``group`` and ``fold``; created if missing.
    n_folds : int or None
        Number of folds to make; None means as many as `file` has, or 5.
    seed : int
        Seed of the first dealing.

    Returns
    -------
    dict of str to int
        Fold, from 1, of each group in `clips`.

    Raises
    ------
    DatasetError
        If there are fewer groups than folds, `file` has another number of folds or contradicts
        itself, or it cannot be written.
    """
    known = _read_folds(file, n_folds) if file.exists() else {}
    if n_folds is None:
        n_folds = max(known.values(), default=_FOLDS)
    new = [group for group in clips["group"].unique() if group not in known]
    if not new:
        return known
    fold_of = _deal_to(known, clips, n_folds) if known else deal_folds(clips, n_folds, seed=seed)
    _write_folds(file, fold_of)
    return fold_of


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
            f"cannot make {n_folds} folds of {n_groups} recordings; ask for 2 to {n_groups}"
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
    folds = range(1, n_folds + 1)
    new = dict(list(clips[~clips["group"].isin(list(known))].groupby("group")))
    for group in order or new:
        members = new[group]
        placed = clips["group"].map(fold_of)
        alike = placed[clips["label"].isin(members["label"])].value_counts()
        total = placed.value_counts()
        fold_of[str(group)] = min(folds, key=lambda k: (alike.get(k, 0), total.get(k, 0), k))
    return fold_of


def _read_folds(file: Path, n_folds: int | None) -> dict[str, int]:
    table = read_csv(file, ("group", "fold"))
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
    return fold_of


def _write_folds(file: Path, fold_of: dict[str, int]) -> None:
    table = pd.DataFrame(sorted(fold_of.items()), columns=["group", "fold"])
    try:
        write_text(file, table.to_csv(index=False, lineterminator="\n"))
    except OSError as error:
        raise DatasetError(
            f"{file}: cannot write the folds beside the data ({error.strerror}); "
            "name another place with --folds-file"
        ) from None
