"""ESC-50: 2,000 environmental sounds of 5 s, and its ten-class subset ESC-10.

- Size: 2,000 clips (400 in ESC-10), 2.8 hours, 50 classes (10), 40 clips each.
- Folds: 5, official; clips of one source recording (``src_file``) share a fold.
- Layout: ``meta/esc50.csv`` and ``audio/{fold}-{src_file}-{take}-{target}.wav``; 44.1 kHz mono. As
  Kaggle has it, the table at the top, the clips in ``audio/audio`` and copies at 16 kHz in
  ``audio/audio/16000``. Read is the table with the columns ``filename``, ``category`` and
  ``target``, wherever it lies below the folder, and the files that it names, wherever they lie; of
  several copies those nearest to the top.
- Source: GitHub's archive of the repository's branch ``master``, made when asked for. Top folder
  ``ESC-50-master``, with the readme and the licence. About 650 MB, unpacked about 900 MB (2,000
  clips of 5 s, 44.1 kHz, 16 bit).
- Licence: CC BY-NC 3.0 (ESC-10: CC BY 3.0).
- Citation: K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", 23rd ACM
  International Conference on Multimedia, 2015.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from spectro.clips.datasets.listing import Listing
from spectro.clips.datasets.published import classes
from spectro.clips.datasets.published import lookup as published
from spectro.clips.datasets.published.sources import Source
from spectro.clips.table import (
    Dataset,
    clip_table,
    leaks_in_words,
    split_present,
)
from spectro.errors import DatasetError

__all__ = ["CITATION", "LICENCE", "MARKS", "METADATA", "SOURCE", "folder_of", "load", "looks_like"]

METADATA = Path("meta") / "esc50.csv"
MARKS = frozenset({"filename", "category", "target"})  # columns that no other dataset has
_STEM = r"[1-5]-(\d+)-[A-Z]-\d{1,2}\."  # with the source recording
_NAME = re.compile(f"{_STEM}wav", re.IGNORECASE)
LICENCE = "CC BY-NC 3.0"
CITATION = (
    "K. J. Piczak. ESC: Dataset for Environmental Sound Classification. "
    "23rd ACM International Conference on Multimedia, 2015."
)
SOURCE = Source(
    name="esc50",
    url="https://github.com/karolpiczak/ESC-50/archive/refs/heads/master.zip",
    archive="ESC-50.zip",
    size=None,
    checksum=None,
    unpacked=900_000_000,
    folder="ESC-50",
    inside="",
    layout="esc50",
    clips=2000,
    licence="CC BY-NC 3.0 (its subset ESC-10: CC BY 3.0)",
    citation=CITATION,
)


def folder_of(table: Path) -> Path | None:
    """Return the folder of ESC-50 if `table` is its table."""
    return published.folder_of(table, MARKS)


def looks_like(files: Listing) -> bool:
    """Tell whether the table is there.

    Raises
    ------
    DatasetError
        If only the clips are there, whose classes the table has.
    """
    if published.find_tables(files, METADATA.name, MARKS):
        return True
    names = [name.rpartition("/")[2] for name in files.sounds]
    if names and all(_NAME.fullmatch(name) for name in names):
        raise DatasetError(
            f"{files.root}: the clips are named as those of ESC-50, and its table {METADATA.name} "
            "is not there; give the folder that holds both, or --layout folder"
        )
    return False


def _recordings(table: pd.DataFrame, path: Path) -> pd.Series[str]:
    """Return the source recording of each clip, which its name has where the table lacks it."""
    if "src_file" in table:
        if table["src_file"].isna().any():
            row = int(table["src_file"].isna().to_numpy().argmax()) + 1
            raise DatasetError(f"{path}: row {row} has no src_file")
        return table["src_file"].map(published.whole)
    found = table["filename"].str.extract(f"^{_STEM}", expand=False)
    if found.isna().any():
        odd = table["filename"][found.isna()].iloc[0]
        raise DatasetError(
            f"{path}: has no column src_file, and {str(odd)[:200]} does not name its recording; "
            "take the table as published"
        )
    return found


def load(files: Listing, *, esc10: bool = False) -> Dataset:
    """Read the clip table of ESC-50.

    Parameters
    ----------
    files : Listing
        Of a folder that holds the table and the clips.
    esc10 : bool
        Only the ten classes of ESC-10.

    Returns
    -------
    Dataset
        ``group`` is the source recording.

    Raises
    ------
    DatasetError
        If the metadata is not there or not readable, or no clip is on disk.
    """
    columns = ("filename", "fold", "category", *(("esc10",) if esc10 else ()))
    found = published.read(files, METADATA, MARKS, columns, ("target", "src_file", "esc10"))
    label = classes.labels(found.table, "category", "target", classes.ESC50, found.path)
    otherwise = classes.named_otherwise(
        found.table["filename"], label, r"^[1-5]-\d+-[A-Z]-(\d{1,2})\.", classes.ESC50
    )
    table, root = found.locate("filename", "audio")
    table["src_file"] = _recordings(table, found.path)
    left_out = found.left_out(table)
    if esc10:
        table = table[table["esc10"].str.lower().isin(("true", "1", "1.0", "yes"))]
    present, absent, notes = split_present(table, table["on_disk"])
    if present.empty:
        raise DatasetError(f"{root}: none of the {len(table):,} clips of ESC-10 is on disk")
    rows = present[["path", "fold"]].assign(label=label[present.index], group=present["src_file"])
    clips = clip_table(rows, root)
    return Dataset(
        name="esc10" if esc10 else "esc50",
        root=root,
        clips=clips,
        folds=tuple(sorted(set(table["fold"].tolist()))),
        notes=(*notes, *left_out, *otherwise, *leaks_in_words(clips)),
        absent=tuple(absent),
        licence="CC BY 3.0" if esc10 else LICENCE,
        citation=CITATION,
    )
