"""``spectro thresholds`` with a trained network on recordings of background."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import Result
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.crossval.run import Run
from spectro.errors import ConfigError, DatasetError
from spectro.listening.backends import open_backend
from spectro.listening.events.finding import Origin, find_events
from spectro.listening.scan import score_windows
from spectro.listening.thresholds import background
from spectro.listening.thresholds.site import SiteThresholds
from tests.cli.test_cli import call, one_line

LABELS = ["air_conditioner", "jackhammer", "siren"]


@pytest.fixture(scope="module")
def model(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(run.folder / "fold1" / "model", tmp_path_factory.mktemp("m") / "model")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings of 40 s whose noise changes its colour every 5 s."""
    folder, rng = tmp_path_factory.mktemp("quiet"), np.random.default_rng(0)
    for name in ("one", "two"):
        parts = []
        for width in rng.permutation([1, 2, 4, 8, 16, 32, 64, 128]):
            noise = rng.normal(size=5 * 8000 + width)
            parts.append(np.convolve(noise, np.ones(width) / width, "valid")[: 5 * 8000])
        sf.write(folder / f"{name}.wav", 0.1 * np.concatenate(parts), 8000)
    return folder


def run_command(*words: object) -> Result:
    return CliRunner().invoke(app, ["thresholds", *map(str, words)], env={"COLUMNS": "120"})


def recount(model: Path, found: SiteThresholds) -> dict[str, int]:
    """Count the events of a scan with what was found."""
    listener, counts = open_backend(model), dict.fromkeys(LABELS, 0)
    for recording in found.recordings:
        windows = score_windows(recording, listener, found.hop)
        for event in find_events(windows, LABELS, found.settings, Origin("")):
            counts[event.label] += 1
    return counts


def test_thresholds_hold_in_a_scan_of_the_same_background(model: Path, quiet: Path) -> None:
    files = sorted(quiet.iterdir())
    done = run_command(
        model, "--background", files[0], "--budget", "400/h", "--site", "hill", "--hop", 2,
        "--workers", 1, files[1], "--merge-gap", 0,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = SiteThresholds.load(model, "hill", LABELS)
    assert found.budget == 400
    assert found.hop == 2
    assert found.hours == pytest.approx(80 / 3600)
    assert found.settings.merge_gap == 0
    counts = recount(model, found)
    told = {label: e.chosen.events if e.chosen else 0 for label, e in found.classes.items()}
    assert counts == told
    assert all(e.chosen.bound <= 400 for e in found.classes.values() if e.chosen)
    assert any(len(e.curve) > 1 for e in found.classes.values())  # something was to be chosen
    for label, evidence in found.classes.items():
        [line] = [line for line in done.output.splitlines() if line.startswith(label)]
        assert evidence.chosen is None or f"{evidence.chosen.on:.4f}" in line
    assert "0.0222 h of background in 2 recordings, hop 2 s" in done.output
    folder = model / "thresholds"
    rows = list(csv.DictReader((folder / "hill.csv").open()))
    assert {row["label"] for row in rows} == {k for k, e in found.classes.items() if e.curve}
    assert (folder / "hill.svg").read_text().startswith("<svg")


def test_what_people_confirmed_is_no_background(model: Path, quiet: Path, tmp_path: Path) -> None:
    verdicts = tmp_path / "events.verdicts.csv"
    first = quiet / "one.wav"
    about = "path,label,start,end,group,verdict,heard,probability,peak\n"
    rows = [
        f"{first},siren,9,11,one.wav,yes,siren,0.9,0.9",
        f"{first},jackhammer,33,34,one.wav,other,siren,0.9,0.9",
        f"{first},owl,25,26,one.wav,other,siren,0.9,0.9",  # no class of ours: a false alarm
        f"{first},background,20,21,one.wav,no,siren,0.9,0.9",
    ]
    verdicts.write_text(about + "\n".join(rows) + "\n")
    words = (model, "--background", quiet, "--hop", 2, "--workers", 1, "--budget", "400/h")
    done = run_command(*words, "--site", "judged", "--verdicts", verdicts)
    assert done.exit_code == 0, done.output
    found = SiteThresholds.load(model, "judged", LABELS)
    listener, counts = open_backend(model), dict.fromkeys(LABELS, 0)
    background = np.ones((2, 40_000), dtype=bool)  # a millisecond each
    for recording, heard in zip(found.recordings, background, strict=True):
        left = []
        for window in score_windows(recording, listener, 2):
            start, end = window.start, window.end
            if Path(recording) == first and ((start < 11 and end > 9) or (start < 34 and end > 33)):
                heard[round(1_000 * start) : round(1_000 * end)] = False
            else:
                left.append(window)
        for event in find_events(left, LABELS, found.settings, Origin("")):
            counts[event.label] += 1
    assert found.hours == pytest.approx(background.sum() / 3_600_000, rel=1e-3)
    assert background.sum() < 70_000
    told = {label: e.chosen.events if e.chosen else 0 for label, e in found.classes.items()}
    assert counts == told


@pytest.mark.parametrize(
    "row",
    [
        "one.wav,siren,nan,11,one.wav,yes,siren,0.9,0.9",
        "one.wav,siren,12,11,one.wav,yes,siren,0.9,0.9",
        "one.wav,siren,9,11,one.wav,maybe,siren,0.9,0.9",
    ],
)
def test_a_table_that_holds_no_verdicts_is_one_line(
    row: str, model: Path, quiet: Path, tmp_path: Path
) -> None:
    verdicts = tmp_path / "v.csv"
    verdicts.write_text(f"path,label,start,end,group,verdict,heard,probability,peak\n{row}\n")
    done = run_command(
        model, "--background", quiet, "--budget", "400/h", "--site", "x", "--verdicts", verdicts
    )
    assert isinstance(done.exception, DatasetError)
    assert "row 1: is no verdict" in str(done.exception)


def test_another_budget_is_heard_no_second_time(
    model: Path, quiet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (model, "--background", quiet, "--site", "twice", "--hop", 4, "--workers", 1, "--json")
    strict = json.loads(run_command(*words, "--budget", "200/hour").output)
    monkeypatch.setattr(background, "score_windows", None)
    loose = json.loads(run_command(*words, "--budget", "100000/day").output)
    assert (strict["budget"], loose["budget"]) == (200, 100_000 / 24)
    for label in LABELS:
        first, second = (found["classes"][label]["chosen"] for found in (strict, loose))
        assert second is not None
        assert first is None or first["on"] >= second["on"]


def test_too_few_hours_are_refused_before_anything_is_heard(
    model: Path, quiet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (model, "--background", quiet, "--site", "few", "--budget", "0.5/hour", "--workers", 1)
    monkeypatch.setattr(background, "score_windows", None)
    done = run_command(*words)
    assert isinstance(done.exception, ConfigError)
    told = str(done.exception)
    assert "0.0222 h of background cannot support a budget of 0.5 an hour" in told
    assert "give at least 6 h, --unsupported to claim nothing, or a budget of 135" in told
    assert not (model / "thresholds" / "few.json").exists()
    monkeypatch.undo()
    done = run_command(*words, "--unsupported")
    assert done.exit_code == 0
    assert "WARNING: 0.0222 h cannot support 0.5 an hour, which takes 5.99 h" in done.output
    found = SiteThresholds.load(model, "few", LABELS)
    assert not found.supported
    assert recount(model, found) == dict.fromkeys(LABELS, 0)


def test_a_bad_recording_is_named_and_the_rest_goes_on(
    model: Path, quiet: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    done = run_command(
        model, "--background", quiet, tmp_path, "--budget", 400, "--site", "bad",
        "--ignore", "siren", "--workers", 1,
    )  # fmt: skip
    assert done.exit_code == 3, done.output
    assert re.fullmatch(rf"spectro: {re.escape(str(tmp_path))}/bad.wav: .*\n", done.stderr)
    found = SiteThresholds.load(model, "bad", LABELS)
    assert len(found.recordings) == 2
    assert "siren" in found.settings.ignore
    assert "no threshold holds siren" not in done.output
    assert "spectro train-final writes them" in done.output


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--budget": "none"}, "'none' is no budget of false events: write it as 0.5/hour"),
        ({"--budget": "0"}, "'0' is no budget"),
        ({"--site": "../up"}, "the site '../up' cannot be a file's name"),
        ({"--hop": "-1"}, "hop"),
        ({"--ignore": "owl"}, "the class 'owl', which the model does not know"),
        ({"--background": "empty"}, "holds no sound file"),
        ({"--background": "gone.wav"}, "there is no background"),
    ],
)
def test_wrong_words_are_told_in_one_line(
    model: Path, quiet: Path, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    options = {"--background": str(quiet), "--budget": "400", "--site": "x", **changes}
    if "--background" in changes:
        options["--background"] = str(tmp_path / changes["--background"])
    done = run_command(model, *[w for pair in options.items() for w in pair], "--workers", 1)
    assert isinstance(done.exception, ConfigError | DatasetError), done.output
    assert words in str(done.exception)
    assert "\n" not in str(done.exception)


def test_a_folder_that_is_no_model(tmp_path: Path, quiet: Path) -> None:
    done = call("thresholds", tmp_path, "--background", quiet, "--budget", 1, "--site", "x")
    assert "is no model folder" in one_line(done)
