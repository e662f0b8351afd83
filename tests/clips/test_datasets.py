"""Every layout becomes the same clip table, and what the user must know is said in the notes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from spectro.clips import datasets
from spectro.errors import DatasetError

COLUMNS = ["path", "label", "fold", "group", "start", "end"]
US8K_COLUMNS = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
US8K_CLASSES = [
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
]
ESC50_COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
# Clips in each official fold of UrbanSound8K, 8,732 in all.
OFFICIAL_SIZES = {
    1: 873, 2: 888, 3: 925, 4: 990, 5: 936, 6: 823, 7: 838, 8: 806, 9: 816, 10: 837
}  # fmt: skip
OFFICIAL_LEAKS = [77751, 106905, 132016, 176638, 180937]


def write_clip(path: Path) -> Path:
    """Write a tenth of a second of a sine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, 0.5 * np.sin(np.arange(800) * 0.3), 8_000, format="WAV", subtype="PCM_16")
    return path


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def us8k_row(source: int, fold: Any, class_id: int = 3, piece: int = 0) -> tuple[Any, ...]:
    """A line of the official table; start and end are seconds in the source recording."""
    name = f"{source}-{class_id}-0-{piece}.wav"
    label = US8K_CLASSES[class_id]
    return name, source, 12.5 + 4 * piece, 16.5 + 4 * piece, 1, fold, class_id, label


def write_us8k(
    root: Path, rows: list[tuple[Any, ...]], *, absent: Iterable[str] = (), only: Any = None
) -> Path:
    """Write metadata with `rows` and their clips, without `absent` and in the folds `only`."""
    write_csv(root / "metadata" / "UrbanSound8K.csv", US8K_COLUMNS, rows)
    for name, fold in ((row[0], row[5]) for row in rows):
        if name not in set(absent) and (only is None or fold in only):
            write_clip(root / "audio" / f"fold{fold}" / name)
    return root


def esc50_row(
    fold: Any, source: int, take: str, target: int, category: str, esc10: bool
) -> tuple[Any, ...]:
    name = f"{fold}-{source}-{take}-{target}.wav"
    return name, fold, target, category, esc10, source, take


def write_esc50(
    root: Path, rows: list[tuple[Any, ...]], *, absent: Iterable[str] = (), only: Any = None
) -> Path:
    write_csv(root / "meta" / "esc50.csv", ESC50_COLUMNS, rows)
    for name, fold in ((row[0], row[1]) for row in rows):
        if name not in set(absent) and (only is None or fold in only):
            write_clip(root / "audio" / name)
    return root


ESC50_ROWS = [
    esc50_row(1, 100032, "A", 0, "dog", True),
    esc50_row(1, 100032, "B", 0, "dog", True),
    esc50_row(2, 110389, "A", 1, "rooster", True),
    esc50_row(3, 155858, "A", 2, "pig", False),
    esc50_row(4, 181071, "A", 3, "cow", False),
    esc50_row(5, 201664, "A", 0, "dog", True),
]


# ---------------------------------------------------------------- one contract for every layout


@dataclass(frozen=True)
class Case:
    """A tiny tree, and what its clip table must hold: (path below the root, label, fold, group).

    A fold of None was made by spectro and may be any.
    """

    build: Callable[[Path], Path]
    layout: str
    name: str
    rows: list[tuple[str, str, int | None, str]]
    folds: tuple[int, ...]
    options: dict[str, Any]


def build_us8k(root: Path) -> Path:
    return write_us8k(root, [us8k_row(7, 2, 0), us8k_row(7, 2, 0, 1), us8k_row(9, 10, 3)])


def build_sample(root: Path) -> Path:
    build_us8k(root)
    (root / "sample.json").write_text(json.dumps({"seed": 0}))
    return root


def build_esc50(root: Path) -> Path:
    return write_esc50(root, ESC50_ROWS)


def build_files(*names: str) -> Callable[[Path], Path]:
    def build(root: Path) -> Path:
        for name in names:
            write_clip(root / name)
        return root

    return build


def build_folder_with_csv(root: Path) -> Path:
    build_files("b/2.wav", "b/1.wav")(root)
    write_csv(
        root / "clips.csv",
        ("path", "label", "fold", "group"),
        [("b/2.wav", "owl", 2, "night two"), ("b/1.wav", "fox", 1, "night one")],
    )
    return root


def build_csv_file(root: Path) -> Path:
    build_folder_with_csv(root)
    return (root / "clips.csv").rename(root / "nights.csv")


US8K_TABLE = [
    ("audio/fold10/9-3-0-0.wav", "dog_bark", 10, "9"),
    ("audio/fold2/7-0-0-0.wav", "air_conditioner", 2, "7"),
    ("audio/fold2/7-0-0-1.wav", "air_conditioner", 2, "7"),
]
ESC50_TABLE = [
    ("audio/1-100032-A-0.wav", "dog", 1, "100032"),
    ("audio/1-100032-B-0.wav", "dog", 1, "100032"),
    ("audio/2-110389-A-1.wav", "rooster", 2, "110389"),
    ("audio/3-155858-A-2.wav", "pig", 3, "155858"),
    ("audio/4-181071-A-3.wav", "cow", 4, "181071"),
    ("audio/5-201664-A-0.wav", "dog", 5, "201664"),
]
CSV_TABLE = [("b/1.wav", "fox", 1, "night one"), ("b/2.wav", "owl", 2, "night two")]
CASES = {
    "urbansound8k": Case(build_us8k, "urbansound8k", "urbansound8k", US8K_TABLE, (2, 10), {}),
    "sample": Case(build_sample, "sample", "sample", US8K_TABLE, (2, 10), {}),
    "esc50": Case(build_esc50, "esc50", "esc50", ESC50_TABLE, (1, 2, 3, 4, 5), {}),
    "esc10": Case(
        build_esc50,
        "esc50",
        "esc10",
        [row for row in ESC50_TABLE if row[1] in ("dog", "rooster")],
        (1, 2, 5),
        {"esc10": True},
    ),
    "digits, flat": Case(
        build_files("7_jackson_0.wav", "0_theo_12.wav", "7_jackson_1.wav"),
        "spoken-digits",
        "spoken-digits",
        [
            ("0_theo_12.wav", "0", 2, "theo"),
            ("7_jackson_0.wav", "7", 1, "jackson"),
            ("7_jackson_1.wav", "7", 1, "jackson"),
        ],
        (1, 2),
        {},
    ),
    "digits, AudioMNIST's repository": Case(
        build_files("data/01/3_01_0.wav", "data/02/3_02_0.wav", "data/02/9_02_49.wav", "LICENSE"),
        "spoken-digits",
        "spoken-digits",
        [
            ("data/01/3_01_0.wav", "3", 1, "01"),
            ("data/02/3_02_0.wav", "3", 2, "02"),
            ("data/02/9_02_49.wav", "9", 2, "02"),
        ],
        (1, 2),
        {},
    ),
    "digits, a folder a speaker": Case(
        build_files("01/3_01_0.wav", "02/3_02_0.wav", "02/9_02_49.wav"),
        "spoken-digits",
        "spoken-digits",
        [
            ("01/3_01_0.wav", "3", 1, "01"),
            ("02/3_02_0.wav", "3", 2, "02"),
            ("02/9_02_49.wav", "9", 2, "02"),
        ],
        (1, 2),
        {},
    ),
    "folder a class": Case(
        build_files("owl/1.wav", "fox/deep/er/2.wav", "owl/2.wav", "fox/1.wav"),
        "folder",
        "here",
        [
            ("fox/1.wav", "fox", None, "fox/1.wav"),
            ("fox/deep/er/2.wav", "fox", None, "fox/deep/er/2.wav"),
            ("owl/1.wav", "owl", None, "owl/1.wav"),
            ("owl/2.wav", "owl", None, "owl/2.wav"),
        ],
        (1, 2),
        {"n_folds": 2},
    ),
    "clips.csv": Case(build_folder_with_csv, "folder", "here", CSV_TABLE, (1, 2), {}),
    "CSV file": Case(build_csv_file, "folder", "nights", CSV_TABLE, (1, 2), {}),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def place(case: Case, tmp_path: Path) -> Path:
    return case.build(tmp_path / "here")


def test_clip_table_says_what_the_layout_says(case: Case, place: Path, tmp_path: Path) -> None:
    dataset = datasets.load(place, case.layout, **case.options)
    found = [
        (Path(clip.path).relative_to(tmp_path / "here").as_posix(), clip.label, clip.group)
        for clip in dataset.clips.itertuples()
    ]
    assert found == [(path, label, group) for path, label, _, group in case.rows]
    expected = [fold for _, _, fold, _ in case.rows]
    assert [
        None if known is None else fold
        for fold, known in zip(dataset.clips["fold"], expected, strict=True)
    ] == expected


def test_clip_table_has_the_promised_columns_and_types(case: Case, place: Path) -> None:
    clips = datasets.load(place, case.layout, **case.options).clips
    assert list(clips.columns) == COLUMNS
    for column in ("path", "label", "group"):
        assert {type(value) for value in clips[column]} == {str}, column
    assert clips["fold"].dtype == np.int64
    assert clips["start"].dtype == clips["end"].dtype == np.float64
    assert clips[["start", "end"]].isna().all(axis=None)
    assert list(clips.index) == list(range(len(clips)))
    assert list(clips["path"]) == sorted(clips["path"])


def test_every_clip_is_a_file_that_exists(case: Case, place: Path) -> None:
    clips = datasets.load(place, case.layout, **case.options).clips
    assert all(Path(path).is_file() for path in clips["path"])


def test_no_recording_sits_in_two_folds(case: Case, place: Path) -> None:
    clips = datasets.load(place, case.layout, **case.options).clips
    pairs = clips[["group", "fold"]].drop_duplicates()
    assert pairs["group"].is_unique


def test_dataset_knows_its_name_folds_and_labels(case: Case, place: Path, tmp_path: Path) -> None:
    dataset = datasets.load(place, case.layout, **case.options)
    assert dataset.name == case.name
    assert dataset.root == tmp_path / "here"
    assert dataset.folds == case.folds
    assert all(type(fold) is int for fold in dataset.folds)
    assert dataset.missing_folds == []
    assert dataset.absent == ()
    assert dataset.labels == sorted({label for _, label, _, _ in case.rows})


def test_layout_is_recognised(case: Case, place: Path) -> None:
    found = datasets.load(place, **case.options)
    told = datasets.load(place, case.layout, **case.options)
    assert (found.name, found.folds, found.licence) == (told.name, told.folds, told.licence)
    pd.testing.assert_frame_equal(found.clips, told.clips)


def test_root_may_be_a_string_and_relative(
    case: Case, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dataset = datasets.load(str(place.relative_to(tmp_path)), case.layout, **case.options)
    assert len(dataset.clips) == len(case.rows)
    assert all(Path(path).is_file() for path in dataset.clips["path"])


def test_layout_refuses_an_option_that_is_not_its_own(case: Case, place: Path) -> None:
    foreign = "n_folds" if case.layout != "folder" else "esc10"
    with pytest.raises(DatasetError, match=rf"read as {case.layout}, which has no .* {foreign}$"):
        datasets.load(place, case.layout, **{foreign: 3})


def test_options_that_are_none_count_as_not_given(case: Case, place: Path) -> None:
    options = {"esc10": None, "n_folds": None, "seed": None, "group_pattern": None}
    dataset = datasets.load(place, case.layout, **{**options, **case.options})
    assert len(dataset.clips) == len(case.rows)


# ------------------------------------------------------------------------------- what is no data


def test_unknown_layout_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"'urbansound9k'.*urbansound8k, sample, esc50"):
        datasets.load(tmp_path, "urbansound9k")


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere: no such folder"):
        datasets.load(tmp_path / "nowhere")


@pytest.mark.parametrize("layout", ["auto", *datasets.LAYOUTS])
def test_empty_folder_is_an_error_that_names_it(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DatasetError, match=tmp_path.name):
        datasets.load(tmp_path, layout)


def test_folder_without_sound_is_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "readme.txt").write_text("nothing to hear")
    with pytest.raises(DatasetError, match=r"no known dataset.*UrbanSound8K, ESC-50"):
        datasets.load(tmp_path)


def test_file_that_is_no_table_is_not_recognised(tmp_path: Path) -> None:
    file = write_clip(tmp_path / "clip.wav")
    with pytest.raises(DatasetError, match="no known dataset"):
        datasets.load(file)


@pytest.mark.parametrize("layout", datasets.LAYOUTS)
def test_a_sound_file_is_no_dataset_of_any_layout(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DatasetError, match=r"clip\.wav"):
        datasets.load(write_clip(tmp_path / "clip.wav"), layout)


# ---------------------------------------------------------------------------------- UrbanSound8K


@pytest.mark.parametrize("layout", ["auto", "urbansound8k"])
def test_us8k_folder_above_is_accepted(tmp_path: Path, layout: str) -> None:
    build_us8k(tmp_path / "UrbanSound8K")
    dataset = datasets.load(tmp_path, layout)
    assert dataset.root == tmp_path / "UrbanSound8K"
    assert len(dataset.clips) == 3


def test_us8k_start_and_end_of_the_source_are_not_the_clips(tmp_path: Path) -> None:
    clips = datasets.load(build_us8k(tmp_path)).clips
    written = pd.read_csv(tmp_path / "metadata" / "UrbanSound8K.csv")
    assert (written["start"] >= 12.5).all()
    assert clips["start"].isna().all()
    assert clips["end"].isna().all()


def test_us8k_has_its_licence_and_the_sample_its_own(tmp_path: Path) -> None:
    real = datasets.load(build_us8k(tmp_path / "real"))
    sample = datasets.load(build_sample(tmp_path / "made"))
    assert real.licence == "CC BY-NC 3.0"
    assert "Salamon" in real.citation
    assert sample.licence == "Apache-2.0"
    assert "Salamon" not in sample.citation


def test_us8k_complete_has_nothing_to_say(tmp_path: Path) -> None:
    assert datasets.load(build_us8k(tmp_path)).notes == ()


def test_us8k_missing_folds_are_told_with_their_clips(tmp_path: Path) -> None:
    rows = [us8k_row(100 * fold + i, fold) for fold in range(1, 11) for i in range(fold)]
    dataset = datasets.load(write_us8k(tmp_path, rows, only=(1, 3, 4, 5, 6, 7, 8)))
    assert dataset.folds == tuple(range(1, 11))
    assert dataset.missing_folds == [2, 9, 10]
    assert dataset.absent == ()
    assert len(dataset.clips) == 1 + 3 + 4 + 5 + 6 + 7 + 8
    assert dataset.notes == ("3 of 10 folds are not on disk: 2, 9, 10 (21 of 55 clips)",)


def test_us8k_emptied_fold_folder_counts_as_missing(tmp_path: Path) -> None:
    rows = [us8k_row(1, 1), us8k_row(2, 2)]
    write_us8k(tmp_path, rows, only=(1,))
    (tmp_path / "audio" / "fold2").mkdir()
    assert datasets.load(tmp_path).missing_folds == [2]


def test_us8k_absent_clips_are_counted_and_named_up_to_ten(tmp_path: Path) -> None:
    rows = [us8k_row(100 + i, 1) for i in range(16)]
    absent = [str(row[0]) for row in rows[:13]]
    dataset = datasets.load(write_us8k(tmp_path, rows, absent=absent))
    assert dataset.absent == tuple(absent)
    assert dataset.notes == (f"13 listed clips are absent: {', '.join(absent[:10])} and 3 more",)
    assert len(dataset.clips) == 3


@pytest.mark.parametrize("n", [1, 10])
def test_us8k_up_to_ten_absent_clips_are_all_named(tmp_path: Path, n: int) -> None:
    rows = [us8k_row(100 + i, 1) for i in range(12)]
    absent = [str(row[0]) for row in rows[:n]]
    (note,) = datasets.load(write_us8k(tmp_path, rows, absent=absent)).notes
    assert note.endswith(f"absent: {', '.join(absent)}")


def test_us8k_clips_of_missing_folds_are_not_absent_clips(tmp_path: Path) -> None:
    rows = [us8k_row(1, 1), us8k_row(2, 1), us8k_row(3, 2), us8k_row(4, 2)]
    dataset = datasets.load(write_us8k(tmp_path, rows, absent=["2-3-0-0.wav"], only=(1,)))
    assert dataset.absent == ("2-3-0-0.wav",)
    assert [note.split(":")[0] for note in dataset.notes] == [
        "1 of 2 folds are not on disk",
        "1 listed clip is absent",
    ]


def test_us8k_file_in_another_fold_than_listed_is_absent(tmp_path: Path) -> None:
    write_us8k(tmp_path, [us8k_row(1, 1), us8k_row(2, 1), us8k_row(3, 2)])
    (tmp_path / "audio/fold1/2-3-0-0.wav").rename(tmp_path / "audio/fold2/2-3-0-0.wav")
    dataset = datasets.load(tmp_path)
    assert dataset.absent == ("2-3-0-0.wav",)
    assert list(dataset.clips["group"]) == ["1", "3"]


def test_us8k_files_that_are_not_listed_are_not_clips(tmp_path: Path) -> None:
    build_us8k(tmp_path)
    write_clip(tmp_path / "audio" / "fold2" / "stray.wav")
    assert len(datasets.load(tmp_path).clips) == 3


def test_us8k_names_the_sources_that_leak_by_size(tmp_path: Path) -> None:
    leaking = [us8k_row(s, fold, piece=fold) for s in reversed(OFFICIAL_LEAKS) for fold in (1, 7)]
    honest = [us8k_row(5, 1), us8k_row(5, 1, piece=1), us8k_row(6, 7)]
    (note,) = datasets.load(write_us8k(tmp_path, leaking + honest)).notes
    assert note.startswith("5 source recordings sit in more than one fold")
    assert note.endswith(": 77751, 106905, 132016, 176638, 180937")


def test_us8k_none_on_disk_is_an_error_with_the_count(tmp_path: Path) -> None:
    write_us8k(tmp_path, [us8k_row(i, 1) for i in range(1200)], only=())
    with pytest.raises(DatasetError, match=r"none of the 1,200 listed clips is in audio/"):
        datasets.load(tmp_path)


@pytest.mark.parametrize("column", ["slice_file_name", "fsID", "fold", "class"])
def test_us8k_missing_metadata_column_is_named(tmp_path: Path, column: str) -> None:
    build_us8k(tmp_path)
    file = tmp_path / "metadata" / "UrbanSound8K.csv"
    pd.read_csv(file).drop(columns=column).to_csv(file, index=False)
    with pytest.raises(DatasetError, match=rf"UrbanSound8K\.csv: has no column {column}; it has "):
        datasets.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x80\n", b'a,b\n1,"2\n'])
def test_us8k_unreadable_metadata_is_an_error_that_names_the_file(
    tmp_path: Path, content: bytes
) -> None:
    build_us8k(tmp_path)
    (tmp_path / "metadata" / "UrbanSound8K.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=r"UrbanSound8K\.csv: "):
        datasets.load(tmp_path)


@pytest.mark.parametrize("column", ["slice_file_name", "fsID", "fold", "class"])
@pytest.mark.parametrize("index", [0, 2])
def test_us8k_emptied_cell_is_a_dataset_error(tmp_path: Path, column: str, index: int) -> None:
    build_us8k(tmp_path)
    file = tmp_path / "metadata" / "UrbanSound8K.csv"
    table = pd.read_csv(file, dtype=str)
    table.loc[index, column] = ""
    table.to_csv(file, index=False)
    with pytest.raises(DatasetError):
        # A clip whose fold is not known lies in no folder, so it must not pass as merely absent.
        datasets.load(tmp_path)


@pytest.mark.parametrize("fold", ["one", "1.5"])
def test_us8k_fold_that_is_no_whole_number_is_a_dataset_error(tmp_path: Path, fold: str) -> None:
    with pytest.raises(DatasetError):
        datasets.load(write_us8k(tmp_path, [us8k_row(1, 1), us8k_row(2, fold)]))


def test_us8k_fold_of_an_absent_clip_that_is_no_number_is_a_dataset_error(tmp_path: Path) -> None:
    rows = [us8k_row(1, 1), us8k_row(2, "one")]
    with pytest.raises(DatasetError):
        datasets.load(write_us8k(tmp_path, rows, only=(1,)))


def test_us8k_of_full_size_with_half_of_its_folds(tmp_path: Path) -> None:
    rows = [
        us8k_row(1000 * fold + i // 7, fold, i % 10, i)
        for fold, n in OFFICIAL_SIZES.items()
        for i in range(n)
    ]
    assert len(rows) == 8732
    write_us8k(tmp_path, rows, only=())
    here = [2, 3, 4, 9, 10]
    for fold in here:
        (tmp_path / "audio" / f"fold{fold}").mkdir(parents=True)
    for row in rows:  # a table is read from names alone, so the files may be empty here
        if row[5] in here:
            (tmp_path / "audio" / f"fold{row[5]}" / row[0]).touch()
    dataset = datasets.load(tmp_path)
    assert dataset.clips["fold"].value_counts().to_dict() == {k: OFFICIAL_SIZES[k] for k in here}
    assert dataset.folds == tuple(range(1, 11))
    assert dataset.missing_folds == [1, 5, 6, 7, 8]
    assert dataset.labels == US8K_CLASSES
    assert dataset.notes == ("5 of 10 folds are not on disk: 1, 5, 6, 7, 8 (4,276 of 8,732 clips)",)


# ---------------------------------------------------------------------------------------- ESC-50


def test_esc50_takes_of_one_source_are_one_group(tmp_path: Path) -> None:
    clips = datasets.load(build_esc50(tmp_path)).clips
    assert clips.groupby("group").size().to_dict() == {
        "100032": 2, "110389": 1, "155858": 1, "181071": 1, "201664": 1
    }  # fmt: skip


def test_a_table_of_esc50_without_recordings_has_them_by_name(tmp_path: Path) -> None:
    whole = datasets.load(build_esc50(tmp_path / "whole"))
    root = build_esc50(tmp_path / "less")
    table = pd.read_csv(root / "meta" / "esc50.csv", dtype=str)
    kept = table[["filename", "fold", "target", "category"]]
    kept.to_csv(root / "meta" / "esc50.csv", index=False)
    less = datasets.load(root)
    for column in ("label", "fold", "group"):
        assert less.clips[column].tolist() == whole.clips[column].tolist()
    with pytest.raises(DatasetError, match="has no column esc10"):
        datasets.load(root, esc10=True)
    kept.assign(filename=["x.wav", *kept["filename"][1:]]).to_csv(
        root / "meta" / "esc50.csv", index=False
    )
    with pytest.raises(DatasetError, match=r"x\.wav does not name its recording"):
        datasets.load(root)


@pytest.mark.parametrize(
    ("esc10", "labels", "licence"),
    [
        (False, ["cow", "dog", "pig", "rooster"], "CC BY-NC 3.0"),
        (True, ["dog", "rooster"], "CC BY 3.0"),
    ],
)
def test_esc10_is_the_marked_part_of_esc50(
    tmp_path: Path, esc10: bool, labels: list[str], licence: str
) -> None:
    dataset = datasets.load(build_esc50(tmp_path), esc10=esc10)
    assert dataset.labels == labels
    assert dataset.licence == licence
    assert "Piczak" in dataset.citation


def test_esc50_missing_folds_and_absent_clips_are_told(tmp_path: Path) -> None:
    absent = ["1-100032-B-0.wav"]
    dataset = datasets.load(write_esc50(tmp_path, ESC50_ROWS, absent=absent, only=(1, 2, 5)))
    assert dataset.folds == (1, 2, 3, 4, 5)
    assert dataset.missing_folds == [3, 4]
    assert dataset.absent == tuple(absent)
    assert dataset.notes == (
        "2 of 5 folds are not on disk: 3, 4 (2 of 6 clips)",
        "1 listed clip is absent: 1-100032-B-0.wav",
    )


def test_esc50_source_in_two_folds_is_told(tmp_path: Path) -> None:
    rows = [*ESC50_ROWS, esc50_row(3, 100032, "C", 0, "dog", True)]
    (note,) = datasets.load(write_esc50(tmp_path, rows)).notes
    assert note.endswith(": 100032")


def test_esc50_none_on_disk_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none of the 6 listed clips"):
        datasets.load(write_esc50(tmp_path, ESC50_ROWS, only=()))


@pytest.mark.parametrize("column", ["filename", "fold", "category"])
def test_esc50_missing_metadata_column_is_named(tmp_path: Path, column: str) -> None:
    file = build_esc50(tmp_path) / "meta" / "esc50.csv"
    pd.read_csv(file).drop(columns=column).to_csv(file, index=False)
    with pytest.raises(DatasetError, match=rf"esc50\.csv: has no column {column}; it has "):
        datasets.load(tmp_path)


@pytest.mark.parametrize("column", ["filename", "fold", "category", "src_file"])
def test_esc50_emptied_cell_is_a_dataset_error(tmp_path: Path, column: str) -> None:
    file = build_esc50(tmp_path) / "meta" / "esc50.csv"
    table = pd.read_csv(file, dtype=str)
    table.loc[1, column] = ""
    table.to_csv(file, index=False)
    with pytest.raises(DatasetError):
        datasets.load(tmp_path)


# --------------------------------------------------------------------------------- spoken digits


def write_digits(root: Path, speakers: Iterable[str], takes: int = 1) -> Path:
    root.mkdir(exist_ok=True)
    for speaker in speakers:
        for digit in range(10):
            for take in range(takes):
                (root / f"{digit}_{speaker}_{take}.wav").touch()
    return root


def test_digits_are_labels_and_speakers_are_groups(tmp_path: Path) -> None:
    dataset = datasets.load(write_digits(tmp_path, ["ann", "bob"], takes=3))
    assert dataset.labels == [str(digit) for digit in range(10)]
    assert dataset.clips.groupby("group").size().to_dict() == {"ann": 30, "bob": 30}
    for clip in dataset.clips.itertuples():
        digit, speaker, _ = Path(clip.path).stem.split("_")
        assert (clip.label, clip.group) == (digit, speaker)


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".MP3", ".m4a"])
def test_digits_encoded_otherwise_are_digits(tmp_path: Path, suffix: str) -> None:
    root = write_digits(tmp_path / "recordings", ["ann", "bob"], takes=2)
    for file in root.iterdir():
        file.rename(file.with_suffix(suffix))
    for given in (tmp_path, root):
        dataset = datasets.load(given)
        assert dataset.name == "spoken-digits"
        assert dataset.labels == [str(digit) for digit in range(10)]
        assert set(dataset.clips["group"]) == {"ann", "bob"}


def test_of_two_encodings_of_a_digit_one_is_read_and_the_other_told(tmp_path: Path) -> None:
    write_digits(tmp_path, ["ann", "bob"])
    for name in ("3_ann_0.mp3", "4_bob_0.flac"):
        (tmp_path / name).touch()
    dataset = datasets.load(tmp_path)
    assert len(dataset.clips) == 20
    assert all(path.endswith(".wav") for path in dataset.clips["path"])
    told = "2 sound files are another encoding of a clip and left out: the top folder (2)"
    assert told in dataset.notes


@pytest.mark.parametrize(("n_speakers", "n_folds"), [(2, 2), (6, 6), (10, 10), (11, 10), (25, 10)])
def test_digits_folds_are_made_of_whole_speakers(
    tmp_path: Path, n_speakers: int, n_folds: int
) -> None:
    dataset = datasets.load(write_digits(tmp_path, [f"s{i:02}" for i in range(n_speakers)]))
    fold_of = dataset.clips.groupby("group")["fold"].agg(["nunique", "first"])
    assert (fold_of["nunique"] == 1).all()
    sizes = fold_of["first"].value_counts()
    assert sorted(sizes.index) == list(dataset.folds) == list(range(1, n_folds + 1))
    assert sizes.max() - sizes.min() <= 1
    assert dataset.notes == (f"folds are made of speakers: {n_speakers} speakers, {n_folds} folds",)


@pytest.mark.parametrize("layout", ["auto", "spoken-digits"])
def test_digits_of_one_speaker_cannot_be_scored(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DatasetError, match=r"10 files of 1 speakers.*two speakers or more"):
        datasets.load(write_digits(tmp_path, ["solo"]), layout)


def test_digits_ignore_files_of_other_names(tmp_path: Path) -> None:
    write_digits(tmp_path, ["ann", "bob"])
    others = ("readme.txt", "._3_ann_0.wav", "12_ann_0.wav", "3_ann.wav", "3_ann_0.mp3")
    for name in (*others, "3_ann_0.wav.bak"):
        (tmp_path / name).touch()
    assert len(datasets.load(tmp_path, "spoken-digits").clips) == 20


def test_one_name_of_another_kind_makes_it_a_folder_of_ones_own(tmp_path: Path) -> None:
    build_files("a/3_ann_0.wav", "a/3_bob_0.wav", "a/growl.wav", "b/4_ann_0.wav")(tmp_path)
    dataset = datasets.load(tmp_path, n_folds=2)
    assert dataset.labels == ["a", "b"]
