"""ESC-50: 2,000 environmental sounds of 5 s, and its ten-class subset ESC-10.

- Size: 2,000 clips (400 in ESC-10), 2.8 hours, 50 classes (10), 40 clips each.
- Folds: 5, official; clips of one source recording (``src_file``) share a fold.
- Layout: ``meta/esc50.csv`` and ``audio/{fold}-{src_file}-{take}-{target}.wav``; 44.1 kHz mono.
- Source: GitHub's archive of the repository's branch ``master``, made when asked for. Top folder
  ``ESC-50-master``, with the readme and the licence. About 650 MB, unpacked about 900 MB (2,000
  clips of 5 s, 44.1 kHz, 16 bit).
- Licence: CC BY-NC 3.0 (ESC-10: CC BY 3.0).
- Citation: K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", 23rd ACM
  International Conference on Multimedia, 2015.
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

__all__ = ["CITATION", "LICENCE", "METADATA", "SOURCE", "load", "looks_like"]

METADATA = Path("meta") / "esc50.csv"
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


def looks_like(root: Path) -> bool:
    """Tell whether `root` holds the official layout."""
    return (root / METADATA).is_file()


def load(root: Path, *, esc10: bool = False) -> Dataset:
    """Read the clip table of ESC-50.

    Parameters
    ----------
    root : Path
        Folder with ``audio`` and ``meta``.
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
    table = read_csv(root / METADATA, ("filename", "fold", "category", "esc10", "src_file"))
    table["fold"] = whole_numbers(table, "fold", root / METADATA)
    if esc10:
        table = table[table["esc10"].str.lower() == "true"].copy()
    table["path"] = [str(root / "audio" / name) for name in table["filename"]]
    present, absent, notes = split_present(table)
    if present.empty:
        raise DatasetError(f"{root}: none of the {len(table):,} listed clips is in audio/")
    renamed = present.rename(columns={"category": "label", "src_file": "group"})
    clips = clip_table(renamed[["path", "label", "fold", "group"]], root)
    return Dataset(
        name="esc10" if esc10 else "esc50",
        root=root,
        clips=clips,
        folds=tuple(sorted(set(table["fold"].tolist()))),
        notes=(*notes, *leaks_in_words(clips)),
        absent=tuple(absent),
        licence="CC BY 3.0" if esc10 else LICENCE,
        citation=CITATION,
    )
