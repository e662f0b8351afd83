"""What was heard live is judged in its own clips, and becomes clips to train on."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.clips import datasets
from spectro.errors import DatasetError, SpectroError
from spectro.listening.events.finding import Event, Origin
from spectro.listening.events.settings import EventSettings
from spectro.listening.events.store import EventStore
from spectro.listening.events.tables import write_csv
from spectro.listening.live.delivery.messages import event as message
from spectro.listening.live.evidence.store import EvidenceStore
from spectro.listening.live.evidence.writer import EvidenceWriter, Job
from spectro.listening.live.hearing.ears import Ears, Site
from spectro.listening.live.hearing.session import Session
from spectro.listening.live.sources.pcm import Format
from spectro.listening.live.stats import ListenerStats
from spectro.listening.review.evidence import picture, sound
from spectro.listening.review.kept import read_kept
from spectro.listening.review.session import Given
from spectro.listening.review.session import Session as Review
from spectro.listening.review.verdicts import Verdicts, read_verdicts
from spectro.listening.thresholds.confirmed import read_confirmed
from tests.listening.ears import tones
from tests.listening.live.hearing import (
    CARD_OF_EARS,
    EVENTS,
    SR,
    FakeEars,
    listening,
    model_folder,
    recording,
)
from tests.listening.live.hearing import sound as heard_sound
from tests.listening.review.test_review import give, reviewing

TONES = ((3000, 5, 7), (200, 15, 16.5), (3000, 24, 40))  # the last is longer than its clip
DAYS = (1, 2)  # of May, on which the same was heard


@pytest.fixture(scope="module")
def recorded() -> np.ndarray:
    return heard_sound(*TONES, seconds=45)[:, np.newaxis]


@pytest.fixture(scope="module")
def made(recorded: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evidence of two days at a door."""
    folder = tmp_path_factory.mktemp("listener") / "evidence"
    writer = EvidenceWriter(
        EvidenceStore(folder, 50, 0), CARD_OF_EARS, ListenerStats(), lambda *told: pytest.fail(told)
    )
    for day in DAYS:
        hear(recorded, day, writer)
    return folder


def hear(y: np.ndarray, day: int, writer: EvidenceWriter) -> None:
    site = Site("office", EventSettings(**EVENTS), 0.5)
    origin = Origin(f"door-2026050{day}T090000Z", datetime(2026, 5, day, 11), "office", "ears")
    session = Session(Ears(FakeEars(), "ears"), site, Format("s16le", SR, 1), origin)
    for heard in [*session.push(y), *session.finish()]:
        if heard.state == "over":
            about = message(heard.raised.id, "over", "door", heard.raised.event, 0.0)
            stem = f"2026050{day}T090000Z-{heard.raised.id}"
            assert heard.sound is not None
            writer.add(Job(stem, about, heard.sound, site.events, {}))
            writer.step(0)


@pytest.fixture
def evidence(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "evidence")


def facts_of(folder: Path, label: str = "low") -> Path:
    return min(folder.glob(f"{label}/*.json"))


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(*words: str | Path) -> str:
    with pytest.raises(SpectroError) as told:
        app(["review", *map(str, words)], standalone_mode=False)
    assert "\n" not in str(told.value)
    return str(told.value)


# -------------------------------------------------------------------------------------- the clips


def test_each_event_is_where_its_clip_says(evidence: Path, recorded: np.ndarray) -> None:
    found, problems = read_kept(evidence)
    assert (len(found), problems) == (len(TONES) * len(DAYS), [])
    for one in found:
        about = json.loads(one.file.with_suffix(".json").read_text())
        y, sr = sf.read(one.file, dtype="float32")
        first = place(y, recorded[:, 0])
        clip = first / sr, (first + len(y)) / sr
        assert first / sr + one.event.start == pytest.approx(max(about["start"], clip[0]), abs=1e-4)
        assert first / sr + one.event.end == pytest.approx(min(about["end"], clip[1]), abs=1e-4)
        assert one.event.label == about["label"]
        assert one.event.begin_time == about["begin_time"]
    assert {one.event.recording for one in found} == {"door 2026-05-01", "door 2026-05-02"}
    doubts = [one.doubt for one in found]
    assert doubts == sorted(doubts, reverse=True)


def place(y: np.ndarray, whole: np.ndarray) -> int:
    """Find where a part of a recording was cut from, by its 16-bit samples."""
    part, samples = (np.rint(x * 32_768).astype(np.int32) for x in (y, whole))
    starts = np.arange(len(samples) - len(part) + 1)
    for i in range(len(part)):
        starts = starts[samples[starts + i] == part[i]]
        if len(starts) == 1:
            break
    [first] = starts
    assert np.array_equal(samples[first : first + len(part)], part)
    return int(first)


def test_older_evidence_shows_the_window(evidence: Path) -> None:
    path = facts_of(evidence)
    about = json.loads(path.read_text())
    del about["event"]
    path.write_text(json.dumps(about))
    [one] = [one for one in read_kept(evidence).found if one.file == path.with_suffix(".flac")]
    assert (one.event.start, one.event.end) == (
        about["window"]["start_in_clip"],
        about["window"]["end_in_clip"],
    )


def test_a_class_can_be_reviewed_alone_and_other_files_are_let_alone(evidence: Path) -> None:
    (evidence / "high" / "mine.json").write_text("{")
    (evidence / "notes.txt").write_text("mine")
    assert {one.event.label for one in read_kept(evidence / "high").found} == {"high"}
    assert read_kept(evidence).problems == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"event": {"start_in_clip": 3, "end_in_clip": 1}}, "start_in_clip is not before"),
        ({"event": {"start_in_clip": float("nan"), "end_in_clip": 1}}, "start_in_clip"),
        ({"window": {"start_in_clip": 0, "end_in_clip": 1e300}}, "end_in_clip"),
        ({"window": [[[[]]]]}, "window"),
        ({"label": "a\rb"}, "carriage return"),
        ({"label": "\ud800"}, "label"),
        ({"source": 7}, "source"),
        ({"begin_time": "../../canary"}, "begin_time"),
        ({"peak": 2}, "peak"),
        ({"padding": "x" * (1 << 20)}, "too big"),
    ],
)
def test_a_damaged_event_costs_itself(
    evidence: Path, changes: dict[str, object], told: str
) -> None:
    path = facts_of(evidence)
    change(path, **changes)
    found, [problem] = read_kept(evidence)
    assert len(found) == len(TONES) * len(DAYS) - 1
    assert problem.startswith(f"{path}: ")
    assert told in problem
    assert len(problem) < 500


@pytest.mark.parametrize("suffix", [".json", ".flac"])
@pytest.mark.parametrize("kind", ["link", "gone", "pipe"])
def test_only_regular_files_of_the_folder_are_opened(
    evidence: Path, tmp_path: Path, suffix: str, kind: str
) -> None:
    path = facts_of(evidence).with_suffix(suffix)
    outside = tmp_path / f"canary{suffix}"
    path.rename(outside)
    if kind == "link":
        path.symlink_to(outside)
    if kind == "pipe":
        os.mkfifo(path)
    found, problems = read_kept(evidence)
    assert len(found) == len(TONES) * len(DAYS) - 1
    assert len(problems) == (not (kind == "gone" and suffix == ".json"))


def test_more_events_than_can_be_are_refused(
    evidence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spectro.listening.review.kept._MOST", 5)
    with pytest.raises(DatasetError, match="holds more than 5 events; review a class at a time"):
        read_kept(evidence)
    assert len(read_kept(evidence / "high").found) == 4


def test_what_a_json_names_is_not_opened(evidence: Path, tmp_path: Path) -> None:
    path = facts_of(evidence)
    change(path, evidence=str(tmp_path / "canary"), recording="../canary.wav")
    (tmp_path / "else").mkdir()
    (evidence / "elsewhere").symlink_to(tmp_path / "else")
    shutil.copy(path, tmp_path / "else" / path.name)
    found = read_kept(evidence).found
    assert {one.file.resolve().parent.parent for one in found} == {evidence.resolve()}


# ----------------------------------------------------------------------------------- the verdicts


def test_verdicts_become_clips_by_source_and_day(evidence: Path, tmp_path: Path) -> None:
    found = read_kept(evidence).found
    out = tmp_path / "evidence.verdicts.csv"
    review = Review(found, Verdicts(out), "background")
    assert review.state().total == review.state().left == 6  # those of two days lie alike
    while items := review.state().next:
        item = items[0]
        one = found[item.number]
        assert item.error == ""
        assert item.start <= item.event.start < item.event.end <= item.end
        assert picture(one).startswith(b"\x89PNG")
        y, sr = sf.read(io.BytesIO(sound(one)))
        at = round((one.event.start - item.start) * sr)
        part = y[at : at + round((one.event.end - one.event.start) * sr)]
        loudest = np.argmax(np.abs(np.fft.rfft(part))) * sr / len(part)
        assert loudest == pytest.approx({"high": 3000, "low": 200}[one.event.label], abs=5)
        given = "yes" if one.event.label == "high" else "no"
        review.give(Given(number=item.number, verdict=given))  # type: ignore[arg-type]
    review.verdicts.close()
    assert Review(found, Verdicts(out), "background").state().left == 0
    assert {row.path for row in read_verdicts(out)} == {
        one.file.relative_to(tmp_path).as_posix() for one in found
    }
    dataset = datasets.load(out, n_folds=2)
    assert dataset.labels == ["background", "high"]
    assert dict(dataset.clips.groupby("group")["fold"].nunique()) == {
        "door 2026-05-01": 1, "door 2026-05-02": 1,
    }  # fmt: skip
    confirmed = {str(one.file.resolve()) for one in found if one.event.label == "high"}
    assert set(read_confirmed([out], ["high"])) == confirmed


@pytest.mark.long
def test_a_listener_a_review_and_clips_from_the_command_line(tmp_path: Path) -> None:
    night = recording(tmp_path / "20260501_230000.wav", *TONES, seconds=45)
    evidence = tmp_path / "evidence"
    process = listening(
        model_folder(tmp_path / "ears"), night, "--hop", "0.5", "--evidence", evidence,
        "--state", tmp_path / "state", "--name", "door",
    )  # fmt: skip
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told.decode()
    with reviewing(evidence) as service:
        state = service.ask("state").json
        assert state["out"] == "evidence.verdicts.csv"
        assert [item["event"]["recording"] for item in state["next"]] == ["door 2026-05-01"] * 3
        number = state["next"][0]["number"]
        assert service.ask(f"events/{number}/picture").body.startswith(b"\x89PNG")
        y, sr = sf.read(io.BytesIO(service.ask(f"events/{number}/sound").body))
        assert len(y) / sr > 2
        for verdict in ("yes", "no", "yes"):
            give(service, verdict)
    verdicts = tmp_path / "evidence.verdicts.csv"
    for label, tone in (("high", 3000), ("background", 50)):
        for i in range(2):
            (tmp_path / "sounds" / label).mkdir(parents=True, exist_ok=True)
            tones(tmp_path / "sounds" / label / f"{i}.wav", (tone, 0, 1), seconds=1)
    words = [tmp_path / "sounds", "--verdicts", verdicts]
    out = ["--out", tmp_path / "pictures", "--duration", "1", "--n-folds", "2"]
    told = {}
    for command in (["render", *words, *out], ["check", *words]):
        done = subprocess.run(
            [sys.executable, "-m", "spectro", *command],
            check=False,
            text=True,
            stdout=subprocess.PIPE,
        )
        told[command[0]] = done.stdout
    assert "rendered 7" in told["render"]
    assert "3 x FLAC" in told["check"]
    drawn = (tmp_path / "pictures" / "clips.csv").read_text()
    assert drawn.count(".flac") == 3
    assert len(list((tmp_path / "pictures").glob("fold*/*.png"))) == 4 + 3


# -------------------------------------------------------------------------------- what goes wrong


def test_a_folder_without_evidence_says_what_to_name(evidence: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = refused(tmp_path / "empty")
    assert told.startswith(f"{tmp_path / 'empty'}: holds no event")
    assert "--evidence" in told and "events.csv" in told
    done = CliRunner().invoke(app, ["review", str(evidence), "--recordings", str(tmp_path)])
    assert done.exit_code == 2
    assert "holds its own clips" in " ".join(done.output.replace("│", "").split())


def test_tables_and_stores_of_a_listener_name_the_way_that_works(
    evidence: Path, tmp_path: Path
) -> None:
    EventStore(tmp_path / "live.sqlite").prepare()
    told = refused(tmp_path / "live.sqlite")
    assert "spectro review EVIDENCE" in told
    assert f"spectro events {tmp_path / 'live.sqlite'} --csv FILE" in told
    live = Event("door-20260501T090000Z", 5, 7, "", "high", 0.9, 0.9, "", "", "")
    write_csv(tmp_path / "live.csv", [live])
    told = refused(tmp_path / "live.csv", "--recordings", evidence)
    assert f"spectro review {evidence} judges what" in told
    (tmp_path / "none").mkdir()
    assert "spectro review EVIDENCE" in refused(
        tmp_path / "live.csv", "--recordings", tmp_path / "none"
    )
