"""UrbanSound8K: 8,732 labelled city sounds of up to 4 s.

- Size: 8,732 clips, 8.75 hours, 10 classes, 6.0 GB compressed.
- Folds: 10, official, roughly even. Slices of one source recording (``fsID``) share a fold, except
  five that the dataset itself has in two: 77751, 106905, 132016, 176638, 180937.
- Layout: ``audio/fold{1..10}/{fsID}-{classID}-{occurrenceID}-{sliceID}.wav`` and
  ``metadata/UrbanSound8K.csv``; as Kaggle has it, the folds and the table side by side. Read is the
  table with the column ``slice_file_name``, wherever it lies below the folder, and the files that
  it names, wherever they lie. The table's ``start`` and ``end`` are positions in the source
  recording, not in the slice, and so are not the clip table's.
- Rates from 8 to 192 kHz, 1 or 2 channels, 4 to 32 bits, several WAV codecs; 0.05 to 4 s long.
- Source: Zenodo record 1203745, one tar.gz of 6,023,741,708 bytes with the MD5 that Zenodo
  publishes; it answers ranges and its ETag is that MD5, so a broken download is gone on with. Top
  folder ``UrbanSound8K``, with a readme and the credits. Unpacked about 7 GB (an estimate: 8.75 h
  at the clips' own rates).
- Licence: CC BY-NC 3.0. The synthesised sample (:mod:`spectro.clips.sample`) has this layout and
  the project's own licence; a file ``sample.json`` says so.
- Citation: J. Salamon, C. Jacoby, J. P. Bello, "A Dataset and Taxonomy for Urban Sound Research",
  22nd ACM International Conference on Multimedia, 2014.
"""

from __future__ import annotations

import re
from pathlib import Path

from spectro.clips.datasets.listing import Listing
from spectro.clips.datasets.published import classes
from spectro.clips.datasets.published import lookup as published
from spectro.clips.datasets.published.sources import Source
from spectro.clips.table import (
    Dataset,
    clip_table,
    leaks_in_words,
    list_some,
    split_present,
)
from spectro.errors import DatasetError

__all__ = [
    "CITATION",
    "LICENCE",
    "MARKS",
    "METADATA",
    "SAMPLE_LICENCE",
    "SAMPLE_MARKER",
    "SOURCE",
    "folder_of",
    "load",
    "looks_like",
]

LICENCE = "CC BY-NC 3.0"
CITATION = (
    "J. Salamon, C. Jacoby, J. P. Bello. A Dataset and Taxonomy for Urban Sound Research. "
    "22nd ACM International Conference on Multimedia, 2014."
)
METADATA = Path("metadata") / "UrbanSound8K.csv"
MARKS = frozenset({"slice_file_name"})  # columns that no other dataset has
SAMPLE_MARKER, SAMPLE_LICENCE = "sample.json", "Apache-2.0"
SOURCE = Source(
    name="urbansound8k",
    url="https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz",
    archive="UrbanSound8K.tar.gz",
    size=6_023_741_708,
    checksum="md5:9aa69802bbf37fb986f71ec1483a196e",
    unpacked=7_000_000_000,
    folder="UrbanSound8K",
    inside="",
    layout="urbansound8k",
    clips=8732,
    licence=LICENCE,
    citation=CITATION,
)


def folder_of(table: Path) -> Path | None:
    """Return the folder of UrbanSound8K if `table` is its table."""
    return published.folder_of(table, MARKS)


def looks_like(files: Listing) -> bool:
    """Tell whether the table is there.

    Raises
    ------
    DatasetError
        If only the folds are there, which are no classes.
    """
    if published.find_tables(files, METADATA.name, MARKS):
        return True
    folders = {name.rpartition("/")[0].rpartition("/")[2] for name in files.sounds}
    if folders and all(re.fullmatch(r"fold[ _-]?\d+", name, re.IGNORECASE) for name in folders):
        raise DatasetError(
            f"{files.root}: {list_some(sorted(folders))} look like the folds of UrbanSound8K, not "
            f"like classes, and its table {METADATA.name} is not there; give the folder that holds "
            "both, or --layout folder if they are classes"
        )
    return False


def load(files: Listing) -> Dataset:
    """Read the clip table of UrbanSound8K, or of whatever part of it is on disk; or of the sample.

    Parameters
    ----------
    files : Listing
        Of a folder that holds the table and the clips.

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
    columns = ("slice_file_name", "fsID", "fold", "class")
    found = published.read(files, METADATA, MARKS, columns, ("classID",))
    label = classes.labels(found.table, "class", "classID", classes.URBAN, found.path)
    otherwise = classes.named_otherwise(
        found.table["slice_file_name"], label, r"^\d+-(\d+)-\d+-\d+\.", classes.URBAN
    )
    table, root = found.locate("slice_file_name", "audio", in_folds=True)
    present, absent, notes = split_present(table, table["on_disk"])
    group = present["fsID"].map(published.whole)
    rows = present[["path", "fold"]].assign(label=label[present.index], group=group)
    clips = clip_table(rows, root)
    is_sample = (root / SAMPLE_MARKER).is_file()
    return Dataset(
        name="sample" if is_sample else "urbansound8k",
        root=root,
        clips=clips,
        folds=tuple(sorted(set(table["fold"].tolist()))),
        notes=(*notes, *found.left_out(table), *otherwise, *leaks_in_words(clips)),
        absent=tuple(absent),
        licence=SAMPLE_LICENCE if is_sample else LICENCE,
        citation="" if is_sample else CITATION,
    )
