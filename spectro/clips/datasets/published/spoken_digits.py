"""Spoken digits: AudioMNIST and the Free Spoken Digit Dataset, which share one naming.

- Size: AudioMNIST 30,000 clips of 60 speakers, 48 kHz; Free Spoken Digit Dataset 3,000 clips of 6
  speakers, 8 kHz. 10 classes, about a second each.
- Layout: ``{digit}_{speaker}_{take}.wav``, flat or in a folder a speaker; or encoded otherwise.
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

from spectro.clips.datasets.listing import SPLITS, Listing, path_of
from spectro.clips.datasets.published.lookup import left_out, one_encoding
from spectro.clips.datasets.published.sources import Source
from spectro.clips.table import Dataset, clip_table, list_some
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

_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<take>\d+)\.\w+")  # any suffix of sound
_MOST_FOLDS = 10


def looks_like(files: Listing) -> bool:
    """Tell whether every sound is named as a digit, and lies as one of the two datasets has it.

    Flat, as in the Free Spoken Digit Dataset; in a folder a speaker that bears the speaker's
    number, as in AudioMNIST; or in a folder a digit. Other folders of one digit each are classes of
    one's own.

    Raises
    ------
    DatasetError
        If other folders may be speakers or classes.
    """
    names = files.sounds
    matches = [_NAME.fullmatch(name.rpartition("/")[2]) for name in names]
    kept: dict[str, set[tuple[str, str]]] = {}  # by folder: speakers and digits
    for name, match in zip(names, matches, strict=True):
        if match is None:
            return False
        kept.setdefault(name.rpartition("/")[0], set()).add((match["speaker"], match["digit"]))
    if len(kept) < 2:
        return bool(kept)
    of = {(folder.rpartition("/")[2], *pair) for folder, pairs in kept.items() for pair in pairs}
    if all(folder.isdecimal() and folder == speaker for folder, speaker, _ in of):
        return True
    if all(folder == digit for folder, _, digit in of):
        return True
    digits = [{digit for _, digit in pairs} for pairs in kept.values()]
    if all(len(said) == 1 for said in digits) or {folder for folder, *_ in of} <= SPLITS:
        return False
    raise DatasetError(
        f"{files.root}: files named {{digit}}_{{speaker}}_{{take}}.wav lie in folders that may be "
        f"classes, {list_some(sorted(folder for folder in kept), 5)}; say which with --layout "
        "folder or --layout spoken-digits"
    )


def load(files: Listing) -> Dataset:
    """Read the clip table of spoken digits.

    Parameters
    ----------
    files : Listing
        Of a folder with the recordings, flat or in folders.

    Returns
    -------
    Dataset
        ``label`` is the digit, ``group`` the speaker; no speaker sits in two folds.

    Raises
    ------
    DatasetError
        If no file is named as above, or there is only one speaker.
    """
    root = files.root
    names, copies = one_encoding(files.sounds)
    found = [(name, _NAME.fullmatch(name.rpartition("/")[2])) for name in names]
    clips = [(path_of(files, name), match) for name, match in found if match]
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
            *_told(clips),
            *left_out((name for name, match in found if match is None), "not named as digits"),
            *left_out(copies, "another encoding of a clip"),
        ),
    )


def _told(clips: list[tuple[str, re.Match[str]]]) -> list[str]:
    """Say whether speakers say one digit each, which hardly tells digits."""
    pairs = {(match["speaker"], match["digit"]) for _, match in clips}
    if len(pairs) == len({speaker for speaker, _ in pairs}):
        return [
            "each speaker says one digit only; if the names say something else, put the files into "
            "a folder a class"
        ]
    return []
