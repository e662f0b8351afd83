"""What is printed stops no command and steers no terminal."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from spectro.cli import console
from spectro.cli.app import app
from spectro.crossval.run import Run

SPECTRO = [sys.executable, "-m", "spectro"]
STEERING = "\x1b[31mX\x9b2J\u202e\x07\x7f\ttwo\nlines"
TURNING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def steers(text: str) -> list[str]:
    """Return the characters that a terminal obeys, or that no file of text can hold."""
    return [
        c for c in text
        if c != "\n" and (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in TURNING)
    ]  # fmt: skip


def invoke(*words: object) -> str:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def undecodable(folder: Path) -> Path:
    """Return a name that is no UTF-8 in a folder, where its disk takes one."""
    path = folder / os.fsdecode(b"caf\xe9.wav")
    try:
        path.touch()
    except OSError:
        pytest.skip("this disk has Unicode names alone")
    return path


def tones(root: Path, *labels: str) -> Path:
    rng = np.random.default_rng(0)
    for label in labels:
        (root / label).mkdir(parents=True)
        for i in range(2):
            sf.write(root / label / f"{i}.wav", rng.uniform(-0.3, 0.3, 8_000), 16_000)
    return root


@given(st.text(st.characters(), max_size=400), st.integers(20, 300))
def test_shown_is_one_line_that_nothing_obeys(text: str, longest: int) -> None:
    told = console.shown(text, longest)
    assert not steers(told) and "\n" not in told
    told.encode()
    assert len(console.shown("a" * len(text), longest)) <= longest
    if len(text) <= longest and not steers(text) and "\n" not in text:
        assert told == text


def test_shown_names_bytes_and_characters_as_python_does() -> None:
    assert console.shown(os.fsdecode(b"caf\xe9\x1b\n")) == r"caf\xe9\x1b\n"
    assert console.shown("猫 \u202eabc\ud800") == r"猫 \u202eabc\ud800"
    cut = console.shown("begin" + "x" * 10_000 + "end", 100)
    assert len(cut) == 100 and cut.startswith("begin") and cut.endswith("end")


def test_json_is_for_every_parser(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": STEERING + "\udcff猫", "scores": [float("nan"), float("inf"), 0.5], "n": None}

    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    console.data(value)
    told = capsys.readouterr().out
    assert told.isascii() and not steers(told)
    assert json.loads(told, parse_constant=refuse) == {**value, "scores": [None, None, 0.5]}


def test_what_a_progress_bar_is_about_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "OUT", Console(file=screen, force_terminal=True, width=100))
    with console.counting("[b]\x1b]0;title\x07 fold", "clips") as count:
        count(1, 2)
    assert r"[b]\x1b]0;title\x07 fold" in screen.getvalue()


def test_wrong_usage_is_told_without_steering() -> None:
    for words in ([f"{STEERING}"], ["runs", f"--{STEERING}"], ["compare", "a", "b", STEERING]):
        done = CliRunner().invoke(app, words, color=False)
        assert done.exit_code == 2
        assert not steers(done.output), done.output


def test_runs_and_compare_escape_what_a_run_is_called(run: Run, tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("Windows refuses such names itself")
    for name in ("plain", STEERING):
        shutil.copytree(run.folder, tmp_path / name)
        record = json.loads((tmp_path / name / "run.json").read_text())
        record["dataset"]["name"] = STEERING
        (tmp_path / name / "run.json").write_text(json.dumps(record))
    listed = invoke("runs", "--runs", tmp_path)
    compared = invoke("compare", tmp_path / "plain", tmp_path / STEERING)
    assert not steers(listed) and not steers(compared)
    shown = r"\x1b[31mX\x9b2J\u202e\x07\x7f\ttwo\nlines"
    assert listed.count(shown) == 3 and shown in compared
    told = invoke("runs", "--runs", tmp_path, "--json")
    assert told.isascii() and not steers(told)
    assert [row["dataset"] for row in json.loads(told)] == [STEERING] * 2


def test_predict_answers_files_of_any_name(run: Run, tmp_path: Path) -> None:
    good = run.predictions()["path"][0]
    odd = undecodable(tmp_path)
    shutil.copy(good, odd)
    model = run.folder / "fold1" / "model"
    told = invoke("predict", model, odd, good, "--csv", tmp_path / "o.csv")
    assert [line.partition(".wav: ")[0].rpartition("/")[2] for line in told.splitlines()] == [
        r"caf\xe9", Path(good).stem
    ]  # fmt: skip
    table = pd.read_csv(tmp_path / "o.csv")
    assert table["path"].tolist() == [f"{tmp_path}/caf\\udce9.wav", good]
    assert table["probability"][0] == table["probability"][1]
    (line,) = invoke("predict", model, odd, "--json").splitlines()
    assert Path(json.loads(line)["path"]) == odd


def test_a_folds_network_is_said_to_be_uncalibrated(run: Run, tmp_path: Path) -> None:
    sound = str(run.predictions()["path"][0])
    model = run.folder / "fold1" / "model"
    told = CliRunner().invoke(app, ["predict", str(model), sound]).stderr
    assert f"{model}: one fold's network, not calibrated; spectro predict {run.folder}" in told
    alone = shutil.copytree(model, tmp_path / "model")
    assert "calibrated" not in CliRunner().invoke(app, ["predict", str(alone), sound]).stderr


def test_check_tells_of_cells_that_a_spreadsheet_computes(tmp_path: Path) -> None:
    root = tones(tmp_path / "own", "=1+1", "dog")
    told = invoke("check", root, "--n-folds", 2, "--csv", tmp_path / "f.csv")
    (line,) = (line for line in told.splitlines() if line.startswith("formula"))
    assert line and "=1+1" in told
    assert "formula" not in invoke("check", tones(tmp_path / "plain", "cat"), "--n-folds", 2)


@pytest.mark.long
def test_a_notebooks_backend_and_a_poor_console_stop_nothing(tmp_path: Path) -> None:
    """The draw of a class in letters that cp1252 lacks, and of a name that is no Unicode."""
    root, out = tones(tmp_path / "own", "собака", "кошка"), tmp_path / "pictures"
    shutil.copy(root / "кошка" / "0.wav", undecodable(root / "кошка"))
    told = {"PYTHONIOENCODING": "cp1252", "MPLBACKEND": "foo"}
    done = subprocess.run(
        [*SPECTRO, "render", root, "--out", out, "--n-folds", "2", "--workers", "1"],
        env={**os.environ, **told}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert b"Traceback" not in done.stderr and rb"caf\xe9.wav" in done.stderr
    assert b"failed 1 in" in done.stdout and (out / "examples.png").is_file()
    assert len(list(out.glob("fold*/*.png"))) == 4
    (failure,) = pd.read_csv(out / "failures.csv").to_dict("records")
    assert failure["path"].endswith("caf\\udce9.wav") and "rename" in failure["reason"]
    assert rb"\u043a\u043e\u0448\u043a\u0430" in done.stderr  # кошка


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="a shell of another kind")
def test_closed_streams_and_no_width_are_told_or_do_not_matter(run: Run, tmp_path: Path) -> None:
    model, sound = run.folder / "fold1" / "model", run.predictions()["path"][0]

    def ended(line: str, **env: str) -> tuple[int, str, str]:
        done = subprocess.run(
            ["sh", "-c", f"exec {sys.executable} -m spectro {line}"], env={**os.environ, **env},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    status, _, told = ended(f"predict {model} - <&-")
    assert (status, told) == (
        1, "spectro: standard input is closed; name files, or pipe a sound in\n"
    )  # fmt: skip
    status, _, told = ended(f"predict {model} {sound} >&-")
    assert status == 1
    assert told.splitlines()[-1] == "spectro: the output could not be written (Bad file descriptor)"
    for width in ("0", "wide"):
        status, out, _ = ended("runs --runs " + str(run.folder), COLUMNS=width)
        assert status == 0 and "sample" in out
    (tmp_path / "folder").mkdir()
    status, _, told = ended(f"plot {sound} --out {tmp_path / 'folder'}")
    assert (status, told) == (1, f"spectro: {tmp_path / 'folder'}: Is a directory; name a file\n")


@pytest.mark.slow
def test_a_pipe_that_nobody_reads_ends_quietly_with_all_files(
    sample_root: Path, tmp_path: Path
) -> None:
    words = [*SPECTRO, "check", sample_root, "--workers", "1", "--csv", tmp_path / "f.csv"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
    assert (tmp_path / "f.csv").is_file()
    if Path("/dev/full").exists():
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [*SPECTRO, "--version"], stdout=full, stderr=subprocess.PIPE, check=False
            )
        assert done.returncode == 1
        assert done.stderr == (
            b"spectro: the output could not be written (No space left on device)\n"
        )


def test_a_glance_shows_classes_as_they_are_now(tmp_path: Path) -> None:
    """No picture changes where a class does, only the table; the glance names classes."""
    rng = np.random.default_rng(0)
    for n in range(4):
        sf.write(tmp_path / f"{n}.wav", 0.1 * rng.normal(size=8_000), 8_000)
    table = tmp_path / "clips.csv"
    table.write_text("path,label,fold\n0.wav,owl,1\n1.wav,owl,2\n2.wav,rain,1\n3.wav,rain,2\n")
    words = ["render", str(table), "--out", str(tmp_path / "out"), "--n-mels", "32"]
    runner = CliRunner()
    assert runner.invoke(app, words).exit_code == 0
    glance = tmp_path / "out" / "examples.png"
    before = glance.read_bytes()
    table.write_text(table.read_text().replace("rain", "siren"))
    said = runner.invoke(app, words)
    assert "rendered 0, already there 4" in said.output
    assert glance.read_bytes() != before
