"""Google's Speech Commands: single words, with an official split by speaker.

- Size: 105,829 clips of 1 s (version 2), 35 classes; 64,727 and 30 in version 1.
- Folds: the official split: 1 is for training, 2 for validation, 3 for testing. A speaker sits in
  one of them.
- Layout: ``{word}/{speaker}_nohash_{take}.wav``, 16 kHz mono; the lists ``validation_list.txt`` and
  ``testing_list.txt`` name the clips of folds 2 and 3. ``_background_noise_`` holds minutes of
  noise, which are no clips.
- Source: download.tensorflow.org/data/speech_commands_v0.02.tar.gz; it has no top folder.
- Licence: CC BY 4.0.
- Citation: P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition",
  arXiv:1804.03209, 2018.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from spectro.clips.datasets.listing import Listing, by_folder, path_of
from spectro.clips.datasets.split_lists import read_list
from spectro.clips.table import Dataset, absent_note, clip_table
from spectro.errors import DatasetError

__all__ = ["load", "looks_like"]

_LISTS = {2: "validation_list.txt", 3: "testing_list.txt"}
_SPEAKER = re.compile(r"(.+?)_nohash_\d+\.wav", re.IGNORECASE)
LICENCE = "CC BY 4.0"
CITATION = (
    "P. Warden. Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition. "
    "arXiv:1804.03209, 2018."
)


def looks_like(files: Listing) -> bool:
    """Tell whether the two lists are there."""
    return set(_LISTS.values()) <= set(files.files)


def load(files: Listing) -> Dataset:
    """Read the clip table of Speech Commands, or of words laid out like it.

    Parameters
    ----------
    files : Listing
        Of the folder with the two lists and a folder a word.

    Returns
    -------
    Dataset
        ``group`` is the speaker. Folds are 1 (training), 2 (validation) and 3 (testing).

    Raises
    ------
    DatasetError
        If a list is missing or cannot be read, or no clip is on disk.
    """
    root = files.root
    fold_of = {name: fold for fold, file in _LISTS.items() for name in read_list(root / file)}
    words = [name for name in files.sounds if name.count("/") == 1]
    clips = [name for name in words if not name.startswith("_")]
    if not clips:
        raise DatasetError(f"{root}: holds no word; each is a folder with its clips")
    rows = [
        {
            "path": path_of(files, name),
            "label": name.partition("/")[0],
            "fold": fold_of.get(name, 1),
            "group": _speaker(name),
        }
        for name in clips
    ]
    absent = sorted(set(fold_of) - set(clips))
    return Dataset(
        name="speech-commands",
        root=root,
        clips=clip_table(rows, root),
        folds=(1, 2, 3),
        notes=(
            "the folds are the official split: 1 training, 2 validation, 3 testing; the official "
            "score is train-fold --fold 3 (--inner-fold 2 to choose settings)",
            *([absent_note(absent)] if absent else []),
            *_left_out(set(files.sounds) - set(clips)),
        ),
        absent=tuple(absent),
        licence=LICENCE,
        citation=CITATION,
    )


def _speaker(name: str) -> str:
    """Name who speaks in a clip; where its name does not tell, the clip stands for itself."""
    match = _SPEAKER.fullmatch(name.rpartition("/")[2])
    return match[1] if match else name


def _left_out(others: Iterable[str]) -> list[str]:
    names = sorted(others)
    are = "sound file is" if len(names) == 1 else "sound files are"
    told = f"{len(names):,} {are} of no word and left out: {by_folder(names)}"
    return [told] if names else []
