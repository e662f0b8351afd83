"""Options are written once: what --help shows, and what a command is handed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.cli.options import SPECTROGRAM, training, with_options
from spectro.clips.datasets import LAYOUTS
from spectro.clips.datasets.published.sources import SOURCES
from spectro.errors import ConfigError
from spectro.pictures.settings import SpectrogramConfig
from spectro.training.recipes import RECIPES, SPECTROGRAMS
from spectro.training.settings import TrainConfig

PICTURE = (
    "--config --recipe --sr --duration --n-fft --win-length --hop-length --n-mels --fmin --fmax "
    "--ref --top-db --db-range --pad --cmap --channels"
)
READING = (
    "--layout --esc10 --n-folds --fold-seed --group-pattern --folds-file "
    "--path-column --label-column --fold-column --group-column --verdicts"
)
FIT = (
    "--config --recipe --arch --weights --size --batch-size --epochs --members --lr --precision "
    "--seed"
)
OPTIONS = {
    "sample": "folder --seed --sources --slices --folds",
    "fetch": "name --to --keep-archive --url",
    "check": f"dataset --csv --vitals --quarantine {READING} --workers",
    "plot": f"clip --what --out {PICTURE}",
    "render": f"dataset --out {PICTURE} {READING} --quarantine --workers --scheduler",
    "settings": "command --config --recipe",
    "train-fold": f"rendered --fold --random-share {FIT} --inner-fold --quarantine --run --runs "
    "--track --time-budget --gpus --threads",
    "cross-validate": f"rendered {FIT} --quarantine --run --runs --track --compare-random-split "
    "--candidates --inner-folds --seeds --scheduler --time-budget --gpus --threads",
    "probe": "rendered --config --arch --weights --size --precision --seed --quarantine --run "
    "--runs --cache",
    "lr-find": "rendered --fold --config --recipe --arch --weights --size --batch-size --precision "
    "--seed --inner-fold --quarantine --steps --out",
    "learning-curve": f"rendered --fold --shares {FIT} --quarantine --run --runs",
    "pretrain": f"--out {PICTURE} --arch --weights --objective --sounds --batch-size --lr "
    "--weight-decay --temperature --change --scene --drawing --leave-out --precision --seed --gpus "
    "--every --time-budget --probe --fold",
    "report": "run --out --open",
    "runs": "--runs --dataset --recipe --sort --json",
    "compare": "run_a run_b --csv --seed",
    "predict": "model files --top --format --csv --json --backend",
}


def helped(command: str) -> str:
    """Return a command's help, each run of blanks and box characters one blank."""
    done = CliRunner().invoke(app, [command, "--help"], terminal_width=300)
    assert done.exit_code == 0, done.output
    return " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize("command", OPTIONS)
def test_a_command_has_the_options_that_it_had(command: str) -> None:
    found = get_command(app).commands[command].params  # type: ignore[attr-defined]
    assert sorted(word for option in found for word in option.opts) == sorted(
        OPTIONS[command].split()
    )


def test_help_says_what_the_settings_and_tables_say() -> None:
    drawn, trained = helped("render"), helped("train-fold")
    for told in ("Picture", "Folds", "Running"):
        assert f"╭─ {told} ─" in drawn
    for told in ("Training", "Folds", "Running"):
        assert f"╭─ {told} ─" in trained
    assert "Sampling rate that every clip is brought to, in Hz." in drawn  # of SpectrogramConfig
    assert "Where a short clip lies in the picture: zero, loop, center or random." in drawn
    assert "tables [spectrogram] and [train]; spectro settings prints one." in drawn
    assert ": auto, fp32, bf16 or fp16." in trained
    assert "In the last phase: passes over the training clips." in trained
    for name in LAYOUTS:
        assert name in drawn
    for name in SOURCES:
        assert name in helped("fetch")
    for name, settings in RECIPES.items():
        assert (name in trained.partition("start from: ")[2].partition(".")[0]) == bool(
            settings.phases
        )


@pytest.mark.slow
def test_every_help_loads_nothing_heavy() -> None:
    """All commands in one process of its own."""
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from spectro.cli.app import app\n"
        f"for command in {[None, *OPTIONS]}:\n"
        "    words = [command, '--help'] if command else ['--help']\n"
        "    done = CliRunner().invoke(app, words)\n"
        "    assert done.exit_code == 0 and 'Usage' in done.output, command\n"
        "print([m for m in ('torch', 'fastai', 'matplotlib', 'pandas', 'numpy') if m in "
        "sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def built(group: Any, *words: str) -> Any:
    """Run a command that takes settings alone; return what it was handed."""
    handed = []

    @with_options(settings=group)
    def command(name: Annotated[str, typer.Argument()], *, settings: Any, last: int = 7) -> None:
        handed.append((name, settings, last))

    own = typer.Typer()
    own.command()(command)
    done = CliRunner().invoke(own, ["here", *words])
    if isinstance(done.exception, ConfigError):
        raise done.exception
    assert done.exit_code == 0, done.output
    ((name, settings, last),) = handed
    assert (name, last) == ("here", 7)
    return settings


def test_every_setting_of_a_picture_is_an_option_that_arrives() -> None:
    other = {
        "sr": 16_000, "duration": 1.5, "n_fft": 512, "win_length": 400, "hop_length": 160,
        "n_mels": 40, "fmin": 50.0, "fmax": 7_000.0, "ref": 0.5, "top_db": 60.0,
        "db_range": "auto", "pad": "loop", "cmap": "gray", "channels": "first",
    }  # fmt: skip
    assert set(other) == set(SpectrogramConfig.model_fields)
    words = [w for n, v in other.items() for w in (f"--{n.replace('_', '-')}", str(v))]
    assert built(SPECTROGRAM, *words) == SpectrogramConfig(**other)
    assert built(SPECTROGRAM) == SpectrogramConfig()


def test_recipe_then_file_then_flags(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        "[spectrogram]\nn_mels = 40\nsr = 8000\n[train]\nsize = 64\nbatch_size = 4\nseed = 5\n"
    )
    drawn = built(SPECTROGRAM, "--recipe", "digits", "--config", str(file), "--sr", "16000")
    assert drawn == SPECTROGRAMS["digits"].replace(n_mels=40, sr=16_000)
    names = ("arch", "weights", "size", "batch_size", "epochs", "members", "lr", "seed")
    words = ("--config", str(file), "--seed", "6", "--epochs", "2", "--lr", "0.5", "--members", "3")
    settings: TrainConfig = built(training(*names), "--recipe", "blog", *words)
    blog = RECIPES["blog"].replace(size=64, batch_size=4, seed=6, members=3)
    assert settings == blog.with_last_phase(epochs=2, lr=0.5)
    assert built(training("seed", recipe="probe"), "--seed", "3") == RECIPES["probe"].replace(
        seed=3
    )
    with pytest.raises(ConfigError, match="unknown recipe 'nope'"):
        built(training("seed"), "--recipe", "nope")


@pytest.mark.long
def test_the_command_as_a_module_completes_and_says_its_versions() -> None:
    def called(*words: str, **told: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "spectro", *words],
            env={**os.environ, **told}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    about = called("--version", "-v")
    assert about.returncode == 0, about.stderr
    rows = dict(line.split(maxsplit=1) for line in about.stdout.splitlines())
    assert rows["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"spectro", "platform", "torch", "device", "libsndfile"} <= set(rows)
    wrong = called("render")
    assert (wrong.returncode, wrong.stderr.startswith("Usage: spectro render")) == (2, True)
    words = {"COMP_WORDS": "spectro render --pad ", "COMP_CWORD": "3"}
    completed = called(_SPECTRO_COMPLETE="complete_bash", **words)
    assert completed.stdout.split() == ["zero", "loop", "center", "random"]


def test_verbose_alone_is_wrong_usage_and_completion_can_be_installed() -> None:
    assert CliRunner().invoke(app, ["-v"]).exit_code == 2
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).output
