"""Recordings: told apart once, remembered beside the folds, suggested where names show them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest

from spectro.clips import datasets
from spectro.clips.datasets.recordings import suggest
from spectro.errors import DatasetError
from tests.clips.test_folder import fold_of, touch, write_classes

PATTERN = r"^(rec\d+)"


def recorded(root: Path) -> Path:
    """Make six recordings of three clips each, in two classes."""
    names = [
        f"{label}/rec{k}{label[0]}_{n}.wav"
        for label in ("fox", "owl")
        for k in range(3)
        for n in range(3)
    ]
    return touch(root, names)


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(root.glob("folds.*"))}


def test_the_pattern_is_remembered_beside_the_folds(tmp_path: Path) -> None:
    first = datasets.load(recorded(tmp_path), group_pattern=PATTERN, n_folds=3)
    assert json.loads((tmp_path / "folds.json").read_text()) == {"group_pattern": PATTERN}
    again = datasets.load(tmp_path, group_pattern=PATTERN)
    assert fold_of(again) == fold_of(first)
    assert again.reading == {"group_pattern": PATTERN}


@pytest.mark.parametrize("other", [None, r"^(rec\d\w)_", r"^(.+)\.wav"])
def test_other_recordings_under_the_same_folds_are_refused(
    tmp_path: Path, other: str | None
) -> None:
    datasets.load(recorded(tmp_path), group_pattern=PATTERN, n_folds=3)
    before = contents(tmp_path)
    words = re.escape(f"the folds were made with --group-pattern '{PATTERN}', and this is ")
    with pytest.raises(DatasetError, match=words):
        datasets.load(tmp_path, group_pattern=other)
    assert contents(tmp_path) == before


def test_a_pattern_after_folds_by_file_is_refused(tmp_path: Path) -> None:
    datasets.load(recorded(tmp_path))
    before = contents(tmp_path)
    with pytest.raises(DatasetError, match=r"remove folds\.csv and folds\.json to deal"):
        datasets.load(tmp_path, group_pattern=PATTERN)
    assert contents(tmp_path) == before


def test_folds_of_before_there_were_notes_are_followed_or_refused_too(tmp_path: Path) -> None:
    first = datasets.load(recorded(tmp_path), group_pattern=PATTERN, n_folds=3)
    (tmp_path / "folds.json").unlink()
    with pytest.raises(DatasetError, match="folds of other recordings"):
        datasets.load(tmp_path)
    assert fold_of(datasets.load(tmp_path, group_pattern=PATTERN)) == fold_of(first)
    assert (tmp_path / "folds.json").exists()


def test_new_recordings_join_the_folds_of_the_others(tmp_path: Path) -> None:
    first = fold_of(datasets.load(recorded(tmp_path), group_pattern=PATTERN, n_folds=3))
    touch(tmp_path, ["owl/rec9o_0.wav", "owl/rec9o_1.wav"])
    second = fold_of(datasets.load(tmp_path, group_pattern=PATTERN))
    assert first.items() <= second.items()
    assert second["owl/rec9o_0.wav"] == second["owl/rec9o_1.wav"]


def test_recordings_under_other_names_are_told(tmp_path: Path) -> None:
    root = recorded(tmp_path)
    datasets.load(root, group_pattern=PATTERN, n_folds=3)
    grown = touch(root, ["owl/rec9o_0.wav", "owl/rec9o_1.wav"])
    assert "are gone" not in str(datasets.load(grown, group_pattern=PATTERN).notes)
    for path in sorted(root.glob("*/rec1*")):
        path.rename(path.with_name(path.name.replace("rec1", "rec7")))
    (told,) = (note for note in datasets.load(root, group_pattern=PATTERN).notes if "gone" in note)
    assert "joined these folds" in told and "remove" in told and "folds.csv" in told


def test_a_look_follows_what_is_remembered_and_keeps_nothing(tmp_path: Path) -> None:
    root = recorded(tmp_path)
    assert datasets.load(root, keep_folds=False, as_before=True).clips["group"].nunique() == 18
    assert contents(root) == {}
    datasets.load(root, group_pattern=PATTERN, n_folds=3)
    assert datasets.load(root, as_before=True).clips["group"].nunique() == 3


def table(names: list[str]) -> pd.DataFrame:
    labels = [name.split("/")[0] for name in names]
    return pd.DataFrame({"path": names, "label": labels})


@pytest.mark.parametrize(
    ("names", "pattern", "groups"),
    [
        (
            [
                f"{c}/1-{19898 + 7 * c + k}-{x}-{c}.wav"
                for c in (1, 2)
                for k in range(3)
                for x in "ABC"
            ],
            r"^(.+)-[A-Z]-\d+\.\w+$",
            6,
        ),
        (
            [f"{c}/{c}{k}_part{n}.flac" for c in "ab" for k in range(3) for n in range(2)],
            r"^(.+)_part\d+\.\w+$",
            6,
        ),
        (
            [f"{c}/{c}{k}_{n * 2.5}_{n}.ogg" for c in "ab" for k in range(3) for n in range(2)],
            r"^(.+)_[\d.]+_\d+\.\w+$",
            6,
        ),
        (
            [f"{c}/rec{k}_{n}.wav" for c in "ab" for k in range(3) for n in range(2)],
            r"^(.+)_\d+\.\w+$",
            3,
        ),
    ],
)
def test_names_of_pieces_suggest_a_pattern(names: list[str], pattern: str, groups: int) -> None:
    found = suggest(table(names))
    assert found is not None
    assert (found.pattern, found.files, found.groups) == (pattern, len(names), groups)
    joined = {re.findall(pattern, name)[0] for name in found.example}
    assert len(joined) == 1
    assert len(found.example) == len({os.path.basename(name) for name in names}) // groups
    assert "leave it out where each file is a recording of its own" in found.in_words()


@pytest.mark.parametrize(
    "names",
    [
        [f"{c}/{c}_{n:03}.wav" for c in ("dog", "cat") for n in range(9)],  # counts a class
        [f"{c}/XC{n}.mp3" for c in ("dog", "cat") for n in range(9)],  # nothing to take off
        [f"{c}/2023050{d}_0{n}0000.WAV" for c in "ab" for d in (1, 2, 3) for n in (1, 2)],  # times
        [f"{c}/{c}{n}.wav" for c in "ab" for n in range(2)],  # too few to say
    ],
)
def test_names_that_tell_no_recordings_suggest_nothing(names: list[str]) -> None:
    assert suggest(table(names)) is None


def test_the_suggestion_is_told_with_what_it_would_join(tmp_path: Path) -> None:
    dataset = datasets.load(recorded(tmp_path))
    told = next(note for note in dataset.notes if "every file counts" in note)
    assert r"--group-pattern '^(.+)_\d+\.\w+$': " in told
    assert "rec0f_0.wav, rec0f_1.wav and rec0f_2.wav" in told


def test_a_single_class_is_told_and_its_parent_proposed(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "birds", owl=6)
    touch(root, ["owl/2020/a.wav"])
    (note,) = (note for note in datasets.load(root).notes if "one class" in note)
    assert "every clip is owl: one class, and training needs two" in note
    (root / "owl/2020/a.wav").unlink()
    with pytest.raises(DatasetError, match=rf"did you mean its parent, {re.escape(str(root))}\?"):
        datasets.load(root / "owl")
