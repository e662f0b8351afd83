"""UrbanSound8K: 8,732 labelled city sounds of up to 4 s.

- Size: 8,732 clips, 8.75 hours, 10 classes, 6.0 GB compressed.
- Folds: 10, official, roughly even. Slices of one source recording (``fsID``) share a fold, except
  five that the dataset itself has in two: 77751, 106905, 132016, 176638, 180937.
- Layout: ``audio/fold{1..10}/{fsID}-{classID}-{occurrenceID}-{sliceID}.wav`` and
  ``metadata/UrbanSound8K.csv``. The table's ``start`` and ``end`` are positions in the source
  recording, not in the slice, and so are not the clip table's.
- Rates from 8 to 192 kHz, 1 or 2 channels, 4 to 32 bits, several WAV codecs; 0.05 to 4 s long.
- Licence: CC BY-NC 3.0.
- Citation: J. Salamon, C. Jacoby, J. P. Bello, "A Dataset and Taxonomy for Urban Sound Research",
  22nd ACM International Conference on Multimedia, 2014.
"""

from __future__ import annotations

from pathlib import Path

from spectro.clips.datasets.sources import SOURCES
from spectro.clips.table import (
    Dataset,
    clip_table,
    leaks_in_words,
    read_csv,
    split_present,
    whole_numbers,
)
from spectro.errors import DatasetError

__all__ = ["CITATION", "LICENCE", "METADATA", "load", "looks_like"]

LICENCE = SOURCES["urbansound8k"].licence
CITATION = SOURCES["urbansound8k"].citation
METADATA = Path("metadata") / "UrbanSound8K.csv"


def looks_like(root: Path) -> bool:
    """Tell whether `root` holds the official layout."""
    return (root / METADATA).is_file()


def load(root: Path) -> Dataset:
    """Read the clip table of UrbanSound8K, or of whatever part of it is on disk.

    Parameters
    ----------
    root : Path
        Folder with ``audio`` and ``metadata``.

    Returns
    -------
    Dataset
        ``group`` is the Freesound recording. Notes name missing folds, absent clips, and source
        recordings that sit in two folds: the folds are official, so that is told, not mended.

    Raises
    ------
    DatasetError
        If the metadata is not there or not readable, or no clip is on disk.
    """
    table = read_csv(root / METADATA, ("slice_file_name", "fsID", "fold", "class"))
    table["fold"] = whole_numbers(table, "fold", root / METADATA)
    table["path"] = [
        str(root / "audio" / f"fold{fold}" / name)
        for fold, name in zip(table["fold"], table["slice_file_name"], strict=True)
    ]
    present, absent, notes = split_present(table)
    if present.empty:
        raise DatasetError(f"{root}: none of the {len(table):,} listed clips is in audio/fold*/")
    renamed = present.rename(columns={"class": "label", "fsID": "group"})
    clips = clip_table(renamed[["path", "label", "fold", "group"]], root)
    return Dataset(
        name="urbansound8k",
        root=root,
        clips=clips,
        folds=tuple(sorted(set(table["fold"].tolist()))),
        notes=(*notes, *leaks_in_words(clips)),
        absent=tuple(absent),
        licence=LICENCE,
        citation=CITATION,
    )
