"""Datasets as people have them, guesses that are refused, and sound that is never passed over."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from spectro.clips import datasets
from spectro.clips.datasets.listing import list_below
from spectro.errors import DatasetError
from tests.clips.test_datasets import (
    ESC50_COLUMNS,
    ESC50_ROWS,
    US8K_COLUMNS,
    build_esc50,
    build_us8k,
    us8k_row,
    write_csv,
)
from tests.clips.test_folder import touch, write_classes

US8K_ROWS = [us8k_row(7, 2, 0), us8k_row(7, 2, 0, 1), us8k_row(9, 10, 3)]


def us8k(root: Path, folds: str, table: str) -> Path:
    """Write UrbanSound8K with its folds and its table wherever they are wanted."""
    write_csv(root / table, US8K_COLUMNS, US8K_ROWS)
    touch(root, [f"{folds}fold{row[5]}/{row[0]}" for row in US8K_ROWS])
    return root


def esc50(root: Path, clips: str, table: str) -> Path:
    write_csv(root / table, ESC50_COLUMNS, ESC50_ROWS)
    touch(root, [f"{clips}{row[0]}" for row in ESC50_ROWS])
    return root


def parts(dataset: datasets.Dataset) -> list[tuple[str, str, int, str]]:
    """Return name, label, fold and group of each clip, in order of name."""
    clips = dataset.clips
    assert all(Path(path).is_file() for path in clips["path"])
    rows = zip(clips["path"], clips["label"], clips["fold"], clips["group"], strict=True)
    return sorted((Path(path).name, label, fold, group) for path, label, fold, group in rows)


# ------------------------------------------------------------------- published, wherever they lie


@pytest.mark.parametrize(
    ("folds", "table"),
    [
        ("", "UrbanSound8K.csv"),
        ("audio/", "UrbanSound8K.csv"),
        ("audio/", "audio/UrbanSound8K.csv"),
        ("", "metadata/UrbanSound8K.csv"),
        ("sounds/wav/", "tables/urbansound8k.csv"),
        ("UrbanSound8K/", "UrbanSound8K/UrbanSound8K.csv"),
        ("UrbanSound8K/audio/", "UrbanSound8K/metadata/UrbanSound8K.csv"),
        ("archive/", "archive/UrbanSound8K.csv"),
        ("archive/UrbanSound8K/audio/", "archive/UrbanSound8K/metadata/UrbanSound8K.csv"),
        ("", "labels.csv"),
    ],
)
def test_us8k_is_read_wherever_folds_and_table_lie(tmp_path: Path, folds: str, table: str) -> None:
    official = datasets.load(build_us8k(tmp_path / "official"))
    found = datasets.load(us8k(tmp_path / "own", folds, table))
    assert found.name == "urbansound8k"
    assert parts(found) == parts(official)
    assert found.folds == official.folds == (2, 10)
    assert found.notes == ()
    assert found.licence


@pytest.mark.parametrize(
    ("clips", "table"),
    [
        ("audio/audio/", "esc50.csv"),
        ("audio/", "esc50.csv"),
        ("", "esc50.csv"),
        ("ESC-50-master/audio/", "ESC-50-master/meta/esc50.csv"),
        ("data/wav/", "data/ESC50.csv"),
        ("wav/", "labels.csv"),
    ],
)
@pytest.mark.parametrize("copies", [False, True])
def test_esc50_is_read_wherever_clips_and_table_lie(
    tmp_path: Path, clips: str, table: str, copies: bool
) -> None:
    official = datasets.load(build_esc50(tmp_path / "official"))
    root = esc50(tmp_path / "own", clips, table)
    if copies:
        touch(root, [f"{clips}16000/{row[0]}" for row in ESC50_ROWS])
    found = datasets.load(root)
    assert found.name == "esc50"
    assert parts(found) == parts(official)
    assert {Path(path).parent for path in found.clips["path"]} == {root / clips}
    told = f"6 sound files are not in {Path(table).name} and left out: {clips}16000 (6)"
    assert found.notes == ((told,) if copies else ())


def test_us8k_with_all_clips_in_one_folder_is_read(tmp_path: Path) -> None:
    write_csv(tmp_path / "UrbanSound8K.csv", US8K_COLUMNS, US8K_ROWS)
    touch(tmp_path / "wavs", [row[0] for row in US8K_ROWS])
    assert parts(datasets.load(tmp_path)) == [
        ("7-0-0-0.wav", "air_conditioner", 2, "7"),
        ("7-0-0-1.wav", "air_conditioner", 2, "7"),
        ("9-3-0-0.wav", "dog_bark", 10, "9"),
    ]


@pytest.mark.parametrize("suffix", [".ogg", ".flac", ".WAV"])
def test_clips_that_were_encoded_otherwise_are_found(tmp_path: Path, suffix: str) -> None:
    official = parts(datasets.load(us8k(tmp_path, "", "UrbanSound8K.csv")))
    for file in tmp_path.rglob("*.wav"):
        file.rename(file.with_suffix(suffix))
    found = parts(datasets.load(tmp_path))
    assert [(Path(name).stem, *rest) for name, *rest in found] == [
        (Path(name).stem, *rest) for name, *rest in official
    ]
    assert {Path(name).suffix for name, *_ in found} == {suffix}


def test_of_two_encodings_the_one_that_the_table_names_is_taken(tmp_path: Path) -> None:
    us8k(tmp_path, "", "UrbanSound8K.csv")
    touch(tmp_path, [f"ogg/fold{row[5]}/{Path(row[0]).stem}.ogg" for row in US8K_ROWS * 2])
    dataset = datasets.load(tmp_path)
    assert {Path(path).suffix for path in dataset.clips["path"]} == {".wav"}
    assert any("3 sound files are not in UrbanSound8K.csv" in note for note in dataset.notes)


def test_the_table_itself_may_be_given(tmp_path: Path) -> None:
    for table in ("metadata/UrbanSound8K.csv", "UrbanSound8K.csv"):
        root = us8k(tmp_path / table.replace("/", "-"), "audio/", table)
        assert datasets.load(root / table).name == "urbansound8k"
    root = esc50(tmp_path / "esc", "audio/audio/", "esc50.csv")
    assert datasets.load(root / "esc50.csv").name == "esc50"


def test_a_table_that_is_given_counts_and_no_other(tmp_path: Path) -> None:
    """One's own beside the official: fewer clips, and other folds."""
    root = us8k(tmp_path / "us8k", "audio/", "metadata/UrbanSound8K.csv")
    table = pd.read_csv(root / "metadata/UrbanSound8K.csv")
    mine = table.iloc[::2]
    mine.to_csv(root / "metadata/mine.csv", index=False)
    found = datasets.load(root / "metadata/mine.csv")
    assert len(found.clips) == len(mine) < len(table)
    assert any("not in mine.csv" in note for note in found.notes)
    assert len(datasets.load(root).clips) == len(table)
    (root / "metadata/UrbanSound8K.csv").rename(root / "metadata/other.csv")
    assert len(datasets.load(root / "metadata/mine.csv").clips) == len(mine)
    mine.to_csv(root / "mine.csv", index=False)
    columns = {"path_column": "slice_file_name", "label_column": "class"}
    own = datasets.load(root / "mine.csv", **columns, n_folds=2)
    assert (own.name, len(own.clips)) == ("mine", len(mine))


def test_a_semicolon_table_of_us8k_with_folds_as_floats_is_read(tmp_path: Path) -> None:
    us8k(tmp_path, "", "UrbanSound8K.csv")
    table = pd.read_csv(tmp_path / "UrbanSound8K.csv").astype({"fold": float})
    table.to_csv(tmp_path / "UrbanSound8K.csv", sep=";", index=False)
    assert parts(datasets.load(tmp_path)) == parts(datasets.load(build_us8k(tmp_path / "there")))


@pytest.mark.parametrize("names", [range(1, 11), (1, 2), (5,)])
@pytest.mark.parametrize("above", ["", "audio/"])
def test_folds_without_their_table_are_never_classes(
    tmp_path: Path, names: Any, above: str
) -> None:
    touch(tmp_path, [f"{above}fold{k}/{k}-3-0-0.wav" for k in names])
    with pytest.raises(DatasetError, match=r"look like the folds of UrbanSound8K.*--layout folder"):
        datasets.load(tmp_path)


@pytest.mark.parametrize("above", ["", "audio/", "audio/audio/"])
def test_clips_of_esc50_without_their_table_are_never_a_class(tmp_path: Path, above: str) -> None:
    touch(tmp_path, [f"{above}{row[0]}" for row in ESC50_ROWS])
    with pytest.raises(DatasetError, match=r"its table esc50\.csv is not there"):
        datasets.load(tmp_path)


def test_a_table_of_us8k_that_lacks_columns_is_never_another_dataset(tmp_path: Path) -> None:
    touch(tmp_path, ["fold1/1-3-0-0.wav", "fold2/2-3-0-0.wav"])
    (tmp_path / "UrbanSound8K.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match=r"UrbanSound8K\.csv: has no column slice_file_name"):
        datasets.load(tmp_path)


def test_a_table_whose_clips_are_not_there_is_never_another_dataset(tmp_path: Path) -> None:
    write_csv(tmp_path / "UrbanSound8K.csv", US8K_COLUMNS, US8K_ROWS)
    touch(tmp_path, ["fold2/other.wav", "fold10/another.wav"])
    with pytest.raises(DatasetError, match=r"none of the 3 listed clips .* audio/fold2/7-0-0-0"):
        datasets.load(tmp_path)


def test_two_datasets_in_one_folder_are_asked_about(tmp_path: Path) -> None:
    us8k(tmp_path / "one", "", "UrbanSound8K.csv")
    us8k(tmp_path / "two", "", "UrbanSound8K.csv")
    with pytest.raises(DatasetError, match=r"several datasets: one/UrbanSound8K\.csv, two/"):
        datasets.load(tmp_path)
    assert len(datasets.load(tmp_path / "two").clips) == 3


# ------------------------------------------------------------------------------ guesses from names


def test_folders_of_one_number_each_are_classes_not_digits(tmp_path: Path) -> None:
    touch(
        tmp_path, [f"{c}/{k}_{c}_{i}.wav" for k, c in enumerate(("cat", "dog")) for i in range(5)]
    )
    dataset = datasets.load(tmp_path)
    assert dataset.labels == ["cat", "dog"]
    assert dataset.name != "spoken-digits"


def test_folders_that_may_be_speakers_or_classes_are_asked_about(tmp_path: Path) -> None:
    touch(tmp_path, [f"{c}/{k}_{c}_0.wav" for k in range(3) for c in ("ann", "bob", "cem")])
    with pytest.raises(DatasetError, match="--layout folder or --layout spoken-digits"):
        datasets.load(tmp_path)
    assert datasets.load(tmp_path, "folder", n_folds=3).labels == ["ann", "bob", "cem"]
    assert datasets.load(tmp_path, "spoken-digits").labels == ["0", "1", "2"]


@pytest.mark.parametrize("above", ["", "recordings/", "repo/recordings/"])
def test_flat_digits_are_digits(tmp_path: Path, above: str) -> None:
    touch(tmp_path, [f"{above}{k}_{who}_0.wav" for k in range(10) for who in ("ann", "bob")])
    assert datasets.load(tmp_path).name == "spoken-digits"


def test_digits_in_a_folder_a_digit_are_digits_of_speakers(tmp_path: Path) -> None:
    touch(tmp_path, [f"{k}/{k}_{who}_0.wav" for k in range(4) for who in ("ann", "bob")])
    dataset = datasets.load(tmp_path)
    assert (dataset.labels, set(dataset.clips["group"])) == (list("0123"), {"ann", "bob"})


def test_flat_names_of_one_digit_a_speaker_are_told(tmp_path: Path) -> None:
    touch(tmp_path, [f"{k}_{c}_{i}.wav" for k, c in enumerate(("cat", "dog")) for i in range(5)])
    assert any("one digit only" in note for note in datasets.load(tmp_path).notes)


@pytest.mark.parametrize(
    "splits", [("train", "valid", "test"), ("Train", "Test"), ("training", "validation"), ("test",)]
)
def test_parts_of_a_split_are_not_classes(tmp_path: Path, splits: tuple[str, ...]) -> None:
    touch(tmp_path, [f"{s}/{c}/{i}.wav" for s in splits for c in ("cat", "dog") for i in range(5)])
    with pytest.raises(DatasetError, match=r"parts of a split.*be cat, dog\); give one of them"):
        datasets.load(tmp_path)
    assert datasets.load(tmp_path / splits[0]).labels == ["cat", "dog"]
    assert datasets.load(tmp_path, "folder").labels == sorted(splits)


def test_a_class_that_is_named_test_among_others_is_one(tmp_path: Path) -> None:
    write_classes(tmp_path, test=5, owl=5, fox=5)
    assert datasets.load(tmp_path).labels == ["fox", "owl", "test"]


@pytest.mark.parametrize("name", ["audio", "Clips", "wav", "data"])
def test_one_folder_that_says_nothing_is_no_class(tmp_path: Path, name: str) -> None:
    touch(tmp_path, [f"{name}/{i}.wav" for i in range(5)])
    with pytest.raises(DatasetError, match=rf"{name} is the only folder .*--layout folder"):
        datasets.load(tmp_path)


def test_classes_one_folder_deeper_are_pointed_at(tmp_path: Path) -> None:
    write_classes(tmp_path / "birds2020", owl=5, fox=5)
    with pytest.raises(DatasetError, match=rf"classes, give {tmp_path / 'birds2020'};"):
        datasets.load(tmp_path)


# --------------------------------------------------------- no sound is passed over in silence

PHONES = [".m4a", ".aac", ".webm", ".wma", ".amr", ".mp2", ".3gp", ".mp4", ".mka", ".M4A"]
PHONES += [".ac3", ".ape", ".wv", ".opus", ".spx", ".mov"]


@pytest.mark.parametrize("suffix", PHONES)
def test_phone_recordings_are_clips(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, [f"dog/{i}.wav" for i in range(5)] + [f"cat/{i}{suffix}" for i in range(5)])
    assert datasets.load(tmp_path).clips["label"].value_counts().to_dict() == {"dog": 5, "cat": 5}


def test_stray_clips_are_counted_and_named(tmp_path: Path) -> None:
    write_classes(tmp_path, owl=5, fox=5)
    touch(tmp_path, ["stray.wav", "phone.m4a", "readme.txt"])
    (note,) = (note for note in datasets.load(tmp_path).notes if "left out" in note)
    assert note == "2 sound files are in no folder of a class and left out: the top folder (2)"


def test_sound_that_a_table_does_not_list_is_counted_and_named(tmp_path: Path) -> None:
    touch(tmp_path, ["rec/a.wav", "rec/b.wav", "rec/c.flac", "old/d.mp3"])
    write_csv(tmp_path / "clips.csv", ("path", "label", "fold"), [("rec/a.wav", "x", 1)])
    assert "3 sound files are not in clips.csv and left out: old (1), rec (2)" in (
        datasets.load(tmp_path).notes
    )


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_to_folders_are_named_and_links_to_files_are_clips(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "root", owl=5, fox=5)
    far = touch(tmp_path / "far", ["a.wav", "b.wav"])
    (root / "owl" / "more").symlink_to(far)
    (root / "owl" / "one.wav").symlink_to(far / "a.wav")
    (root / "hen").symlink_to(far)
    (root / "loop").symlink_to(root)
    dataset = datasets.load(root, n_folds=2)
    assert dataset.clips["label"].value_counts().to_dict() == {"owl": 6, "fox": 5, "hen": 2}
    assert "links to folders are not followed: loop, owl/more; put the folders there" in (
        dataset.notes
    )


@pytest.mark.parametrize("fill", [[], ["1.xyz", "2.xyz"], ["deep/3.unknown"]])
def test_a_class_without_clips_is_an_error(tmp_path: Path, fill: list[str]) -> None:
    write_classes(tmp_path, owl=5, fox=5)
    (tmp_path / "hen").mkdir()
    touch(tmp_path / "hen", fill)
    with pytest.raises(DatasetError, match=r"the folder hen has no clip.*move it away"):
        datasets.load(tmp_path)


def test_a_folder_of_documents_is_no_class(tmp_path: Path) -> None:
    write_classes(tmp_path, owl=5, fox=5)
    touch(tmp_path / "docs", ["readme.md", "paper.pdf", "LICENSE"])
    assert datasets.load(tmp_path).labels == ["fox", "owl"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs there")
def test_a_fifo_does_not_stop_the_listing(tmp_path: Path) -> None:
    write_classes(tmp_path, owl=5, fox=5)
    os.mkfifo(tmp_path / "owl" / "pipe.wav")
    os.mkfifo(tmp_path / "pipe.csv")
    assert len(datasets.load(tmp_path).clips) == 11
    with pytest.raises(DatasetError, match=r"no known dataset"):
        datasets.load(tmp_path / "pipe.csv")


def test_a_listing_has_every_file_once_by_parts(tmp_path: Path) -> None:
    touch(tmp_path, ["b/1.wav", "b.wav", "a/x/1.wav", "a-b/1.wav", ".git/x.wav", "a/.y.wav"])
    assert list_below(tmp_path).files == ("a/x/1.wav", "a-b/1.wav", "b/1.wav", "b.wav")


# ------------------------------------------------------------------------------ tables as written


def table(root: Path, text: str | bytes) -> Path:
    touch(root, ["a/1.wav", "a/2.wav", "b/3.wav", "b/4.wav"])
    file = root / "list.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


PLAIN = (
    "path,label,fold,start,end\n"
    "a/1.wav,dog,1,0,1.5\na/2.wav,dog,2,0.25,2\nb/3.wav,cat,1,0,1\nb/4.wav,cat,2,,\n"
)


def with_separator(separator: str) -> Callable[[str], str]:
    return lambda text: text.replace(",", separator)


def decimal_commas(text: str) -> str:
    return text.replace(",", ";").replace(".5", ",5").replace(".25", ",25")


WRITTEN: dict[str, Callable[[str], str | bytes]] = {
    "semicolons": with_separator(";"),
    "tabs": with_separator("\t"),
    "bars": with_separator("|"),
    "decimal commas": decimal_commas,
    "quoted decimal commas": lambda text: text.replace("1.5", '"1,5"').replace("0.25", '"0,25"'),
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "utf-16 little": lambda text: b"\xff\xfe" + text.encode("utf-16-le"),
    "utf-16 big": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "utf-16 with tabs, as a spreadsheet": lambda text: text.replace(",", "\t").encode("utf-16"),
    "blanks in the header": lambda text: text.replace("path,label,fold", " path , label,fold "),
    "capitals in the header": lambda text: text.replace("path,label,fold", "Path,LABEL,Fold"),
    "blanks around cells": lambda text: text.replace("dog", " dog ").replace(",1,", ", 1 ,"),
    "folds as floats": lambda text: text.replace(",1,", ",1.0,").replace(",2,", ",2.0,"),
    "folds in words": lambda text: text.replace(",1,", ",fold1,").replace(",2,", ",Fold 2,"),
    "Windows paths": lambda text: text.replace("a/", "a\\").replace("b/", "b\\"),
    "Windows paths from here": lambda text: text.replace("a/", ".\\a\\").replace("b/", ".\\b\\"),
    "Windows line ends": lambda text: text.replace("\n", "\r\n"),
    "line ends of an old Mac": lambda text: text.replace("\n", "\r").encode(),
    "blanks around paths": lambda text: text.replace("a/1.wav", " a/1.wav "),
    "empty last lines": lambda text: text + "\n\n",
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN.keys())
def test_a_table_with_one_meaning_is_read(
    tmp_path: Path, written: Callable[[str], str | bytes]
) -> None:
    plain = datasets.load(table(tmp_path, PLAIN)).clips
    found = datasets.load(table(tmp_path, written(PLAIN))).clips
    found["path"] = [os.path.normpath(path) for path in found["path"]]
    pd.testing.assert_frame_equal(found, plain)


REFUSED = {
    "start 0:10": ("0.25,2\n", "0:10,2\n", r"row 2: start is not a number: '0:10'"),
    "end with a unit": ("0,1\n", "0,1s\n", r"row 3: end is not a number: '1s'"),
    "thousands": ("0.25,2\n", '0,"2,000"\n', r"row 2: end is not a number: '2,000'"),
    "half a fold": ("dog,2", "dog,2.5", r"row 2: fold is not a whole number: '2\.5'"),
    "fold nan": ("dog,2", "dog,nan", r"row 2: fold is not a whole number: 'nan'"),
    "fold inf": ("dog,2", "dog,inf", r"row 2: fold is not a whole number: 'inf'"),
    "huge fold": ("dog,2", "dog,99999999999", r"row 2: fold is not a whole number"),
    "no label": ("a/2.wav,dog", "a/2.wav,", r"row 2 has no label"),
    "two columns alike": ("path,label", "path, Path,label", r"has the column path twice"),
    "carriage return in the header": (
        "path,label",
        "pa\rth,label",
        r"has no column path|more cells",
    ),
    "NUL": ("a/2.wav", "a/2\0.wav", r"holds NUL"),
    "more cells than names": ("path,label,fold,start,end", "path,label,fold,start", r"more cells"),
}


@pytest.mark.parametrize(("old", "new", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_a_table_without_one_meaning_names_row_and_value(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    with pytest.raises(DatasetError, match=told) as caught:
        datasets.load(table(tmp_path, PLAIN.replace(old, new, 1)))
    assert "\n" not in str(caught.value)
    assert "list.csv" in str(caught.value)


def test_a_table_that_is_no_utf8_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="save it as UTF-8"):
        datasets.load(table(tmp_path, PLAIN.replace("dog", "käuzchen").encode("latin-1")))


@pytest.mark.parametrize("path", ["gone/1.wav", "C:\\Users\\me\\1.wav", "x" * 300 + ".wav"])
def test_a_table_of_nothing_that_is_there_names_one_path(tmp_path: Path, path: str) -> None:
    with pytest.raises(DatasetError, match=r"row 1 names .*looked for as .*relative") as caught:
        datasets.load(table(tmp_path, f"path,label,fold\n{path},x,1\n"))
    assert "\n" not in str(caught.value)


def test_labels_alike_but_for_case_are_told_and_blanks_do_not_count(tmp_path: Path) -> None:
    text = PLAIN.replace("a/2.wav,dog", "a/2.wav,Dog").replace("b/4.wav,cat", "b/4.wav, cat")
    dataset = datasets.load(table(tmp_path, text))
    assert dataset.labels == ["Dog", "cat", "dog"]
    (note,) = (note for note in dataset.notes if "alike" in note)
    assert "'Dog' and 'dog'" in note


URLS = [
    "http://127.0.0.1:9/x.wav", "https://example.invalid/x.wav", "s3://bucket/x.wav",
    "file:///canary.wav", "reference://x", "zip://a::file:///canary.zip", "http://[::1",
    "simplecache::http://127.0.0.1:9/x", "gs://b/x", "sftp://h/x", "memory://x.wav", "://",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_a_local_table_names_no_url(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a URL of a table was opened")

    monkeypatch.setattr("spectro.clips.datasets.own_table.place", refuse)
    file = table(tmp_path, f"path,label,fold\na/1.wav,x,1\n{url},y,2\n")
    with pytest.raises(DatasetError, match=r"row 2: the path .* is a URL.*copy the file"):
        datasets.load(file)


@pytest.mark.parametrize("url", ["http://[::1", "reference://x", "zip://a::file:///canary.zip"])
def test_a_dataset_at_an_odd_url_is_one_line(url: str) -> None:
    pytest.importorskip("upath")
    from spectro.errors import SpectroError

    with pytest.raises(SpectroError) as caught:
        datasets.load(url)
    assert "\n" not in str(caught.value)
