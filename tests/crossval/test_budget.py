"""A time budget: what is picked at a given pace, and that measuring one looks at training clips."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.crossval.run import Run
from spectro.crossval.studies import budget
from spectro.crossval.studies.budget import Pace
from spectro.errors import ConfigError
from spectro.models.weights import resolve
from spectro.pictures import read
from spectro.pictures.rendered import RenderedSet
from spectro.training import splits
from spectro.training.settings import Phase, TrainConfig
from tests.conftest import SHORT_TRAINING
from tests.pretending import pretend

CLIPS = pd.DataFrame({"x": range(1_000)})
PARTS = splits.Split(train=CLIPS, watch=CLIPS.head(100), score=CLIPS.head(100))
ASKED = TrainConfig(weights="none", batch_size=10, phases=(Phase(epochs=20),))


def even(config: TrainConfig) -> Pace:
    """A second a step for pictures of 128 x 128, and as their area for others."""
    area = (config.size or 128) ** 2 / 128**2
    return Pace(((1.0, area),) * len(config.phases), 0.1 * area)


def minutes(epochs: int, side: int = 128) -> float:
    """Time of so many epochs at that pace, with what is kept in reserve."""
    area = side**2 / 128**2
    return (epochs * (1 + 100 * area + 10 * area) + 10 * area) / 60 / 0.9


def fit(budget_minutes: float, asked: TrainConfig = ASKED, trainings: int = 1) -> budget.Fitted:
    return budget.fit(budget_minutes, trainings, asked, PARTS, 128 * 128, even)


def test_as_many_epochs_as_fit_and_never_more_than_asked() -> None:
    assert fit(1.001 * minutes(7)).config == ASKED.with_last_phase(epochs=7)
    assert fit(0.999 * minutes(7)).config == ASKED.with_last_phase(epochs=6)
    assert fit(1_000).config == ASKED
    assert fit(1.001 * 3 * minutes(7), trainings=3).config.epochs == 7
    for given in (3.0, 8.0, 20.0):
        assert fit(given).seconds <= 60 * given


def test_smaller_pictures_before_fewer_than_three_epochs() -> None:
    fitted = fit(1.001 * minutes(3, side=96))
    assert (fitted.config.size, fitted.config.epochs) == (96, 3)
    fitted = fit(1.001 * minutes(1, side=64))
    assert (fitted.config.size, fitted.config.epochs) == (64, 1)
    one = ASKED.with_last_phase(epochs=1)
    assert fit(1.001 * minutes(1), one).config.size is None


def test_no_epoch_fits_is_one_line_that_says_what_would() -> None:
    with pytest.raises(ConfigError, match="not even one epoch fits") as error:
        fit(0.99 * minutes(1, side=64))
    assert f"{minutes(1, side=64):.2g} minutes would do" in str(error.value)


def test_the_phases_before_the_last_stay() -> None:
    asked = ASKED.replace(phases=[{"epochs": 2, "frozen": True}, {"epochs": 9}])
    config = fit(1.001 * minutes(6), asked).config
    assert [phase.epochs for phase in config.phases] == [2, 4]


def test_settling_norms_takes_one_more_look_at_the_training_clips() -> None:
    config = ASKED.replace(settle_norms=True)
    more = budget.seconds(even(config), config, PARTS) - budget.seconds(even(ASKED), ASKED, PARTS)
    assert more == pytest.approx(1_000 * 0.1)


def test_it_says_how_to_ask_for_the_same() -> None:
    told = fit(1.001 * minutes(3, side=96)).in_words(5, 2)
    assert "--epochs 3 --size 96" in told
    assert "2 trainings" in told


def test_measuring_looks_at_training_clips_alone(rendered: RenderedSet) -> None:
    """The pictures of the scored fold are not even there."""
    parts = splits.split(rendered.clips, 1)
    gone = parts.score.assign(image="nowhere.png")
    config = SHORT_TRAINING.replace(phases=[{"epochs": 1, "frozen": True}, {"epochs": 2}])
    weights = resolve("none", config.arch)
    pace = budget.measure(parts.train, rendered, config, weights)
    assert len(pace.phases) == 2
    assert all(step > 0 for _, step in pace.phases)
    assert pace.predict > 0
    told = budget.seconds(pace, config, splits.Split(parts.train, gone, gone))
    assert told > 3 * 3 * min(step for _, step in pace.phases)  # 3 epochs of 3 steps


def test_pictures_that_are_kept_are_read_once_a_network_not_in_each_epoch(
    rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, real = splits.split(rendered.clips, 1), read.read_grey

    def slowly(images: list[str], *rest: Any) -> Any:
        time.sleep(0.05 * len(images))
        return real(images, *rest)

    monkeypatch.setattr(read, "read_grey", slowly)
    weights = resolve("none", "cnn4")
    config = SHORT_TRAINING.replace(arch="cnn4", members=2, settle_norms=True)
    pace = budget.measure(parts.train, rendered, config.with_last_phase(epochs=1), weights)
    assert 0.05 <= pace.read < 0.08
    assert pace.predict < 0.05
    n = len(parts.train)
    assert all(start < 0.05 * n for start, _ in pace.phases)
    ten, twenty = (
        budget.seconds(pace, config.with_last_phase(epochs=epochs), parts) for epochs in (10, 20)
    )
    reads = 2 * (2 * n + len(parts.watch) + len(parts.score)) * pace.read
    assert reads < ten < twenty < 2 * ten - 0.9 * reads


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [["train-fold", "--fold", "2"], ["cross-validate"], ["cross-validate", "--seeds", "2"]],
)
def test_command_line_records_what_it_picked_and_resumes_with_it(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    pretend(monkeypatch, lambda train, config: 0.5)
    measured = []

    def measure(train: pd.DataFrame, *rest: object) -> Pace:
        measured.append(train)
        return Pace(((0.0, 5.0),), 0.0)  # 24 clips, 8 a batch: 15 s an epoch

    monkeypatch.setattr(budget, "measure", measure)
    trainings = 1 if command[0] == "train-fold" else 6 if "--seeds" in command else 3
    given = 4.5 * 15 / 60 / 0.9 * trainings
    settings = tmp_path / "settings.toml"
    settings.write_text(SHORT_TRAINING.replace(recipe="plain").to_toml())
    words = [command[0], str(rendered.folder), *command[1:], "--config", str(settings)]
    words += ["--time-budget", str(given), "--runs", str(tmp_path / "runs")]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert "--epochs 4 should take" in said.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    record = next(folder.rglob("run.json"))
    assert Run.load(record.parent).config.epochs == 4
    assert "time" not in json.loads(record.read_text())["train"]
    monkeypatch.setattr(budget, "measure", lambda *_: pytest.fail("measured again"))
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0, again.output
    assert "the time budget was settled when this run began" in again.stdout
    assert len(measured) == 1


def test_too_little_time_starts_no_run(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = lambda _, __, config, ___: Pace(((0.0, 60.0),) * len(config.phases), 0.0)  # noqa: E731
    monkeypatch.setattr(budget, "measure", pace)
    words = ["train-fold", str(rendered.folder), "--fold", "1", "--weights", "none"]
    words += ["--time-budget", "0.1", "--runs", str(tmp_path)]
    with pytest.raises(ConfigError, match="not even one epoch fits"):
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert not list(tmp_path.iterdir())
