"""A scan: the same events killed or not, by one process or two, and one bad file costs itself."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from spectro.clips.waveform import load
from spectro.errors import AudioError, ConfigError, DatasetError
from spectro.listening.backends import Answer
from spectro.listening.events.finding import ScoredWindow
from spectro.listening.events.settings import EventSettings
from spectro.listening.events.tables import read_csv, write_csv
from spectro.listening.recordings import find_recordings
from spectro.listening.scan import (
    ScanSettings,
    heard_in,
    kept,
    scan,
    scan_recording,
    score_windows,
)
from spectro.models.card import ModelCard
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import network_levels, spectrogram_image

SR = 8_000
CONFIG = SpectrogramConfig(
    sr=SR, duration=1, n_fft=256, hop_length=128, n_mels=32, ref=1.0, fmax=SR / 2
)


class Ears:
    """Hears a high tone as "high", a low one as "low": the brighter half of the picture."""

    card = ModelCard(arch="ears", labels=("high", "low"), spectrogram=CONFIG)

    def __call__(self, levels: np.ndarray) -> Answer:
        half = levels.shape[1] // 2
        high = levels[:, :half].mean(axis=(1, 2, 3)) * 6 / 255
        low = levels[:, half:].mean(axis=(1, 2, 3)) * 6 / 255
        total = 1 + high + low
        p = np.stack([high / total, low / total], axis=1).astype(np.float32)
        return Answer(p, np.ones(len(p), dtype=bool))


def ears() -> Ears:
    return Ears()


SETTINGS = ScanSettings(
    model="ears", hop=0.5, site="here", events=EventSettings(on=0.3, off=0.2, extent=0.2)
)


def recording(path: Path, *tones: tuple[float, float, float], seconds: float = 12, sr: int = SR):
    """Write silence with tones: frequency, start, end."""
    y = np.zeros(round(seconds * sr), np.float32)
    for frequency, start, end in tones:
        t = np.arange(round(start * sr), round(end * sr))
        y[t] += 0.5 * np.sin(2 * np.pi * frequency * t / sr)
    sf.write(path, y, sr)
    return path


@pytest.fixture
def night(tmp_path: Path) -> Path:
    return recording(tmp_path / "20260501_230000.wav", (3000, 2, 5), (200, 7, 10))


def table(recordings: list[str], out: Path, settings: ScanSettings = SETTINGS) -> bytes:
    """Scan, and give the table of events."""
    for outcome in scan(recordings, out, ears, settings):
        assert outcome.error == "", outcome
    return written(recordings, out, settings)


def written(recordings: list[str], out: Path, settings: ScanSettings = SETTINGS) -> bytes:
    found = heard_in(recordings, out, settings)
    write_csv(out / "events.csv", (event for one in found for event in one.events))
    return (out / "events.csv").read_bytes()


def test_sounds_become_events(night: Path) -> None:
    found = scan_recording(night, Ears(), SETTINGS)
    assert [(event.label, event.site, event.model) for event in found.events] == [
        ("high", "here", "ears"), ("low", "here", "ears"),
    ]  # fmt: skip
    for event, (start, end) in zip(found.events, [(2, 5), (7, 10)], strict=True):
        assert abs(event.start - start) <= 0.5
        assert abs(event.end - end) <= 0.5
    assert found.events[0].begin_time == "2026-05-01T23:00:01.756"
    assert found.began.endswith("(from the file name, time zone not stated)")
    assert (found.heard.duration, found.heard.sr) == (12, SR)


def test_a_window_is_what_a_clip_of_it_would_be(night: Path) -> None:
    scored = list(score_windows(night, Ears(), 0.5))
    for window in (scored[3], scored[9]):
        y = load(night, sr=SR, start=window.start, end=window.end)
        levels = network_levels(spectrogram_image(y, CONFIG), None)[np.newaxis]
        assert np.array_equal(Ears()(levels).probabilities[0], window.probabilities)
    assert scored[0].level == -np.inf


@pytest.mark.parametrize(("sr", "channels"), [(192_000, 8), (44_100, 2), (8_000, 1)])
def test_any_rate_and_channels(sr: int, channels: int, tmp_path: Path) -> None:
    mono = sf.read(recording(tmp_path / "a.wav", (3000, 1, 3), seconds=4, sr=sr))[0]
    sf.write(tmp_path / "b.wav", np.tile(mono[:, np.newaxis], channels), sr)
    [event] = scan_recording(tmp_path / "b.wav", Ears(), SETTINGS).events
    assert (event.label, abs(event.start - 1) <= 0.5) == ("high", True)


def test_silence_and_files_shorter_than_a_window(tmp_path: Path) -> None:
    assert scan_recording(recording(tmp_path / "s.wav"), Ears(), SETTINGS).events == []
    short = recording(tmp_path / "t.wav", (3000, 0, 0.5), seconds=0.5)
    found = scan_recording(short, Ears(), SETTINGS)
    assert found.heard.duration == 0.5
    assert all(event.end <= 0.5 for event in found.events)


def test_a_second_scan_reads_nothing_again(night: Path, tmp_path: Path) -> None:
    out, paths = tmp_path / "out", [str(night)]
    first = table(paths, out)
    [outcome] = scan(paths, out, lambda: pytest.fail("loaded"), SETTINGS)
    assert (outcome.resumed, outcome.events, outcome.seconds) == (True, 2, 12)
    assert written(paths, out) == first


def test_what_changed_is_scanned_again(night: Path, tmp_path: Path) -> None:
    out, name = tmp_path / "out", str(night)
    table([name], out)
    assert kept(name, out, SETTINGS) is not None
    changes = [
        {"hop": 0.25}, {"site": "there"}, {"model": "m"}, {"start_time": "2026-01-01 00:00"},
        {"events": EventSettings(on=0.9)},
    ]  # fmt: skip
    for change in changes:
        assert kept(name, out, SETTINGS.replace(**change)) is None
    os.utime(night, ns=(1, 1))
    assert kept(name, out, SETTINGS) is None
    table([name], out)
    with night.open("ab") as file:
        file.write(b"\0\0")
    assert kept(name, out, SETTINGS) is None


def test_what_changes_while_it_is_heard_counts_as_it_was(night: Path, tmp_path: Path) -> None:
    """Its events are not lost; the next scan hears it anew."""
    out, name = tmp_path / "out", str(night)

    def grow(window: ScoredWindow) -> None:
        os.utime(night, ns=(1, 1))

    [outcome] = scan([name], out, ears, SETTINGS, watch=grow)
    assert outcome.changed and outcome.events == 2
    [found] = heard_in([name], out, SETTINGS)
    assert len(found.events) == 2
    night.unlink()  # as by somebody who clears the card
    assert list(heard_in([name], out, SETTINGS)) == [found]
    assert kept(name, out, SETTINGS) is None


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"\xff", b"null", b'{"path": 1}', b"[" * 100_000]
)
def test_what_was_kept_and_is_damaged_is_scanned_again(
    damage: bytes, night: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = table([str(night)], out)
    [part] = (out / ".scan").rglob("*.json")
    part.write_bytes(damage)
    assert kept(str(night), out, SETTINGS) is None
    assert table([str(night)], out) == first


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("heard", [12.0, None]),
        ("heard", ["12", SR]),
        ("events", [["2", 3.0, "", "high", 0.5, 0.5, "", "ears", "t"]]),
        ("events", [[2.0, 3.0, "", 7, 0.5, 0.5, "", "ears", "t"]]),
        ("events", [[2.0, 3.0, "", "high", 0.5, [1], "", "ears", "t"]]),
        ("events", [[2.0, 3.0, "", "high", 0.5, float("nan"), "", "ears", "t"]]),
        ("begin", "yesterday"),
        ("began", 5),
    ],
)
def test_values_of_another_kind_are_scanned_again(
    name: str, value: object, night: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = table([str(night)], out)
    [part] = (out / ".scan").rglob("*.json")
    part.write_text(json.dumps({**json.loads(part.read_text()), name: value}))
    assert kept(str(night), out, SETTINGS) is None
    assert table([str(night)], out) == first


def test_what_an_earlier_version_kept_is_not_heard_again(night: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    table([str(night)], out)
    [part] = (out / ".scan").rglob("*.json")
    whole = json.loads(part.read_text())
    assert whole.pop("begin") == "2026-05-01T23:00:00"
    part.write_text(json.dumps(whole))
    found = kept(str(night), out, SETTINGS)
    assert found is not None and found.begin == datetime(2026, 5, 1, 23)
    night.unlink()  # as by somebody who clears the card
    gone = kept(str(night), out, SETTINGS, as_it_was=True)
    assert gone is not None and gone.events == found.events and gone.begin is None


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_a_recording_of_a_phone_is_scanned(night: Path, tmp_path: Path) -> None:
    phone = tmp_path / "20260501_230000.m4a"
    command = ["ffmpeg", "-v", "error", "-i", night, "-c:a", "aac", "-b:a", "64k", phone]
    subprocess.run(command, check=True)
    [outcome] = scan([str(phone)], tmp_path / "out", ears, SETTINGS)
    assert outcome.error == ""
    [found] = heard_in([str(phone)], tmp_path / "out", SETTINGS)
    assert [event.label for event in found.events] == ["high", "low"]
    assert found.heard.sr == SR and abs(found.heard.duration - 12) < 0.3


def test_a_bad_file_costs_itself_and_is_tried_again(night: Path, tmp_path: Path) -> None:
    bad, cut, gone = (str(tmp_path / name) for name in ("bad.wav", "cut.wav", "gone.wav"))
    Path(bad).write_bytes(b"no sound")
    Path(cut).write_bytes(night.read_bytes()[:50_000])
    paths = [bad, str(night), cut, gone]
    out = tmp_path / "out"
    outcomes = {one.recording: one for one in scan(paths, out, ears, SETTINGS)}
    assert outcomes[str(night)].events == 2
    for name in (bad, cut, gone):
        assert outcomes[name].error.startswith(name)
        assert "\n" not in outcomes[name].error
    assert [one.heard.recording for one in heard_in(paths, out, SETTINGS)] == [str(night)]
    recording(Path(gone), (200, 1, 3))
    assert sum(not one.error for one in scan(paths, out, ears, SETTINGS)) == 2


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_workers_give_the_same_table(pool, tmp_path: Path) -> None:
    paths = [str(recording(tmp_path / f"{i}.wav", (3000, i, i + 2))) for i in range(6)]
    alone = table(paths, tmp_path / "alone")
    with pool(2) as executor:
        outcomes = list(scan(paths, tmp_path / "together", ears, SETTINGS, executor))
    assert sorted(one.recording for one in outcomes) == paths
    assert written(paths, tmp_path / "together") == alone
    assert len(list(read_csv(tmp_path / "alone" / "events.csv"))) == 6


SCAN = """
import sys
from tests.listening.test_scan import SETTINGS, ears, scan, written
out, *paths = sys.argv[1:]
print("ready", flush=True)
for outcome in scan(paths, out, ears, SETTINGS):
    assert not outcome.error
written(paths, __import__("pathlib").Path(out))
"""


def start(out: Path, paths: list[str]) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", SCAN, out, *paths], cwd=root, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.long
def test_a_killed_scan_goes_on_to_the_same_table(tmp_path: Path) -> None:
    paths = [str(recording(tmp_path / f"{i}.wav", (3000, i % 9, i % 9 + 2))) for i in range(200)]
    expected, out, rng = table(paths, tmp_path / "whole"), tmp_path / "killed", random.Random(5)
    for _ in range(20):
        process = start(out, paths)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(out, paths).wait() == 0
    assert (out / "events.csv").read_bytes() == expected


@pytest.mark.long
def test_two_processes_on_one_folder_do_no_harm(tmp_path: Path) -> None:
    paths = [str(recording(tmp_path / f"{i}.wav", (3000, i % 9, i % 9 + 2))) for i in range(30)]
    both = [start(tmp_path / "out", paths) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert (tmp_path / "out" / "events.csv").read_bytes() == table(paths, tmp_path / "whole")


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    def peak(seconds: int) -> int:
        path = recording(tmp_path / f"{seconds}.wav", (3000, 1, 2), seconds=seconds)
        tracemalloc.start()
        scan_recording(path, Ears(), SETTINGS.replace(hop=1))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(60)
    assert peak(480) < 1.2 * peak(120) + 200_000


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="'now' is no start time"):
        ScanSettings(start_time="now")
    with pytest.raises(ConfigError, match="hop is 0"):
        ScanSettings(hop=0)
    with pytest.raises(AudioError):
        scan_recording("gone.wav", Ears(), SETTINGS)


def test_the_listener_is_loaded_once(night: Path, tmp_path: Path) -> None:
    loads: list[int] = []

    def counted(loads: list[int]) -> Ears:
        loads.append(1)
        return Ears()

    other = str(recording(tmp_path / "b.wav"))
    list(scan([str(night), other], tmp_path / "o", functools.partial(counted, loads), SETTINGS))
    assert loads == [1]


def test_what_is_no_sound_is_counted_and_documents_are_not(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    recording(tmp_path / "in" / "night.wav", seconds=1)
    for name in ("notes.txt", "folds.csv", "settings.json", "night.wav.gz", "night2.wav.1", "take"):
        (tmp_path / "in" / name).write_bytes(b"x")
    found = find_recordings([str(tmp_path / "in")])
    assert found.paths == [str(tmp_path / "in" / "night.wav")]
    assert found.notes == ["3 files are no sound by their names: passed over"]


def test_a_file_counts_once_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "day").mkdir()
    recording(tmp_path / "day" / "night.wav", seconds=1)
    (tmp_path / "latest").symlink_to("day")
    again = ["day/night.wav", "./day/night.wav", str(tmp_path / "day"), "latest", str(tmp_path)]
    found = find_recordings(again)
    assert found.paths == ["day/night.wav"]
    assert found.notes[0].endswith("names are others of the same files: heard once")


def test_what_lies_in_the_folder_of_results_is_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in ("a.wav", "out/b.wav"):
        recording(tmp_path / name, seconds=1)
    out = tmp_path / "out"
    found = find_recordings([str(tmp_path)], leave_out=out)
    assert found.paths == [str(tmp_path / "a.wav")]
    assert found.notes == [f"1 sound file lies in {out}: left out"]
    with pytest.raises(DatasetError, match="which is for results; name another folder for them"):
        find_recordings([str(out)], leave_out=out)
