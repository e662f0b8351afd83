"""The command line as a person meets it: real processes, their words and their exit status."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from rich.console import Console

import spectro
from spectro.cli import app as commands
from spectro.cli import tables
from spectro.crossval.run import Run
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig
from tests.conftest import SHORT_TRAINING, SMALL_PICTURES


def call(
    *words: object, cwd: Path | None = None, quiet: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a process of its own; `quiet` silences Python's warnings."""
    command = [str(Path(sys.executable).parent / "spectro"), *map(str, words)]
    told = {**os.environ, "PYTHONWARNINGS": "ignore" if quiet else "default", "COLUMNS": "100"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=told)


def here(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, which has loaded torch already."""
    out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["spectro", *map(str, words)])
        patch.chdir(cwd or before)
        status = commands._run()
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the single line on the error stream of a command that could not do its work."""
    assert done.returncode == 1, done
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("spectro: ")
    return lines[0]


@pytest.fixture
def small_toml(tmp_path: Path) -> Path:
    path = tmp_path / "spectro.toml"
    path.write_text(
        SMALL_PICTURES.to_toml() + SHORT_TRAINING.replace(recipe="plain", arch="cnn4").to_toml()
    )
    return path


def loading(modules: tuple[str, ...], *words: object) -> str:
    """Run the command; return what it prints, and in a last line which of `modules` it loaded."""
    code = (
        f"import sys; sys.argv = {['spectro', *map(str, words)]}\n"
        "from spectro.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([m for m in {modules} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout


@pytest.mark.long
def test_rendering_with_nothing_to_do_loads_nothing_that_it_does_not_need(
    sample_root: Path, tmp_path: Path
) -> None:
    """Over thousands of clips that are up to date, imports take longer than looking at them."""
    slow = ("torch", "sklearn", "scipy.signal", "matplotlib")
    words = ("render", sample_root, "--out", tmp_path / "pictures", "--n-mels", 32)
    assert "rendered 36" in loading(slow, *words)
    told = loading(slow, *words)
    assert "rendered 0, already there 36" in told
    assert told.splitlines()[-1] == "[]"


def test_version() -> None:
    assert call("--version").stdout == f"spectro {spectro.__version__}\n"


def test_wrong_usage_is_status_2() -> None:
    assert call("render").returncode == 2
    assert call("nonsense").returncode == 2


@pytest.mark.slow
def test_from_nothing_to_a_prediction(tmp_path: Path, small_toml: Path) -> None:
    """The whole way, training and predicting in real processes."""
    made = here("sample", "data", "--sources", 1, "--slices", 1, "--folds", 2, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "data/UrbanSound8K" in made.stdout

    pictures = tmp_path / "pictures"
    drawn = here("render", "data", "--out", pictures, "--config", small_toml, cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert "sample: 20 clips, 10 classes, 2 folds" in drawn.stdout
    assert "rendered 20, already there 0, failed 0" in drawn.stdout
    assert (pictures / "examples.png").is_file()
    again = here("render", "data", "--out", pictures, "--config", small_toml, cwd=tmp_path)
    assert "rendered 0, already there 20, failed 0" in again.stdout
    before = (pictures / "examples.png").stat().st_mtime_ns
    here("render", "data", "--out", pictures, "--config", small_toml, cwd=tmp_path)
    assert (pictures / "examples.png").stat().st_mtime_ns == before

    train = ("train-fold", pictures, "--fold", 2, "--config", small_toml, "--epochs", 1)
    trained = call(*train, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    last = trained.stdout.strip().splitlines()[-1]
    match = re.fullmatch(r"fold 2: accuracy (\d+\.\d) %, in (runs/sample-plain-\w+)", last)
    assert match, last
    run = Run.load(tmp_path / match[2])
    assert float(match[1]) == pytest.approx(100 * run.fold_record(2).accuracy, abs=0.05)
    assert "started from random weights, as asked" in trained.stdout
    assert "epoch   1/1  train loss" in trained.stdout
    assert "NOT the 2-fold number" in trained.stdout
    assert f"report: {match[2]}/report.html\n" in trained.stdout
    assert {"training.png", "confusion.png", "scores.json", "report.html"} <= {
        p.name for p in run.folder.iterdir()
    }

    (run.folder / "report.html").unlink()
    (run.folder / "report.html").mkdir()  # where no file can be written
    resumed = here(*train, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "fold 2 is trained already" in resumed.stdout
    warnings = [line for line in resumed.stderr.splitlines() if line.startswith("WARNING")]
    tells = f"WARNING: no report could be written (Is a directory); spectro report {match[2]}"
    assert warnings == [f"{tells} tries again"]
    assert "train loss" not in resumed.stdout

    clip = run.predictions().iloc[0]
    heard = call("predict", run.folder / "fold2" / "model", clip["path"], "--json", cwd=tmp_path)
    assert heard.returncode == 0, heard.stderr
    told = json.loads(heard.stdout)
    assert told["label"] == clip["predicted"]
    assert told["probabilities"]["siren"] == pytest.approx(clip["p_siren"], abs=1e-4)


@pytest.mark.slow
def test_cross_validate_trains_the_rest_and_shows_the_leak(
    tmp_path: Path, rendered: RenderedSet, small_toml: Path
) -> None:
    words = (rendered.folder, "--config", small_toml, "--epochs", 1, "--run", tmp_path / "run")
    assert here("train-fold", *words, "--fold", 2).returncode == 0
    done = here("cross-validate", *words, "--compare-random-split")
    assert done.returncode == 0, done.stderr
    assert "fold 2 is trained already" in done.stdout
    run = Run.load(tmp_path / "run")
    assert run.finished_folds == [1, 2, 3]
    scores = run.scores()
    assert f"mean of 3 folds: {100 * scores.fold_mean:.1f} %" in done.stdout
    assert "a random split claims" in done.stderr
    assert f"report: {run.folder}/report.html\n" in done.stdout
    assert "A split at random would claim" in (run.folder / "report.html").read_text()
    assert done.stdout.strip().splitlines()[-1].endswith(str(tmp_path / "run"))
    for label in run.labels:
        assert label in done.stdout


@pytest.mark.slow
def test_twenty_damaged_clips_are_named_and_every_other_is_drawn(
    sample_root: Path, tmp_path: Path
) -> None:
    root = tmp_path / "UrbanSound8K"
    shutil.copytree(sample_root, root)
    clips = sorted(root.glob("audio/*/*.wav"))
    damaged = clips[:20]
    for number, clip in enumerate(damaged):
        damage(clip, number % 6)
    done = call("render", root, "--out", tmp_path / "out", "--n-mels", 32, "--workers", 2)
    assert done.returncode == 3
    broken = [clip for clip in damaged if clip.is_file()]  # a folder in a clip's place is no clip
    assert "note: 3 listed clips are absent" in done.stdout
    assert f"rendered {len(clips) - 20}, already there 0, failed 17" in done.stdout
    failures = pd.read_csv(tmp_path / "out" / "failures.csv")
    assert sorted(Path(path).name for path in failures["path"]) == sorted(c.name for c in broken)
    assert failures["reason"].str.len().min() > 5
    assert all(clip.name in done.stdout + done.stderr for clip in damaged)
    assert len(list(tmp_path.glob("out/fold*/*.png"))) == len(clips) - 20


def damage(clip: Path, kind: int) -> None:
    """Break a clip in one of six ways that real folders have."""
    y, sr = np.zeros(1000, np.float32) + 0.1, 22_050
    if kind == 0:
        clip.write_bytes(b"")
    elif kind == 1:
        sf.write(clip, y, sr)
        clip.write_bytes(clip.read_bytes()[:900])
    elif kind == 2:
        clip.write_text("not sound")
    elif kind == 3:
        sf.write(clip, y[:0], sr)
    elif kind == 4:
        sf.write(clip, np.full(1000, np.nan), sr, subtype="FLOAT")
    else:
        clip.unlink()
        clip.mkdir()


def test_predict_names_broken_files_and_hears_the_others(run: Run, tmp_path: Path) -> None:
    good = run.predictions()["path"][0]
    (tmp_path / "bad.wav").write_text("text")
    model = run.folder / "fold1" / "model"
    done = here("predict", model, tmp_path / "bad.wav", good, "--csv", tmp_path / "all.csv")
    assert done.returncode == 3
    assert done.stdout.startswith(f"{good}: ")
    assert "bad.wav: cannot be decoded" in done.stderr
    table = pd.read_csv(tmp_path / "all.csv")
    assert table["path"].tolist() == [good]
    assert [c for c in table.columns if c.startswith("p_")] == [f"p_{k}" for k in run.labels]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("render", "nowhere", "--out", "out"), "nowhere: no such folder or file"),
        (("render", ".", "--out", "out"), "no known dataset"),
        (("render", "DATA", "--out", "out", "--hop-length", 0), "hop_length is 0"),
        (("render", "DATA", "--out", "out", "--pad", "repeat"), "pad is 'repeat'"),
        (("render", "DATA", "--out", "out", "--fmax", 20000), "fmax 20000 Hz"),
        (("render", "DATA", "--out", "out", "--config", "none.toml"), "none.toml"),
        (("render", "DATA", "--out", "PICTURES", "--top-db", 40), "top_db 80.0 there, 40.0 asked"),
        (("render", "DATA", "--out", "out", "--n-folds", 3), "has no option n_folds"),
        (("train-fold", "nowhere", "--fold", 1), "no rendered pictures"),
        (("train-fold", "PICTURES", "--fold", 9, "--weights", "none"), "fold 9 has no pictures"),
        (("train-fold", "PICTURES", "--fold", 1, "--recipe", "best"), "unknown recipe 'best'"),
        (("train-fold", "PICTURES", "--fold", 1, "--weights", "w.pth"), "no such weights file"),
        (("train-fold", "PICTURES", "--fold", 1, "--arch", "resnet1"), "resnet1"),
        (("predict", "nowhere", "clip.wav"), "nowhere: no such folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(
    words: tuple[object, ...], said: str, sample_root: Path, rendered: RenderedSet, tmp_path: Path
) -> None:
    places = {"DATA": sample_root, "PICTURES": rendered.folder}
    done = here(*(places.get(word, word) for word in words), cwd=tmp_path)
    assert said in one_line(done)
    assert not (tmp_path / "out").exists()


def test_toml_and_flags_add_up(tmp_path: Path, sample_root: Path) -> None:
    toml = tmp_path / "settings.toml"
    toml.write_text("[spectrogram]\nn_mels = 40\nhop_length = 2048\n")
    done = here("render", sample_root, "--out", tmp_path / "out", "--config", toml, "--n-mels", 32)
    assert done.returncode == 0, done.stderr
    assert RenderedSet.load(tmp_path / "out").config == SpectrogramConfig(
        n_mels=32, hop_length=2048
    )


def test_ctrl_c_ends_with_one_line(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "spectro"), "sample", str(tmp_path / "data")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("data/.spectro-*/new/audio")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.strip() == "spectro: interrupted; what was finished is kept, run it again"
    assert not (tmp_path / "data" / "UrbanSound8K").exists()


def test_when_every_clip_fails_each_is_told(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for name in ("1.wav", "2.wav"):
            (tmp_path / "data" / label / name).write_text("text")
    done = here("render", tmp_path / "data", "--out", tmp_path / "out", "--n-folds", 2)
    assert done.returncode == 3
    assert done.stderr.count("cannot be decoded") == 4
    assert "a glance" not in done.stdout
    assert "Traceback" not in done.stderr


def test_labels_that_look_like_markup_are_printed_as_they_are() -> None:
    table = tables._table("label", [{"label": "[b]:dog:[/b]", "f1": 0.5}], ("f1",))
    shown = Console(width=60, file=io.StringIO())
    shown.print(table)
    assert "[b]:dog:[/b]" in shown.file.getvalue()


def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    one_line(call("sample", tmp_path / "file" / "deeper"))


def test_of_a_long_recording_it_is_said_how_much_is_used(tmp_path: Path, run: Run) -> None:
    y = 0.1 * np.random.default_rng(0).standard_normal(8_000 * 30)
    for name, n in (("a/long", len(y)), ("a/short", 8_000), ("b/one", 8_000), ("b/two", 8_000)):
        (tmp_path / "ds" / name).parent.mkdir(parents=True, exist_ok=True)
        sf.write(tmp_path / "ds" / f"{name}.wav", y[:n] * (1 + n % 7), 8_000)
    words = ["ds", "--n-folds", "2"]
    rendered = here("render", *words, "--out", "pics", cwd=tmp_path)
    assert "1 clip is longer than the 4 s of a picture, by up to 26 s" in " ".join(
        rendered.stderr.split()
    )
    assert "longer than the 4 s" not in here("render", *words, "--out", "pics", cwd=tmp_path).stderr
    checked = " ".join(here("check", *words, cwd=tmp_path).stderr.split())
    assert "1 of 4 clips is longer than the 4 s of a default picture, by up to 26 s" in checked
    model = run.folder / "fold1" / "model"
    heard = here("predict", str(model), "ds/a/long.wav", "ds/b/one.wav", cwd=tmp_path)
    assert heard.stderr.count("were heard") == 1
    assert "long.wav: 4 s of 30.0 s were heard" in " ".join(heard.stderr.split())
    sf.write(tmp_path / "ds" / "b" / "longer.wav", 0.5 * y, 8_000)
    files = ["ds/a/long.wav", "ds/b/longer.wav", "ds/b/one.wav"]
    told = " ".join(here("predict", str(model), *files, cwd=tmp_path).stderr.split())
    assert "of 2 of 3 files only the first 4 s were heard, as of ds/a/long.wav, which has" in told


def test_pictures_whose_clips_are_gone_are_removed_and_said_to_be(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        for number in range(4):
            y = np.random.default_rng(number).normal(0, 0.1, 4_000)
            sf.write(tmp_path / "sounds" / label / f"{label}{number}.wav", y, 8_000)
    words = ("render", tmp_path / "sounds", "--out", tmp_path / "out", "--n-folds", 2)
    words += ("--n-mels", 16, "--duration", 0.5, "--workers", 1)
    assert "outdated" not in here(*words).stdout
    (tmp_path / "sounds" / "a" / "a0.wav").unlink()
    assert "removed 1 outdated picture: " in here(*words).stdout
    (tmp_path / "sounds" / "a" / "a1.wav").unlink()
    (tmp_path / "sounds" / "b" / "b1.wav").unlink()
    assert "removed 2 outdated pictures: " in here(*words).stdout
