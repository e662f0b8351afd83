"""Nested cross-validation: what is chosen, on which clips, what is written, what resumes."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.crossval import folds as crossval
from spectro.crossval.protocol import lines
from spectro.crossval.run import Run
from spectro.crossval.studies import nested
from spectro.crossval.studies.nested import read_candidates
from spectro.errors import ConfigError, DivergedError, ModelError
from spectro.pictures.rendered import RenderedSet
from spectro.report import origin
from spectro.training.loop.progress import Listener
from spectro.training.settings import TrainConfig
from tests.conftest import SHORT_TRAINING
from tests.pretending import pretend

BASE = SHORT_TRAINING.with_last_phase(epochs=1)
PAIR = {"slow": BASE.with_last_phase(lr=1e-3), "fast": BASE.with_last_phase(lr=1e-2)}


@contextlib.contextmanager
def watch(what: str, epochs: int):
    yield Listener()


def knows(slow: float, fast: float):
    """A network that knows a share of clips which depends on its rate."""
    return lambda train, config: slow if config.phases[-1].lr == 1e-3 else fast


def test_inner_folds_take_turns_after_the_scored_one() -> None:
    assert nested.inner_folds([1, 2, 3, 10], 2) == [3, 10, 1]
    assert nested.inner_folds([1, 2, 3, 10], 10, 2) == [1, 2]
    with pytest.raises(ConfigError, match="2 folds are too few"):
        nested.inner_folds([1, 2], 1)
    with pytest.raises(ConfigError, match="--inner-folds 3: there are 1 to 2"):
        nested.inner_folds([1, 2, 3], 1, 3)


def test_the_best_on_inner_folds_is_trained_on_all_and_nothing_sees_the_scored_fold(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = pretend(monkeypatch, knows(slow=0.5, fast=0.75))
    training = nested.Nested.open(tmp_path / "run", rendered, BASE, PAIR, watch)
    record = training.fold(2)
    assert record.chosen == "fast"
    assert len(done) == 2 * 2 + 1
    for train, scored in zip(done.train[:4], done.scored[:4], strict=True):
        assert set(train["fold"]) | set(scored["fold"]) == {1, 3}
        assert set(train["fold"]).isdisjoint(scored["fold"])
    assert set(done.train[4]["fold"]) == {1, 3}
    assert set(done.scored[4]["fold"]) == {2}
    assert done.configs[4].replace(precision="auto") == PAIR["fast"]


def test_what_was_chosen_is_written_with_the_inner_scores(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, knows(slow=0.75, fast=0.5))
    training = nested.Nested.open(tmp_path / "run", rendered, BASE, PAIR, watch)
    for fold in rendered.folds:
        training.fold(fold)
    table = pd.read_csv(
        training.run.folder / "choices.csv", keep_default_na=False, na_values=["nan"]
    )
    assert table["candidate"].tolist() == ["slow", "fast"] * 3
    assert table["chosen"].tolist() == ["yes", ""] * 3
    for row in table.to_dict("records"):
        folder = training.run.folder / "nested" / f"fold{row['fold']}" / row["candidate"]
        tables = [pd.read_csv(path) for path in folder.glob("fold*/predictions.csv")]
        found = {int(t["fold"][0]): (t["label"] == t["predicted"]).mean() for t in tables}
        assert row["inner_accuracy"] == pytest.approx(np.mean(list(found.values())))
        assert {k: float(row[f"inner_{k}"]) for k in found} == pytest.approx(found)
        assert row[f"inner_{row['fold']}"] == ""
    lines = crossval.score_run(training.run, rendered).protocol
    told = next(line for line in lines if line.startswith("nested: "))
    assert "one of 2 settings" in told
    assert "nothing of the scored fold was looked at (1: slow, 2: slow, 3: slow)" in told
    assert json.loads((training.run.folder / "run.json").read_text())["design"]["inner_folds"] == {
        "1": [2, 3], "2": [3, 1], "3": [1, 2]}  # fmt: skip


def test_the_protocol_counts_the_networks_of_what_was_chosen(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, knows(slow=0.5, fast=0.75))
    candidates = {**PAIR, "fast": PAIR["fast"].replace(members=3)}
    training = nested.Nested.open(tmp_path / "run", rendered, BASE, candidates, watch)
    training.fold(2)
    assert "3 networks together, each trained on 2" in lines(training.run, rendered)[0]


def test_finished_trainings_are_not_repeated(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = pretend(monkeypatch, knows(slow=0.5, fast=0.75))
    training = nested.Nested.open(tmp_path / "run", rendered, BASE, PAIR, watch)
    first = training.fold(1)
    assert training.fold(1) == first
    assert len(done) == 5
    shutil.rmtree(training.run.fold_folder(1))
    shutil.rmtree(training.run.folder / "nested" / "fold1" / "slow" / "fold3")
    training = nested.Nested.open(tmp_path / "run", rendered, BASE, PAIR, watch)
    assert training.fold(1).chosen == "fast"
    assert len(done) == 5 + 2


def test_of_equals_the_first_and_what_diverges_loses(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {}
    for name, skill in (("equal", knows(0.5, 0.5)), ("lost", knows(np.nan, 0.1))):
        pretend(monkeypatch, skill)
        training = nested.Nested.open(tmp_path / name, rendered, BASE, PAIR, watch, inner=1)
        chosen[name] = training.fold(1).chosen
    assert chosen == {"equal": "slow", "lost": "fast"}
    assert nested.choices(training.run)["inner_accuracy"].isna().tolist() == [True, False]
    pretend(monkeypatch, knows(np.nan, np.nan))
    with pytest.raises(DivergedError, match="fold 2: training diverged with every candidate"):
        training.fold(2)


def test_other_candidates_are_another_run(rendered: RenderedSet, tmp_path: Path) -> None:
    nested.Nested.open(tmp_path / "run", rendered, BASE, PAIR, watch)
    with pytest.raises(ModelError, match="other design"):
        nested.Nested.open(
            tmp_path / "run", rendered, BASE, {**PAIR, "more": BASE.replace(seed=1)}, watch
        )
    with pytest.raises(ModelError, match="other design"):
        nested.Nested.open(tmp_path / "run", rendered, BASE, PAIR, watch, inner=1)
    with pytest.raises(ModelError, match="other design"):
        crossval.Training.open(tmp_path / "run", rendered, BASE)


@pytest.mark.long
def test_the_model_says_with_which_settings_it_was_trained(
    rendered: RenderedSet, tmp_path: Path
) -> None:
    """With a real network: the choice itself does not matter here."""
    training = nested.Nested.open(tmp_path / "run", rendered, BASE, PAIR, watch, inner=1)
    record = training.fold(3)
    card = json.loads((training.run.fold_folder(3) / "model" / "model.json").read_text())
    assert card["training"]["settings"] == PAIR[record.chosen].to_dict()
    assert sorted(card["training"]["folds"]) == [1, 2]
    assert Run.load(training.run.folder).config == BASE
    assert not list((training.run.folder / "nested").rglob("*.safetensors"))


def test_candidates_are_read_as_changes(tmp_path: Path) -> None:
    file = tmp_path / "some.toml"
    file.write_text(
        "[[candidate]]\nlr = 0.002\nepochs = 3\n[[candidate]]\n[[candidate]]\n"
        'name = "big"\nrecipe = "blog"\n[[candidate]]\narch = "resnet34"\nmixup = 0.4\n'
    )
    base = TrainConfig(weights="none", seed=3, batch_size=16)
    found = read_candidates(file, base)
    assert list(found) == ["lr=0.002,epochs=3", "base", "big", "arch=resnet34,mixup=0.4"]
    assert found["lr=0.002,epochs=3"] == base.with_last_phase(lr=0.002, epochs=3)
    assert found["base"] == base
    assert (found["big"].recipe, found["big"].batch_size, found["big"].seed) == ("blog", 64, 3)
    assert found["big"].weights == "none"
    assert found["arch=resnet34,mixup=0.4"] == base.replace(arch="resnet34", mixup=0.4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lists 0 [[candidate]]; a choice needs two"),
        ("candidate = 3", "candidate is no list of tables"),
        ("[[candidate]]\nlr=1e-3\n[[candidate]]\nlr=1e-3", "candidate 2 is lr=0.001 once more"),
        ("[[candidate]]\nrate=1e-3", "candidate 1: unknown setting rate"),
        ("[[candidate]]\nlr=20", "candidate 1: lr is 20"),
        ('[[candidate]]\nname="../x"', "candidate 1: name '../x'"),
        ("[[candidate]]\ninner_fold=1", "candidate 1: inner_fold cannot be set"),
        ('[[candidate]]\nrecipe="best"', "candidate 1: unknown recipe 'best'"),
    ],
)
def test_bad_candidates_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "some.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_candidates(file, TrainConfig())
    assert said in str(error.value)
    assert str(file) in str(error.value)


def test_command_line(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, knows(slow=0.75, fast=0.25))
    file = tmp_path / "rates.toml"
    file.write_text("[[candidate]]\nlr = 1e-3\n[[candidate]]\nlr = 1e-2\n")
    settings = tmp_path / "settings.toml"
    settings.write_text(BASE.replace(recipe="plain", precision="fp32").to_toml())
    words = ["cross-validate", str(rendered.folder), "--config", str(settings)]
    words += ["--candidates", str(file), "--runs", str(tmp_path / "runs")]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert "fold 2: lr=0.001 was best of 2 on its inner folds (75.0 %), and then" in said.stdout
    assert "fold 1, lr=0.01, inner fold 3  epoch   1/1" in said.stdout
    start = "recipe plain: resnet18, 1 epoch, "
    assert said.stdout.count(start) == 2  # once a candidate
    assert f"{start}fp32 (as asked), from random weights" in " ".join(said.stdout.split())
    assert "nested: for each fold one of 2 settings was chosen" in said.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.endswith("-nested-rates")
    assert (folder / "candidates.toml").read_text() == file.read_text()
    told = origin.tell(Run.load(folder))
    again = f"--run {folder.name} --candidates {folder.name}/candidates.toml --inner-folds 2"
    assert told["commands"][1].endswith(again)
    chosen = "fold 1: lr=0.001, fold 2: lr=0.001, fold 3: lr=0.001"
    assert told["about"][-1] == ("Changes of these that were chosen", chosen)
    listed = CliRunner().invoke(app, ["runs", "--runs", str(tmp_path / "runs"), "--json"])
    assert [row["folds"] for row in json.loads(listed.stdout)] == [3]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--inner-folds", "1"], "--inner-folds says on how many folds --candidates"),
        (["--candidates", "x", "--time-budget", "1"], "--time-budget does not go with"),
        (["--candidates", "x", "--scheduler", "tcp://h:1"], "--scheduler does not go with"),
        (["--candidates", "x", "--compare-random-split"], "--compare-random-split does not go"),
        (["--candidates", "none.toml"], "none.toml: cannot read the settings file"),
    ],
)
def test_what_does_not_go_together_is_said(
    rendered: RenderedSet, tmp_path: Path, more: list[str], said: str
) -> None:
    words = ["cross-validate", str(rendered.folder), "--runs", str(tmp_path), *more]
    with pytest.raises(ConfigError, match=said):
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"phases": ()}, "candidate slow: recipe .* trains no network"),
        ({"source": "sounds", "gain": 6.0}, "candidate slow: gain changes nothing"),
        ({"arch": "alexnet", "crop": 0.2}, "candidate slow: .*alexnet"),
    ],
)
def test_a_candidate_that_cannot_be_trained_is_told_before_any_is(
    rendered: RenderedSet, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    candidates = {"fast": PAIR["fast"], "slow": PAIR["slow"].replace(**changes)}
    with pytest.raises(ConfigError, match=said):
        nested.Nested.open(tmp_path / "run", rendered, BASE, candidates, watch)
    assert not (tmp_path / "run").exists()


def test_a_table_of_choices_that_a_kill_cost_is_written_again(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, knows(slow=0.5, fast=0.75))
    training = nested.Nested.open(tmp_path / "run", rendered, BASE, PAIR, watch)
    training.fold(1)
    table = tmp_path / "run" / "choices.csv"
    text = table.read_text()
    table.unlink()
    training.fold(1)
    assert table.read_text() == text
