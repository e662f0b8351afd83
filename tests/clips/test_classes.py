"""UrbanSound8K and ESC-50 with odd cells: blanks, case, and numbers against names of classes."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from spectro.clips import datasets
from spectro.clips.datasets.published.classes import ESC50, URBAN
from spectro.errors import DatasetError
from tests.clips.test_datasets import (
    ESC50_COLUMNS,
    US8K_CLASSES,
    US8K_COLUMNS,
    esc50_row,
    us8k_row,
    write_esc50,
    write_us8k,
)
from tests.clips.test_layouts import parts

URBAN_ROWS = [us8k_row(7, 1, 0), us8k_row(8, 1, 3), us8k_row(9, 2, 8), us8k_row(10, 2, 3)]
ESC_ROWS = [
    esc50_row(1, 100032, "A", 0, "dog", True),
    esc50_row(1, 100038, "A", 14, "chirping_birds", False),
    esc50_row(2, 100210, "A", 36, "vacuum_cleaner", False),
    esc50_row(2, 100786, "A", 0, "dog", True),
]
KINDS = {
    "us8k": (write_us8k, URBAN_ROWS, US8K_COLUMNS, "metadata/UrbanSound8K.csv", "class", "classID"),
    "esc50": (write_esc50, ESC_ROWS, ESC50_COLUMNS, "meta/esc50.csv", "category", "target"),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path, str, str]:
    """A dataset's folder and table, and its columns of classes by name and by number."""
    write, rows, _, table, name, number = request.param
    return write(tmp_path, rows), tmp_path / table, name, number


def change(file: Path, row: int, **cells: object) -> None:
    table = pd.read_csv(file, dtype=str)
    for column, cell in cells.items():
        table.loc[row, column] = str(cell)
    table.to_csv(file, index=False)


def test_the_names_are_those_of_the_datasets() -> None:
    assert list(URBAN) == US8K_CLASSES
    assert (len(ESC50), len(set(ESC50))) == (50, 50)
    assert [ESC50[i] for i in (0, 10, 20, 30, 40, 49)] == [
        "dog", "rain", "crying_baby", "door_wood_knock", "helicopter", "hand_saw"
    ]  # fmt: skip


def test_blanks_and_case_do_not_count(kind: tuple[Path, Path, str, str]) -> None:
    root, file, name, _ = kind
    expected = parts(datasets.load(root))
    table = pd.read_csv(file, dtype=str)
    table = table.map(lambda cell: f" {cell}  ")
    table[name] = table[name].str.title().str.replace("_", " ")
    table.columns = [f" {column.upper()} " for column in table.columns]
    table.to_csv(file, index=False)
    dataset = datasets.load(root)
    assert parts(dataset) == expected
    assert dataset.notes == ()


def test_recordings_that_a_spreadsheet_made_decimal_are_the_same(
    kind: tuple[Path, Path, str, str],
) -> None:
    root, file, name, number = kind
    expected = parts(datasets.load(root))
    recording = "fsID" if name == "class" else "src_file"
    table = pd.read_csv(file, dtype=str)
    for column in (recording, number, "fold"):
        table.loc[::2, column] += ".0"
    table.to_csv(file, index=False)
    assert parts(datasets.load(root)) == expected


def test_a_number_that_says_another_class_is_an_error(kind: tuple[Path, Path, str, str]) -> None:
    root, file, name, number = kind
    official = URBAN if name == "class" else ESC50
    first = pd.read_csv(file)[name][0]
    for wrong in (1, 5, 3, len(official) + 7):
        change(file, 0, **{number: wrong})
        meant = official[wrong] if wrong < len(official) else "another class"
        told = rf"{file.name}: row 1: {name} is {first} and {number} is {wrong}, which is {meant}"
        with pytest.raises(DatasetError, match=told):
            datasets.load(root)
    change(file, 0, **{number: "seven"})
    with pytest.raises(DatasetError, match=f"row 1: {number} is not a whole number: 'seven'"):
        datasets.load(root)
    change(file, 0, **{number: ""})
    assert len(datasets.load(root).clips) == 4


def test_two_rows_that_contradict_each_other_are_an_error(
    kind: tuple[Path, Path, str, str],
) -> None:
    root, file, name, number = kind
    table = pd.read_csv(file, dtype=str).assign(
        **{name: ["a", "b", "c", "b"], number: list("7897")}
    )
    table.to_csv(file, index=False)
    with pytest.raises(DatasetError, match=rf"row 4: {name} is b and {number} is 7"):
        datasets.load(root)


def test_a_part_of_the_classes_may_be_numbered_anew(kind: tuple[Path, Path, str, str]) -> None:
    root, file, name, number = kind
    expected = parts(datasets.load(root))
    table = pd.read_csv(file, dtype=str)
    for first in (0, 1):
        codes = table[name].astype("category").cat.codes + first
        table.assign(**{number: codes}).to_csv(file, index=False)
        assert parts(datasets.load(root)) == expected


def test_a_class_that_contradicts_the_name_is_told(kind: tuple[Path, Path, str, str]) -> None:
    root, file, name, number = kind
    table = pd.read_csv(file, dtype=str)
    for column in (name, number):
        table[column] = table[column].to_numpy()[[1, 0, 2, 3]]
    table.to_csv(file, index=False)
    (note,) = datasets.load(root).notes
    assert note.startswith("2 clips have another class in the table than in the file's name: ")


def test_names_composed_otherwise_than_the_table_are_found(tmp_path: Path) -> None:
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        there, listed = (unicodedata.normalize(one, "Vögel/") for one in (form, other))
        root = tmp_path / form
        write_esc50(root, ESC_ROWS)
        (root / "audio").rename(root / there.strip("/"))
        change(root / "meta/esc50.csv", 0, filename=f"{listed}{ESC_ROWS[0][0]}")
        dataset = datasets.load(root)
        assert (len(dataset.clips), dataset.absent) == (4, ())


def test_a_fold_that_contradicts_the_folder_is_an_error(tmp_path: Path) -> None:
    write_us8k(tmp_path, URBAN_ROWS)
    table = pd.read_csv(tmp_path / "metadata/UrbanSound8K.csv")
    table.assign(fold=3 - table["fold"]).to_csv(tmp_path / "metadata/UrbanSound8K.csv", index=False)
    with pytest.raises(DatasetError, match="row 1: fold is 2, and the clip lies in fold1; take"):
        datasets.load(tmp_path)
