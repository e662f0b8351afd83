"""Settings from files: written with reasons, read back, and mistakes in them told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.cli.listening.listen import _plan
from spectro.cli.options import _spectrogram, _train
from spectro.crossval.run import Run
from spectro.errors import ConfigError, ModelError
from spectro.listening.events.settings import EventSettings
from spectro.listening.live.settings import ProofSettings, read_proofs
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.settings import TABLES
from spectro.training.pretraining.settings import PretrainConfig
from spectro.training.recipes import RECIPES, recipe, recipe_spectrogram
from spectro.training.settings import Phase, TrainConfig
from tests.conftest import SHORT_TRAINING

DOCS = Path(__file__).parents[2] / "docs"


def printed(*words: str) -> str:
    return CliRunner().invoke(app, ["settings", *words], catch_exceptions=False).output


@pytest.mark.parametrize("name", [name for name, config in RECIPES.items() if config.phases])
def test_what_settings_prints_reads_back_as_the_recipe(tmp_path: Path, name: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(printed("--recipe", name))
    assert _train(file) == recipe(name)
    assert _spectrogram(file, name) == recipe_spectrogram(name)


def test_every_setting_is_printed_once_with_what_it_is_for() -> None:
    lines = printed("--recipe", "blog").splitlines()
    fields = {*TrainConfig.model_fields} - {"phases"}
    for name in fields:
        (at,) = (
            i for i, line in enumerate(lines) if line.removeprefix("# ").startswith(f"{name} =")
        )
        assert lines[at - 1].startswith("# "), name
    assert sum("The schedule: each phase" in line for line in lines) == 1
    assert lines.count("[[train.phases]]") == 3


def test_a_setting_that_a_file_changes_says_so(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[train]\nbatch_size = 8\nlr = 0.01\n")
    told = printed("--config", str(file))
    assert "batch_size = 8" in told
    assert "(here by recipe or file; else 32)" in told.replace("\n# ", " ")
    assert "lr = 0.01" in told


@pytest.mark.parametrize(("words", "file"), [((), "spectro.toml"), (("listen",), "listen.toml")])
def test_the_examples_in_the_docs_are_what_the_command_prints(
    words: tuple[str, ...], file: str
) -> None:
    assert (DOCS / file).read_text() == printed(*words), f"spectro settings > docs/{file}"


def test_what_settings_prints_of_a_listener_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "listen.toml"
    file.write_text(printed("listen"))
    assert _plan(file, None, {}, {}, {}, {}, []) == _plan(None, "mic", {}, {}, {}, {}, [])
    proof = file.read_text().partition("# [[proof]]\n")[2]
    file.write_text("[[proof]]\n" + re.sub("^# ", "", proof, flags=re.MULTILINE))
    (read,) = read_proofs(file)
    assert read == ProofSettings(clip=tmp_path / "chainsaw.flac", label="chainsaw")


def test_what_settings_prints_of_scan_and_pretrain_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(printed("scan"))
    assert EventSettings.from_toml(file) == EventSettings()
    file.write_text(printed("pretrain"))
    assert PretrainConfig.from_toml(file) == PretrainConfig()
    assert _spectrogram(file, None) == recipe_spectrogram("default")


def test_a_recipe_is_of_training_alone() -> None:
    with pytest.raises(ConfigError, match="change no settings of spectro listen"):
        printed("listen", "--recipe", "blog")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[trian]\nepochs = 1\n", r"unknown table \[trian\]; did you mean \[train\]\?"),
        ("[xyz]\n", r"unknown table \[xyz\]; there are spectrogram, train, "),
        ("n_mels = 3\n", r"unknown table \[n_mels\]"),
    ],
)
def test_an_unknown_table_is_an_error(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(text)
    for read in (lambda: _train(file), lambda: _spectrogram(file, None)):
        with pytest.raises(ConfigError, match=told):
            read()


def test_every_table_that_settings_name_is_known() -> None:
    assert {"spectrogram", "train", "candidate", "events", "scan", "thresholds"} <= set(TABLES)


def test_epochs_and_lr_of_the_table_are_those_of_the_flags(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[train]\nrecipe = "blog"\nepochs = 2\nlr = 0.01\n')
    assert _train(file) == _train(recipe="blog", epochs=2, lr=0.01)
    assert _train(file, epochs=7).phases[-1] == Phase(epochs=7, lr=0.01)
    file.write_text("[train]\nepoch = 2\n")
    with pytest.raises(ConfigError, match=r"setting epoch; did you mean epochs\? There are"):
        _train(file)
    file.write_text("[train]\nepochs = 0\n")
    with pytest.raises(ConfigError, match=r"s\.toml: epochs is 0"):
        _train(file)


def test_help_names_the_tables_of_the_file() -> None:
    for command in ("render", "train-fold", "settings"):
        told = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        assert "[spectrogram] and [train]" in told, command


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 3}, "seed 0, now 3"),
        ({"phases": (Phase(epochs=2, lr=3e-3),)}, "epochs 6, now 2"),
        ({"phases": (Phase(epochs=6, lr=1e-3),)}, "lr 0.003, now 0.001"),
        ({"phases": (Phase(epochs=1), Phase(epochs=6, lr=3e-3))}, "phases 1, now 2"),
    ],
)
def test_a_rerun_with_other_settings_is_told_which(
    run: Run, rendered: RenderedSet, changes: dict[str, object], told: str
) -> None:
    record = run.record
    config = TrainConfig(**{**SHORT_TRAINING.to_dict(), **changes})
    with pytest.raises(ModelError, match=rf"other train \({told}\); name another --run"):
        Run.open(run.folder, rendered, config, record.weights, record.precision)


def test_of_several_phases_the_changed_one_is_named() -> None:
    one = TrainConfig(phases=(Phase(epochs=1), Phase(epochs=2)))
    two = TrainConfig(phases=(Phase(epochs=3), Phase(epochs=2)))
    assert one.differences(two) == ["epochs of phase 1 1, now 3"]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('recipe = ["blog"]', r"unknown recipe \"\['blog'\]\""),
        ("recipe = 3", "unknown recipe '3'"),
        ("self = 1", "unknown setting self"),
    ],
)
def test_a_table_of_anything_is_one_line(tmp_path: Path, table: str, told: str) -> None:
    (tmp_path / "mine.toml").write_text(f"[train]\n{table}\n")
    with pytest.raises(ConfigError, match=told):
        _train(tmp_path / "mine.toml")


def test_a_picture_of_anything_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[spectrogram]\nself = 1\n")
    with pytest.raises(ConfigError, match="unknown setting self"):
        _spectrogram(tmp_path / "mine.toml", "digits")
