"""Recording a training elsewhere: real TensorBoard files, a real offline Weights & Biases run."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from spectro.crossval import folds as crossval
from spectro.crossval.run import Run
from spectro.errors import ConfigError, MissingExtraError
from spectro.pictures.rendered import RenderedSet
from spectro.training.loop.progress import check
from tests.conftest import SHORT_TRAINING

BRIEF = SHORT_TRAINING.with_last_phase(epochs=2).replace(arch="cnn4")


def train(rendered: RenderedSet, folder: Path, tool: str | None) -> Run:
    training = crossval.Training.open(folder, rendered, BRIEF, track=tool)
    run = training.run
    training.fold(1)
    return run


@pytest.fixture(scope="module")
def watched(rendered: RenderedSet, tmp_path_factory: pytest.TempPathFactory) -> Run:
    pytest.importorskip("tensorboard")
    return train(rendered, tmp_path_factory.mktemp("runs") / "watched", "tensorboard")


def test_tensorboard_holds_what_the_history_says(watched: Run) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(watched.folder / "tensorboard" / "fold1")).Reload()
    accuracies = [event.value for event in events.Scalars("accuracy")]
    assert accuracies == pytest.approx(watched.history(1)["accuracy"].tolist(), abs=1e-6)
    steps = {event.step for event in events.Scalars("train_loss")}
    assert steps == set(range(1, 1 + 2 * 3))  # 24 clips in batches of 8, two epochs


def test_steps_go_on_through_phases_and_networks(rendered: RenderedSet, tmp_path: Path) -> None:
    """fastai counts from 0 in each, and would draw them over each other."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    phases = [{"epochs": 1, "frozen": True}, {"epochs": 1}]
    config = BRIEF.replace(phases=phases, members=2)
    crossval.Training.open(tmp_path, rendered, config, track="tensorboard").fold(1)
    events = reader.EventAccumulator(str(tmp_path / "tensorboard" / "fold1")).Reload()
    steps = [event.step for event in events.Scalars("train_loss")]  # watched batches repeat one
    assert steps == sorted(steps)
    assert set(steps) == {*range(1, 1 + 2 * 2 * 3)}
    assert [event.step for event in events.Scalars("accuracy")] == [3, 6, 9, 12]


def test_recording_changes_no_score(watched: Run, rendered: RenderedSet, tmp_path: Path) -> None:
    unwatched = train(rendered, tmp_path / "unwatched", None)
    assert watched.predictions().equals(unwatched.predictions())


@pytest.mark.long
def test_wandb_stays_offline(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    run = train(rendered, tmp_path / "run", "wandb")
    (record,) = run.folder.glob("wandb/offline-run-*/run-*.wandb")
    assert record.stat().st_size > 1_000
    assert run.finished_folds == [1]
    shutil.rmtree(run.folder / "wandb")


def test_unknown_tool_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--track mlflow: there are tensorboard, wandb"):
        check("mlflow")


def test_missing_tool_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"--track wandb needs .*spectro\[track\]"):
        check("wandb")
