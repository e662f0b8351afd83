"""Tables of events: what is written is read again, whatever a label holds, and never half."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spectro.errors import DatasetError
from spectro.listening.events.annotations import (
    Heard,
    file_stems,
    sound_selection_table,
    write_audacity,
    write_raven,
)
from spectro.listening.events.finding import Event
from spectro.listening.events.labels import raven_tables, read_labels
from spectro.listening.events.store import is_store
from spectro.listening.events.tables import (
    COLUMNS,
    decimal,
    guard,
    read_csv,
    read_jsonl,
    unguard,
    unicode_only,
    write_csv,
    write_jsonl,
    write_parquet,
)

from .test_recorders import shared

HEADER = "recording,start,end,begin_time,label,probability,peak,site,model,thresholds,schema"
RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"


def event(label: str = "saw", start: float = 1, end: float = 2.5, **values: str) -> Event:
    whole = {"recording": "a/night.wav", "site": "north", **values}
    return Event(
        start=start, end=end, label=label, probability=0.75, peak=0.93, model="m1",
        begin_time="2026-03-02T00:00:01.000", thresholds="t1", **whole,
    )  # fmt: skip


NASTY = [
    "plain", "two words", "tab\there", "line\nfeed", "car\rriage", "both\r\n", '"quoted"', 'a"b',
    "=1+1", "+1", "-1", "@SUM", "\t=1", "'=1", "'", "''", "comma,semi;", "back\\slash", "\\t",
    "\\", "é—日本", "\u2028sep\x85", " edges ", "", "0.5", "#x",
]  # fmt: skip
BYTES = "caf\udce9.wav"  # a file name in Latin-1


@pytest.mark.parametrize(
    ("write", "read"), [(write_csv, read_csv), (write_jsonl, read_jsonl)], ids=["csv", "jsonl"]
)
def test_what_is_written_is_read(write, read, tmp_path: Path) -> None:
    events = [event(label, recording=label, site=label) for label in NASTY]
    assert write(tmp_path / "events", events) == len(NASTY)
    assert list(read(tmp_path / "events")) == events
    assert write(tmp_path / "none", []) == 0
    assert list(read(tmp_path / "none")) == []


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))))
@hypothesis_settings(max_examples=60, deadline=None)
def test_any_text_is_read_again(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    events = [event(text, recording=text) for text in texts]
    write_csv(path, events)
    assert list(read_csv(path)) == events
    assert [(one.recording, one.label) for one in read_labels(path)] == [
        (text or "any", text) for text in texts
    ]
    write_jsonl(path, events)
    assert list(read_jsonl(path)) == events


def test_the_columns_are_frozen(tmp_path: Path) -> None:
    write_csv(tmp_path / "e.csv", [event("=x", recording="a,b.wav")])
    assert (tmp_path / "e.csv").read_bytes().decode().split("\n") == [
        HEADER,
        '"a,b.wav",1,2.5,2026-03-02T00:00:01.000,\'=x,0.75,0.93,north,m1,t1,1',
        "",
    ]
    assert ",".join(COLUMNS) == HEADER
    write_jsonl(tmp_path / "e.jsonl", [event(start=1 / 3)])
    [row] = map(json.loads, (tmp_path / "e.jsonl").read_text().splitlines())
    assert list(row) == HEADER.split(",")
    assert (row["start"], row["peak"], row["schema"]) == (0.333333, 0.93, 1)


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    write_csv(tmp_path / "e.csv", [event(label, recording=label) for label in NASTY])
    with (tmp_path / "e.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    write_csv(tmp_path / "e.csv", [event(recording=BYTES)])
    assert [e.recording for e in read_csv(tmp_path / "e.csv")] == ["caf\\xe9.wav"]
    write_jsonl(tmp_path / "e.jsonl", [event(recording=BYTES)])
    assert [e.recording for e in read_jsonl(tmp_path / "e.jsonl")] == [BYTES]
    assert unicode_only("a\ud800\0") == "a\\ud800\\x00"


def test_a_table_is_never_half_written(tmp_path: Path) -> None:
    def breaking():
        yield event()
        raise RuntimeError("the disk is full")

    write_csv(tmp_path / "e.csv", [event("before")])
    for write in (write_csv, write_jsonl):
        with pytest.raises(RuntimeError):
            write(tmp_path / "e.csv", breaking())
    assert [e.label for e in read_csv(tmp_path / "e.csv")] == ["before"]
    assert [path.name for path in tmp_path.iterdir()] == ["e.csv"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no table of events"),
        ("start,end,label\n", "is no table of events"),
        (HEADER + "\na,1,2,,saw,0.5,0.5,,,,2\n", "line 2: has schema '2', not 1"),
        (HEADER + "\na,1,2,,saw,0.5\n", "line 2: has schema None"),
        (HEADER + "\na,x,2,,saw,0.5,0.5,,,,1\n", "line 2: lacks a column, or a number is none"),
        (HEADER + "\na,2,1,,saw,0.5,0.5,,,,1\n", "line 2: the event does not end after"),
        (HEADER + "\na,nan,1,,saw,0.5,0.5,,,,1\n", "line 2: the event does not end after"),
        (HEADER + f"\n{'a' * 200_000},1,2,,saw,0.5,0.5,,,,1\n", "cannot be read"),
        (HEADER + "\n\udce9", "cannot be read"),
    ],
)
def test_damaged_tables_are_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetError, match=words) as told:
        list(read_csv(tmp_path / "e.csv"))
    assert str(tmp_path / "e.csv") in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("line", ["{", "[1]", "null", "[" * 100_000, '{"schema": 1}', "1"])
def test_damaged_json_lines_are_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text(line)
    with pytest.raises(DatasetError, match=r"e.jsonl, line 1"):
        list(read_jsonl(tmp_path / "e.jsonl"))


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    events = [event(label) for label in NASTY]
    assert write_parquet(tmp_path / "e.parquet", [*events, event(recording=BYTES)]) == 27
    table = pq.read_table(tmp_path / "e.parquet")
    assert table.schema.names == list(COLUMNS)
    assert table.schema.metadata[b"spectro_events_schema"] == b"1"
    rows = table.to_pylist()
    assert [Event(*list(row.values())[:-1]) for row in rows[:-1]] == events
    assert rows[-1]["recording"] == "caf\\xe9.wav"


def test_parquet_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(Exception, match=r"pip install 'spectro\[parquet\]'"):
        write_parquet(tmp_path / "e.parquet", [])


def test_numbers() -> None:
    assert [decimal(x) for x in (1e-9, -1e-9, 86400.123456789, 100.0, 1e15)] == [
        "0", "0", "86400.123457", "100", "1000000000000000",
    ]  # fmt: skip
    for text in NASTY:
        assert unguard(guard(text)) == text


# Raven


HEARD = [Heard("rec/a.wav", 60.25, 32_000), Heard("rec/b.wav", 10.125, 8_000)]
EVENTS = [
    event("bird", 5, 6, recording="rec/b.wav"),
    event("saw", 3, 4.5, recording="rec/a.wav"),
    event("bird", 0, 1, recording="rec/a.wav"),
]


def test_a_selection_table_lies_beside_each_recording_with_events(tmp_path: Path) -> None:
    third = Heard("rec/c.wav", 5, 8_000)
    paths = write_raven(tmp_path, [*HEARD, third], EVENTS, low=50, high=11_025)
    assert [path.name for path in paths] == ["a.Table.1.selections.txt", "b.Table.1.selections.txt"]
    assert sorted(tmp_path.iterdir()) == paths
    assert paths[0].read_text().split("\n") == [
        RAVEN + "\tBegin Path\tFile Offset (s)\tAnnotation\tProbability\tPeak\tSchema",
        "1\tSpectrogram 1\t1\t0.000000\t1.000000\t50.0\t11025.0\trec/a.wav\t0.000000\tbird"
        "\t0.75\t0.93\t1",
        "2\tSpectrogram 1\t1\t3.000000\t4.500000\t50.0\t11025.0\trec/a.wav\t3.000000\tsaw"
        "\t0.75\t0.93\t1",
        "",
    ]
    assert "\t50.0\t4000.0\t" in paths[1].read_text()  # not above half the recording's rate
    write_raven(tmp_path, HEARD, [EVENTS[0]])
    assert sorted(tmp_path.iterdir()) == paths[1:]  # what was found before is no more


def test_the_sound_selection_table_goes_on_over_the_recordings(tmp_path: Path) -> None:
    assert sound_selection_table(tmp_path / "all.txt", HEARD, EVENTS) == 3
    rows = [line.split("\t") for line in (tmp_path / "all.txt").read_text().splitlines()]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3"]
    assert rows[3][3:5] == ["65.250000", "66.250000"]  # exact durations, not whole seconds
    assert rows[3][7:10] == ["rec/b.wav", "5.000000", "bird"]
    assert [one[:4] for one in read_labels(tmp_path / "all.txt")] == [
        ("rec/a.wav", 0, 1, "bird"),
        ("rec/a.wav", 3, 4.5, "saw"),
        ("rec/b.wav", 5, 6, "bird"),
    ]


def test_any_label_is_read_from_a_selection_table_again(tmp_path: Path) -> None:
    labels = [*NASTY, "nul\0", BYTES]
    events = [event(label, i, i + 1, recording="rec/a.wav") for i, label in enumerate(labels)]
    [path] = write_raven(tmp_path, HEARD, events)
    assert [one.label for one in read_labels(path)] == labels
    lines = path.read_bytes().split(b"\n")
    assert len(lines) == len(labels) + 2
    assert all(line.count(b"\t") == 12 for line in lines[:-1])
    assert all(b'\t"' not in line for line in lines)


def test_a_persons_table_is_not_written_over(tmp_path: Path) -> None:
    own = tmp_path / "b.Table.1.selections.txt"
    own.write_text(RAVEN + "\tSpecies\n1\tSpectrogram 1\t1\t0\t1\t0\t1\towl\n")
    before = own.read_bytes()
    with pytest.raises(DatasetError, match="spectro did not write it"):
        write_raven(tmp_path, HEARD, EVENTS)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_names_for_recordings_that_share_one() -> None:
    assert file_stems(["/r/a/X.wav", "/r/b/x.wav", "/r/y.wav"]) == ["a/X.wav", "b/x.wav", "y.wav"]
    assert file_stems([]) == []
    long = ["/r/" + "x" * 240 + end for end in ("1.wav", "2.wav", "3")]
    short = file_stems([*long, "/r/b.wav"])
    assert len(set(short)) == 4 and short[3] == "b"
    assert max(map(len, short)) == 200
    assert file_stems(long)[0] == short[0]  # whatever is scanned beside it
    assert file_stems(["a/20240101.WAV"]) == ["20240101"]


def test_ravens_second_row_of_a_view_is_left_out(tmp_path: Path) -> None:
    row = "\t{}\t1\t1.5\t2.5\t0\t4000\towl\n"
    path = tmp_path / "x.Table.1.selections.txt"
    path.write_text(
        RAVEN + "\tSpecies\n1" + row.format("Waveform 1") + "1" + row.format("Spectrogram 1")
        + "2" + row.format("Waveform 1")
    )  # fmt: skip
    assert read_labels(path) == [("x", 1.5, 2.5, "owl", None)] * 2  # one was drawn on the waveform


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Selection\tView\n", "no column tells the start of an event in seconds; looked for"),
        (RAVEN + "\tNotes\n", "choose one with --label: Selection, View"),
        (RAVEN + "\tSpecies\n1\tS\t1\tx\t2\t0\t1\ta\n", "line 2: expected a start and an end"),
        (RAVEN + "\tSpecies\n1\tS\t1\n", "line 2: expected a start and an end"),
        (RAVEN + "\tSpecies\n1\tS\t1\t3\t2\t0\t1\ta\n", "line 2: from 3 to 2 s is no part"),
        (RAVEN + "\tSpecies\n1\tS\t1\t1\tinf\t0\t1\ta\n", "line 2: from 1 to inf s"),
    ],
)
def test_damaged_selection_tables_are_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(text)
    with pytest.raises(DatasetError, match=words):
        read_labels(tmp_path / "x.txt")


def test_tables_that_people_drew_in_raven() -> None:
    first = (
        "crowsetta-labels/raven-chronister-2021/Annotation_Files/Recording_1/Recording_1_Segment_"
    )
    tables = raven_tables(shared(f"{first}01.Table.1.selections.txt").parent)
    assert len(tables) == 36
    for table in tables:
        found = read_labels(table)
        assert len(found) == sum(bool(row.strip()) for row in table.read_text().splitlines()[1:])
        assert {one.recording for one in found} <= {table.name.partition(".")[0]}
    found = read_labels(
        shared("opensoundscape/MSD-0003_20180427_2minstart00.Table.1.selections.txt")
    )
    assert found[0] == (
        "MSD-0003_20180427_2minstart00", 1.897648165999982, 4.110570810999974, "WOTH", None,
    )  # fmt: skip
    assert read_labels(shared("opensoundscape/EmptyExample.Table.1.selections.txt")) == []
    assert read_labels(shared("opensoundscape/raven_with_Annotation_col.txt"))[0].label == "CSWA"


def test_crowsetta_opens_our_tables(tmp_path: Path) -> None:
    crowsetta = pytest.importorskip("crowsetta")
    events = [event(label or "x", i, i + 1, recording="rec/a.wav") for i, label in enumerate(NASTY)]
    [path] = write_raven(tmp_path, HEARD, events)
    raven = crowsetta.formats.bbox.Raven.from_file(path, annot_col="Annotation")
    assert len(raven.df) == len(events)
    assert [float(box.onset) for box in raven.to_bbox()] == [e.start for e in events]
    assert next(box.label for box in raven.to_bbox()) == "plain"
    sound_selection_table(tmp_path / "all.txt", HEARD, events)
    raven = crowsetta.formats.bbox.Raven.from_file(tmp_path / "all.txt", annot_col="Annotation")
    assert len(raven.df) == len(events)
    [path] = write_audacity(tmp_path, HEARD, events)
    labels = crowsetta.formats.seq.AudSeq.from_file(path)
    assert [float(onset) for onset in labels.start_times] == [e.start for e in events]


# Audacity and plain CSV


def test_audacity_labels(tmp_path: Path) -> None:
    paths = write_audacity(tmp_path, [*HEARD, Heard("c.wav", 1, 8000)], EVENTS)
    assert [path.name for path in paths] == ["a.labels.txt", "b.labels.txt"]
    assert paths[0].read_text() == "0.000000\t1.000000\tbird 0.93\n3.000000\t4.500000\tsaw 0.93\n"
    assert read_labels(paths[0], scores=True)[1] == ("a", 3, 4.5, "saw", 0.93)
    assert read_labels(paths[0])[1] == ("a", 3, 4.5, "saw 0.93", None)
    events = [event(label, i, i + 1, recording="rec/a.wav") for i, label in enumerate(NASTY)]
    write_audacity(tmp_path, HEARD, events)
    assert [path.name for path in tmp_path.iterdir()] == ["a.labels.txt"]
    lines = paths[0].read_bytes().split(b"\n")
    assert len(lines) == len(NASTY) + 1
    assert all(line.count(b"\t") == 2 for line in lines[:-1])


def test_a_persons_labels_are_not_written_over(tmp_path: Path) -> None:
    [path, _] = write_audacity(tmp_path, HEARD, EVENTS)
    write_audacity(tmp_path, HEARD, EVENTS)
    path.write_text(path.read_text() + "5.0\t6.0\tfox\n")
    with pytest.raises(DatasetError, match="spectro did not write it"):
        write_audacity(tmp_path, HEARD, EVENTS)
    assert "fox" in path.read_text()


def test_audacity_labels_with_frequencies(tmp_path: Path) -> None:
    text = "0.1\t0.5\tSP\r\n\\\t6441.0\t12296.5\r\n0,5\t3.0\tCR ER\r\n\\\t1\t2\r\n\r\n"
    (tmp_path / "x.txt").write_bytes(text.encode())
    assert read_labels(tmp_path / "x.txt") == [
        ("x", 0.1, 0.5, "SP", None), ("x", 0.5, 3.0, "CR ER", None),
    ]  # fmt: skip
    for line in ("a\tb\tc", "1.0", "2\t1\tx", "-1\t1\tx"):
        (tmp_path / "x.txt").write_text(f"0\t1\tok\n{line}\n")
        with pytest.raises(DatasetError, match=r"x.txt, line 2"):
            read_labels(tmp_path / "x.txt")


def test_labels_that_people_wrote_in_audacity() -> None:
    found = read_labels(shared("scikit-maad/spinetail.txt"))
    assert found[0] == ("spinetail", 0.101385, 0.36752, "SP", None)
    assert {one.label for one in found} == {"SP", "CRER"}
    name = "100_marron1_May_24_2016_62101389"
    folder = "crowsetta-labels/audacity-giraudon-2022/audacity-annotations"
    found = read_labels(shared(f"{folder}/{name}.audacity.txt"))
    assert found[1] == (name, 0.35, 0.664, "call", None)


def test_plain_csv(tmp_path: Path) -> None:
    (tmp_path / "night.csv").write_text("start,end,label\n1,2,'owl\n")
    assert read_labels(tmp_path / "night.csv") == [("night", 1, 2, "'owl", None)]
    write_csv(tmp_path / "e.csv", [event("=x")])
    assert read_labels(tmp_path / "e.csv") == [("a/night.wav", 1, 2.5, "=x", 0.93)]
    (tmp_path / "night.csv").write_text("start,end\n1,2\n")
    with pytest.raises(DatasetError, match="no column names the class; choose one with --label"):
        read_labels(tmp_path / "night.csv")


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"0\t1\tcaf\xe9\n")
    with pytest.raises(DatasetError, match="is not UTF-8; save it as that"):
        read_labels(tmp_path / "latin.txt")
    with pytest.raises(DatasetError, match=r"gone.txt: cannot be read \(No such file"):
        read_labels(tmp_path / "gone.txt")
    (tmp_path / "empty.txt").write_text("")
    assert read_labels(tmp_path / "empty.txt") == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.parametrize("read", [read_labels, read_csv, read_jsonl, is_store])
def test_a_pipe_is_refused_at_once(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises((DatasetError, OSError), match="it is no regular file"):
        list(read(tmp_path / "pipe"))  # type: ignore[call-overload]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
@pytest.mark.parametrize(
    ("write", "name"), [(write_raven, "a.Table.1.selections.txt"), (write_audacity, "a.labels.txt")]
)
def test_a_pipe_in_the_place_of_a_table_is_left_alone(
    tmp_path: Path, write: Callable[..., object], name: str
) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DatasetError, match="spectro did not write it"):
        write(tmp_path, [Heard("a.wav", 60.0, 16_000)], [])


def test_a_line_without_an_end_is_no_event(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_bytes(b"[" * (1 << 21))
    with pytest.raises(DatasetError, match="line 1: is no JSON"):
        list(read_jsonl(tmp_path / "e.jsonl"))
