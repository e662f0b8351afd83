"""Clips that are left out: what is proposed, what a person may edit, and who honours it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from spectro.clips import datasets
from spectro.clips.checking import quarantine
from spectro.clips.checking.check import check
from spectro.clips.table import Dataset, clip_table
from spectro.errors import DatasetError
from spectro.pictures.render import render
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig

SR = 8_000


def noise(path: Path, seed: int, level: float = 0.3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, level * np.random.default_rng(seed).uniform(-1, 1, SR), SR)


@pytest.fixture
def ill(tmp_path: Path) -> Dataset:
    """A folder a class with one clip of each kind; what starts with "good" is to stay."""
    root = tmp_path / "data"
    for label in ("cat", "dog"):
        for i in range(3):
            noise(root / label / f"good{i}.wav", seed=i + 10 * (label == "dog"))
    noise(root / "cat" / "silent.wav", seed=0, level=0)
    (root / "cat" / "unreadable.wav").write_text("no sound")
    (root / "dog" / "empty.wav").write_bytes(b"")
    sf.write(root / "dog" / "nan.wav", np.full(SR, math.nan), SR, subtype="FLOAT")
    noise(root / "cat" / "goof, a copy of good0.wav", seed=0)
    noise(root / "cat" / "goof, another ünïcødé.wav", seed=0)
    for label in ("cat", "dog"):
        noise(root / label / "contradiction.wav", seed=99)
    return datasets.load(root, n_folds=2)


def write_rows(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def names(clips: pd.DataFrame) -> set[str]:
    return {Path(path).name for path in clips["path"]}


def test_what_is_proposed_cures_the_dataset(ill: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "new" / "q.csv"
    proposed = quarantine.write(file, check(ill))
    assert proposed == len(pd.read_csv(file)) == 8
    cured = quarantine.apply(ill, file)
    assert names(cured.clips) == {"good0.wav", "good1.wav", "good2.wav"}
    assert len(cured.clips) == 6
    assert cured.notes[-1] == f"8 clips left out by {file.name}"
    assert cured.folds == ill.folds
    assert check(cured).count("error") == 0
    assert not set(check(cured).findings["problem"]) & set(quarantine.PROPOSED)


def test_of_copies_one_stays_and_warnings_stay(tmp_path: Path) -> None:
    for i in range(5):
        noise(tmp_path / f"{i}.wav", seed=1)
    sf.write(tmp_path / "clipped.wav", np.clip(np.sin(np.arange(SR) / 10) * 3, -1, 1), SR)
    paths = [str(tmp_path / f"{i}.wav") for i in range(5)]
    table = pd.DataFrame({"path": [*paths, str(tmp_path / "clipped.wav")], "fold": range(6)})
    clips = clip_table(table.assign(label="a", group=table["path"]), tmp_path)
    data = Dataset("test", tmp_path, clips, tuple(range(6)))
    quarantine.write(tmp_path / "q.csv", check(data))
    assert names(quarantine.apply(data, tmp_path / "q.csv").clips) == {"0.wav", "clipped.wav"}


def test_a_clean_dataset_proposes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    for label in "ab":
        for i in range(2):
            noise(tmp_path / "data" / label / f"{i}.wav", seed=10 * ord(label) + i)
    data = datasets.load(tmp_path / "data", n_folds=2)
    assert quarantine.write(tmp_path / "q.csv", check(data)) == 0
    kept = quarantine.apply(data, tmp_path / "q.csv")
    pd.testing.assert_frame_equal(kept.clips, data.clips)
    assert kept.notes[-1] == "0 clips left out by q.csv"


def test_a_persons_edits_are_not_written_over(ill: Dataset, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "q.csv", "path", "cat/good0.wav")
    with pytest.raises(DatasetError, match=r"q\.csv: is there already"):
        quarantine.write(file, check(ill))
    assert file.read_text() == "path\ncat/good0.wav\n"


def test_a_deleted_row_keeps_its_clip(ill: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "q.csv"
    quarantine.write(file, check(ill))
    rows = pd.read_csv(file)
    rows[rows["problem"] != "silent"].to_csv(file, index=False)
    assert "silent.wav" in names(quarantine.apply(ill, file).clips)


@pytest.mark.parametrize("how", ["cat/good0.wav", "./dog/../cat/good0.wav", "absolute"])
def test_a_row_by_hand_leaves_its_clip_out(ill: Dataset, tmp_path: Path, how: str) -> None:
    if how == "absolute":
        how = str(ill.root / "cat" / "good0.wav")
    file = write_rows(tmp_path / "q.csv", "why,path", f"barks,{how}")
    left = quarantine.apply(ill, file).clips
    gone = set(ill.clips["path"]) - set(left["path"])
    assert gone == {str(ill.root / "cat" / "good0.wav")}
    assert left.index.tolist() == list(range(len(ill.clips) - 1))


def test_a_spreadsheets_byte_order_mark_is_no_part_of_a_name(ill: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "q.csv"
    file.write_bytes("\ufeffpath,start,end\r\ncat/good0.wav,,\r\n".encode())
    assert len(quarantine.apply(ill, file).clips) == len(ill.clips) - 1


def test_paths_mean_the_same_from_another_working_directory(
    ill: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = datasets.load("data", n_folds=2)
    quarantine.write("q.csv", check(here))
    assert not any(path.startswith(("/", "data")) for path in pd.read_csv("q.csv")["path"])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(quarantine.apply(ill, "../q.csv").clips) == 6


def parts(tmp_path: Path) -> tuple[Path, pd.DataFrame]:
    """Two files in three parts each; a second and a third of a second do not end in CSV."""
    table = pd.DataFrame(
        [
            (str(tmp_path / name), "a", 1, "g", start, start + 1 / 3)
            for name in ("a.wav", "b.wav")
            for start in (0.0, 1 / 3, 2 / 3)
        ],
        columns=["path", "label", "fold", "group", "start", "end"],
    )
    return tmp_path, clip_table(table, tmp_path)


def test_parts_of_a_file_are_left_out_one_by_one(tmp_path: Path) -> None:
    root, clips = parts(tmp_path)
    file = write_rows(tmp_path / "q.csv", "path,start,end", f"a.wav,{1 / 3!r},0.666667")
    left, notes = quarantine.apply_to_clips(clips, root, file)
    assert left[left["path"].str.endswith("a.wav")]["start"].tolist() == [0, 2 / 3]
    assert len(left) == 5
    assert notes == (f"1 clip left out by {file.name}",)


def test_a_row_without_a_part_leaves_out_all_of_the_file(tmp_path: Path) -> None:
    root, clips = parts(tmp_path)
    file = write_rows(tmp_path / "q.csv", "path,start,end", "a.wav,,")
    left, notes = quarantine.apply_to_clips(clips, root, file)
    assert names(left) == {"b.wav"}
    assert notes == (f"3 clips left out by {file.name}",)


def test_rows_to_which_no_clip_belongs_are_told(ill: Dataset, tmp_path: Path) -> None:
    lines = ("cat/good0.wav,,", "cat/gone.wav,,", "cat/good1.wav,1,2")
    file = write_rows(tmp_path / "q.csv", "path,start,end", *lines)
    kept = quarantine.apply(ill, file)
    assert len(kept.clips) == len(ill.clips) - 1
    told = f"2 rows of {file.name} name no clip that is here: cat/gone.wav, cat/good1.wav"
    assert kept.notes[-2:] == (f"1 clip left out by {file.name}", told)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such file; spectro check --quarantine writes one"),
        (b"", "cannot be read as CSV"),
        (b"file\na.wav\n", "has no column path; it has file"),
        (b"path,start\ncat/good0.wav,soon\n", "a start or end is not a number"),
        (b"path,problem\n,silent\n", "row 1 has no path"),
        (b"path\n\xff\xfe\n", "cannot be read as CSV"),
    ],
)
def test_what_is_no_quarantine_is_told_in_a_line(
    ill: Dataset, tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "q.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DatasetError) as error:
        quarantine.apply(ill, file)
    assert str(error.value).startswith(f"{file}: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_quarantine_that_leaves_nothing_is_refused(ill: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "q.csv"
    ill.clips[["path"]].to_csv(file, index=False)
    with pytest.raises(DatasetError, match="leaves none of the 14 clips"):
        quarantine.apply(ill, file)


def test_rendering_honours_it(ill: Dataset, tmp_path: Path) -> None:
    out, small = tmp_path / "pictures", SpectrogramConfig(n_mels=32, duration=1.0)
    whole = render(ill, out, small)
    assert len(whole.failures) == 3
    quarantine.write(tmp_path / "q.csv", check(ill))
    cured = render(quarantine.apply(ill, tmp_path / "q.csv"), out, small)
    assert (cured.rendered, cured.already_there, cured.dropped) == (0, 6, 5)
    assert cured.failures.empty
    pictures = RenderedSet.load(out)
    assert names(pictures.clips) == {"good0.wav", "good1.wav", "good2.wav"}
    assert "8 clips left out by q.csv" in pictures.dataset.notes


def test_a_rendered_set_is_another_without_them(rendered: RenderedSet, tmp_path: Path) -> None:
    gone = rendered.clips["path"].iloc[[0, 5]]
    root = Path(rendered.dataset.root)
    file = write_rows(tmp_path / "q.csv", "path", *(str(Path(p).relative_to(root)) for p in gone))
    kept = rendered.without(file)
    assert set(rendered.clips["path"]) - set(kept.clips["path"]) == set(gone)
    assert list(kept.clips.columns) == list(rendered.clips.columns)
    assert kept.identity != rendered.identity
    assert kept.dataset.notes[-1] == f"2 clips left out by {file.name}"
    assert rendered.dataset.notes == RenderedSet.load(rendered.folder).dataset.notes
    nothing = rendered.without(write_rows(tmp_path / "none.csv", "path"))
    assert nothing.identity == rendered.identity
    assert dataclasses.replace(nothing, dataset=rendered.dataset).clips.equals(rendered.clips)
