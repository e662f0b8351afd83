"""Labels of two sides: the same recordings and classes, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from spectro.errors import ConfigError, DatasetError
from spectro.listening.events import durations
from spectro.listening.events.durations import read_durations
from spectro.listening.events.label_files import parse_renames, read_side, together
from spectro.listening.events.labels import Labelled, read_labels


def one(recording: str, label: str = "saw", start: float = 1.0) -> Labelled:
    return Labelled(recording, start, start + 1, label)


def test_recordings_are_the_same_by_name() -> None:
    truth = [one("night"), one("20180517_010348.5AFCD4F4"), one("C:\\rec\\b.flac")]
    found = [one("/r/night.WAV"), one("/r/20180517_010348.5AFCD4F4.wav"), one("b.flac")]
    sides = together(truth, found, {"/r/night.WAV": 5.0, "quiet.ogg": 7.0})
    assert [e.recording for e in sides.truth] == ["night", "20180517_010348.5AFCD4F4", "b"]
    assert sides.truth == sides.detected
    assert sides.durations == {"night": 5.0, "quiet": 7.0}


def test_recordings_that_share_a_name_are_told_by_their_path() -> None:
    found = [one("/r/a/x.wav"), one("/r/b/x.wav"), one("/r/y.wav")]
    sides = together([one("/r/b/x.wav"), one("y")], found)
    assert [e.recording for e in sides.detected] == ["/r/a/x.wav", "/r/b/x.wav", "y"]
    assert [e.recording for e in sides.truth] == ["/r/b/x.wav", "y"]
    with pytest.raises(DatasetError, match=r"x: may be /r/a/x\.wav or /r/b/x\.wav"):
        together([one("x")], found)


def test_classes_are_renamed_and_dropped() -> None:
    truth = [one("a", "door"), one("a", "unsure"), one("a", "saw")]
    sides = together(truth, [one("a", "doorslam")], None, {"doorslam": "door", "unsure": ""})
    assert [e.label for e in sides.truth] == ["door", "saw"]
    assert [e.label for e in sides.detected] == ["door"]
    assert sides.durations is None
    with pytest.raises(ConfigError, match="no class 'owl' to rename; there are door, saw, unsure"):
        together(truth, [], None, {"owl": "saw"})


def test_renames_that_are_none() -> None:
    assert parse_renames(["a=b", "c=", "d=e=f"]) == {"a": "b", "c": "", "d": "e=f"}
    with pytest.raises(ConfigError, match="'ab' renames no class: write it as FROM=TO"):
        parse_renames(["ab"])
    with pytest.raises(ConfigError, match="renames no class"):
        parse_renames(["=b"])
    with pytest.raises(ConfigError, match="'a' is renamed twice"):
        parse_renames(["a=b", "a=c"])


def test_a_folder_of_labels(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.labels.txt").write_text("1\t2\tsaw\n")
    (tmp_path / "deep" / "b.csv").write_text("start,end,label\n3,4,owl\n")
    assert read_side(tmp_path).events == [("a", 1, 2, "saw", None), ("b", 3, 4, "owl", None)]
    (tmp_path / "a.csv").write_text("recording,start,end,label\na,1,2,saw\n")
    with pytest.raises(DatasetError, match=r"holds 'saw' at 1 s in a, as .*a\.csv does; name one"):
        read_side(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(DatasetError, match="none: holds no file of labels"):
        read_side(tmp_path / "none")


def test_probabilities_at_the_end_of_labels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1\t2\tsaw 0.93\n3\t4\tsaw 1.00\n")
    assert [e.label for e in read_side(tmp_path / "a.txt").events] == ["saw", "saw"]
    (tmp_path / "a.txt").write_text("1\t2\tsaw 0.93\n3\t4\tsaw 1.00\n5\t6\towl\n")  # corrected
    assert [e.label for e in read_side(tmp_path / "a.txt").events] == ["saw", "saw", "owl"]
    (tmp_path / "a.txt").write_text("1\t2\tspecies 1\n3\t4\tspecies 0\n")
    assert [e.label for e in read_side(tmp_path / "a.txt").events] == [
        "species 1",
        "species 0",
    ]


def test_lengths(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", np.zeros(4000), 8000)
    (tmp_path / "t.csv").write_text("path,seconds\nb.wav,90\n'=c.wav,1.5\n")
    wav = str(tmp_path / "a.wav")
    assert read_durations([tmp_path, tmp_path / "t.csv"]) == {wav: 0.5, "b.wav": 90, "=c.wav": 1.5}
    assert read_durations([tmp_path / "a.wav"]) == {wav: 0.5}
    (tmp_path / "t.csv").write_text("recording,duration,error\na.wav,2,\nb.wav,,b.wav: broken\n")
    assert read_durations([tmp_path / "t.csv"]) == {"a.wav": 2}
    for text, words in [
        ("a,b\n1,2\n", "is no table of lengths: name the columns recording,duration"),
        ("recording,duration\nx,-1\n", "line 2: expected a recording and its seconds, not '-1'"),
        ("recording,duration\nx,inf\n", "line 2: expected"),
        ("recording,duration\n,3\n", "line 2: expected"),
        ("recording,duration\nx\n", "line 2: expected"),
    ]:
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(DatasetError, match=words):
            read_durations([tmp_path / "t.csv"])
    (tmp_path / "none").mkdir()
    with pytest.raises(DatasetError, match="holds no sound file"):
        read_durations([tmp_path / "none"])
    with pytest.raises(DatasetError, match=r"gone: cannot be read \(No such file"):
        read_durations([tmp_path / "gone"])


def test_a_table_of_lengths_that_is_too_large_is_not_read_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durations, "_MOST_BYTES", 40)
    (tmp_path / "t.csv").write_text("recording,seconds\n" + "a.wav,2\nb.wav,3\nc.wav,4\n")
    with pytest.raises(DatasetError, match=r"t\.csv: cannot be read \(larger than"):
        read_durations([tmp_path / "t.csv"])


def test_a_table_as_people_have_it_is_read(tmp_path: Path) -> None:
    """Semicolons, capitals, blanks around a label, and `path` for the recording."""
    path = tmp_path / "marks.csv"
    path.write_text("Path;Start;End;Label\nnight.wav;0;2; cat \nother.wav;1;2;cat\n")
    assert [(one.recording, one.start, one.label) for one in read_labels(path)] == [
        ("night.wav", 0, "cat"),
        ("other.wav", 1, "cat"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("start,end,label,label\n0,1,a,b\n", "has the column label twice"),
        ("start,end,label\n0,1,  \n", "line 2: '' is no label"),
        ('start,end,label\n0,1,"cat\n1,2,dog\n3,4,cat"\n', "is no label"),
    ],
)
def test_a_table_that_would_be_misread_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "marks.csv"
    path.write_text(text)
    with pytest.raises(DatasetError, match=told):
        read_labels(path)


def test_sides_without_a_recording_in_common_are_refused() -> None:
    with pytest.raises(
        DatasetError, match="marked are a, detected b; name them alike, in a column"
    ):
        together([one("a")], [one("b")])
    assert together([one("a")], [one("b")], {"a": 5, "b": 5}).durations == {"a": 5, "b": 5}
    assert together([one("a")], []).detected == []


def test_names_are_the_same_however_their_accents_are_coded() -> None:
    sides = together(
        [one("caf\u00e9", "\u00e9l\u00e8ve")], [one("cafe\u0301.wav", "e\u0301le\u0300ve")]
    )
    assert sides.truth == sides.detected


def test_a_name_that_may_be_two_recordings_is_asked_for() -> None:
    with pytest.raises(DatasetError, match=r"night: may be night\.wav; write its path"):
        together([one("night")], [one("night.wav"), one("night")])


def test_a_recording_has_one_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sf.write(tmp_path / "a.wav", np.zeros(4000), 8000)
    (tmp_path / "link.wav").symlink_to("a.wav")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "again.wav").symlink_to(tmp_path / "a.wav")
    table = tmp_path / "t.csv"
    for name in ("a.wav", tmp_path / "a.wav", "link.wav", "./deep/again.wav", "deep/../a.wav"):
        table.write_text(f"recording,duration\n{name},0.5\n")
        assert read_durations(["a.wav", table]) == {"a.wav": 0.5}
        table.write_text(f"recording,duration\n{name},9\n")
        with pytest.raises(DatasetError, match=r"is 9 s long by .*line 2, and 0.5 s by the sound"):
            read_durations(["a.wav", table])
    table.write_text("recording,duration\nx,1\nx,2\n")
    with pytest.raises(DatasetError, match=r"x: is 2 s long by .*line 3, and 1 s by .*line 2"):
        read_durations([table])
    table.write_text("recording,duration\nx.wav,1\n/r/x.wav,2\n")
    with pytest.raises(DatasetError, match="give one length alone"):
        read_durations([table])
    table.write_text("recording,duration\n/q/x.wav,1\n/r/x.wav,2\n")
    assert read_durations([table]) == {"/q/x.wav": 1, "/r/x.wav": 2}
    table.write_text("filename\tduration\nx.wav\t1\n")
    assert read_durations([table]) == {"x.wav": 1}
