"""Parquet with the sound inside, as the Hugging Face hub serves it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from spectro.clips import datasets
from spectro.errors import DatasetError, MissingExtraError
from tests.clips.test_datasets import (
    ESC50_COLUMNS,
    ESC50_ROWS,
    US8K_COLUMNS,
    build_esc50,
    build_us8k,
    us8k_row,
)
from tests.clips.test_layouts import parts

US8K_ROWS = [us8k_row(7, 2, 0), us8k_row(7, 2, 0, 1), us8k_row(9, 10, 3)]


@pytest.fixture
def pa() -> Any:
    return pytest.importorskip("pyarrow")


def sound(tmp_path: Path, pitch: int) -> bytes:
    file = tmp_path / "sound.flac"
    sf.write(file, 0.5 * np.sin(np.arange(400) * 0.01 * (pitch + 1)), 8_000)
    return file.read_bytes()


def write(
    pa: Any, file: Path, rows: list[dict[str, Any]], names: dict[str, Any] | None = None
) -> None:
    import pyarrow.parquet as pq

    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    if names:
        features = {
            column: {"names": labels, "_type": "ClassLabel"} for column, labels in names.items()
        }
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        table = table.replace_schema_metadata(metadata)
    pq.write_table(table, file)


def rows_of(
    tmp_path: Path, columns: Any, rows: list[Any], name: str, **drop: Any
) -> list[dict[str, Any]]:
    return [
        {
            "audio": {"bytes": sound(tmp_path, i), "path": row[0]},
            **dict(zip(columns, row, strict=True)),
        }
        for i, row in enumerate(rows)
    ]


def test_us8k_is_read_from_parquet_as_from_its_archive(tmp_path: Path, pa: Any) -> None:
    rows = rows_of(tmp_path, US8K_COLUMNS, US8K_ROWS, "slice_file_name")
    write(pa, tmp_path / "hub/data/train-00000-of-00002.parquet", rows[:2])
    write(pa, tmp_path / "hub/data/train-00001-of-00002.parquet", rows[2:])
    dataset = datasets.load(tmp_path / "hub")
    assert dataset.name == "urbansound8k"
    assert parts(dataset) == parts(datasets.load(build_us8k(tmp_path / "official")))
    assert dataset.root == tmp_path / "hub-sounds"
    written = {Path(path).name: Path(path).read_bytes() for path in dataset.clips["path"]}
    assert written == {row["slice_file_name"]: row["audio"]["bytes"] for row in rows}


def test_us8k_is_read_without_the_columns_that_names_tell(tmp_path: Path, pa: Any) -> None:
    rows = rows_of(tmp_path, US8K_COLUMNS, US8K_ROWS, "slice_file_name")
    kept = [
        {name: row[name] for name in ("audio", "slice_file_name", "fold", "classID")}
        for row in rows
    ]
    write(pa, tmp_path / "us8k.parquet", kept)
    dataset = datasets.load(tmp_path / "us8k.parquet")
    assert parts(dataset) == parts(datasets.load(build_us8k(tmp_path / "official")))
    assert dataset.root == tmp_path / "us8k-sounds"


def test_esc50_is_read_from_parquet_as_from_its_archive(tmp_path: Path, pa: Any) -> None:
    rows = rows_of(tmp_path, ESC50_COLUMNS, ESC50_ROWS, "filename")
    write(pa, tmp_path / "esc/train.parquet", rows)
    official = build_esc50(tmp_path / "official")
    assert parts(datasets.load(tmp_path / "esc")) == parts(datasets.load(official))
    esc10 = datasets.load(tmp_path / "esc", esc10=True)
    assert parts(esc10) == parts(datasets.load(official, esc10=True))


def test_classes_by_number_get_the_names_that_the_hub_keeps(tmp_path: Path, pa: Any) -> None:
    rows = [
        {"audio": {"bytes": sound(tmp_path, i), "path": None}, "label": i % 2} for i in range(6)
    ]
    write(pa, tmp_path / "own.parquet", rows, {"label": ["owl", "fox"]})
    dataset = datasets.load(tmp_path / "own.parquet", n_folds=2)
    assert dataset.clips["label"].value_counts().to_dict() == {"owl": 3, "fox": 3}


def test_sounds_are_written_once(tmp_path: Path, pa: Any) -> None:
    rows = rows_of(tmp_path, US8K_COLUMNS, US8K_ROWS, "slice_file_name")
    write(pa, tmp_path / "hub/train.parquet", rows)
    first = datasets.load(tmp_path / "hub")
    times = [Path(path).stat().st_mtime_ns for path in first.clips["path"]]
    again = datasets.load(tmp_path / "hub")
    assert [Path(path).stat().st_mtime_ns for path in again.clips["path"]] == times
    write(pa, tmp_path / "hub/train.parquet", rows[:2])
    with pytest.raises(DatasetError, match=r"hub-sounds: is not what the parquet holds now"):
        datasets.load(tmp_path / "hub")


def test_a_folder_of_ones_own_beside_the_parquet_is_left_alone(tmp_path: Path, pa: Any) -> None:
    write(pa, tmp_path / "hub/a.parquet", rows_of(tmp_path, US8K_COLUMNS, US8K_ROWS, ""))
    (tmp_path / "hub-sounds").mkdir()
    (tmp_path / "hub-sounds" / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match="move it away"):
        datasets.load(tmp_path / "hub")
    assert [file.name for file in (tmp_path / "hub-sounds").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["../out.wav", "/abs/out.wav", "..\\out.wav", "a/../../out.wav"])
def test_names_of_a_stranger_do_not_lead_out(tmp_path: Path, pa: Any, name: str) -> None:
    row = {"audio": {"bytes": sound(tmp_path, 1), "path": name}, "label": "x"}
    write(pa, tmp_path / "in/p.parquet", [row, row | {"label": "y"}])
    before = {file for file in tmp_path.rglob("*") if "in-sounds" not in file.parts}
    dataset = datasets.load(tmp_path / "in", n_folds=2)
    assert all(Path(path).parent == tmp_path / "in-sounds/sounds" for path in dataset.clips["path"])
    after = {file for file in tmp_path.rglob("*") if "in-sounds" not in file.parts}
    assert after == before


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no sound": ({"audio": {"bytes": None, "path": "a.wav"}, "label": "x"}, "no sound is inside"),
    "no audio": ({"sound": b"1", "label": "x"}, "has no column audio"),
    "no label": ({"audio": {"bytes": b"1", "path": "a.wav"}, "foo": "x"}, "no column says"),
    "no fold": (
        {"audio": {"bytes": b"1", "path": "a.wav"}, "slice_file_name": "a.wav", "fold": "x",
         "class": "siren"},
        "fold is not a whole number",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("row", "told"), BAD.values(), ids=BAD.keys())
def test_parquet_that_cannot_be_read_leaves_nothing(
    tmp_path: Path, pa: Any, row: dict[str, Any], told: str
) -> None:
    write(pa, tmp_path / "in/p.parquet", [row])
    with pytest.raises(DatasetError, match=told) as caught:
        datasets.load(tmp_path / "in")
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir() if file.name != "sound.flac"] == ["in"]


def test_a_damaged_file_is_one_line(tmp_path: Path, pa: Any) -> None:
    (tmp_path / "p.parquet").write_bytes(b"PAR1" + bytes(40) + b"PAR1")
    with pytest.raises(DatasetError, match=r"p\.parquet: cannot be read as parquet") as caught:
        datasets.load(tmp_path / "p.parquet")
    assert "\n" not in str(caught.value)


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=r"spectro\[parquet\]"):
        datasets.load(tmp_path)


def own(tmp_path: Path, n: int, **cells: Any) -> list[dict[str, Any]]:
    """Rows of one's own, each with another sound."""
    return [
        {"audio": {"bytes": sound(tmp_path, i), "path": f"{i}.flac"}, "label": "xy"[i % 2]} | cells
        for i in range(n)
    ]


def test_files_of_one_name_in_several_folders_are_told_apart(tmp_path: Path, pa: Any) -> None:
    for i, folder in enumerate(("en", "de")):
        rows = own(tmp_path, 4, lang=folder)
        for row in rows:
            row["audio"] = row["audio"] | {
                "bytes": sound(tmp_path, 10 * i + int(row["audio"]["path"][0]))
            }
        write(pa, tmp_path / "hub" / folder / "0000.parquet", rows)
    dataset = datasets.load(tmp_path / "hub", n_folds=2)
    contents = [Path(path).read_bytes() for path in dataset.clips["path"]]
    assert len(contents) == len(set(contents)) == 8
    assert dataset.clips["group"].nunique() == 8
    for folder in ("de", "en"):  # a change of any of them is seen
        mark = tmp_path / "hub" / folder / "0000.parquet"
        before = mark.read_bytes(), mark.stat()
        write(pa, mark, own(tmp_path, 2))
        with pytest.raises(DatasetError, match="is not what the parquet holds now"):
            datasets.load(tmp_path / "hub")
        mark.write_bytes(before[0])
        os.utime(mark, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))
    assert len(datasets.load(tmp_path / "hub").clips) == 8


def test_sounds_that_an_earlier_version_wrote_out_are_taken(tmp_path: Path, pa: Any) -> None:
    write(pa, tmp_path / "hub/data/train.parquet", own(tmp_path, 4))
    datasets.load(tmp_path / "hub", n_folds=2)
    mark = tmp_path / "hub-sounds/parquet.json"
    assert list(json.loads(mark.read_text())) == ["data/train.parquet"]
    mark.write_text(mark.read_text().replace("data/train", "train"))
    assert len(datasets.load(tmp_path / "hub").clips) == 4


def test_parts_of_a_split_keep_their_sounds_and_are_told(tmp_path: Path, pa: Any) -> None:
    for part in ("train", "test"):
        rows = own(tmp_path, 4)
        if part == "test":
            for row in rows:
                row["audio"] = row["audio"] | {"bytes": row["audio"]["bytes"] + b"\0"}
        write(pa, tmp_path / f"hub/data/{part}-00000-of-00001.parquet", rows)
    dataset = datasets.load(tmp_path / "hub", n_folds=2)
    assert len({Path(path).read_bytes() for path in dataset.clips["path"]}) == 8
    assert any("the column split is not used" in note for note in dataset.notes)


def test_a_part_without_classes_is_an_error(tmp_path: Path, pa: Any) -> None:
    write(pa, tmp_path / "hub/a.parquet", own(tmp_path, 2))
    bare = [{"audio": row["audio"]} for row in own(tmp_path, 2)]
    write(pa, tmp_path / "hub/b.parquet", bare)
    with pytest.raises(DatasetError, match=r"b\.parquet: row 1: has no column label, as other"):
        datasets.load(tmp_path / "hub")
    unlabelled = [row | {"label": -1} for row in own(tmp_path, 2)]
    write(pa, tmp_path / "one/a.parquet", unlabelled, {"label": ["owl", "fox"]})
    with pytest.raises(DatasetError, match=r"a\.parquet: row 1: has no label"):
        datasets.load(tmp_path / "one")


def test_other_columns_are_kept_for_a_person_to_name(tmp_path: Path, pa: Any) -> None:
    rows = [row | {"speaker_id": i // 2, "begin_time": 7.5, "x": [1]} for i, row in
            enumerate(own(tmp_path, 8))]  # fmt: skip
    write(pa, tmp_path / "p.parquet", rows)
    options = {"path_column": "path", "label_column": "label", "group_column": "speaker_id"}
    clips = datasets.load(tmp_path / "p.parquet", n_folds=2, **options).clips
    assert sorted(clips["group"]) == sorted("00112233")
    assert clips["start"].isna().all(), "says where the sound was once cut from"


@pytest.mark.parametrize("there", [True, False])
def test_a_stray_sound_beside_parquet_hides_nothing(
    tmp_path: Path, pa: Any, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(pa, tmp_path / "hub/data/train.parquet", own(tmp_path, 4))
    (tmp_path / "hub/example.flac").write_bytes(sound(tmp_path, 50))
    if there:
        dataset = datasets.load(tmp_path / "hub", n_folds=2)
        assert len(dataset.clips) == 4
        told = "1 sound file is beside the parquet and left out: the top folder (1)"
        assert told in dataset.notes
        return
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'spectro\[parquet\]'"):
        datasets.load(tmp_path / "hub", n_folds=2)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("audio", [True, False])
def test_parquet_beside_folders_of_sounds_is_asked_for_or_told(
    tmp_path: Path, pa: Any, audio: bool, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = own(tmp_path, 4) if audio else [{"feature": 1.0}]
    write(pa, tmp_path / "hub/all.parquet", rows)
    for i, name in enumerate(("x/1", "x/2", "y/1", "y/2")):
        (tmp_path / f"hub/{name}.flac").parent.mkdir(exist_ok=True)
        (tmp_path / f"hub/{name}.flac").write_bytes(sound(tmp_path, i))
    if not there:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    if audio and there:
        with pytest.raises(
            DatasetError, match=r"holds both parquet .*all\.parquet, and folders of"
        ):
            datasets.load(tmp_path / "hub", n_folds=2)
        return
    dataset = datasets.load(tmp_path / "hub", n_folds=2)
    assert dataset.labels == ["x", "y"]
    (told,) = (note for note in dataset.notes if "parquet file" in note)
    assert told.startswith("1 parquet file is not read: all.parquet")
    assert ("pip install" in told) == (not there)


def test_a_pointer_in_place_of_parquet_is_told(tmp_path: Path, pa: Any) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12345\n"
    (tmp_path / "p.parquet").write_text(pointer)
    with pytest.raises(DatasetError, match=r"p\.parquet: is a Git LFS pointer, .*git lfs pull"):
        datasets.load(tmp_path / "p.parquet")
