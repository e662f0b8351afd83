"""Google's Speech Commands: single words, with an official split by speaker.

- Size: 105,829 clips of 1 s (version 2), 35 classes; 64,727 and 30 in version 1.
- Folds: the official split: 1 is for training, 2 for validation, 3 for testing. A speaker sits in
  one of them.
- Layout: ``{word}/{speaker}_nohash_{take}.wav``, 16 kHz mono; the lists ``validation_list.txt`` and
  ``testing_list.txt`` name the clips of folds 2 and 3, here also where these were encoded
  otherwise. ``_background_noise_`` holds minutes of noise, which are no clips. As Kaggle has it:
  lists and ``audio/{word}`` in ``train``, beside ``test/audio``, whose clips have no word.
- Source: download.tensorflow.org/data/speech_commands_v0.02.tar.gz; it has no top folder.
- Licence: CC BY 4.0.
- Citation: P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition",
  arXiv:1804.03209, 2018.
"""

from __future__ import annotations

import re
from collections import Counter

from spectro.clips.datasets.listing import Listing, path_of
from spectro.clips.datasets.places import plain
from spectro.clips.datasets.published.lookup import left_out, one_encoding
from spectro.clips.datasets.published.split_lists import read_list
from spectro.clips.table import Dataset, absent_note, clip_table, list_some
from spectro.errors import DatasetError

__all__ = ["load", "looks_like"]

_LISTS = {2: "validation_list.txt", 3: "testing_list.txt"}
_SPEAKER = re.compile(r"(.+?)_nohash_\d+\.\w+", re.IGNORECASE)
LICENCE = "CC BY 4.0"
CITATION = (
    "P. Warden. Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition. "
    "arXiv:1804.03209, 2018."
)


def looks_like(files: Listing) -> bool:
    """Tell whether the two lists are there.

    Raises
    ------
    DatasetError
        If one of them is missing: its clips would be learned from, and scored.
    """
    if _homes(files):
        return True
    named = [name for name in files.sounds if _SPEAKER.fullmatch(name.rpartition("/")[2])]
    found = [file for file in _LISTS.values() if any(_has_name(name, file) for name in files.files)]
    if found and named:
        missing = next(iter(sorted(set(_LISTS.values()) - set(found))), "")
        if not missing:
            raise DatasetError(
                f"{files.root}: holds {' and '.join(found)} of Speech Commands in different "
                "folders; put both beside the words, or take these for classes with --layout folder"
            )
        raise DatasetError(
            f"{files.root}: holds {found[0]} of Speech Commands, and no {missing} beside it; put "
            "it there, or take the words for classes with --layout folder"
        )
    return False


def load(files: Listing) -> Dataset:
    """Read the clip table of Speech Commands, or of words laid out like it.

    Parameters
    ----------
    files : Listing
        Of the folder with the two lists and a folder a word, or of one above.

    Returns
    -------
    Dataset
        ``group`` is the speaker. Folds are 1 (training), 2 (validation) and 3 (testing).

    Raises
    ------
    DatasetError
        If a list is missing or cannot be read, or no clip of a fold is on disk.
    """
    root = files.root
    home = _home(files)
    listed = {fold: read_list(root / home / file) for fold, file in _LISTS.items()}
    words = _words(files, home, [_stem(name) for names in listed.values() for name in names])
    named, copies = one_encoding(name for name in files.sounds if _is_word(name, words))
    clips = {name: name.removeprefix(words) for name in named}
    if not clips:
        raise DatasetError(f"{root / home}: holds no word; each is a folder with its clips")
    fold_of = {_stem(name): fold for fold, names in listed.items() for name in names}
    rows = [
        {
            "path": path_of(files, name),
            "label": word.partition("/")[0],
            "fold": fold_of.get(_stem(word), 1),
            "group": _speaker(word),
        }
        for name, word in clips.items()
    ]
    _check_folds({int(str(row["fold"])) for row in rows}, listed, files, home)
    there = {_stem(word) for word in clips.values()}
    absent = sorted(name for names in listed.values() for name in names if _stem(name) not in there)
    return Dataset(
        name="speech-commands",
        root=root,
        clips=clip_table(rows, root),
        folds=(1, 2, 3),
        notes=(
            "the folds are the official split: 1 training, 2 validation, 3 testing; the official "
            "score is train-fold --fold 3 (--inner-fold 2 to choose settings)",
            *([absent_note(absent)] if absent else []),
            *left_out(set(files.sounds) - set(clips) - set(copies), "of no word"),
            *left_out(copies, "another encoding of a clip"),
        ),
        absent=tuple(absent),
        licence=LICENCE,
        citation=CITATION,
    )


def _has_name(path: str, name: str) -> bool:
    return path.rpartition("/")[2] == name


def _homes(files: Listing) -> list[str]:
    """Return the folders that hold both lists, with a slash behind; "" is the top."""
    first, second = (
        {name.removesuffix(file) for name in files.files if _has_name(name, file)}
        for file in _LISTS.values()
    )
    return sorted(first & second, key=lambda home: (home.count("/"), home))


def _home(files: Listing) -> str:
    """Choose the folder of the lists: the one at the top, else the only one."""
    homes = _homes(files)
    if not homes:
        missing = [file for file in _LISTS.values() if file not in files.files]
        raise DatasetError(
            f"{files.root}: holds no {' and no '.join(missing)}, which make the official split; "
            "give the folder that holds both lists"
        )
    if len(homes) > 1 and homes[0]:
        raise DatasetError(
            f"{files.root}: holds several sets of words, {list_some(homes, 5)}; give one of them"
        )
    return homes[0]


def _words(files: Listing, home: str, listed: list[str]) -> str:
    """Find the folder of the words: where most listed clips lie; else that of the lists."""
    wanted = set(listed)
    tops: Counter[str] = Counter()
    for name in files.sounds:
        *above, word, _ = ["", *name.split("/")]
        if name.startswith(home) and _stem(f"{word}/{name.rpartition('/')[2]}") in wanted:
            tops["".join(f"{folder}/" for folder in above if folder)] += 1
    return max(tops, key=lambda top: (tops[top], -top.count("/")), default=home)


def _is_word(name: str, words: str) -> bool:
    inside = name.removeprefix(words)
    return name.startswith(words) and inside.count("/") == 1 and not inside.startswith("_")


def _stem(name: str) -> str:
    """Write a listed clip without its suffix, as its letters are composed."""
    folder, slash, own = plain(name).rpartition("/")
    return f"{folder}{slash}{own.rpartition('.')[0] or own}"


def _check_folds(there: set[int], listed: dict[int, list[str]], files: Listing, home: str) -> None:
    """Refuse a split of which a part has no clip on disk."""
    for fold, names in listed.items():
        if fold not in there:
            first = f", the first is {names[0][:200]}" if names else ""
            raise DatasetError(
                f"{files.root / home / _LISTS[fold]}: none of the {len(names):,} clips that it "
                f"names is on disk{first}; give the folder with all words, or take them for "
                "classes with --layout folder"
            )
    if 1 not in there:
        raise DatasetError(
            f"{files.root / home}: the lists name every clip, and none is left to learn from; take "
            "the lists as published, or --layout folder"
        )


def _speaker(name: str) -> str:
    """Name who speaks in a clip; where its name does not tell, the clip stands for itself."""
    match = _SPEAKER.fullmatch(name.rpartition("/")[2])
    return match[1] if match else name
