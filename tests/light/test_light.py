"""Listening as ``pip install spectro`` leaves it: the same answers, without training's packages.

With SPECTRO_LIGHT, a folder that ``python -m tests.light.models`` wrote elsewhere, these run in an
environment that has none of them (``make test-light``); without it they make the folder here.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spectro.listening.classifier import Classifier
from spectro.pictures.spectrogram import clip_image
from spectro.plumbing import extras
from tests.light.models import digest, make

GIVEN = os.environ.get("SPECTRO_LIGHT")
pytestmark = [] if GIVEN else [pytest.mark.long]  # make test-light runs them all
here_only = pytest.mark.skipif(GIVEN is None, reason="of the light environment: make test-light")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(GIVEN) if GIVEN else make(tmp_path_factory.mktemp("light") / "made")


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((folder / "answers.json").read_text())
    return found


def call(*words: object, stdin: bytes = b"") -> tuple[int, str, str]:
    command = [sys.executable, "-m", "spectro", *map(str, words)]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_pictures_and_probabilities_are_those_of_training(
    folder: Path, answers: dict[str, dict[str, object]]
) -> None:
    classifier = Classifier.load(folder / "model", backend="onnx")
    paths = [folder / "sounds" / name for name in answers]
    for heard in classifier.classify(paths):
        told = answers[Path(heard.path).name]
        levels = np.asarray(clip_image(heard.path, classifier.card.spectrogram))
        assert digest(levels) == told["pixels"]
        np.testing.assert_allclose(heard.probabilities, told["probabilities"], atol=1e-5)


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_predict_says_so_in_every_format(
    folder: Path, answers: dict[str, dict[str, object]], form: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_text("no sound")
    words = (folder / "sounds", tmp_path / "*.wav")
    status, out, told = call("predict", folder / "model", *words, "--format", form)
    assert status == 3
    assert "bad.wav: cannot be decoded" in told
    rows = list(csv.DictReader(io.StringIO(out))) if form == "csv" else None
    if rows is None:
        rows = (
            json.loads(out) if form == "json" else [json.loads(line) for line in out.splitlines()]
        )
    assert {Path(row["path"]).name for row in rows} == set(answers)
    for row in rows:
        expected = answers[Path(row["path"]).name]["probabilities"]
        p = row.get("probabilities") or {label: float(row[f"p_{label}"]) for label in "abc"}
        np.testing.assert_allclose([p[label] for label in "abc"], expected, atol=1e-5)
        assert row["label"] == max(p, key=p.get)


def test_standard_input_is_heard_and_a_long_one_is_told(
    folder: Path, answers: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    sound = folder / "sounds" / "4.wav"  # 1.6 s, of which a picture shows 1
    words = ("predict", folder / "model", "-", "--csv", tmp_path / "out.csv")
    status, out, told = call(*words, stdin=sound.read_bytes())
    assert (status, out.partition(":")[0]) == (0, "-")
    assert "-: 1 s of 1.6 s were heard; spectro scan" in " ".join(told.split())
    (row,) = csv.DictReader((tmp_path / "out.csv").open(newline=""))
    found = [float(row[f"p_{label}"]) for label in "abc"]
    np.testing.assert_allclose(found, answers["4.wav"]["probabilities"], atol=1e-5)
    status, _, told = call("predict", folder / "model", "-", stdin=b"no sound")
    assert status == 3
    assert "standard input: cannot be decoded" in told


def test_a_scan_finds_events_without_training_s_packages(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("scan", folder / "model", folder / "sounds", "--out", out, "--hop", 0.5)
    status, _, told = call(*words, "--on", 0.34, "--level-gate", -200)
    assert status == 0, told
    assert "recording" in (out / "events.csv").read_text().splitlines()[0]


@here_only
def test_none_of_training_s_packages_is_here() -> None:
    found = [name for name in extras.PACKAGES["train"] if importlib.util.find_spec(name)]
    assert found == []
    assert Path(extras.__file__).is_relative_to(sys.prefix)  # the wheel, not the source


@here_only
@pytest.mark.parametrize(
    "words",
    ["sample S", "fetch esc50 --to S", "check .", "plot a.wav", "render . --out P",
     "train-fold . --fold 1", "cross-validate .", "probe .", "report .", "compare a b"],
)  # fmt: skip
def test_a_command_of_training_says_what_it_lacks_in_one_line(words: str) -> None:
    status, out, told = call(*words.split())
    command = words.split(maxsplit=1)[0]
    expected = f"spectro: spectro {command} needs an optional part: pip install 'spectro[train]'"
    assert (status, out, told.strip()) == (1, "", expected)


@here_only
def test_torch_is_asked_for_where_there_is_no_export(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text((folder / "model" / "model.json").read_text())
    sound = folder / "sounds" / "0.wav"
    for more in ((), ("--backend", "torch")):
        status, _, told = call("predict", tmp_path, sound, *more)
        assert status == 1
        assert "pip install 'spectro[train]'" in " ".join(told.split())
        assert "Traceback" not in told


def test_help_needs_nothing_more() -> None:
    from spectro.cli.app import app

    for command in app.registered_commands:
        assert command.callback is not None
        name = command.callback.__name__.replace("_", "-")
        status, out, told = call(name, "--help") if GIVEN else (0, "Usage", "")
        assert (status, told) == (0, "")
        assert "Usage" in out
