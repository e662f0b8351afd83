"""The same cross-validation under several seeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.crossval import folds as crossval
from spectro.crossval import runs as repeats
from spectro.crossval.run import Run
from spectro.errors import ModelError
from spectro.pictures.rendered import RenderedSet
from spectro.scores import metrics
from tests.conftest import SHORT_TRAINING
from tests.pretending import pretend


def trained(rendered: RenderedSet, folder: Path, seeds: range) -> list[Run]:
    runs = []
    for seed in seeds:
        config = SHORT_TRAINING.replace(seed=seed)
        training = crossval.Training.open(repeats.folder_of(folder, seed), rendered, config)
        run = training.run
        for fold in rendered.folds:
            training.fold(fold)
        crossval.score_run(run, rendered)
        runs.append(run)
    return runs


def luck(train: pd.DataFrame, config) -> float:
    return 0.4 + 0.1 * config.seed


def test_mean_and_spread_are_those_of_the_predictions(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, luck)
    runs = trained(rendered, tmp_path, range(3))
    found = repeats.write(tmp_path, runs)
    each = [(run.predictions()["label"] == run.predictions()["predicted"]).mean() for run in runs]
    assert len({*each}) == 3
    assert [row["accuracy"] for row in found["seeds"]] == pytest.approx(each)
    assert [row["seed"] for row in found["seeds"]] == [0, 1, 2]
    assert found["accuracy_mean"] == pytest.approx(np.mean(each))
    assert found["accuracy_std"] == pytest.approx(np.std(each, ddof=1))
    assert json.loads((tmp_path / "seeds.json").read_text()) == found


@pytest.mark.slow
def test_the_interval_draws_the_same_recordings_for_every_seed(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against one table that says of each clip how many seeds had it right."""
    pretend(monkeypatch, luck)
    runs = trained(rendered, tmp_path, range(2))
    tables = [run.predictions() for run in runs]
    right = sum((t["label"] == t["predicted"]).astype(float) for t in tables) / 2
    by_group = right.groupby(tables[0]["group"]).agg(["sum", "size"]).sort_index()
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(by_group), np.full(len(by_group), 1 / len(by_group)), size=2000)
    naive = (drawn @ by_group["sum"]) / (drawn @ by_group["size"])
    expected = np.percentile(naive, [2.5, 97.5])
    assert repeats.summary(runs)["accuracy_interval"] == pytest.approx(list(expected))
    alone = repeats.summary(runs[:1])
    intervals = metrics.bootstrap_interval(tables[0], runs[0].labels)
    assert alone["macro_f1_interval"] == pytest.approx(intervals["macro_f1"])
    assert alone["accuracy_std"] is None


def test_seeds_of_other_clips_are_not_averaged(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, luck)
    first, second = trained(rendered, tmp_path, range(2))
    path = second.fold_folder(1) / "predictions.csv"
    table = pd.read_csv(path)
    table["image"] = [image.replace("fold1/", "fold1/other-") for image in table["image"]]
    table.to_csv(path, index=False)
    with pytest.raises(ModelError, match="not scored on the same clips"):
        repeats.summary([first, second])


@pytest.mark.long
def test_command_line_resumes_and_lists_a_run_a_seed(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = pretend(monkeypatch, luck)
    words = ["cross-validate", str(rendered.folder), "--recipe", "plain"]
    words += ["--weights", "none", "--epochs", "1"]
    words += ["--runs", str(tmp_path / "runs"), "--seed", "5", "--seeds"]
    said = CliRunner().invoke(app, [*words, "2"])
    assert said.exit_code == 0, said.output
    assert len(done) == 6
    said = CliRunner().invoke(app, [*words, "3"])
    assert len(done) == 9
    (folder,) = (tmp_path / "runs").iterdir()
    found = json.loads((folder / "seeds.json").read_text())
    assert [row["seed"] for row in found["seeds"]] == [5, 6, 7]
    mean, spread = 100 * found["accuracy_mean"], 100 * found["accuracy_std"]
    assert f"mean accuracy of 3 seeds: {mean:.1f} % ± {spread:.1f} %" in said.stdout
    assert said.stdout.strip().splitlines()[-1] == f"accuracy {mean:.1f} %, in {folder}"
    listed = CliRunner().invoke(app, ["runs", "--runs", str(tmp_path / "runs"), "--json"])
    rows = json.loads(listed.stdout)
    assert {row["seed"] for row in rows} == {5, 6, 7}
    with pytest.raises(ModelError, match="holds a run of one seed"):
        again = [*words, "2", "--run", str(folder / "seed5")]
        CliRunner().invoke(app, again, catch_exceptions=False)
