"""What an option names as output is never somebody's sound or table."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from PIL import Image
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.crossval.run import Run
from spectro.errors import ConfigError
from spectro.listening.events.finding import Event
from spectro.listening.events.tables import write_csv
from tests.listening.live.hearing import model_folder


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Own sounds, with a table of their labels."""
    rng = np.random.default_rng(0)
    rows = ["path,label"]
    for number in range(10):
        name = f"{number}.wav"
        sf.write(tmp_path / name, rng.uniform(-0.3, 0.3, 8_000), 8_000)
        rows.append(f"{name},{'cat' if number % 2 else 'dog'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    write_csv(tmp_path / "events.csv", [Event("0.wav", 0, 1, "", "cat", 0.8, 0.9, "", "m", "t")])
    return tmp_path


def call(*words: object) -> None:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])
    if isinstance(result.exception, ConfigError):
        raise result.exception
    assert result.exit_code in (0, 3), result.output


@pytest.mark.parametrize(
    "words",
    [
        ("check", "labels.csv", "--csv", "labels.csv"),
        ("check", "labels.csv", "--vitals", "labels.csv"),
        ("check", "labels.csv", "--vitals", "0.wav"),
        ("plot", "0.wav", "--out", "0.wav"),
        ("plot", "0.wav", "--out", "labels.csv"),
        ("events", "events.csv", "--csv", "labels.csv"),
        ("events", "events.csv", "--picture", "drawn.svg"),
    ],
)
def test_what_is_there_stays(
    words: tuple[str, ...], sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sounds)
    (sounds / "drawn.svg").write_text("by hand")
    before = {path: path.read_bytes() for path in sounds.iterdir()}
    with pytest.raises(ConfigError, match=f"{words[-1]}: is there already, as something else"):
        call(*words)
    assert {path: path.read_bytes() for path in sounds.iterdir()} == before


def test_a_pattern_behind_an_option_costs_no_clip(
    sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sounds)
    before = (sounds / "0.wav").read_bytes()
    model = model_folder(sounds / "model")
    with pytest.raises(ConfigError, match=r"0.wav: is there already"):
        call("predict", model, "--csv", *sorted(sounds.glob("*.wav")))
    assert (sounds / "0.wav").read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    code = (
        "import sys; from spectro.plumbing.files import check_ours; check_ours(sys.argv[1], 'path')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "pipe")], check=True, timeout=60)


def test_one_file_is_not_two_tables(sounds: Path) -> None:
    words = [
        "check",
        sounds / "labels.csv",
        "--csv",
        sounds / "a.csv",
        "--vitals",
        sounds / "a.csv",
    ]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 2
    assert "is the file of --csv" in " ".join(result.output.split())


def test_a_report_replaces_reports_alone(run: Run, sounds: Path) -> None:
    with pytest.raises(ConfigError, match=r"labels.csv: is there already"):
        call("report", run.folder, "--out", sounds / "labels.csv")
    with pytest.raises(ConfigError, match=r"labels.csv: is there already"):
        call("compare", run.folder, run.folder, "--csv", sounds / "labels.csv")
    with pytest.raises(ConfigError, match=r"labels.csv: is there already"):
        call("lr-find", run.folder, "--out", sounds / "labels.csv")


def again(words: tuple[object, ...], made: Path, whole: Callable[[], None]) -> None:
    for _ in range(2):
        call(*words)
        whole()
    made.write_bytes(b"")  # as mktemp makes it
    call(*words)
    whole()


def test_what_the_command_wrote_is_replaced(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sounds)
    model = model_folder(sounds / "model")

    def starts(name: str, start: str) -> Callable[[], None]:
        def look() -> None:
            assert (sounds / name).read_text().startswith(start)

        return look

    again(("plot", "0.wav"), sounds / "0.png", lambda: Image.open(sounds / "0.png").verify())
    check = ("check", "labels.csv", "--csv", "found.csv", "--vitals", "vitals.csv")
    again(check, sounds / "found.csv", starts("vitals.csv", "path,"))
    again(
        ("events", "events.csv", "--csv", "e.csv"), sounds / "e.csv", starts("e.csv", "recording")
    )
    predict = ("predict", model, "0.wav", "--csv", "p.csv")
    again(predict, sounds / "p.csv", starts("p.csv", "path,label,probability"))
