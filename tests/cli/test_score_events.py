"""``spectro score-events`` as a person meets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import Result
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.errors import SpectroError
from spectro.listening.events.annotations import Heard, write_raven
from spectro.listening.events.finding import Event
from spectro.listening.events.tables import write_csv
from tests.cli.test_cli import call

RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"


def event(recording: str, start: float, end: float, label: str) -> Event:
    return Event(recording, start, end, "", label, 0.9, 0.95, "", "", "")


FOUND = [
    event("/r/night.wav", 1.4, 2.5, "saw"),
    event("/r/night.wav", 9, 10, "saw"),
    event("/r/night.wav", 20, 21, "door_slam"),
    event("/r/other.wav", 5, 6, "saw"),
]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Marks of two recordings, one in Raven and one in Audacity."""
    folder = tmp_path / "marks"
    folder.mkdir()
    row = "{}\tSpectrogram 1\t1\t{}\t{}\t0\t4000\t{}\n"
    (folder / "night.Table.1.selections.txt").write_text(
        RAVEN + "Species\n" + row.format(1, 1.0, 2.0, "saw") + row.format(2, 20, 21, "door")
    )
    (folder / "other.txt").write_text("40.0\t41.0\tsaw\n")
    return folder


def score(*words: object) -> Result:
    return CliRunner().invoke(app, ["score-events", *map(str, words)], env={"COLUMNS": "120"})


def rows(done: Result) -> dict[str, list[str]]:
    assert done.exit_code == 0, done.output
    lines = [
        line.split() for line in done.output.splitlines() if line[:1].islower() or "all" in line
    ]
    return {words[0]: words[1:] for words in lines if words[0] != "note:"}


def test_counts_by_class_and_over_all(labels: Path, tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", FOUND)
    (tmp_path / "lengths.csv").write_text("recording,duration\nnight.wav,1800\nother.wav,1800\n")
    done = score(labels, tmp_path / "events.csv", "--rename", "door_slam=door",
                 "--durations", tmp_path / "lengths.csv")  # fmt: skip
    found = rows(done)
    assert found["saw"] == ["2", "3", "1", "33.3", "%", "50.0", "%", "40.0", "%", "2", "2"]
    assert found["door"] == ["1", "1", "1", "100.0", "%", "100.0", "%", "100.0", "%", "0", "0"]
    assert found["all"][:3] == ["3", "4", "2"]
    assert "2 recordings, 1 h; events are paired by: any overlap" in done.output


def test_a_collar_and_json(labels: Path, tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", FOUND)
    done = score(labels, tmp_path / "events.csv", "--collar", 0.2, "--json")
    found = json.loads(done.output)
    assert found["rule"].startswith("starts within 0.2 s")
    assert (found["overall"]["found"], found["hours"], found["recordings"]) == (0, None, 2)
    done = score(labels, tmp_path / "events.csv", "--collar", 0.4, "--json")
    by_class = {row["label"]: row for row in json.loads(done.output)["classes"]}
    assert by_class["saw"]["found"] == 1
    assert by_class["saw"]["alarms_per_hour"] is None


def test_what_we_write_scores_as_itself(tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", FOUND)
    heard = [Heard(f"/r/{name}.wav", 60, 8000) for name in ("night", "other")]
    write_raven(tmp_path / "raven", heard, FOUND)
    done = score(
        tmp_path / "raven", tmp_path / "events.csv", "--collar", 0, "--end-share", 0, "--json"
    )
    overall = json.loads(done.output)["overall"]
    assert (overall["f1"], overall["marked"]) == (1.0, 4)


def test_what_may_be_wrong_is_said(labels: Path, tmp_path: Path) -> None:
    write_csv(tmp_path / "events.csv", [*FOUND, event("/r/third.wav", 1, 2, "saw")])
    told = score(labels, tmp_path / "events.csv").output
    assert "never detected: door; never marked: door_slam; if two of them are one class" in told
    assert "1 recording with detected events and no marked one, as third" in told
    assert "name all recordings with --durations" in told
    sf.write(tmp_path / "night.wav", np.zeros(80), 8000)
    done = score(labels, tmp_path / "events.csv", "--durations", tmp_path / "night.wav")
    assert isinstance(done.exception, SpectroError)
    assert "has events, and is not among the recordings" in str(done.exception)


def test_recordings_that_nobody_marked_are_named_and_can_be_left_out(
    labels: Path, tmp_path: Path
) -> None:
    """Of a scan of many nights, a person marks some."""
    scan = tmp_path / "scan"
    scan.mkdir()
    found = [*FOUND, event("/r/third.wav", 1, 2, "saw"), event("/r/quiet.wav", 1, 2, "saw")]
    write_csv(scan / "events.csv", found)
    names = ("night", "other", "third", "quiet")
    lengths = "".join(f"/r/{name}.wav,1800\n" for name in names)
    (scan / "recordings.csv").write_text("recording,seconds\n" + lengths)
    (labels / "quiet.txt").write_text("")  # somebody listened, and there was nothing
    whole = score(labels, scan)
    assert rows(whole)["all"][:3] == ["3", "6", "1"]
    told = "2 recordings with detected events and no marked one, as quiet: their 2 events count as"
    assert f"{told} false alarms" in " ".join(whole.output.split())
    marked = score(labels, scan, "--marked-only")
    assert rows(marked)["all"][:3] == ["3", "5", "1"]
    assert "3 recordings, 1.5 h" in marked.output
    assert "third" not in marked.output
    night = tmp_path / "lengths.csv"
    night.write_text("recording,duration\nnight.wav,1800\nother.wav,1800\nquiet.wav,1800\n")
    assert rows(score(labels, scan, "--marked-only", "--durations", night)) == rows(marked)


def test_bad_input_is_one_line(labels: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("1\t2\tok\nx\ty\tz\n")
    done = call("score-events", labels, tmp_path / "bad.txt")
    assert done.returncode == 1
    assert done.stderr == (
        f"spectro: {tmp_path}/bad.txt, line 2: expected a start and an end in seconds, not 'x' and "
        "'y'\n"
    )
    for words in (
        (tmp_path / "gone", tmp_path / "bad.txt"),
        (labels, labels, "--rename", "x"),
        (labels, labels, "--label", "Nothing"),
        (labels, labels, "--durations", tmp_path / "gone"),
    ):
        done = score(*words)
        assert isinstance(done.exception, SpectroError), done.output
        assert "\n" not in str(done.exception)


@pytest.fixture
def scanned(tmp_path: Path) -> Path:
    """What a scan leaves, with labels for Audacity and evidence beside its tables."""
    folder = tmp_path / "found"
    folder.mkdir()
    write_csv(folder / "events.csv", FOUND)
    (folder / "recordings.csv").write_text(
        "recording,seconds,sr,began,events,error,schema\n/r/night.wav,1800,8000,,3,,1\n"
        "/r/other.wav,1800,8000,,1,,1\n/r/bad.wav,,,,,cannot be read,1\n"
    )
    (folder / "night.labels.txt").write_text("1.4\t2.5\tsaw 0.95\n")
    return folder


def test_the_folder_of_a_scan(labels: Path, scanned: Path, tmp_path: Path) -> None:
    found = json.loads(score(labels, scanned, "--json").output)
    assert (found["overall"]["detected"], found["hours"], found["recordings"]) == (4, 1, 2)
    (labels / "third.txt").write_text("1\t2\tsaw\n")
    done = score(labels, scanned)
    assert "1 recording with marks that the scan did not hear, as third" in done.output
    other = tmp_path / "other"
    other.mkdir()
    (other / "unheard.txt").write_text("1\t2\tsaw\n")
    done = score(other, scanned)
    assert "the scan heard none of the recordings that have marks, as unheard" in str(
        done.exception
    )


def test_events_that_cannot_be_are_told(labels: Path, scanned: Path, tmp_path: Path) -> None:
    (labels / "other.txt").write_text("2.0\t1801\tsaw\n2.0\t1801\tsaw\n")
    told = " ".join(score(labels, scanned).output.split())
    assert "2 marked events behind the end of the recording, as saw to 1801 s in other" in told
    assert "1 marked event listed twice: each counts as another" in told


def test_birdnets_files_pair_with_a_scan(scanned: Path, tmp_path: Path) -> None:
    marks = tmp_path / "birdnet"
    marks.mkdir()
    head = "Start (s),End (s),Scientific name,Common name,Confidence,File\n"
    (marks / "night.BirdNET.results.csv").write_text(head + "1,2,Serra,saw,0.9,/x/night.wav\n")
    (marks / "other.BirdNET.selection.table.txt").write_text(
        RAVEN + "Common Name\n1\tSpectrogram 1\t1\t5\t6\t0\t4000\tsaw\n"
    )
    overall = json.loads(score(marks, scanned, "--json").output)["overall"]
    assert (overall["marked"], overall["found"]) == (2, 2)
    by_column = json.loads(score(marks / "night.BirdNET.results.csv", scanned, "--label",
                                 "Scientific name", "--json").output)  # fmt: skip
    assert [row["label"] for row in by_column["classes"]] == ["Serra", "door_slam", "saw"]
    done = score(marks, scanned, "--label", "Sience")
    assert isinstance(done.exception, SpectroError)
