"""Spoken digits: AudioMNIST and the Free Spoken Digit Dataset, which share one naming.

- Size: AudioMNIST 30,000 clips of 60 speakers, 48 kHz; Free Spoken Digit Dataset 3,000 clips of 6
  speakers, 8 kHz. 10 classes, about a second each.
- Layout: ``{digit}_{speaker}_{take}.wav``, flat or in a folder a speaker.
- Folds: neither has any. Speakers make them here, so that the score is for a voice never heard: a
  fold a speaker up to ten speakers, beyond that ten folds dealt out in order of name.
- Source of AudioMNIST: GitHub's archive of its repository. Top folder ``AudioMNIST-master``:
  ``data/01`` to ``data/60``, a folder a speaker with 500 WAVs, beside the authors' code. Unpacked
  3.3 GB at the most (9.5 h of 48 kHz, 16 bit, as the paper says).
- Licence: AudioMNIST MIT, Free Spoken Digit Dataset CC BY-SA 4.0.
- Citation: S. Becker et al., "AudioMNIST: Exploring Explainable Artificial Intelligence for audio
  analysis on a simple benchmark", Journal of the Franklin Institute, 2023; Z. Jackson et al.,
  "Free Spoken Digit Dataset", 2018.
"""

from __future__ import annotations

import re
from pathlib import Path

from spectro.clips.datasets.sources import Source
from spectro.clips.table import Dataset, clip_table
from spectro.errors import DatasetError

__all__ = ["SOURCE", "load", "looks_like"]

SOURCE = Source(
    name="audiomnist",
    url="https://github.com/soerenab/AudioMNIST/archive/refs/heads/master.zip",
    archive="AudioMNIST.zip",
    size=None,
    checksum=None,
    unpacked=3_300_000_000,
    folder="AudioMNIST",
    inside="data",
    layout="spoken-digits",
    clips=30_000,
    licence="MIT",
    citation=(
        "S. Becker, J. Vielhaben, M. Ackermann, K.-R. Müller, S. Lapuschkin, W. Samek. "
        "AudioMNIST: Exploring Explainable Artificial Intelligence for Audio Analysis on a "
        "Simple Benchmark. Journal of the Franklin Institute 361(1), 2024."
    ),
)

_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<take>\d+)\.wav", re.IGNORECASE)
_MOST_FOLDS = 10


def looks_like(root: Path) -> bool:
    """Tell whether all WAV files in `root`, or in its first folder that has some, are digits.

    Folders a speaker may also lie in a folder ``data``, as in AudioMNIST's repository.
    """
    if not root.is_dir():
        return False
    for folder in (root, *_folders(root), *_folders(root / "data")):
        names = [path.name for path in folder.iterdir() if path.suffix.lower() == ".wav"]
        if names:
            return all(_NAME.fullmatch(name) for name in names)
    return False


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []


def load(root: Path) -> Dataset:
    """Read the clip table of spoken digits.

    Parameters
    ----------
    root : Path
        Folder with the recordings, flat or in a folder a speaker.

    Returns
    -------
    Dataset
        ``label`` is the digit, ``group`` the speaker; no speaker sits in two folds.

    Raises
    ------
    DatasetError
        If no file is named as above, or there is only one speaker.
    """
    found = [(path, _NAME.fullmatch(path.name)) for path in sorted(root.rglob("*"))]
    clips = [(path, match) for path, match in found if match]
    speakers = sorted({match["speaker"] for _, match in clips})
    if len(speakers) < 2:
        raise DatasetError(
            f"{root}: {len(clips)} files of {len(speakers)} speakers are named "
            "{digit}_{speaker}_{take}.wav; folds by speaker need two speakers or more"
        )
    fold_of = {speaker: 1 + i % _MOST_FOLDS for i, speaker in enumerate(speakers)}
    rows = [
        {
            "path": path,
            "label": match["digit"],
            "fold": fold_of[match["speaker"]],
            "group": match["speaker"],
        }
        for path, match in clips
    ]
    return Dataset(
        name="spoken-digits",
        root=root,
        clips=clip_table(rows, root),
        folds=tuple(sorted(set(fold_of.values()))),
        notes=(
            f"folds are made of speakers: {len(speakers)} speakers, "
            f"{min(len(speakers), _MOST_FOLDS)} folds",
        ),
    )
