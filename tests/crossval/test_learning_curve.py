"""Learning curves: which clips are drawn, what is scored, what the curve says of more clips."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.crossval.studies import learning_curve as curves
from spectro.errors import ConfigError
from spectro.pictures.rendered import RenderedSet
from spectro.scores.forecast import Forecast, forecast
from tests.conftest import SHORT_TRAINING
from tests.pretending import pretend

SHARES = (0.1, 0.25, 0.5, 0.8, 1.0)


def table(sizes: dict[str, list[int]]) -> pd.DataFrame:
    """Clips of classes, each of recordings with so many clips."""
    rows = [
        (label, f"{label}{number}")
        for label, counts in sizes.items()
        for number, count in enumerate(counts)
        for _ in range(count)
    ]
    return pd.DataFrame(rows, columns=["label", "group"])


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_nested_and_of_whole_recordings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clips = table({label: list(rng.integers(1, 9, size=12)) for label in "abc"})
    drawn = [curves.draw(clips, share, seed=seed) for share in SHARES]
    assert drawn[-1].equals(clips)
    for smaller, larger in itertools.pairwise(drawn):
        assert set(smaller.index) <= set(larger.index)
    for share, part in zip(SHARES, drawn, strict=True):
        whole = clips[clips["group"].isin(part["group"])]
        assert part.equals(whole)
        for label, own in clips.groupby("label"):
            taken = (part["label"] == label).sum()
            largest = own["group"].value_counts().max()
            assert taken > 0
            assert abs(taken - share * len(own)) <= largest / 2 or part["group"].nunique() == 3


def test_seeds_draw_other_recordings_and_the_same_one_the_same() -> None:
    clips = table({"a": [2] * 20, "b": [3] * 20})
    first, again, other = (curves.draw(clips, 0.25, seed=seed) for seed in (0, 0, 1))
    assert first.equals(again)
    assert set(first["group"]) != set(other["group"])


def test_a_speaker_is_drawn_for_all_classes_alike() -> None:
    clips = pd.DataFrame([(w, s) for w in "abc" for s in "012345"], columns=["label", "group"])
    assert curves.draw(clips, 0.5, seed=0)["group"].nunique() == 3


def test_a_fold_is_scored_whole_after_training_on_a_share(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = pretend(monkeypatch, lambda train, config: 0.5)
    training = curves.open_share(tmp_path, rendered, SHORT_TRAINING, 0.5)
    record = curves.train_on_share(training, 2)
    clips = rendered.clips
    assert set(done.scored[0]["image"]) == set(clips["image"][clips["fold"] == 2])
    assert not (done.train[0]["fold"] == 2).any()
    assert len(done.train[0]) == record.train_clips == 12
    assert record.train_recordings == 6
    assert not (training.run.fold_folder(2) / "model").exists()
    assert curves.train_on_share(training, 2) == record
    assert len(done) == 1


def rising(train: pd.DataFrame, config: object) -> float:
    return 1 - 0.9 * (len(train) / 6) ** -0.8


@pytest.mark.long
def test_command_line_writes_a_curve_that_can_be_recomputed(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = pretend(monkeypatch, rising)
    words = ["learning-curve", str(rendered.folder), "--recipe", "plain"]
    words += ["--weights", "none", "--epochs", "1"]
    words += ["--shares", "1,0.25,0.5", "--run", str(tmp_path / "curve")]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert len(done) == 9
    assert said.output.count("recipe plain: resnet18, 1 epoch, ") == 3
    points = pd.read_csv(tmp_path / "curve" / "learning-curve.csv")
    assert points["share"].tolist() == [0.25, 0.5, 1]
    assert points["train_clips"].tolist() == [6, 12, 24]
    for row in points.to_dict("records"):
        files = (tmp_path / "curve" / f"share{row['share']:g}").glob("fold*/predictions.csv")
        scored = pd.concat([pd.read_csv(file) for file in files])
        assert row["scored_clips"] == len(scored) == 36
        assert row["accuracy"] == pytest.approx((scored["label"] == scored["predicted"]).mean())
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
    law = json.loads((tmp_path / "curve" / "learning-curve.json").read_text())
    assert law["power_law"]["n_clips"] == 24
    assert law["said"] in " ".join(said.stdout.split())
    assert Image.open(tmp_path / "curve" / "learning-curve.png").size[0] > 300
    assert "trained on 25 % of the training clips" in (
        (tmp_path / "curve" / "share0.25" / "scores.json").read_text()
    )
    CliRunner().invoke(app, words)
    assert len(done) == 9


def test_a_curve_that_does_not_rise_says_nothing_of_more_clips(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda train, config: 0.6)
    words = ["learning-curve", str(rendered.folder), "--recipe", "plain"]
    words += ["--weights", "none", "--epochs", "1"]
    words += ["--fold", "1", "--shares", "0.25,0.5,1", "--run", str(tmp_path / "curve")]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert "the score did not rise by more than chance" in said.stdout
    found = json.loads((tmp_path / "curve" / "learning-curve.json").read_text())
    assert found["power_law"] is None


@pytest.mark.parametrize("text", ["", "0", "0.5,1.5", "0.5,0.5", "half", "nan"])
def test_bad_shares_are_told(text: str) -> None:
    with pytest.raises(ConfigError, match="--shares"):
        curves.parse_shares(text)


def test_a_power_law_is_found_again() -> None:
    n = np.array([100.0, 200.0, 400.0, 800.0, 1600.0])
    errors = 0.3 * (n / 1600) ** -0.5 + 0.08
    drawn = errors[:, None] + np.random.default_rng(0).normal(0, 0.003, (1, 300))
    found = forecast(n, errors, drawn)
    assert isinstance(found, Forecast)
    assert (found.a, found.b, found.c) == pytest.approx((0.3, 0.5, 0.08), abs=1e-3)
    assert found.accuracy == pytest.approx(1 - (0.3 * 2**-0.5 + 0.08), abs=1e-3)
    assert found.more_clips == 3200
    assert found.interval[0] < found.accuracy < found.interval[1]
    np.testing.assert_allclose(found.errors(n), errors, atol=1e-3)


def test_three_points_are_fitted_without_a_floor() -> None:
    n = np.array([100.0, 200.0, 400.0])
    errors = 0.2 * (n / 400) ** -0.4
    found = forecast(n, errors, errors[:, None] + np.linspace(-0.01, 0.01, 50))
    assert isinstance(found, Forecast)
    assert found.c == 0
    assert found.b == pytest.approx(0.4, abs=1e-3)


def test_too_few_or_flat_points_give_a_reason() -> None:
    n, noise = np.array([100.0, 200.0, 400.0]), np.random.default_rng(0).normal(0, 0.02, (3, 400))
    told = forecast(n[:2], np.array([0.5, 0.4]), noise[:2])
    assert isinstance(told, str)
    assert "2 shares are too few" in told
    told = forecast(n, np.array([0.4, 0.39, 0.395]), np.array([[0.4], [0.39], [0.395]]) + noise)
    assert isinstance(told, str)
    assert "cannot say whether more clips would help" in told


def test_points_off_every_law_give_a_reason() -> None:
    """As scored after two epochs, which were too few for the smaller shares."""
    n, errors = np.array([223.0, 429, 896, 1761]), np.array([0.785, 0.704, 0.668, 0.476])
    drawn = errors[:, None] + np.random.default_rng(0).normal(0, 0.02, (4, 300))
    told = forecast(n, errors, drawn)
    assert isinstance(told, str)
    assert "too far from any power law" in told
