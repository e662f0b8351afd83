"""Clips that a person judged: the table of verdicts that ``spectro review`` writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from spectro.clips.datasets.own_table import Columns, read_table
from spectro.clips.table import read_csv
from spectro.errors import DatasetError
from spectro.plumbing.words import counted

__all__ = ["read_judged"]


def read_judged(file: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read a table of verdicts as a table of clips, each stretch once.

    A stretch that was heard as two classes is no background if one of them was right: what is no
    siren may be a dog.

    Parameters
    ----------
    file : Path
        The table.

    Returns
    -------
    clips : pandas.DataFrame
        ``path``, ``label``, ``group``, ``start``, ``end``, ``listed``.
    notes : list of str
        What was left out.

    Raises
    ------
    DatasetError
        If it is no such table.
    """
    clips, said = read_table(file, Columns()), read_csv(file, ["path"], optional=["verdict"])
    if "verdict" not in said or not {"start", "end", "group"} <= {*clips}:
        raise DatasetError(f"{file}: is no table of verdicts; spectro review writes one")
    denied = said["verdict"].to_numpy() == "no"
    wrong = denied & _overlapping(clips, clips[~denied])
    kept = clips[~wrong].drop_duplicates(["path", "start", "end", "label"])
    n = counted(int(wrong.sum()), "judged clip is left out, as a part of it is something",
                "judged clips are left out, as a part of each is something")  # fmt: skip
    return kept, [n] if wrong.any() else []


def _overlapping(clips: pd.DataFrame, sounds: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Tell which clips share a moment with one of `sounds`, in the same recording."""
    pairs = clips.reset_index().merge(sounds, on="path", suffixes=("", "_there"))
    shared = (pairs["start"] < pairs["end_there"]) & (pairs["start_there"] < pairs["end"])
    return np.isin(clips.index, pairs.loc[shared, "index"])
