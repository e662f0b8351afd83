"""`spectro check` as a person meets it: its words, its files, its exit status."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.crossval.run import Run
from spectro.errors import SpectroError
from spectro.pictures.rendered import RenderedSet
from tests.cli.test_cli import call, here
from tests.conftest import SHORT_TRAINING, SMALL_PICTURES


@pytest.fixture
def ill(tmp_path: Path) -> Path:
    """Own sounds: four good clips, a silent one, a broken one, a copy under another label."""
    root = tmp_path / "own"
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for i in range(2):
            sf.write(root / label / f"{label}{i}.wav", rng.uniform(-0.3, 0.3, 8_000), 16_000)
    sf.write(root / "cat" / "silent.wav", np.zeros(8_000), 16_000)
    (root / "dog" / "broken.wav").write_text("no sound")
    for label in ("cat", "dog"):
        shutil.copy(root / "cat" / "cat1.wav", root / label / f"copy as {label}.wav")
    return root


def run(*words: object) -> tuple[int, str]:
    """Run the command in this process: status and output, or status 1 and the error's line."""
    wide = {"COLUMNS": "200"}
    result = CliRunner(env=wide).invoke(app, [str(word) for word in words])
    if isinstance(result.exception, SpectroError):
        return 1, result.output + str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_names_cannot_break_a_line_or_steer_the_terminal(ill: Path, tmp_path: Path) -> None:
    (ill / "dog" / "two\nlines \x1b[31mred.wav").write_text("no sound")
    checked = here("check", ill, "--n-folds", 2)
    drawn = here("render", ill, "--out", tmp_path / "out", "--n-folds", 2)
    for told in (checked.stdout, drawn.stderr):
        assert "\x1b" not in told
    (line,) = (line for line in drawn.stderr.splitlines() if "two" in line)
    assert r"dog/two\nlines \x1b[31mred.wav: cannot be decoded" in line


@pytest.mark.slow
def test_of_a_damaged_file_only_we_speak(ill: Path, tmp_path: Path) -> None:
    """The decoder of MP3 has notes of its own, which name no file."""
    (ill / "dog" / "page.mp3").write_text("<html>404</html>")
    drawn = call("render", ill, "--out", tmp_path / "out", "--n-folds", 2, "--workers", 2)
    lines = drawn.stderr.splitlines()
    assert len(lines) == 3, lines  # two clips, and how many
    assert all(line.startswith("spectro: ") for line in lines)


@pytest.mark.slow
def test_labels_in_any_letters_are_drawn_without_a_warning(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("猫", "chien à chasse"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(2):
            sf.write(tmp_path / "data" / label / f"{i}.wav", rng.uniform(-0.3, 0.3, 8_000), 16_000)
    done = call("render", tmp_path / "data", "--out", tmp_path / "out", "--n-folds", 2, quiet=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_dataset_without_errors_is_status_0(sample_root: Path) -> None:
    status, output = run("check", sample_root)
    assert status == 0, output
    assert "sample: 36 clips, 3 classes, 3 folds" in output
    assert "jackhammer          12  33.3 %" in output
    assert "4 to 4" in output
    assert "36 clips, 0 with errors" in output.strip().splitlines()[-1]


@pytest.mark.slow
def test_errors_are_status_3_and_everything_is_in_the_files(ill: Path, tmp_path: Path) -> None:
    """In a process of its own."""
    files = {name: tmp_path / f"{name}.csv" for name in ("csv", "vitals", "quarantine")}
    options = [word for name, file in files.items() for word in (f"--{name}", file)]
    done = call("check", ill, "--n-folds", 2, *options)
    assert done.returncode == 3, done.stderr
    assert "unreadable            error         1  dog/broken.wav" in done.stdout
    assert "contradicting labels  error         3" in done.stdout
    assert "8 clips, 5 with errors and 0 with warnings" in done.stdout
    findings = pd.read_csv(files["csv"])
    assert findings["problem"].value_counts()["contradicting labels"] == 3
    assert findings["severity"].iloc[0] == "error"
    vitals = pd.read_csv(files["vitals"])
    assert len(vitals) == 8 and vitals["seconds"].count() == 7
    assert len(pd.read_csv(files["quarantine"])) == 5
    assert "5 clips to leave out with --quarantine" in done.stdout


@pytest.mark.parametrize(
    ("option", "said"),
    [("--csv", "is there already, as something"), ("--vitals", "is there already, as something")],
)
def test_a_file_of_anothers_is_refused_before_anything_is_read(
    ill: Path, tmp_path: Path, option: str, said: str
) -> None:
    mine = tmp_path / "notes.csv"
    for header in ("seen,where\n", "path,label,fold,group,start,end\n", "path,label\n"):
        mine.write_text(header)
        status, output = run("check", ill, option, mine)
        assert status == 1 and said in output
        assert not (ill / "folds.csv").exists() and "dog/broken.wav" not in output
        assert mine.read_text() == header


@pytest.mark.parametrize("pair", [("--csv", "--quarantine"), ("--vitals", "--quarantine")])
def test_a_file_named_twice_is_told_as_that(
    ill: Path, tmp_path: Path, pair: tuple[str, str]
) -> None:
    file = tmp_path / "q.csv"
    status, output = run("check", ill, pair[0], file, pair[1], file)
    assert status == 2 and f"is the file of {pair[0]}; name another" in output
    assert not file.exists()


def test_an_edited_quarantine_is_not_written_over(ill: Path, tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("path\n")
    status, output = run("check", ill, "--quarantine", tmp_path / "q.csv")
    assert (status, "is there already" in output) == (1, True)
    assert not (ill / "folds.csv").exists()  # refused before anything was read
    assert (tmp_path / "q.csv").read_text() == "path\n"


def test_render_leaves_out_what_check_proposed(ill: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "q.csv", tmp_path / "pictures"
    (tmp_path / "small.toml").write_text(SMALL_PICTURES.to_toml())
    common = ("--n-folds", 2, "--workers", 1)
    render = ("render", ill, "--out", out, "--config", tmp_path / "small.toml", *common)
    assert run("check", ill, "--quarantine", file, *common)[0] == 3
    assert run(*render)[0] == 3
    status, output = run(*render, "--quarantine", file)
    assert status == 0, output
    assert "rendered 0, already there 3, failed 0" in output
    assert f"note: 5 clips left out by {file.name}" in output
    status, output = run(*render, "--quarantine", tmp_path / "none.csv")
    assert (status, "no such file" in output) == (1, True)


def leaving_out(file: Path, clips: pd.DataFrame) -> Path:
    clips[["path"]].to_csv(file, index=False)
    return file


def test_training_sees_no_clip_that_is_left_out(rendered: RenderedSet, tmp_path: Path) -> None:
    """A fold of which every clip is left out is not there any more."""
    clips = rendered.clips
    file = leaving_out(tmp_path / "q.csv", clips[clips["fold"] == 1])
    train = ("train-fold", rendered.folder, "--fold", 1, "--quarantine", file)
    status, output = run(*train, "--weights", "none", "--runs", tmp_path)
    assert (status, "fold 1 has no pictures; there are 2, 3" in output) == (1, True), output
    assert f"note: 12 clips left out by {file.name}" in output
    file = leaving_out(tmp_path / "others.csv", clips[clips["fold"] != 1])
    validate = ("cross-validate", rendered.folder, "--quarantine", file)
    status, output = run(*validate, "--weights", "none", "--runs", tmp_path)
    assert (status, "nothing is left to train on" in output) == (1, True), output


@pytest.mark.long
def test_a_run_is_of_one_list_of_clips(rendered: RenderedSet, tmp_path: Path) -> None:
    file = leaving_out(tmp_path / "q.csv", rendered.clips.iloc[:1])
    (tmp_path / "t.toml").write_text(SHORT_TRAINING.replace(recipe="plain").to_toml())
    common = ("--fold", 1, "--config", tmp_path / "t.toml", "--epochs", 1)
    train = ("train-fold", rendered.folder, *common, "--run", tmp_path / "run")
    status, output = run(*train, "--quarantine", file)
    assert status == 0, output
    predictions = Run.load(tmp_path / "run").predictions()
    assert len(predictions) == (rendered.clips["fold"] == 1).sum() - 1
    assert f"1 clip left out by {file.name}" in output.split("accuracy")[-2]  # beside the score
    status, output = run(*train)
    assert (status, "holds a run with other" in output) == (1, True)


def grouped(root: Path) -> Path:
    """Write two classes of three recordings, two clips each, as ``rec0_0.wav``."""
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for k in range(6):
            y = rng.uniform(-0.3, 0.3, 4_000)
            sf.write(root / label / f"{label}{k // 2}_{k}.wav", y, 16_000)
    return root


def test_a_look_writes_no_folds(tmp_path: Path) -> None:
    status, output = run("check", grouped(tmp_path / "own"), "--n-folds", 2, "--workers", 1)
    assert status == 0, output
    assert not list((tmp_path / "own").glob("folds*"))


def test_how_recordings_were_told_apart_is_kept_and_kept_to(tmp_path: Path) -> None:
    own, out = grouped(tmp_path / "own"), tmp_path / "pictures"
    small = tmp_path / "small.toml"
    small.write_text(SMALL_PICTURES.to_toml())
    pattern = r"^(.+)_\d+\.\w+$"
    render = ("render", own, "--config", small, "--workers", 1, "--out")
    status, output = run(*render, out, "--n-folds", 3, "--group-pattern", pattern)
    assert status == 0, output
    reading = RenderedSet.load(out).dataset.reading
    assert reading == {"n_folds": 3, "group_pattern": pattern}
    before = {path.name: path.read_bytes() for path in own.glob("folds*")}
    for more in ([], ["--group-pattern", "^(...)"]):
        status, output = run(*render, tmp_path / "other", *more)
        assert (status, f"were made with --group-pattern '{pattern}'" in output) == (1, True)
    status, output = run("check", own, "--workers", 1)  # a look does as then
    assert (status, "no recordings" in output) == (0, False)
    assert {path.name: path.read_bytes() for path in own.glob("folds*")} == before
    assert not (tmp_path / "other").exists()


def test_a_refused_command_writes_nothing(tmp_path: Path) -> None:
    own, taken = grouped(tmp_path / "own"), tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("mine")
    for words in (["--out", taken], ["--out", tmp_path / "p", "--quarantine", tmp_path / "no.csv"]):
        status, output = run("render", own, "--n-folds", 2, *words)
        assert status == 1, output
        assert not list(own.glob("folds*"))
        assert not (tmp_path / "p").exists()


def test_one_class_and_numbers_of_one_are_told_as_such(tmp_path: Path) -> None:
    own = grouped(tmp_path / "own")
    shutil.rmtree(own / "dog")
    for words in (["check", own], ["render", own, "--out", tmp_path / "p"]):
        status, output = run(*words, "--n-folds", 2, "--workers", 1)
        assert (status, "own: 6 clips, 1 class, 2 folds" in output) == (0, True), output
        assert "every clip is cat: one class, and training needs two" in output
