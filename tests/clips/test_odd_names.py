"""File names as disks have them: each costs at most its own clip, and is shown escaped."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from spectro.clips import datasets
from spectro.clips.checking import quarantine
from spectro.clips.checking.check import check
from spectro.clips.clip import printable
from spectro.clips.table import Dataset, alike_labels, clip_table
from spectro.pictures.names import image_names
from spectro.pictures.render import render
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.workers import pool
from tests.conftest import SMALL_PICTURES


def write(path: bytes | str, pitch: int = 0) -> None:
    """Write half a second of a tone under any name."""
    Path(os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
    y = 0.3 * np.sin(np.arange(4_000) * 0.05 * (pitch + 1))
    with Path(os.fsdecode(path)).open("wb") as file:
        sf.write(file, y, 8_000, format="WAV")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Two classes of good names, and one name that is no Unicode."""
    for label in ("dog", "bird"):
        for i in range(3):
            write(f"{tmp_path}/clips/{label}/{i}.wav", i + 5 * (label == "dog"))
    try:
        write(os.fsencode(tmp_path) + b"/clips/dog/caf\xe9.wav", 9)
    except OSError:
        pytest.skip("this file system takes only Unicode names")
    return tmp_path / "clips"


def test_a_name_that_is_no_unicode_costs_its_own_clip(odd: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the second time, folds come from the file
        dataset = datasets.load(odd, n_folds=2)
        with pool(1) as executor:
            summary = render(dataset, tmp_path / "out", SMALL_PICTURES, executor=executor)
        assert len(summary.failures) == 1
    written = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert written["path"].tolist() == [r"dog/caf\udce9.wav"]
    assert "rename the file" in written["reason"][0]
    assert len(RenderedSet.load(tmp_path / "out").clips) == 6
    assert "\udce9" not in (odd / "folds.csv").read_text(encoding="utf-8")


def test_check_names_it_and_quarantine_leaves_it_out(odd: Path, tmp_path: Path) -> None:
    dataset = datasets.load(odd, n_folds=2)
    with pool(1) as executor:
        checkup = check(dataset, executor=executor)
    (row,) = checkup.findings[checkup.findings["problem"] == "unreadable"].itertuples()
    assert row.path == r"dog/caf\udce9.wav"
    assert "rename the file" in row.detail
    checkup.save(tmp_path / "findings.csv")
    checkup.save_vitals(tmp_path / "vitals.csv")
    assert quarantine.write(tmp_path / "out.csv", checkup) == 1
    left = quarantine.apply(dataset, tmp_path / "out.csv")
    assert len(left.clips) == 6
    assert not any("no clip that is here" in note for note in left.notes)


NAMES = [
    "plain",
    "x" * 251,
    "x" * 250 + "y",
    "ü" * 125,
    "海" * 83,
    "tab\tin it",
    "new\nline",
    "return\rhere",
    "\x1b[31mred",
    "back\\slash",
    "back_slash",
    unicodedata.normalize("NFC", "käuzchen"),
    unicodedata.normalize("NFD", "käuzchen"),
    "Plain",
    "trailing.",
    "caf\udce9",
]


def table_of(names: list[str], root: Path, **more: list[object]) -> pd.DataFrame:
    rows = [
        {"path": str(root / f"{name}.wav"), "label": "x", "fold": 1, "group": "g"} for name in names
    ]
    return clip_table(pd.DataFrame(rows).assign(**more), root)


def check_images(images: list[str]) -> None:
    folded = [unicodedata.normalize("NFC", image).lower() for image in images]
    assert len(set(folded)) == len(images), "alike on a disk that folds case"
    for image in images:
        fold, name = image.split("/")
        assert fold == "fold1"
        assert len(name.encode()) <= 255
        assert name.endswith(".png")
        assert not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)
        assert "\\" not in name


def test_pictures_have_names_that_any_disk_takes(tmp_path: Path) -> None:
    clips = table_of(NAMES, tmp_path)
    images = image_names(clips, tmp_path)
    check_images(images)
    assert image_names(clips, tmp_path) == images


def test_long_names_of_parts_are_bounded_and_told_apart(tmp_path: Path) -> None:
    starts = [float(i) for i in range(6)]
    for name in ("x" * 251, "ü" * 125, "short"):
        table = table_of([name] * 6, tmp_path, start=starts, end=[s + 1 for s in starts])
        check_images(image_names(table, tmp_path))
        deep = table_of([f"{'d' * 200}/{'e' * 200}/{name}", f"other/{name}"], tmp_path)
        check_images(image_names(deep, tmp_path))


def test_controls_in_names_cost_nothing(tmp_path: Path) -> None:
    names = ["tab\tin", "new\nline", "\x1b[31mred", "back\\slash", "quote\"'", "comma,;"]
    for i, name in enumerate(names):
        for label in ("a", "b"):
            write(f"{tmp_path}/clips/{label}/{label}{name}.wav", i + 7 * (label == "b"))
    dataset = datasets.load(tmp_path / "clips", n_folds=2)
    with pool(1) as executor:
        summary = render(dataset, tmp_path / "out", SMALL_PICTURES, executor=executor)
        again = render(dataset, tmp_path / "out", SMALL_PICTURES, executor=executor)
    assert (summary.rendered, len(summary.failures)) == (12, 0)
    assert (again.rendered, again.already_there) == (0, 12)
    loaded = RenderedSet.load(tmp_path / "out").clips
    assert all(Path(image).is_file() for image in loaded["image"])
    assert all(Path(path).is_file() for path in loaded["path"])
    dataset.keep_folds()  # and read again, names of several lines and all
    once_more = datasets.load(tmp_path / "clips", n_folds=2)
    assert once_more.clips.equals(dataset.clips)


def test_printable_text_is_left_alone() -> None:
    for name in ("plain", "käuzchen", "海鸥", "a\tb", "x\\udce9"):
        assert printable(name) == name
    assert printable("caf\udce9") == r"caf\udce9"


@pytest.mark.parametrize(
    ("labels", "alike"),
    [
        (["dog", "Dog", "cat"], [("Dog", "dog")]),
        (["dog bark", "dog_bark", "dog-bark "], [("dog bark", "dog-bark ", "dog_bark")]),
        (["käuzchen", unicodedata.normalize("NFD", "käuzchen")], 1),
        (["dog", "dogs", "d og s"], [("d og s", "dogs")]),
        (["a", "b", "1", "01"], []),
    ],
)
def test_labels_alike_are_found(labels: list[str], alike: object) -> None:
    found = alike_labels(labels)
    assert (len(found) if alike == 1 else found) == alike


def of_parts(root: Path, *rows: tuple[str, str, float, float]) -> Dataset:
    table = pd.DataFrame(rows, columns=["path", "label", "start", "end"])
    table["path"] = [str(root / path) for path in table["path"]]
    clips = clip_table(table.assign(fold=1, group=table["path"]), root)
    return Dataset("own", root, clips, (1,))


def problems(dataset: Dataset) -> dict[str, list[str]]:
    with pool(1) as executor:
        findings = check(dataset, executor=executor).findings
    return findings.groupby("problem")["detail"].agg(list).to_dict()


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        (0.0, 500.0, True),
        (np.nan, 4000.0, True),
        (0.25, 250.0, True),
        (0.0, 0.5, False),
        (0.0, 0.6, False),
        (0.0, 1.0, False),
        (0.25, 1.2, False),
        (np.nan, np.nan, False),
    ],
)
def test_an_end_far_behind_the_file_is_told(
    tmp_path: Path, start: float, end: float, told: bool
) -> None:
    write(f"{tmp_path}/a.wav")
    found = problems(of_parts(tmp_path, ("a.wav", "x", start, end)))
    assert ("end behind the file" in found) is told
    if told:
        assert "its file at 0.500 s; are these milliseconds?" in found["end behind the file"][0]


def test_check_tells_of_labels_formulas_and_classes_without_sound(tmp_path: Path) -> None:
    for i in range(12):
        write(f"{tmp_path}/{i}.wav", i)
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    rows = [(f"{i}.wav", "dog" if i % 2 else "Dog", np.nan, np.nan) for i in range(11)]
    rows += [("11.wav", "=1+1", np.nan, np.nan), ("bad.wav", "lost", np.nan, np.nan)]
    found = problems(of_parts(tmp_path, *rows))
    assert found["labels alike"] == ["'Dog' and 'dog' count as classes of their own"]
    assert "=1+1" in found["formula"][0]
    assert found["class without sound"] == ["none of the 1 clips of lost is read"]
    assert len(found["one clip of a class"]) == 2
    assert "one class" not in found


def test_check_tells_of_one_class(tmp_path: Path) -> None:
    for i in range(10):
        write(f"{tmp_path}/{i}.wav", i)
    rows = [(f"{i}.wav", "dog", np.nan, np.nan) for i in range(10)]
    assert "one class" in problems(of_parts(tmp_path, *rows))
