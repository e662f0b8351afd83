"""``spectro scan``: what it finds, writes and says, and that nothing is lost whatever happens."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner, Result

from spectro.cli.app import app
from spectro.errors import ConfigError, DatasetError, ModelError, SpectroError
from spectro.listening.classifier import Classifier
from spectro.listening.events.labels import read_labels
from spectro.listening.events.settings import EventSettings
from spectro.listening.events.tables import read_csv, read_jsonl
from spectro.listening.recordings import find_recordings
from spectro.listening.scan import score_windows
from spectro.listening.thresholds.site import ClassEvidence, SiteThresholds
from spectro.models.identity import model_hash
from tests.cli.test_cli import call
from tests.listening.ears import LABELS, SR, make_ears, tones

EVENTS = ("--on", "0.3", "--ignore", "quiet", "--hop", "0.5")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ears(tmp_path_factory.mktemp("scan") / "model")


@pytest.fixture
def night(tmp_path: Path) -> Path:
    return tones(tmp_path / "20260501_230000.wav", (3000, 2, 5), (200, 7, 10))


def scan(model: Path, *words: object, status: int = 0) -> Result:
    result = CliRunner().invoke(app, ["scan", *map(str, (model, *EVENTS, *words))])
    if isinstance(result.exception, SpectroError):
        raise result.exception
    assert result.exit_code == status, result.output
    return result


def test_sounds_become_events_in_every_format(model: Path, night: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    formats = [f"--format={name}" for name in ("jsonl", "parquet", "audacity", "raven")]
    told = scan(model, night, "--out", out, *formats).output
    events = list(read_csv(out / "events.csv"))
    assert [event.label for event in events] == ["high", "low"]
    for event, (start, end) in zip(events, [(2, 5), (7, 10)], strict=True):
        assert abs(event.start - start) <= 0.5
        assert abs(event.end - end) <= 0.5
        assert (event.recording, event.model) == (str(night), model_hash(model))
    assert events[0].begin_time.startswith("2026-05-01T23:00:0")
    assert [e.label for e in read_jsonl(out / "events.jsonl")] == ["high", "low"]
    import pyarrow.parquet as pq

    assert pq.read_table(out / "events.parquet")["label"].to_pylist() == ["high", "low"]
    [labels] = (out / "audacity").iterdir()
    assert [one.label.split()[0] for one in read_labels(labels)] == ["high", "low"]
    [table] = (out / "raven").iterdir()
    assert [one.label for one in read_labels(table)] == ["high", "low"]
    assert len(read_labels(out / "raven-all.selections.txt")) == 2
    assert "began 2026-05-01 23:00:00 (from the file name, time zone not stated)" in told
    assert "x real time" in told
    with (out / "recordings.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["seconds"], row["events"], row["error"]) == ("12", "2", "")
    assert (row["began"], row["began_from"]) == ("2026-05-01T23:00:00", "name")


def test_tables_of_an_earlier_scan_are_told(model: Path, night: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    both = ["--format", "jsonl", "--format", "raven"]
    assert "of an earlier scan" not in scan(model, night, "--out", out, *both).output
    told = " ".join(scan(model, night, "--out", out, "--format", "jsonl").output.split())
    assert "of an earlier scan, not of this one: raven, raven-all.selections.txt in" in told


def test_a_second_scan_reads_nothing_again(model: Path, night: Path, tmp_path: Path) -> None:
    scan(model, night, "--out", tmp_path / "out")
    first = (tmp_path / "out" / "events.csv").read_bytes()
    told = scan(model, night, "--out", tmp_path / "out", "--json").output
    assert json.loads(told)["real_time"] is None
    assert json.loads(told)["events"] == {"quiet": 0, "high": 1, "low": 1}
    assert (tmp_path / "out" / "events.csv").read_bytes() == first


def test_one_percent_broken_files_cost_themselves(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    folder.mkdir()
    for i in range(100):
        tones(folder / f"{i:03}.wav", (3000, 0.5, 1.5), seconds=2)
    good = (folder / "007.wav").read_bytes()
    (folder / "007.wav").write_bytes(good[:9_000])
    (folder / "notes.txt").write_text("rain")
    (folder / "008.wav.1").write_bytes(good)
    result = scan(model, folder, "--out", tmp_path / "out", status=3)
    assert "007.wav: truncated" in " ".join(result.output.split())
    assert "1 file is no sound by its name: passed over" in result.output
    assert len(list(read_csv(tmp_path / "out" / "events.csv"))) == 99
    (folder / "007.wav").write_bytes(good)
    told = scan(model, folder, "--out", tmp_path / "out", "--json").output
    assert json.loads(told.partition("\n")[2])["failed"] == {}
    assert len(list(read_csv(tmp_path / "out" / "events.csv"))) == 100


def test_empty_recordings_are_named_and_silence_raises_nothing(model: Path, tmp_path: Path) -> None:
    for name, n in (("empty", 0), ("one", 1), ("silent", 5 * SR)):
        sf.write(tmp_path / f"{name}.wav", np.zeros(n), SR)
    result = scan(model, tmp_path / "*.wav", "--out", tmp_path / "out", "--on", "0.01", status=3)
    assert "has no samples" in result.output or "no sound between" in result.output
    assert list(read_csv(tmp_path / "out" / "events.csv")) == []


def test_a_name_that_fits_nothing_beside_others_is_told_as_such(
    model: Path, night: Path, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    asked = (night, tmp_path / "none", tmp_path / "*.flac", tmp_path / "gone.wav")
    words = ("--out", tmp_path / "out", "--json", "--workers", "1")  # in the order of the names
    result = scan(model, *asked, *words, status=3)
    failed = json.loads(result.output[result.output.index("{") : result.output.rindex("}") + 1])
    whys = [why.removeprefix(f"{path}: ") for path, why in failed["failed"].items()]
    assert whys == [
        "cannot be read (No such file or directory)",
        "holds no sound file; name another folder",
        "no file fits this pattern",
    ]


def test_a_file_that_grows_is_heard_as_it_was_and_then_again(model: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "grows.wav", tmp_path / "out"
    tones(tmp_path / "all.wav", (3000, 5, 7), (200, 30, 33), seconds=40)
    whole = (tmp_path / "all.wav").read_bytes()
    stop = threading.Event()

    def recorder() -> None:  # the header tells the whole length, as recorders write it at first
        with path.open("wb", buffering=0) as file:
            for at in range(0, len(whole), 20_000):
                file.write(whole[at : at + 20_000])
                if at == 200_000:
                    stop.wait()

    growing = threading.Thread(target=recorder)
    growing.start()
    while not path.exists() or path.stat().st_size < 200_000:
        time.sleep(0.01)
    result = scan(model, path, "--out", out, status=3)
    assert "truncated" in result.output
    stop.set()
    growing.join()
    scan(model, path, "--out", out)
    assert [e.label for e in read_csv(out / "events.csv")] == ["high", "low"]


def test_what_cannot_be_is_one_line(model: Path, night: Path, tmp_path: Path) -> None:
    other, out = tones(tmp_path / "other.wav"), ("--out", tmp_path / "out")
    for words, error, told in [
        ((night, other, "--start-time", "2026-01-01 00:00"), ConfigError, "--start-time is of one"),
        ((night, other, "--page"), ConfigError, "--page is of one recording"),
        ((night, "--start-time", "now"), ConfigError, "is no start time"),
        ((night, "--hop", "0"), ConfigError, "hop is 0 s"),
        ((night, "--format", "xml"), ConfigError, "--format 'xml' is none of csv"),
        ((night, "--backend", "abacus"), ConfigError, "is none of auto, torch"),
        ((night, "--ignore", "wolf"), ConfigError, "'wolf', which the model does not know"),
        ((night, "--site", "ridge"), ModelError, "has no thresholds for ridge"),
        ((tmp_path / "*.flac",), DatasetError, "no file fits this pattern"),
        ((model,), DatasetError, "holds no sound file"),
    ]:
        with pytest.raises(error, match=told):
            scan(model, *words, *out)
    with pytest.raises(ModelError, match="is no model folder"):
        scan(tmp_path, night, *out)
    assert not (tmp_path / "out").exists()


def test_a_site_brings_thresholds_and_says_where_they_do_not_fit(
    model: Path, night: Path, tmp_path: Path
) -> None:
    def site(**changes: object) -> None:
        own = EventSettings(on=0.3, off=0.2, extent=0.2, ignore=("low", "quiet"))
        SiteThresholds(**{
            "site": "ridge", "model": model_hash(model), "budget": 1, "confidence": 0.95,
            "supported": True, "hop": 0.5, "hours": 3, "recordings": {"b.wav": 3.0},
            "settings": own, "classes": {label: ClassEvidence(chosen=None) for label in LABELS},
            **changes,
        }).save(model)  # fmt: skip

    words = (model, night, "--site", "ridge", "--out", tmp_path / "out")

    def told(*more: str) -> str:
        result = CliRunner().invoke(app, ["scan", *map(str, (*words, *more))])
        assert result.exit_code == 0, result.output
        return result.output

    def refused(*more: str) -> str:
        result = CliRunner().invoke(app, ["scan", *map(str, (*words, *more))])
        assert isinstance(result.exception, ConfigError), result.output
        return str(result.exception)

    site()
    assert "WARNING" not in told()
    [event] = read_csv(tmp_path / "out" / "events.csv")
    assert (event.label, event.site) == ("high", "ridge")
    assert "hop of 0.5 s, not 1" in told("--hop", "1")
    site(model="another", supported=False)
    assert "of another model" in told()
    assert "nothing is claimed of" in told()
    site(backend="int8")
    assert "are of the model in eight bits, not 32: its alarms an hour do not hold" in told()
    site(backend="onnx")
    assert "WARNING" not in told()
    site()
    assert "found without --merge-gap: its alarms an hour do not hold" in told("--merge-gap", "0")
    (tmp_path / "own.toml").write_text('[events]\non = 0.9\nignore = ["high"]\n')
    config = ("--config", str(tmp_path / "own.toml"))
    assert "the settings of ridge hold, and not what" in told(*config)
    assert list(read_csv(tmp_path / "out" / "events.csv")) == []  # ignored by the file
    for option in ("--on", "--off", "--extent"):
        assert f"{option} goes without --site: each class has" in refused(option, "0.1")
    (tmp_path / "own.toml").write_text("[events]\nonn = 0.9\n")
    assert "unknown setting onn" in refused(*config)


def test_warnings_and_names_that_fit_nothing_leave_json_and_the_others_alone(
    model: Path, night: Path, tmp_path: Path
) -> None:
    own = EventSettings(on=0.3, off=0.2, extent=0.2)
    SiteThresholds(
        site="ridge", model="another", budget=1, confidence=0.95, supported=True, hop=0.5, hours=3,
        recordings={"b.wav": 3.0}, settings=own,
        classes={label: ClassEvidence(chosen=None) for label in LABELS},
    ).save(model)  # fmt: skip
    (tmp_path / "empty").mkdir()
    words = ["scan", model, night, tmp_path / "zz*.wav", tmp_path / "empty", "--site", "ridge"]
    result = CliRunner().invoke(app, [*map(str, words), "--json", "--out", str(tmp_path / "out")])
    assert result.exit_code == 3, result.output
    told = json.loads(result.stdout)
    assert told["recordings"] == 1 and len(told["failed"]) == 2
    assert told["events"]["high"] > 0
    assert "WARNING" in result.stderr and "zz*.wav" in result.stderr


def test_results_are_not_scanned_themselves(model: Path, night: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        scan(model, tmp_path, "--out", out, "--evidence", "2")
        assert [one.recording for one in read_csv(out / "events.csv")] == [str(night)] * 2
    assert find_recordings([str(tmp_path)]).paths != [str(night)]  # there are clips, to be left out


def test_a_disk_that_is_full_at_the_evidence_is_told(
    model: Path, night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not pass for a recording that has gone, whose cells stay empty."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "out"
    for place in ("pathlib.Path.write_bytes", "spectro.listening.outputs.evidence.save_png"):
        monkeypatch.setattr(place, full)
        words = ["scan", model, night, "--out", out, "--evidence", "2"]
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code != 0, place
        assert "No space left" in str(result.exception), place
        assert not (out / "evidence").exists(), place
        monkeypatch.undo()


def test_a_window_says_what_prediction_and_a_long_walk_say(model: Path, night: Path) -> None:
    """The clip of an aligned window, cut out as a file, has the window's probabilities."""
    classifier = Classifier.load(model, backend="onnx")
    listener = classifier._backend
    scored = list(score_windows(night, listener, 0.5))
    walked = list(classifier.classify_long(night, hop=0.5))
    threaded = list(score_windows(night, listener, 0.5, threads=3))
    assert len(scored) == len(walked) == len(threaded) > 20
    for window, other, third in zip(scored, walked, threaded, strict=True):
        assert (window.start, window.end) == (other.start, other.end) == third[:2]
        assert np.array_equal(window.probabilities, other.probabilities)
        assert np.array_equal(window.probabilities, third.probabilities)
    y, _ = sf.read(night, dtype="int16")
    for window in scored[::7]:
        clip = night.with_name("clip.wav")
        sf.write(clip, y[round(window.start * SR) : round(window.end * SR)], SR)
        [alone] = classifier.classify([clip])
        assert np.array_equal(alone.probabilities, window.probabilities)


def test_files_by_files_or_by_a_cluster_of_threads(model: Path, tmp_path: Path) -> None:
    for i in range(5):
        tones(tmp_path / f"{i}.wav", (3000, i, i + 2))
    tables = set()
    for workers in (1, 2, 8):
        out = tmp_path / f"out{workers}"
        scan(model, tmp_path / "*.wav", "--out", out, "--workers", workers)
        tables.add((out / "events.csv").read_bytes())
    assert len(tables) == 1


# ------------------------------------------------------------------------- real processes, and slow


def command(model: Path, *words: object) -> list[str]:
    return [sys.executable, "-m", "spectro", "scan", *map(str, (model, *EVENTS, *words))]


@pytest.mark.long
def test_killed_at_twenty_moments_it_ends_in_the_same_table(model: Path, tmp_path: Path) -> None:
    folder, rng = tmp_path / "night", random.Random(14)
    folder.mkdir()
    for i in range(200):
        tones(folder / f"{i:03}.wav", (3000, i % 9, i % 9 + 2), (200, 15, 18), seconds=60)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    began = time.monotonic()
    subprocess.run(command(model, folder, "--out", tmp_path / "whole"), check=True, **quiet)
    whole = time.monotonic() - began
    killed, ended = [], 0

    def check() -> None:
        for name in ("events.csv", "recordings.csv"):
            made = (tmp_path / "out" / name).read_bytes()
            assert made == (tmp_path / "whole" / name).read_bytes()

    while len(killed) < 20:
        process = subprocess.Popen(command(model, folder, "--out", tmp_path / "out"), **quiet)
        time.sleep(rng.uniform(0.3, 1.0) * whole)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed.append(len(list((tmp_path / "out").rglob("*.json"))))
        process.wait()
        if process.returncode == 0:  # it got to the end: check, and begin anew
            check()
            shutil.rmtree(tmp_path / "out")
            ended += 1
        assert ended < 60
    subprocess.run(command(model, folder, "--out", tmp_path / "out"), check=True, **quiet)
    check()
    assert (
        len({number for number in killed if 0 < number < 200}) > 3
    )  # here and there in the middle


@pytest.mark.long
def test_two_processes_on_one_folder_do_no_harm(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "night"
    folder.mkdir()
    for i in range(40):
        tones(folder / f"{i:03}.wav", (3000, i % 9, i % 9 + 2))
    words = ("--out", tmp_path / "both", "--format", "raven", "--evidence", "3")
    both = [subprocess.Popen(command(model, folder, *words)) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    scan(model, folder, "--out", tmp_path / "alone")
    alone = (tmp_path / "alone" / "events.csv").read_bytes()
    assert (tmp_path / "both" / "events.csv").read_bytes() == alone


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_a_day_is_scanned_in_flat_memory(model: Path, tmp_path: Path) -> None:
    """24 hours at 16 kHz in stereo, as FLAC, made by repeating: under 400 MB at the peak."""
    rng, path = np.random.default_rng(0), tmp_path / "20260501_000000.flac"
    minute = (0.01 * rng.standard_normal((60 * 16_000, 2))).astype(np.float32)
    minute[: 2 * 16_000] += 0.5 * np.sin(np.arange(2 * 16_000) * 1.2)[:, np.newaxis]
    with sf.SoundFile(path, "w", 16_000, 2, format="FLAC") as file:
        for _ in range(24 * 60):
            file.write(minute)
    code = (
        "import sys; from spectro.cli.app import app\n"
        "try: app()\n"
        "finally: print(open('/proc/self/status').read().partition('VmHWM:')[2], file=sys.stderr)"
    )
    words = command(model, path, "--out", tmp_path / "out", "--page", "--evidence", "5")[3:]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], check=True, capture_output=True, text=True,
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},
    )  # fmt: skip
    peak = int(done.stderr.split()[-2]) / 1024  # not getrusage's, which begins with our own
    print(f"peak {peak:.0f} MB")
    assert peak < 400
    events = list(read_csv(tmp_path / "out" / "events.csv"))
    assert len(events) >= 24 * 60
    assert (tmp_path / "out" / "page.html").stat().st_size < 16_000_000


def test_names_near_the_limit_cost_nothing(model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "night", tmp_path / "out"
    folder.mkdir()
    owls = "\U0001f989" * 62  # four bytes each
    names = ["a.wav", f"{owls}1.wav", f"{owls}2.wav", "x" * 250 + "1.wav", "x" * 250 + "2.wav"]
    for name in names:
        tones(folder / name, (3000, 0.5, 1.5), seconds=2)
    scan(model, folder, "--out", out, "--format", "raven", "--format", "audacity", "--evidence", 9)
    for kind in ("audacity", "raven"):
        tables = list((out / kind).iterdir())
        assert len(tables) == len(names)
        assert {one.name.split(".")[0] for one in tables} >= {"a"}
        assert all(len(os.fsencode(one.name)) <= 255 for one in tables)
    assert len(list((out / "evidence" / "high").glob("*.flac"))) == len(names)
    with (out / "evidence" / "evidence.csv").open(newline="") as file:
        assert {row["recording"] for row in csv.DictReader(file)} == {
            str(folder / n) for n in names
        }


def test_a_file_where_a_folder_is_to_be_is_one_line(
    model: Path, night: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes").write_text("rain")
    for out in ("notes", "notes/deep"):
        done = call("scan", model, night, "--out", tmp_path / out)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "name another folder" in done.stderr
    assert (tmp_path / "notes").read_text() == "rain"


def test_what_another_scan_put_in_the_place_is_told(
    model: Path, night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two scans of other settings share a folder: neither claims that it heard nothing."""
    from spectro.listening import scan as scanning

    other = tones(tmp_path / "other.wav", (3000, 2, 5))
    each = scanning.scan

    def disturbed(*words: object, **options: object) -> object:
        yield from each(*words, **options)  # type: ignore[arg-type]
        part = scanning.part_of(str(night), tmp_path / "out")
        whole = json.loads(part.read_text())
        part.write_text(json.dumps({**whole, "settings": "others"}))

    monkeypatch.setattr(scanning, "scan", disturbed)
    told = scan(model, night, other, "--out", tmp_path / "out", status=3).output
    assert "another scan put what it found in the place" in " ".join(told.split())
    assert {e.recording for e in read_csv(tmp_path / "out" / "events.csv")} == {str(other)}


def test_what_once_was_read_and_is_damaged_now_has_no_events(
    model: Path, night: Path, tmp_path: Path
) -> None:
    scan(model, night, "--out", tmp_path / "out")
    night.write_bytes(b"no sound")
    scan(model, night, "--out", tmp_path / "out", status=3)
    assert list(read_csv(tmp_path / "out" / "events.csv")) == []


def test_sound_between_windows_is_told(model: Path, night: Path, tmp_path: Path) -> None:
    (tmp_path / "again.wav").symlink_to(night)
    same = (night, tmp_path / "again.wav", "--hop", 4)
    assert json.loads(scan(model, *same, "--out", tmp_path / "j", "--json").stdout)["failed"] == {}
    told = scan(model, *same, "--out", tmp_path / "out").output
    assert "75.0 % of the sound lies between them and was not heard" in " ".join(told.split())
    assert "lies between" not in scan(model, night, "--out", tmp_path / "b").output
