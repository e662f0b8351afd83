"""TAU Urban Acoustic Scenes: ten kinds of places in European cities, with the challenge's split.

- Size: 23,040 clips of 10 s in 2020 Mobile, of 64 hours; other years have other numbers.
- Folds: the official split of ``evaluation_setup``: 1 is for training, 2 for evaluation. Where the
  year has several splits (``fold1_evaluate.csv``, ``fold2_evaluate.csv`` ...), each evaluation list
  is a fold.
- Layout: ``audio/{scene}-{city}-{location}-{segment}-{device}.wav``, ``meta.csv`` (tab-separated,
  with ``filename`` and ``scene_label``), ``evaluation_setup/fold1_train.csv`` and
  ``fold1_evaluate.csv``. Clips in neither list are not part of the split, and left out.
- Source: Zenodo, a record a year, in archives that unpack into one folder.
- Licence: of Tampere University, for research only.
- Citation: T. Heittola, A. Mesaros, T. Virtanen, "Acoustic scene classification in DCASE 2020
  Challenge: generalization across devices and low complexity solutions", DCASE Workshop 2020.
"""

from __future__ import annotations

import re

import pandas as pd

from spectro.clips.datasets.listing import Listing, path_of
from spectro.clips.datasets.published.lookup import find_clips, left_out
from spectro.clips.datasets.published.split_lists import read_list
from spectro.clips.table import Dataset, absent_note, clip_table, leaks_in_words, read_csv
from spectro.errors import DatasetError

__all__ = ["load", "looks_like"]

_SETUP = re.compile(r"evaluation_setup/fold(\d{1,3})_(train|evaluate)\.csv")
_META = "meta.csv"
LICENCE = "Tampere University, research only"
CITATION = (
    "T. Heittola, A. Mesaros, T. Virtanen. Acoustic scene classification in DCASE 2020 Challenge: "
    "generalization across devices and low complexity solutions. DCASE Workshop, 2020."
)


def looks_like(files: Listing) -> bool:
    """Tell whether table and split are there."""
    return _META in files.files and any(map(_SETUP.fullmatch, files.files))


def load(files: Listing) -> Dataset:
    """Read the clip table of a year of TAU Urban Acoustic Scenes.

    Parameters
    ----------
    files : Listing
        Of the folder with ``meta.csv`` and ``evaluation_setup``.

    Returns
    -------
    Dataset
        ``group`` is the place: city and location.

    Raises
    ------
    DatasetError
        If table or lists cannot be read, a clip is in several folds, or none is on disk.
    """
    root = files.root
    meta = read_csv(root / _META, ("filename", "scene_label"))
    fold_of = _folds(files)
    names = meta["filename"].str.strip().str.replace("\\", "/")
    found = pd.Series(find_clips(files, names.tolist()), index=meta.index, dtype=object)
    table = meta.assign(filename=names, fold=names.map(fold_of), there=found)
    listed = table[table["fold"].notna()]
    there = listed["there"].notna()
    present = listed[there]
    others = set(files.sounds) - set(table["there"].dropna())
    if present.empty:
        raise DatasetError(
            f"{root}: none of the {len(listed):,} clips of the split is on disk, the first would "
            f"be {listed['filename'].iloc[0] if len(listed) else 'in audio/'}"
        )
    clips = clip_table(_rows(present, files), root)
    absent = listed.loc[~there, "filename"].tolist()
    return Dataset(
        name="tau-urban-acoustic-scenes",
        root=root,
        clips=clips,
        folds=tuple(sorted(set(fold_of.values()))),
        notes=(
            *_told(fold_of, len(table) - len(listed), len(set(fold_of) - set(names))),
            *left_out(others, f"in no row of {_META}"),
            *([absent_note(absent)] if absent else []),
            *leaks_in_words(clips),
        ),
        absent=tuple(absent),
        licence=LICENCE,
        citation=CITATION,
    )


def _rows(present: pd.DataFrame, files: Listing) -> pd.DataFrame:
    """Build the clip table's columns."""
    return pd.DataFrame(
        {
            "path": [path_of(files, name) for name in present["there"]],
            "label": present["scene_label"].str.strip(),
            "fold": present["fold"].astype(int),
            "group": _places(present),
        }
    )


def _places(present: pd.DataFrame) -> list[str]:
    """Name the place of each clip: the table's ``identifier``, or what the file name says."""
    if "identifier" in present and present["identifier"].notna().all():
        return [str(place).strip() for place in present["identifier"]]
    stems = (name.rpartition("/")[2].split("-") for name in present["filename"])
    return ["-".join(parts[1:3]) if len(parts) > 3 else "-".join(parts) for parts in stems]


def _folds(files: Listing) -> dict[str, int]:
    """Read the fold of each clip from the lists."""
    found = filter(None, map(_SETUP.fullmatch, files.files))
    lists = {(int(match[1]), match[2]): match[0] for match in found}
    evaluated = sorted(number for number, part in lists if part == "evaluate")
    if not evaluated:
        raise DatasetError(f"{files.root}: evaluation_setup holds no fold1_evaluate.csv")
    fold_of: dict[str, int] = {}
    if len(evaluated) == 1 and (evaluated[0], "train") in lists:
        parts = {1: lists[evaluated[0], "train"], 2: lists[evaluated[0], "evaluate"]}
    else:
        parts = {number: lists[number, "evaluate"] for number in evaluated}
    for fold, name in parts.items():
        for clip in read_list(files.root / name, column="filename"):
            if fold_of.setdefault(clip, fold) != fold:
                raise DatasetError(
                    f"{files.root / name}: {clip[:200]} is in fold {fold_of[clip]} too; a clip is "
                    "scored once"
                )
    return fold_of


def _told(fold_of: dict[str, int], unused: int, unknown: int) -> list[str]:
    """Say what the folds are; and what only the table or only the lists of the split name."""
    notes = ["each fold is the evaluation list of an official split"]
    if set(fold_of.values()) == {1, 2}:
        notes = [
            "the folds are the official split: 1 training, 2 evaluation; the official score is "
            "train-fold --fold 2"
        ]
    if unused:
        notes.append(f"{unused:,} clips of {_META} are in no list of the split and left out")
    if unknown:
        notes.append(f"{unknown:,} clips of the split are not in {_META}, and left out")
    return notes
