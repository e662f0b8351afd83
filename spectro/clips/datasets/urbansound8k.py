"""UrbanSound8K: 8,732 labelled city sounds of up to 4 s.

- Size: 8,732 clips, 8.75 hours, 10 classes, 6.0 GB compressed.
- Folds: 10, official, roughly even. Slices of one source recording (``fsID``) share a fold, except
  five that the dataset itself has in two: 77751, 106905, 132016, 176638, 180937.
- Layout: ``audio/fold{1..10}/{fsID}-{classID}-{occurrenceID}-{sliceID}.wav`` and
  ``metadata/UrbanSound8K.csv``. The table's ``start`` and ``end`` are positions in the source
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

from pathlib import Path

from spectro.clips.datasets.sources import Source
from spectro.clips.table import (
    Dataset,
    clip_table,
    leaks_in_words,
    read_csv,
    split_present,
    whole_numbers,
)
from spectro.errors import DatasetError

__all__ = [
    "CITATION",
    "LICENCE",
    "METADATA",
    "SAMPLE_LICENCE",
    "SAMPLE_MARKER",
    "SOURCE",
    "load",
    "looks_like",
]

LICENCE = "CC BY-NC 3.0"
CITATION = (
    "J. Salamon, C. Jacoby, J. P. Bello. A Dataset and Taxonomy for Urban Sound Research. "
    "22nd ACM International Conference on Multimedia, 2014."
)
METADATA = Path("metadata") / "UrbanSound8K.csv"
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


def looks_like(root: Path) -> bool:
    """Tell whether `root` holds the official layout."""
    return (root / METADATA).is_file()


def load(root: Path) -> Dataset:
    """Read the clip table of UrbanSound8K, or of whatever part of it is on disk; or of the sample.

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
    is_sample = (root / SAMPLE_MARKER).is_file()
    return Dataset(
        name="sample" if is_sample else "urbansound8k",
        root=root,
        clips=clips,
        folds=tuple(sorted(set(table["fold"].tolist()))),
        notes=(*notes, *leaks_in_words(clips)),
        absent=tuple(absent),
        licence=SAMPLE_LICENCE if is_sample else LICENCE,
        citation="" if is_sample else CITATION,
    )
