"""Datasets and tables as they are found: parts for classes, files nobody would read, odd cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from spectro.clips import datasets
from spectro.clips.decode import decode
from spectro.clips.table import alike_labels
from spectro.errors import DatasetError
from tests.clips.test_folder import touch

HARDLY = {
    "numbered folds": ["fold1", "fold2", "fold3"],
    "splits": ["split_1", "split_2"],
    "numbers": ["1", "2", "3"],
    "a word in the name": ["train_data", "test_data"],
    "BirdCLEF": ["train_audio", "test_soundscapes"],
    "NSynth": ["nsynth-train", "nsynth-valid", "nsynth-test"],
    "FSD50K": ["FSD50K.dev_audio", "FSD50K.eval_audio"],
    "LibriSpeech": ["train-clean-100", "dev-clean", "test-clean"],
    "sets": ["set_a", "set_b"],
    "RAVDESS": ["Actor_01", "Actor_02"],
}


@pytest.mark.parametrize("tops", HARDLY.values(), ids=HARDLY.keys())
def test_parts_of_a_whole_are_no_classes(tmp_path: Path, tops: list[str]) -> None:
    touch(tmp_path, [f"{top}/{label}/{i}.wav" for top in tops for label in "ab" for i in "01"])
    with pytest.raises(DatasetError, match=r"look like (parts of a split|the folds of)") as caught:
        datasets.load(tmp_path, n_folds=2)
    if "fold1" not in tops:
        assert "seem to be a, b" in str(caught.value)
        assert "--layout folder" in str(caught.value)
    taken = datasets.load(tmp_path, "folder", n_folds=2)
    assert sorted(set(taken.clips["label"])) == sorted(tops)


@pytest.mark.parametrize(
    "labels",
    [
        ["train_horn", "train_bell"],
        ["train", "plane"],
        ["0", "1", "2"],
        ["set_off", "set_on"],
        ["test_tone", "speech"],
    ],
)
def test_classes_with_such_names_stay_classes(tmp_path: Path, labels: list[str]) -> None:
    touch(tmp_path, [f"{label}/{label}{i}.wav" for label in labels for i in range(4)])
    found = datasets.load(tmp_path, n_folds=2)
    assert sorted(set(found.clips["label"])) == sorted(labels)


def test_what_may_be_sound_and_is_not_taken_is_named(tmp_path: Path) -> None:
    touch(tmp_path, ["dog/a.wav", "dog/b.wav", "dog/list.txt", "dog/.hidden.3ga", "readme.md"])
    odd = ["dog/new.wav.1", "dog/rec.3ga", "dog/x.wav.gz", "dog/y.wav.part", "dog/z.wav?raw=true"]
    touch(tmp_path, odd)
    (told,) = (note for note in datasets.load(tmp_path, n_folds=2).notes if "left out" in note)
    assert told.startswith("5 files are no sound by their names, and left out: ")
    assert all(name in told for name in odd)


def test_what_a_mac_puts_into_a_zip_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, ["dog/a.wav", "cat/b.wav", "__MACOSX/dog/._a.wav", "__MACOSX/x.wav"])
    assert len(datasets.load(tmp_path, n_folds=2).clips) == 2


def table(root: Path, text: str) -> Path:
    touch(root, ["a.wav", "b.wav", "c.wav", "d.wav"])
    (root / "list.csv").write_text(text)
    return root / "list.csv"


ODD = {
    "blanks for a label": ('path,label\na.wav,x\nb.wav,"   "\n', "row 2 has no label"),
    "two columns of one name": ("path,label,label\na.wav,x,y\n", "has the column label twice"),
    "quotation marks that swallow rows": (
        'path,label\n"a.wav,x\nb.wav",y\nc.wav,x\n', "row 1: the path goes on over several lines"
    ),
    "a fold below 0": ("path,label,fold\na.wav,x,-1\nb.wav,y,2\n", "row 1: fold is not a whole"),
    "a part that starts before the sound": (
        "path,label,start,end\na.wav,x,-0.5,1\n", r"row 1: from -0\.5 to 1 s is no part of a sound"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "told"), ODD.values(), ids=ODD.keys())
def test_odd_cells_name_table_and_row(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DatasetError, match=rf"list\.csv: .*{told}"):
        datasets.load(table(tmp_path, text), n_folds=2)


def test_labels_alike_but_for_what_is_not_seen_are_told() -> None:
    labels = {"dog", "dog\u200b", "do\u00adg"}
    (alike,) = alike_labels([*labels, "cat"])
    assert set(alike) == labels


def test_of_two_tables_none_is_guessed(tmp_path: Path) -> None:
    names = [f"{i}-0-0-{i}.wav" for i in range(1, 5)]
    touch(tmp_path, [f"audio/fold{1 + i // 2}/{name}" for i, name in enumerate(names)])
    head = "slice_file_name,fsID,fold,classID,class\n"
    rows = [f"{name},{i},{1 + i // 2},0,siren\n" for i, name in enumerate(names)]
    (tmp_path / "train.csv").write_text(head + "".join(rows[:3]))
    (tmp_path / "test.csv").write_text(head + rows[3])
    with pytest.raises(DatasetError, match=r"several tables .*UrbanSound8K\.csv: test\.csv, train"):
        datasets.load(tmp_path)
    (tmp_path / "UrbanSound8K.csv").write_text(head + "".join(rows))
    assert len(datasets.load(tmp_path).clips) == 4


def flac(path: Path, seconds: float) -> bytes:
    rng = np.random.default_rng(0)
    sf.write(path, rng.normal(0, 0.1, round(22_050 * seconds)), 22_050, format="FLAC")
    return path.read_bytes()


def stating(content: bytes, n: int) -> bytes:
    fields = int.from_bytes(content[18:26], "big") >> 36 << 36
    return content[:18] + (fields | n).to_bytes(8, "big") + content[26:]


TAG = b"ID3\3\0\0\0\0\0\x0a" + bytes(10)
FLAC: dict[str, tuple[Callable[[bytes], bytes], float]] = {
    "a tag in front": (lambda one: TAG + one, 2),
    "a tag in front of two": (lambda one: TAG + one + one, 4),
    "a tag in front of unknown length": (lambda one: TAG + stating(one, 0), 2),
    "fewer samples stated": (lambda one: stating(one, 20_000), 2),
}


@pytest.mark.parametrize(("spoil", "seconds"), FLAC.values(), ids=FLAC.keys())
def test_flac_is_read_to_its_end(
    tmp_path: Path, spoil: Callable[[bytes], bytes], seconds: float
) -> None:
    one = flac(tmp_path / "one.flac", 2)
    (tmp_path / "a.flac").write_bytes(spoil(one))
    heard, sr = decode(tmp_path / "a.flac")
    assert len(heard) == seconds * sr
    np.testing.assert_array_equal(heard[: 2 * sr], decode(tmp_path / "one.flac")[0])


@pytest.mark.parametrize("between", [b"", bytes(300), b"junk" * 50])
def test_ogg_streams_with_something_between_are_read(tmp_path: Path, between: bytes) -> None:
    y = np.random.default_rng(0).normal(0, 0.1, 44_100).astype(np.float32)
    sf.write(tmp_path / "one.ogg", y, 22_050)
    one = (tmp_path / "one.ogg").read_bytes()
    (tmp_path / "two.ogg").write_bytes(one + between + one)
    heard, sr = decode(tmp_path / "two.ogg")
    assert (sr, len(heard)) == (22_050, 2 * 44_100)
