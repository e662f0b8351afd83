"""Where the files lie that a table names: below its folder, however their names are spelled."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from pathlib import Path

import pytest

from spectro.clips import datasets
from spectro.clips.checking import quarantine
from spectro.errors import DatasetError
from tests.clips.test_folder import touch, write_csv


def found(root: Path, *paths: str, labels: str = "xy") -> list[str]:
    """Read a table of these paths, and return the files, as they lie below the folder."""
    rows = [(path, labels[i % len(labels)]) for i, path in enumerate(paths)]
    write_csv(root / "clips.csv", "path label", *rows)
    clips = datasets.load(root, n_folds=2, keep_folds=False).clips
    assert all(Path(path).is_file() for path in clips["path"])
    return [Path(path).relative_to(root).as_posix() for path in clips["path"]]


OUT = [
    "../own/clip.wav", "..\\own\\clip.wav", "in/../../own/clip.wav", "./../own/clip.wav",
    " ../own/clip.wav", "../none.wav", "in/../..",
]  # fmt: skip


@pytest.mark.parametrize("path", OUT)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    touch(tmp_path, ["own/clip.wav", "data/a.wav", "data/in/b.wav"])
    told = r"clips\.csv: row 3: the path '.*' leads out of .*data, and nothing outside it is read"
    with pytest.raises(DatasetError, match=told) as caught:
        found(tmp_path / "data", "a.wav", "in/b.wav", path)
    assert "\n" not in str(caught.value)


def test_a_path_that_comes_back_is_read_without_the_detour(tmp_path: Path) -> None:
    touch(tmp_path, ["a.wav", "in/b.wav"])
    assert found(tmp_path, "in/../a.wav", f"../{tmp_path.name}/in/b.wav") == ["a.wav", "in/b.wav"]


def test_a_table_further_down_may_name_sounds_of_the_folder_that_was_given(tmp_path: Path) -> None:
    touch(tmp_path / "data", ["audio/a.wav", "audio/b.wav"])
    table = tmp_path / "data" / "meta" / "list.csv"
    write_csv(table, "file kind", ("../audio/a.wav", "x"), ("../audio/b.wav", "y"))
    options = {"path_column": "file", "label_column": "kind", "n_folds": 2}
    clips = datasets.load(tmp_path / "data", keep_folds=False, **options).clips
    assert clips["path"].tolist() == [
        str(tmp_path / "data/audio" / name) for name in ("a.wav", "b.wav")
    ]
    with pytest.raises(DatasetError, match=r"row 1: the path .* leads out of .*meta"):
        datasets.load(table, **options)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_that_lead_out_are_told_and_no_way_to_climb(tmp_path: Path) -> None:
    touch(tmp_path, ["own/clip.wav", "data/a.wav", "data/b.wav"])
    (tmp_path / "data/link").symlink_to(tmp_path / "own")
    with pytest.raises(DatasetError, match=r"row 3: the path .* leads out of"):
        found(tmp_path / "data", "a.wav", "b.wav", "link/../own/clip.wav")
    write_csv(tmp_path / "data/clips.csv", "path label", ("a.wav", "x"), ("link/clip.wav", "y"))
    dataset = datasets.load(tmp_path / "data", n_folds=2)
    (note,) = (note for note in dataset.notes if "outside" in note)
    assert note.startswith("1 listed clip lies outside ")
    assert note.endswith("link/clip.wav")


FORMS = [("NFC", "NFD"), ("NFD", "NFC")]


@pytest.mark.parametrize(("listed", "there"), FORMS)
@pytest.mark.parametrize("folder", ["", "Vögel/", "a/Vögel/"])
def test_names_composed_otherwise_are_found(
    tmp_path: Path, listed: str, there: str, folder: str
) -> None:
    names = [f"{folder}Häher {i}é.wav" for i in range(3)]
    touch(tmp_path, [unicodedata.normalize(there, name) for name in names])
    paths = [unicodedata.normalize(listed, name) for name in names]
    assert found(tmp_path, *paths) == [unicodedata.normalize(there, name) for name in names]
    bare = [path.rpartition("/")[2] for path in paths]
    assert len(found(tmp_path, *bare)) == 3


@pytest.mark.skipif(sys.platform == "darwin", reason="both names are one file there")
def test_of_two_files_composed_otherwise_the_listed_one_is_taken(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "é.wav") for form in ("NFC", "NFD"))
    touch(tmp_path, [composed, apart, "z.wav"])
    assert found(tmp_path, composed, "z.wav") == ["z.wav", composed]
    assert found(tmp_path, apart, "z.wav") == [apart, "z.wav"]


@pytest.mark.parametrize(("listed", "there"), FORMS)
def test_folds_and_quarantine_hold_after_a_copy_to_a_mac_and_back(
    tmp_path: Path, listed: str, there: str
) -> None:
    names = [f"{label}/é{i}.wav" for label in ("Vögel", "b") for i in range(4)]
    touch(tmp_path / "data", [unicodedata.normalize(listed, name) for name in names])
    before = datasets.load(tmp_path / "data", n_folds=2)
    asked = Path(before.clips["path"][0])
    write_csv(tmp_path / "q.csv", "path", (asked.relative_to(tmp_path / "data").as_posix(),))
    touch(tmp_path / "copy", [unicodedata.normalize(there, name) for name in names])
    for name in ("folds.csv", "folds.json"):
        shutil.copy(tmp_path / "data" / name, tmp_path / "copy" / name)
    after = datasets.load(tmp_path / "copy")
    folds = [
        {unicodedata.normalize("NFC", path): fold for path, fold in zip(*columns, strict=True)}
        for columns in ((set_.clips["group"], set_.clips["fold"]) for set_ in (before, after))
    ]
    assert folds[0] == folds[1]
    assert not any("joined" in note for note in after.notes)
    kept = quarantine.apply(after, tmp_path / "q.csv")
    assert len(kept.clips) == len(names) - 1
    assert not any("name no clip" in note for note in kept.notes)


def test_bare_names_of_files_in_several_folders_are_found(tmp_path: Path) -> None:
    touch(tmp_path, ["wav/x/1.wav", "wav/x/2.wav", "wav/y/3.wav", "wav/y/4.wav"])
    names = ["1.wav", "3.wav", "2.wav", "4.wav"]
    assert found(tmp_path, *names) == ["wav/x/1.wav", "wav/x/2.wav", "wav/y/3.wav", "wav/y/4.wav"]
    touch(tmp_path, ["wav/y/1.wav", "wav/z/3.wav"])  # the label tells which is meant
    assert found(tmp_path, *names) == ["wav/x/1.wav", "wav/x/2.wav", "wav/y/3.wav", "wav/y/4.wav"]


def test_names_without_a_suffix_are_found(tmp_path: Path) -> None:
    touch(tmp_path, ["wav/1001.wav", "wav/1002.flac", "wav/1003.wav"])
    assert found(tmp_path, "1001", "1002", "1003") == [
        "wav/1001.wav",
        "wav/1002.flac",
        "wav/1003.wav",
    ]
    touch(tmp_path, ["wav/1003.flac"])
    assert found(tmp_path, "1001", "1002", "1003") == ["wav/1001.wav", "wav/1002.flac"]


def test_a_listed_clip_that_is_gone_is_not_replaced_by_a_namesake(tmp_path: Path) -> None:
    touch(tmp_path, ["a.wav", "b.wav", "old/c.wav"])
    assert found(tmp_path, "a.wav", "b.wav", "c.wav") == ["a.wav", "b.wav"]


@pytest.mark.skipif(sys.platform == "darwin", reason="both names are one file there")
def test_names_in_another_case_are_found_where_one_file_bears_them(tmp_path: Path) -> None:
    touch(tmp_path, ["Dog/a.WAV", "dog2/b.wav"])
    assert found(tmp_path, "dog/A.wav", "Dog2/B.WAV") == ["Dog/a.WAV", "dog2/b.wav"]
    touch(tmp_path, ["dog2/B.wav"])
    with pytest.raises(DatasetError, match=r"1 listed clip is absent: B\.WAV"):
        found(tmp_path, "dog/A.wav", "Dog2/B.WAV")


def test_sounds_beside_the_folder_of_the_table_are_found(tmp_path: Path) -> None:
    touch(tmp_path, ["FSD50K.dev_audio/1.wav", "FSD50K.dev_audio/2.wav", "FSD50K.eval_audio/9.wav"])
    table = tmp_path / "FSD50K.ground_truth" / "dev.csv"
    write_csv(table, "fname labels mids", (1, "Bark", "/m/1"), (2, "Bark,Dog", "/m/2"))
    options = {"path_column": "fname", "label_column": "labels", "n_folds": 2}
    dataset = datasets.load(tmp_path, **options)
    names = [Path(path).relative_to(tmp_path).as_posix() for path in dataset.clips["path"]]
    assert names == ["FSD50K.dev_audio/1.wav", "FSD50K.dev_audio/2.wav"]
    assert not any("lies outside" in note for note in dataset.notes)
    told = "1 clip has several labels in one cell, and each combination is a class of its own"
    assert f"{told}: 'Bark,Dog'" in dataset.notes
