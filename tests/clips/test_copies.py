"""Datasets that hold themselves once more, splits below classes, and tables beside folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from spectro.clips import datasets
from spectro.errors import DatasetError
from tests.clips.test_folder import touch, write_csv

SPOKEN = [f"{who}_{how}/{who}_w{i}_{how}.wav" for who in ("OAF", "YAF") for how in ("angry", "sad")
          for i in range(2)]  # fmt: skip
ACTED = [f"Actor_0{a}/03-01-0{e}-01-01-01-0{a}.wav" for a in (1, 2, 3) for e in (1, 3)]


def sounds(root: Path, names: list[str], first: int = 0) -> Path:
    """Write sounds, no two alike."""
    for i, name in enumerate(names, start=first):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(root / name, 0.5 * np.sin(np.arange(800) * 0.01 * (i + 1)), 8_000)
    return root


def once_more(folder: Path, name: str) -> Path:
    """Put a copy of a folder into it."""
    shutil.copytree(folder, folder.with_name("copy"))
    return Path(shutil.move(folder.with_name("copy"), folder / name))


def names(dataset: datasets.Dataset) -> list[str]:
    paths = (Path(path).relative_to(dataset.root) for path in dataset.clips["path"])
    return [path.as_posix() for path in paths]


COPIES = {
    "TESS": (SPOKEN, "TESS", "folder"),
    "RAVDESS": (ACTED, "audio_speech_actors_01-24", "folder"),
    "two folders in between": (SPOKEN, "archive/data", "auto"),
    "digits": ([f"{d}_{who}_0.wav" for d in range(3) for who in ("ann", "bob")], "own", "auto"),
}


@pytest.mark.parametrize(("files", "name", "layout"), COPIES.values(), ids=COPIES.keys())
def test_a_copy_inside_itself_is_read_once_and_told(
    tmp_path: Path, files: list[str], name: str, layout: str
) -> None:
    root = sounds(tmp_path / "own", files)
    expected = datasets.load(root, layout, **({} if name == "own" else {"n_folds": 2}))
    shutil.rmtree(root / name, ignore_errors=True)
    (root / name).parent.mkdir(exist_ok=True)
    once_more(root, name)
    dataset = datasets.load(root, layout)
    assert names(dataset) == names(expected) == sorted(files)
    assert dataset.labels == expected.labels
    (told,) = set(dataset.notes) - set(expected.notes)
    assert (
        told == f"{name} holds {len(files)} sound files of the folder above it once more: read once"
    )


def test_a_class_inside_itself_is_read_once(tmp_path: Path) -> None:
    root = sounds(tmp_path, ["cat/1.wav", "cat/2.wav", "dog/1.wav", "dog/2.wav"])
    once_more(root / "cat", "cat")
    dataset = datasets.load(root, n_folds=2)
    assert names(dataset) == ["cat/1.wav", "cat/2.wav", "dog/1.wav", "dog/2.wav"]
    assert "cat/cat holds 2 sound files of cat once more: read once" in dataset.notes


def test_other_sound_in_a_copy_is_named(tmp_path: Path) -> None:
    root = sounds(tmp_path, SPOKEN)
    copy = once_more(root, "TESS")
    sounds(copy, [SPOKEN[0], "OAF_angry/new.wav"], first=90)
    dataset = datasets.load(root, n_folds=2)
    assert names(dataset) == sorted(SPOKEN)
    assert dataset.notes[-3:] == (
        "TESS holds 7 sound files of the folder above it once more: read once",
        f"TESS holds 1 file of the same name with other sound, left out: TESS/{SPOKEN[0]}; compare "
        "them",
        "TESS holds 1 file of a name that is only there, left out: TESS/OAF_angry/new.wav; compare "
        "them",
    )


def test_another_version_beside_the_classes_is_asked_for(tmp_path: Path) -> None:
    classes = [f"{label}/{i}.wav" for label in ("cat", "dog") for i in range(2)]
    root = sounds(tmp_path, classes)
    sounds(root / "16k", classes, first=50)
    with pytest.raises(DatasetError, match="16k holds the folders beside it once more, with other"):
        datasets.load(root)
    assert datasets.load(root / "16k", n_folds=2).labels == ["cat", "dog"]


def test_classes_whose_clips_are_numbered_alike_are_no_copies(tmp_path: Path) -> None:
    listed = ["car/1.wav", "car/2.wav", "bus/1.wav", "noise/car/1.wav", "noise/wind/1.wav"]
    dataset = datasets.load(sounds(tmp_path, listed), n_folds=2)
    assert names(dataset) == sorted(listed)
    assert dataset.labels == ["bus", "car", "noise"]


# ---------------------------------------------------------------------------- splits below classes


@pytest.mark.parametrize("table", [False, True])
def test_a_split_below_the_classes_is_told(tmp_path: Path, table: bool) -> None:
    listed = [f"{label}/{part}/{i}.wav" for label in ("cat", "dog") for part in ("train", "test")
              for i in range(2)]  # fmt: skip
    touch(tmp_path, listed)
    rows = [(name, name.partition("/")[0]) for name in listed]
    if table:
        write_csv(tmp_path / "clips.csv", "path label", *rows)
    dataset = datasets.load(tmp_path, n_folds=2)
    assert dataset.labels == ["cat", "dog"]
    assert len(dataset.clips) == 8
    (note,) = (note for note in dataset.notes if "parts of a split" in note)
    assert note.startswith("test, train below the classes look like parts of a split, which is not")
    folds = [(*row, 1 + ("test" in row[0])) for row in rows]
    write_csv(tmp_path / "clips.csv", "path label fold", *folds)
    kept = datasets.load(tmp_path)
    assert not any("parts of a split" in note for note in kept.notes)
    assert kept.folds == (1, 2)


def test_one_folder_named_test_in_one_class_is_no_split(tmp_path: Path) -> None:
    touch(tmp_path, ["dog/test/1.wav", "dog/2.wav", "cat/1.wav", "cat/2.wav"])
    notes = datasets.load(tmp_path, n_folds=2).notes
    assert not any("parts of a split" in note for note in notes)


# ------------------------------------------------------------------------------ hardly any classes

HARDLY = {
    "BirdCLEF of one species": (["train_audio/abethr1"], "train_audio is the only folder"),
    "BirdCLEF 2021": (
        ["train_short_audio/a", "train_short_audio/b", "train_soundscapes"],
        "train_short_audio is hardly a class; if the folders in it are classes, give .*_audio;",
    ),
    "BirdCLEF 2024": (
        ["train_audio/a", "train_audio/b", "unlabeled_soundscapes"], "train_audio is hardly a class"
    ),
    "CREMA-D": (["AudioWAV"], "AudioWAV is the only folder"),
    "NSynth": (["nsynth-train/audio"], "nsynth-train is the only folder with sound"),
    "sounds beside another": (["audio/cat", "audio/dog", "extra"], "audio is hardly a class"),
}  # fmt: skip


@pytest.mark.parametrize(("folders", "told"), HARDLY.values(), ids=HARDLY.keys())
def test_folders_that_say_what_they_hold_are_no_classes(
    tmp_path: Path, folders: list[str], told: str
) -> None:
    touch(tmp_path, [f"{folder}/{i}.wav" for folder in folders for i in range(3)])
    with pytest.raises(DatasetError, match=told) as caught:
        datasets.load(tmp_path, n_folds=2)
    assert "--layout folder" in str(caught.value)
    assert len(datasets.load(tmp_path, "folder", n_folds=2).clips) == 3 * len(folders)


@pytest.mark.parametrize("folder", ["", "train_audio/{}/", "train_short_audio/{}/"])
def test_birdclef_is_proposed_by_its_table_whatever_its_year(tmp_path: Path, folder: str) -> None:
    birds = [("abethr1", "XC1.ogg", "A"), ("abethr1", "XC2.ogg", "A"), ("yebsto1", "XC3.ogg", "B")]
    audio = folder.partition("/")[0] or "train_audio"
    touch(tmp_path, [f"{audio}/{label}/{name}" for label, name, _ in birds])
    bare = folder.startswith("train_short")
    rows = [(label, author, name if bare else f"{label}/{name}") for label, name, author in birds]
    table = write_csv(tmp_path / "train_metadata.csv", "primary_label author filename", *rows)
    way = "--path-column filename --label-column primary_label --group-column author"
    for given in (tmp_path, table):
        with pytest.raises(DatasetError, match=way):
            datasets.load(given)
    columns = {f"{word.partition('-')[0]}_column": name for word, name in
               (pair.split() for pair in way.removeprefix("--").split(" --"))}  # fmt: skip
    dataset = datasets.load(tmp_path, n_folds=2, **columns)
    assert [(Path(row.path).name, row.label, row.group) for row in dataset.clips.itertuples()] == [
        (name, label, author) for label, name, author in birds
    ]


def test_a_table_that_lists_other_classes_than_the_folders_is_asked_for(tmp_path: Path) -> None:
    touch(tmp_path, ["north/1.wav", "north/2.wav", "south/3.wav", "south/4.wav"])
    rows = [("1.wav", "owl"), ("2.wav", "fox"), ("3.wav", "owl"), ("4.wav", "fox")]
    write_csv(tmp_path / "meta.csv", "filename species", *rows)
    told = r"meta\.csv lists these clips under other classes than the folders; by it, perhaps: --pa"
    with pytest.raises(DatasetError, match=told):
        datasets.load(tmp_path, n_folds=2)
    found = datasets.load(
        tmp_path, n_folds=2, path_column="filename", label_column="species", keep_folds=False
    )
    assert found.clips["label"].tolist() == ["owl", "fox", "owl", "fox"]
    assert datasets.load(tmp_path, "folder", n_folds=2).labels == ["north", "south"]
    rows = [(name, {"1": "0", "2": "0"}.get(name[0], "1")) for name, _ in rows]
    write_csv(tmp_path / "meta.csv", "filename target", *rows)  # the same by number
    assert datasets.load(tmp_path).labels == ["north", "south"]


def test_background_noise_of_speech_commands_is_no_word(tmp_path: Path) -> None:
    touch(tmp_path, [f"{word}/{who}_nohash_0.wav" for word in ("yes", "no") for who in "abc"])
    touch(tmp_path, ["_background_noise_/pink_noise.wav"])
    dataset = datasets.load(tmp_path, n_folds=2)
    assert dataset.labels == ["no", "yes"]
    assert any("left out: _background_noise_ (1)" in note for note in dataset.notes)
