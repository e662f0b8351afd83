"""Listing and comparing runs."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.crossval.final.train import train_final
from spectro.crossval.folds import Training
from spectro.crossval.run import Run
from spectro.crossval.runs import list_runs, to_json
from spectro.errors import ConfigError, ModelError
from spectro.pictures.rendered import RenderedSet
from tests.conftest import SHORT_TRAINING
from tests.pretending import pretend


@pytest.fixture
def three(run: Run, tmp_path: Path) -> Path:
    """Three runs: one as it is, an older one that got more right, and one not scored yet."""
    for name in ("b", "deep/a", "c"):
        shutil.copytree(run.folder, tmp_path / "runs" / name)
    runs = tmp_path / "runs"
    for name, accuracy in (("b", 0.75), ("deep/a", 0.999)):
        scores = json.loads((runs / name / "scores.json").read_text())
        scores["accuracy"] = accuracy
        (runs / name / "scores.json").write_text(json.dumps(scores))
    os.utime(runs / "deep/a/scores.json", (10**9, 10**9))
    record = json.loads((runs / "c/run.json").read_text())
    record["train"]["recipe"] = "other"
    (runs / "c/run.json").write_text(json.dumps(record))
    (runs / "c/scores.json").unlink()
    os.utime(runs / "c/run.json", (2 * 10**9, 2 * 10**9))
    shutil.copytree(run.folder, runs / "b" / "random-split")  # a run within a run is no run
    (runs / "notes").mkdir()
    return runs


def names(table: pd.DataFrame) -> list[str]:
    return [Path(folder).name for folder in table["run"]]


def test_last_first(three: Path) -> None:
    table = list_runs(three)
    assert names(table) == ["c", "b", "a"]
    scores = Run.load(three / "b").scores()
    row = table.iloc[1]
    assert row["accuracy"] == scores.accuracy
    assert (row["accuracy_low"], row["accuracy_high"]) == scores.accuracy_interval
    assert (row["dataset"], row["recipe"], row["weights"]) == ("sample", "test", "random")
    assert (row["folds"], row["all_folds"], row["clips"]) == (1, 3, scores.clips)
    assert (row["epochs"], row["seed"]) == (SHORT_TRAINING.epochs, SHORT_TRAINING.seed)
    assert table.iloc[2]["date"] == "2001-09-09T01:46:40+00:00"


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_run_is_listed_once_whatever_links_lead_to_it(three: Path) -> None:
    (three / "latest").symlink_to(three / "c")
    (three / "notes" / "up").symlink_to(three)
    (three / "notes" / "round").symlink_to(three / "notes")
    assert names(list_runs(three)) == ["c", "b", "a"]


def test_a_random_split_is_known_wherever_its_folder_goes(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda train, config: 0.5)
    training = Training.open(tmp_path / "run", rendered, SHORT_TRAINING)
    training.random_split()
    shutil.copytree(tmp_path / "run" / "random-split", tmp_path / "looks-good")
    shutil.rmtree(tmp_path / "run")
    (row,) = list_runs(tmp_path, recipe=SHORT_TRAINING.recipe).to_dict("records")
    assert row["leaks"]
    told = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["runs", "--runs", str(tmp_path)]).stdout
    assert f"{SHORT_TRAINING.recipe} (RANDOM SPLIT)" in told
    found = Run.load(tmp_path / "looks-good")
    assert found.leaks
    assert "A RANDOM SPLIT, NOT AN HONEST SCORE" in found.scores().protocol[1]
    with pytest.raises(ConfigError, match="scored on clips drawn at random"):
        train_final(found, rendered)


def test_a_score_of_other_folds_than_are_there_is_none(three: Path) -> None:
    """One fold more was trained since, or one removed."""
    scores = json.loads((three / "b" / "scores.json").read_text())
    for folds in ([*scores["folds"], {**scores["folds"][0], "fold": 2}], [], [{"fold": [1]}]):
        (three / "b" / "scores.json").write_text(json.dumps({**scores, "folds": folds}))
        row = list_runs(three / "b").iloc[0]
        assert row["folds"] == 1 and pd.isna(row["accuracy"]) and pd.isna(row["clips"])


def test_best_first_and_unscored_last(three: Path) -> None:
    assert names(list_runs(three, sort="accuracy")) == ["a", "b", "c"]


def test_only_some(three: Path) -> None:
    assert names(list_runs(three, recipe="other")) == ["c"]
    assert names(list_runs(three, dataset="esc50")) == []
    assert names(list_runs(three / "b")) == ["b"]


def test_json_has_null_where_nothing_is_known(three: Path) -> None:
    rows = json.loads(to_json(list_runs(three)))
    assert rows[0]["accuracy"] is None
    assert isinstance(rows[1]["clips"], int)


def test_bad_words(three: Path) -> None:
    with pytest.raises(ConfigError, match="--sort beauty: there are run, dataset"):
        list_runs(three, sort="beauty")
    with pytest.raises(ModelError, match="no such folder"):
        list_runs(three / "nowhere")


def test_command_line(three: Path) -> None:
    said = CliRunner().invoke(app, ["runs", "--runs", str(three)])
    assert said.exit_code == 0
    assert [line.split()[0] for line in said.stdout.splitlines()[1:]] == ["c", "b", "deep/a"]
    assert "2001-09-09 01:46" in said.stdout
    said = CliRunner().invoke(app, ["runs", "--runs", str(three), "--json", "--sort", "accuracy"])
    assert json.loads(said.stdout)[0]["accuracy"] == 0.999
    said = CliRunner().invoke(app, ["runs", "--runs", str(three), "--recipe", "none"])
    assert said.stdout == f"no run in {three} that is asked for\n"


def test_compare_says_what_changed(three: Path, tmp_path: Path) -> None:
    """Spoil two clips of a run: the other has gained them."""
    worse = three / "c" / "fold1" / "predictions.csv"
    table = pd.read_csv(worse, dtype=str)
    spoilt = table.index[table["predicted"] == table["label"]][:2]
    other = {"siren": "jackhammer", "jackhammer": "siren", "air_conditioner": "siren"}
    for row, label in table.loc[spoilt, "label"].items():
        named = other[label]
        pair = [f"p_{label}", f"p_{named}"]
        table.loc[row, [*pair, "predicted"]] = [*table.loc[row, pair[::-1]], named]
    table.to_csv(worse, index=False)
    record = json.loads(worse.with_name("fold.json").read_text())
    record["accuracy"] -= 2 / len(table)
    worse.with_name("fold.json").write_text(json.dumps(record))
    moved = tmp_path / "moved.csv"
    words = ["compare", str(three / "c"), str(three / "b"), "--csv", str(moved)]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0
    assert "2 went from wrong to right, 0 from right to wrong" in said.stdout
    assert "cannot be told from noise" in said.stdout
    assert pd.read_csv(moved)["move"].tolist() == ["gained", "gained"]
    for clip in pd.read_csv(moved, dtype=str).to_dict("records"):  # by recording, one clip of each
        line = f"gained *{clip['group']} *{clip['label']} *{clip['first']} *{clip['second']}"
        assert re.search(rf" [12] *{line} *audio/fold1/\S+\.wav\n", said.stdout), line
    same = CliRunner().invoke(app, ["compare", str(three / "b"), str(three / "deep/a")])
    assert "gained" not in same.stdout
    assert "0 went from wrong to right, 0 from right to wrong" in same.stdout
