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
from spectro.errors import AudioError, DatasetError
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


def test_flac_that_states_more_than_it_holds_is_said_to_end_early(tmp_path: Path) -> None:
    one = flac(tmp_path / "one.flac", 2)
    (tmp_path / "a.flac").write_bytes(stating(one, 200_000))
    with pytest.raises(AudioError, match="ends before the sound that its header promises"):
        decode(tmp_path / "a.flac")
    (tmp_path / "b.flac").write_bytes(stating(one, 0) + b"junkJUNK" * 99)
    with pytest.raises(AudioError, match="or followed by something that is no FLAC"):
        decode(tmp_path / "b.flac")


def sound(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(len(path.name)).normal(0, 0.1, 22_050), 22_050)


def test_sound_without_a_suffix_is_named_and_a_document_is_not(tmp_path: Path) -> None:
    sound(tmp_path / "a" / "0.wav")
    sound(tmp_path / "b" / "0.wav")
    sound(tmp_path / "b" / "1.flac")
    (tmp_path / "b" / "1.flac").rename(tmp_path / "b" / "take2")
    (tmp_path / "a" / "LICENSE").write_text("RIFFs are free to play.")
    (tmp_path / "a" / "README").write_text("Of two classes.")
    notes = " ".join(datasets.load(tmp_path, n_folds=2).notes)
    assert "1 file is no sound by its name, and left out: b/take2" in notes


TABLES = {
    "Excel's first line": b"sep=;\r\npath;label\r\n0.wav;a\r\n1.wav;b\r\n",
    "UTF-16 without a mark": "path,label\n0.wav,a\n1.wav,b\n".encode("utf-16-le"),
    "the other UTF-16": "path,label\n0.wav,a\n1.wav,b\n".encode("utf-16-be"),
}


@pytest.mark.parametrize("data", TABLES.values(), ids=TABLES.keys())
def test_tables_as_spreadsheets_write_them(tmp_path: Path, data: bytes) -> None:
    for n in "01":
        sound(tmp_path / f"{n}.wav")
    (tmp_path / "mine.csv").write_bytes(data)
    assert datasets.load(tmp_path / "mine.csv", n_folds=2).labels == ["a", "b"]


def test_a_column_that_parts_the_clips_is_said_to_be_unused(tmp_path: Path) -> None:
    for n in "01":
        sound(tmp_path / f"{n}.wav")
    table = tmp_path / "mine.csv"
    table.write_text("path,label,split\n0.wav,a,train\n1.wav,b,test\n")
    notes = " ".join(datasets.load(table, n_folds=2).notes)
    assert "the column split is not used, and folds are made" in notes
    assert "number them in a column fold" in notes
    table.write_text("path,label,split,fold\n0.wav,a,train,1\n1.wav,b,test,2\n")
    assert "is not used" not in " ".join(datasets.load(table).notes)


def test_a_table_of_folds_of_other_columns_is_told_from_ours(tmp_path: Path) -> None:
    for label in "ab":
        sound(tmp_path / label / "0.wav")
    (tmp_path / "folds.csv").write_text("filename,fold\na/0.wav,1\nb/0.wav,2\n")
    with pytest.raises(DatasetError, match="keep yours under another") as caught:
        datasets.load(tmp_path, n_folds=2)
    assert datasets.load(tmp_path, n_folds=2, folds_file=tmp_path / "ours.csv").folds == (1, 2)
    assert "--folds-file" in str(caught.value)


def test_a_json_of_ones_own_is_not_written_over(tmp_path: Path) -> None:
    """How recordings are told apart is kept beside the folds, in folds.json."""
    for label in "ab":
        for n in "01":
            sound(tmp_path / label / f"{n}.wav")
    mine = tmp_path / "folds.json"
    mine.write_text('{"a/0.wav": 1}')
    with pytest.raises(DatasetError, match=r"folds\.json: is where it is kept .* --folds-file"):
        datasets.load(tmp_path, n_folds=2, keep_folds=True)
    assert mine.read_text() == '{"a/0.wav": 1}' and not (tmp_path / "folds.csv").exists()
    mine.unlink()
    datasets.load(tmp_path, n_folds=2, keep_folds=True)
    (tmp_path / "folds.csv").unlink()  # to deal anew: the note is ours
    datasets.load(tmp_path, n_folds=2, keep_folds=True)
    assert (tmp_path / "folds.csv").exists()


def test_milliseconds_for_seconds_are_guessed_in_the_message(tmp_path: Path) -> None:
    sound(tmp_path / "0.wav")
    with pytest.raises(AudioError, match="if these are milliseconds, write seconds"):
        decode(tmp_path / "0.wav", start=200, end=900)
    with pytest.raises(AudioError) as caught:
        decode(tmp_path / "0.wav", start=10, end=10.5)
    assert "write seconds" not in str(caught.value)
