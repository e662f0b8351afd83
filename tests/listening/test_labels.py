"""Labels of other programs: the same two events, however a program writes them down."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from spectro.errors import DatasetError
from spectro.listening.events.labels import read_labels

EVENTS = [("/r/a.wav", 1.0, 2.5, "dog"), ("/r/b.wav", 0.5, 4.0, "cat")]

# Names of the columns, as programs and people have them: recording, start, end, class
NAMES = [
    ("filename", "onset", "offset", "event_label"),  # DESED
    ("File", "Start (s)", "End (s)", "Common name"),  # BirdNET
    ("filepath", "start", "end", "common_name"),  # BirdNET for R
    ("audio_file", "start_time", "end_time", "annotation"),  # OpenSoundscape
    ("notated_path", "onset_s", "offset_s", "label"),  # crowsetta
    ("Begin File", "Begin Time (s)", "End Time (s)", "Species"),  # Raven
    ("Begin Path", "begin time (s)", "end time (s)", "Annotation"),
    ("file_name", "min_t", "max_t", "label"),  # scikit-maad
    ("audio_filename", "event_onset", "event_offset", "event_label"),
    ("File name", "Start", "Stop", "Class"),
    ("recording", "Onset", "Offset", "Category"),
    ("path", "tmin", "tmax", "tag"),
    ("WavFile", "StartTime", "EndTime", "Label"),
    ("Aufnahme", "start", "end", "label"),  # told by its cells: all are names of sounds
]


@pytest.mark.parametrize("names", NAMES, ids=lambda names: f"{names[0]}-{names[1]}")
@pytest.mark.parametrize("separator", [",", "\t", ";"], ids=["comma", "tab", "semicolon"])
def test_columns_have_many_names(names: tuple[str, ...], separator: str, tmp_path: Path) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=separator).writerows([names, *EVENTS])
    (tmp_path / "all.csv").write_text(buffer.getvalue())
    assert [one[:4] for one in read_labels(tmp_path / "all.csv")] == EVENTS


@pytest.mark.parametrize(
    ("header", "row", "span"),
    [
        ("file,start_ms,end_ms,label", "/r/a.wav,1000,2500,dog", (1, 2.5)),
        ("file,onset,duration,label", "/r/a.wav,1,1.5,dog", (1, 2.5)),
        ("file,Start (s),Length (ms),label", "/r/a.wav,1,1500,dog", (1, 2.5)),
        ("IN FILE,OFFSET,DURATION,MANUAL ID", "/r/a.wav,1,1.5,dog", (1, 2.5)),
        ("INDIR,FOLDER,IN FILE,OFFSET,DURATION,MANUAL ID", "/,r,a.wav,1,1.5,dog", (1, 2.5)),
        ("file,start,end,label", "/r/a.wav,0:00:01,0:00:02.5,dog", (1, 2.5)),
        ("file,start,end,label,confidence", "/r/a.wav,1,2.5, dog ,0.5", (1, 2.5)),
        ("file,start,end,label,score", "/r/a.wav,1,2.5,dog,high", (1, 2.5)),
    ],
)
def test_units_and_lengths(
    header: str, row: str, span: tuple[float, float], tmp_path: Path
) -> None:
    (tmp_path / "all.csv").write_text(f"{header}\n{row}\n")
    [one] = read_labels(tmp_path / "all.csv")
    assert (one.start, one.end, one.label) == (*span, "dog")
    assert one.recording.endswith("/r/a.wav")


@pytest.mark.parametrize(
    "name",
    [
        *("a.txt", "a.labels.txt", "a.Table.1.selections.txt", "a.selections.txt", "a.tsv"),
        *("a.BirdNET.selection.table.txt", "a.BirdNET.results.txt", "a.BirdNET.results.r.txt"),
        *("a.audacity.txt", "a.annotations.txt", "a.selection.table.txt", "a.raven.txt"),
    ],
)
def test_the_name_of_a_file_tells_the_recording(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("1\t2.5\tdog\n")
    assert read_labels(tmp_path / name) == [("a", 1, 2.5, "dog", None)]


@pytest.mark.parametrize(
    ("text", "recording"),
    [
        ("/r/a.wav\t1\t2.5\tdog\n/r/b.wav\t0.5\t4\tcat\n", None),
        ("/r/a.wav\tstreet\t1\t2.5\tdog\n/r/b.wav\thome\t0.5\t4\tcat\n", None),
        ("/r/a.wav,1,2.5,dog\n/r/b.wav,0.5,4,cat\n", None),
        ("1,2.5,dog\n0.5,4,cat\n", "x"),
        ("1.0 2.5 dog\n0.5 4 cat\n", "x"),
        ("1;2,5;dog\n0,5;4;cat\n", "x"),
        ("1.0\t2.5\tdog\t0.8123\n0.5\t4\tcat\t0.5\n", "x"),  # BirdNET for Audacity
    ],
)
def test_lines_without_a_header(text: str, recording: str | None, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(text)
    expected = [(recording or name, *rest) for name, *rest in EVENTS]
    assert [one[:4] for one in read_labels(tmp_path / "x.txt")] == expected


def test_windows_unicode_and_quotes_of_spreadsheets(tmp_path: Path) -> None:
    text = 'filename\tonset\toffset\tevent_label\r\n"a.wav"\t"1"\t2.5\t"a ""dog"""\r\n'
    (tmp_path / "x.txt").write_text(text, encoding="utf-16", newline="")
    assert read_labels(tmp_path / "x.txt") == [("a.wav", 1, 2.5, 'a "dog"', None)]


def test_a_recording_without_an_event_is_none(tmp_path: Path) -> None:
    """DESED lists it with empty cells."""
    text = "filename\tonset\toffset\tevent_label\na.wav\t\t\t\nb.wav\t1\t2\tdog\n"
    (tmp_path / "x.tsv").write_text(text)
    assert [one.recording for one in read_labels(tmp_path / "x.tsv")] == ["b.wav"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,when,label\na,1,x\n", "the start of an event in seconds; looked for start, begin,"),
        ("file,when,label\na,1,x\n", "and found file, when, label"),
        ("file,start,label\na,1,x\n", "the end of an event in seconds; looked for end, stop,"),
        ("file,start,end,what\na,1,2,x\n", "choose one with --label: file, start, end, what"),
        ("file,file,start,end,label\na,b,1,2,x\n", "has the column file twice"),
        ("Marks of a night\n", "found Marks of a night"),
    ],
)
def test_columns_that_are_not_known_are_named(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DatasetError, match=told):
        read_labels(tmp_path / "x.csv")


def test_times_through_several_recordings(tmp_path: Path) -> None:
    """Raven counts on from one recording to the next; File Offset tells each one's own time."""
    header = "Selection\tView\tBegin Time (s)\tEnd Time (s)\tSpecies\tBegin File"
    rows = ["1\tSpectrogram 1\t1\t2\towl\ta.wav", "2\tSpectrogram 1\t61\t62\towl\tb.wav"]
    path = tmp_path / "all.txt"
    path.write_text("\n".join([header, *rows]))
    with pytest.raises(DatasetError, match=r"is of 2 recordings, .* add Raven's .* File Offset"):
        read_labels(path)
    path.write_text("\n".join([f"{header}\tFile Offset (s)", f"{rows[0]}\t1", f"{rows[1]}\t1"]))
    assert [one[:3] for one in read_labels(path)] == [("a.wav", 1, 2), ("b.wav", 1, 2)]
    path.write_text("\n".join([header, rows[1], rows[0].replace("a.wav", "c.wav")]))
    assert [one[:3] for one in read_labels(path)] == [("b.wav", 61, 62), ("c.wav", 1, 2)]
