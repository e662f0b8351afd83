"""Clips that a person judged: the table of verdicts that ``spectro review`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from spectro.clips.datasets.own_table import Columns, read_table
from spectro.clips.table import read_csv
from spectro.errors import DatasetError
from spectro.plumbing.words import counted

__all__ = ["read_judged"]


def read_judged(files: Sequence[Path]) -> tuple[pd.DataFrame, list[str]]:
    """Read tables of verdicts as one table of clips, each stretch once: the last verdict counts.

    A stretch that was heard as two classes is no background if one of them was right: what is no
    siren may be a dog.

    Parameters
    ----------
    files : sequence of Path
        The tables.

    Returns
    -------
    clips : pandas.DataFrame
        ``path``, ``label``, ``group``, ``start``, ``end``, ``listed``.
    notes : list of str
        What was left out.

    Raises
    ------
    DatasetError
        If one is no such table.
    """
    clips = pd.concat([_read(file) for file in files], ignore_index=True)
    denied = clips.pop("verdict").to_numpy() == "no"
    wrong = denied & _overlapping(clips, clips[~denied])
    stretch = ["path", "start", "end"]
    kept = clips[~wrong].drop_duplicates([*stretch, "label"]).drop_duplicates(stretch, keep="last")
    told = counted(int(wrong.sum()), "clip judged 'no' overlaps a confirmed sound, and is left out",
                "clips judged 'no' overlap a confirmed sound, and are left out")  # fmt: skip
    return kept, [told] if wrong.any() else []


def _read(file: Path) -> pd.DataFrame:
    if not file.exists():
        raise DatasetError(f"{file}: no such file")
    try:
        said = read_csv(file, ["path", "label", "start", "end", "group", "verdict"])
        clips = read_table(file, Columns())
    except DatasetError as error:
        raise DatasetError(
            f"{file}: is no table of verdicts, as spectro review writes it, NAME.verdicts.csv "
            f"({str(error).removeprefix(f'{file}: ')})"
        ) from None
    return clips.assign(verdict=said["verdict"].to_numpy())


def _overlapping(clips: pd.DataFrame, sounds: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Tell which clips share a moment with one of `sounds`, in the same recording."""
    found = np.zeros(len(clips), dtype=bool)
    places = clips.groupby("path").indices
    for path, there in sounds.sort_values("start").groupby("path"):
        own = clips.iloc[places[path]]
        begun = np.searchsorted(there["start"], own["end"])  # sounds that start before a clip's end
        latest = np.maximum.accumulate(there["end"].to_numpy())
        ends = np.where(begun > 0, latest[np.maximum(begun, 1) - 1], -np.inf)
        found[places[path]] = ends > own["start"].to_numpy()
    return found
