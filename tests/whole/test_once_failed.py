"""Inputs on which commands once failed, as people met them: commands, real files, processes.

What is tested closer to the code that was mended is not here again.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from spectro.clips.waveform import load
from spectro.crossval.run import Run
from tests.whole.hostile import call

pytestmark = pytest.mark.slow

SPECTRO = [sys.executable, "-m", "spectro"]
TRAINING = ["--weights", "none", "--epochs", "1", "--size", "32", "--arch", "cnn4"]
SECONDS = 120  # of a process that waits for ever


class Said(NamedTuple):
    """The end of a command, and all that it wrote on both streams."""

    status: int
    text: str

    def in_a_line(self, *words: str) -> None:
        """Check that it failed in one short line that has these words."""
        assert self.status == 1, self.text
        lines = [line for line in self.text.splitlines() if line.startswith("spectro: ")]
        assert len(lines) == 1 and len(lines[0]) < 600, self.text[:2_000]
        assert not [word for word in words if word not in lines[0]], lines[0]


def said(*words: object) -> Said:
    """Call the command in this process, which is seconds faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLBACKEND", "Agg")  # as the command sets it, and does not put back
        patch.setattr(sys, "argv", sys.argv)
        status, text = call([str(word) for word in words])
    assert isinstance(status, int), status
    return Said(status, text)


def run(*words: object, **env: str) -> Said:
    """Call it in a process of its own."""
    return process(*SPECTRO, *words, **env)


def process(*words: object, **env: str) -> Said:
    done = subprocess.run(
        [*map(str, words)], env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS, check=False,
    )  # fmt: skip
    text = done.stdout.decode()
    assert "Traceback" not in text, text
    return Said(done.returncode, text)


def tones(root: Path, *labels: str, clips: int = 6) -> Path:
    t = np.arange(8_000) / 8_000
    for k, label in enumerate(labels):
        (root / label).mkdir(parents=True)
        for i in range(clips):
            y = 0.3 * np.sin(2 * np.pi * (300 * (k + 1) + 31 * i) * t)
            sf.write(root / label / f"{label}{i}.wav", y, 8_000)
    return root


class Lab:
    """Sounds, their pictures, and a run of both folds; each test gets a copy."""

    def __init__(self, root: Path) -> None:
        self.sounds, self.pictures, self.run = root / "ds", root / "pics", root / "run"
        self.model = self.run / "fold1" / "model"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("once")
    lab = Lab(root)
    tones(lab.sounds, "a", "b")
    drawn = said("render", lab.sounds, "--out", lab.pictures, "--duration", 1, "--n-folds", 2)
    assert drawn.status == 0, drawn.text
    trained = said("cross-validate", lab.pictures, "--run", lab.run, *TRAINING)
    assert trained.status == 0, trained.text
    return root


@pytest.fixture
def lab(made: Path, tmp_path: Path) -> Lab:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Lab(tmp_path)


def edit(path: Path, change: Callable[[Any], object]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


# --- what others wrote ---------------------------------------------------------------------------


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A web server on this machine, and the paths that were asked of it."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def test_a_report_asks_no_host_that_a_run_names(lab: Lab, asked: tuple[str, list[str]]) -> None:
    url, seen = asked

    def elsewhere(record: Any) -> None:
        record["rendered"]["folder"] = f"{url}/p"
        record["dataset"]["root"] = f"{url}/s"

    edit(lab.run / "run.json", elsewhere)
    (lab.run / "doctor.json").unlink(missing_ok=True)
    (lab.run / "report.html").unlink(missing_ok=True)
    ended = said("report", lab.run)
    assert seen == []
    assert ended.status == 0, ended.text
    page = (lab.run / "report.html").read_text()
    assert "pictures could not be had" in page and "sounds could not be had" in page


def test_a_table_without_labels_is_named(lab: Lab) -> None:
    table = lab.pictures / "clips.csv"
    table.write_text(table.read_text().replace("label", "lable", 1))
    trained = said("train-fold", lab.pictures, "--fold", 1, "--run", "r", *TRAINING)
    trained.in_a_line("clips.csv", "label")


def test_losses_that_no_training_has_are_named(lab: Lab) -> None:
    history = lab.run / "fold1" / "history.csv"
    history.write_text("epoch,train_loss,valid_loss,accuracy\n1,1e300,1e300,1\n")
    said("report", lab.run).in_a_line("fold1/history.csv", "train_loss")


def test_a_damaged_run_hides_no_other(lab: Lab) -> None:
    shutil.copytree(lab.run, lab.run.with_name("damaged"))
    edit(lab.run.with_name("damaged") / "run.json", lambda record: record.pop("labels"))
    listed = said("runs", "--runs", lab.run.parent)
    assert listed.status == 0
    (line,) = (line for line in listed.text.splitlines() if "labels is missing" in line)
    assert "damaged" in line
    kept = said("runs", "--runs", lab.run.parent, "--json").text
    assert [Path(row["run"]).name for row in json.loads(kept[kept.index("[") :])] == ["run"]


@pytest.mark.parametrize("size", [1_000_000, 4_097, 31])
def test_pictures_of_an_absurd_size_are_refused(lab: Lab, size: int) -> None:
    edit(lab.model / "model.json", lambda card: card.update(size=size))
    said("predict", lab.model, lab.sounds / "a" / "a0.wav").in_a_line("size")


TOML = {
    "deep": "x=" + "[" * 50_000,
    "many digits": "n_fft=1" + "0" * 5_000,
    "2 MB in a value": f'pad="{"x" * 2_000_000}"',
    "just under 1 MiB": f'pad="{"x" * 1_000_000}"',
    "picture of gigabytes": "duration=3600.0\nsr=1000000\nhop_length=1\nn_mels=4096",
}


@pytest.mark.parametrize("text", TOML.values(), ids=TOML.keys())
def test_settings_that_cannot_be_are_a_short_line(tmp_path: Path, text: str) -> None:
    sounds, config = tones(tmp_path / "ds", "a", "b"), tmp_path / "s.toml"
    config.write_text(f"[spectrogram]\n{text}\n")
    ended = said("render", sounds, "--out", tmp_path / "p", "--config", config)
    ended.in_a_line("s.toml" if "duration" not in text else "samples")
    assert not list(tmp_path.glob("p/fold*"))


def test_candidates_nested_too_deep_are_a_short_line(lab: Lab) -> None:
    candidates = lab.run.with_name("c.toml")
    candidates.write_text(f"[one]\nlr={'[' * 50_000}\n")
    words = ["--candidates", candidates, "--run", lab.run.with_name("nested"), *TRAINING]
    said("cross-validate", lab.pictures, *words).in_a_line("c.toml")


# --- files that are none -------------------------------------------------------------------------

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")


@pytest.mark.long
@needs_pipes
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("check", "{ds}"), 3),
        (("render", "{ds}", "--out", "{new}", "--duration", "1", "--n-folds", "2"), 3),
        (("predict", "{model}", "{ds}/a/pipe.wav", "{ds}/a/a0.wav"), 3),
        (("plot", "{ds}/a/pipe.wav", "--out", "{new}"), 1),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_pipe_among_sounds_stops_nothing(lab: Lab, words: tuple[str, ...], status: int) -> None:
    os.mkfifo(lab.sounds / "a" / "pipe.wav")
    names = {"ds": lab.sounds, "model": lab.model, "new": lab.run.with_name("new")}
    ended = run(*(word.format(**names) for word in words))
    assert ended.status == status, ended.text
    assert "regular file" in ended.text
    if words[0] == "render":
        assert len(list(names["new"].glob("fold*/*.png"))) == 12
    if words[0] == "predict":
        assert "a0.wav" in ended.text


@pytest.mark.long
@needs_pipes
def test_a_pipe_instead_of_a_picture_stops_no_report(lab: Lab) -> None:
    for picture in lab.pictures.glob("fold1/*.png"):
        picture.unlink()
        os.mkfifo(picture)
    (lab.run / "doctor.json").unlink(missing_ok=True)
    assert run("report", lab.run).status in (0, 1)


# --- kills and full disks ------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_what_a_killed_training_left_is_cleared(lab: Lab, number: int) -> None:
    shutil.rmtree(lab.run / "fold2")
    there = {path.name for path in lab.run.iterdir()}
    dies = f"""
import os, sys
from spectro.crossval.run import Run
from tests.whole.hostile import call
run = Run.load({str(lab.run)!r})
with run.writing_fold(run.fold_record(1).replace(fold=2)) as folder:
    (folder / "model").mkdir()
    (folder / "model" / "half").write_bytes(bytes(1000))
    os.kill(os.getpid(), {int(number)})
"""
    subprocess.run([sys.executable, "-c", dies], check=False, timeout=SECONDS)
    left = {path.name for path in lab.run.iterdir()} - there
    assert len(left) <= 1 and "fold2" not in left
    ended = said("cross-validate", lab.pictures, "--run", lab.run, *TRAINING)
    assert ended.status == 0, ended.text
    assert {path.name for path in lab.run.iterdir()} == {*there, "fold2"}


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="bounds files as Linux does")
def test_no_room_for_a_model_is_a_line_and_keeps_finished_folds(lab: Lab) -> None:
    shutil.rmtree(lab.run / "fold2")
    before = {path: path.read_bytes() for path in lab.run.glob("fold1/**/*") if path.is_file()}
    full = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)); "
        f"sys.argv = ['spectro', 'cross-validate', {str(lab.pictures)!r}, '--run', "
        f"{str(lab.run)!r}, *{TRAINING!r}]; from spectro.cli.app import main; main()"
    )
    process(sys.executable, "-c", full).in_a_line(str(lab.run), "File too large")
    assert {path: path.read_bytes() for path in before} == before
    assert not (lab.run / "fold2").exists()


# --- consoles and names --------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    "backend", [pytest.param("foo", marks=pytest.mark.long), "module://ipympl.backend_nbagg"]
)
def test_a_backend_that_is_not_there_stops_nothing(lab: Lab, backend: str) -> None:
    new, drawn = lab.run.with_name("new"), lab.run.with_name("p.png")
    sound = lab.sounds / "a" / "a0.wav"
    told = {"MPLBACKEND": backend}
    assert run("plot", sound, "--out", drawn, **told).status == 0
    assert run("render", lab.sounds, "--out", new, "--n-folds", "2", **told).status == 0
    shutil.rmtree(lab.run)
    words = ("train-fold", lab.pictures, "--fold", "1", "--run", lab.run, *TRAINING)
    assert run(*words, **told).status == 0
    assert drawn.is_file() and (new / "examples.png").is_file()
    assert (lab.run / "training.png").is_file()


@pytest.mark.long
def test_a_console_of_few_letters_stops_nothing(tmp_path: Path) -> None:
    """Classes in Cyrillic, and what Python writes to a file on Windows."""
    root, out, runs = tones(tmp_path / "own", "собака", "кошка"), tmp_path / "pics", tmp_path / "r"
    told = {"PYTHONIOENCODING": "cp1252"}
    found, left_out = tmp_path / "f.csv", tmp_path / "q.csv"
    kept = ("--csv", found, "--quarantine", left_out)
    assert run("check", root, "--n-folds", "2", *kept, **told).status == 0
    assert found.is_file() and left_out.is_file()
    assert run("render", root, "--out", out, "--n-folds", "2", **told).status == 0
    trained = run("train-fold", out, "--fold", "1", "--run", runs, *TRAINING, **told)
    assert trained.status == 0 and (runs / "report.html").is_file()
    heard = run(
        "predict",
        runs / "fold1" / "model",
        next(path for path in root.glob("*/*") if path.stem[-1] == "0"),
        **told,
    )
    assert heard.status == 0 and r"\u043a\u0430" in heard.text  # both end in the same letters


def test_a_name_that_is_no_unicode_is_drawn(lab: Lab) -> None:
    odd = lab.sounds / "a" / os.fsdecode(b"caf\xe9.wav")
    try:
        shutil.copy(lab.sounds / "a" / "a0.wav", odd)
    except OSError:
        pytest.skip("this disk has Unicode names alone")
    drawn = lab.run.with_name("p.png")
    ended = said("plot", odd, "--out", drawn)
    assert ended.status == 0 and drawn.is_file()


# --- sounds --------------------------------------------------------------------------------------


def test_a_class_of_nothing_but_files_without_sound_is_told(tmp_path: Path) -> None:
    root = tones(tmp_path / "ds", "dog", "bird")
    phone = b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0" + b"\0\0\0\x10mdat" + bytes(3_000)
    (root / "cat").mkdir()
    for i in range(6):
        (root / "cat" / f"{i}.m4a").write_bytes(phone)
    checked = said("check", root, "--n-folds", 2)
    assert checked.status == 3 and "class without sound" in checked.text and "cat" in checked.text
    drawn = said("render", root, "--out", tmp_path / "p", "--n-folds", 2)
    assert drawn.status in (1, 3)
    failed = pd.read_csv(tmp_path / "p" / "failures.csv")
    assert sorted(Path(path).name for path in failed["path"]) == [f"{i}.m4a" for i in range(6)]


def test_a_killed_recorder_wrote_no_size_but_all_sound(tmp_path: Path) -> None:
    """The size of the data is 0, that of the file is right."""
    path = tmp_path / "killed.wav"
    y = (0.5 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 22_050) * 32_767).astype(np.int16)
    sf.write(path, y, 22_050)
    header = bytearray(path.read_bytes())
    at = header.index(b"data")
    assert header[at + 4 : at + 8] == len(y.tobytes()).to_bytes(4, "little")
    header[at + 4 : at + 8] = bytes(4)
    path.write_bytes(header)
    heard = load(path, sr=22_050)
    np.testing.assert_allclose(heard, y / 32_768, atol=1e-6)


def test_the_run_of_these_tests_is_whole(lab: Lab) -> None:
    """What the tests above break was in order before."""
    assert Run.load(lab.run).finished_folds == [1, 2]
    assert said("report", lab.run).status == 0
    assert said("predict", lab.model, lab.sounds / "a" / "a0.wav").status == 0
