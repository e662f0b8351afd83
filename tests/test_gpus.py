"""One network in several processes: real ones, which meet on the loopback, on the processor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from fastai.learner import Learner
from fastai.torch_core import set_seed

from spectro import crossval, datablock, gpus, learner, members
from spectro.cli.app import app
from spectro.config import Phase, TrainConfig
from spectro.errors import ConfigError, MissingExtraError, RenderError
from spectro.listener import Listener
from spectro.rendered import RenderedSet
from spectro.splits import Split, split
from spectro.weights import resolve

from .conftest import SHORT_TRAINING

CONFIG = SHORT_TRAINING.replace(arch="cnn4", precision="fp32", phases=(Phase(epochs=2),))


@pytest.fixture
def parts(rendered: RenderedSet) -> Split:
    return split(rendered.clips, 1)


def fresh(parts: Split, labels: list[str], config: TrainConfig) -> Learner:
    dls = datablock.dataloaders(parts.train, parts.watch, labels, config)
    return learner.new_learner(dls, config, resolve("none", config.arch))


def test_a_step_is_that_of_the_mean_gradient_of_both_halves(
    parts: Split, rendered: RenderedSet
) -> None:
    """A step by hand: one network, the halves of the batch one after the other."""
    every = len(parts.train)
    step = Phase(epochs=1, lr=1e-2, schedule="flat")
    config = CONFIG.replace(batch_size=every, phases=(step,))
    together, _ = members.train(
        parts, rendered.labels, config, resolve("none", "cnn4"), rendered.config, n_gpus=2
    )
    naive = fresh(parts, rendered.labels, config.replace(batch_size=every // 2))
    set_seed(config.seed, reproducible=True)
    naive.unfreeze()
    naive.model.train()
    for x, y in naive.dls.train:  # in the order of the first process
        (naive.loss_func(naive.model(x), y) / 2).backward()
    naive.opt.set_hyper("lr", step.lr)
    before = [p.detach().clone() for p in naive.model.parameters()]
    naive.opt.step()
    moved = zip(before, naive.model.parameters(), together.model.parameters(), strict=True)
    for old, wanted, found in moved:
        torch.testing.assert_close(found.cpu(), wanted.cpu(), rtol=1e-3, atol=1e-5)
        assert not torch.equal(wanted, old)


def test_history_and_listener_are_those_of_one_training_and_the_network_predicts(
    parts: Split, rendered: RenderedSet
) -> None:
    batches: list[tuple[int, int]] = []
    epochs: list[dict[str, Any]] = []
    told = Listener(lambda *step: batches.append(step), epochs.append)
    weights = resolve("none", "cnn4")
    learn, history = members.train(
        parts, rendered.labels, CONFIG, weights, rendered.config, told, n_gpus=2
    )
    alone, expected = members.train(parts, rendered.labels, CONFIG, weights, rendered.config)
    assert list(history.columns) == list(expected.columns)
    pd.testing.assert_frame_equal(pd.DataFrame(epochs), history)
    steps = CONFIG.epochs * (len(parts.train) // CONFIG.batch_size)
    assert batches == [(done, steps) for done in range(1, steps + 1)]
    # What is watched is gathered from both: the accuracy is that of all clips.
    watched = learner.predict_clips(learn, parts.watch).argmax(axis=1)
    labels = [rendered.labels[k] for k in watched]
    assert history["accuracy"].iloc[-1] == pytest.approx(
        (parts.watch["label"] == labels).mean(), abs=1e-6
    )
    assert not all(map(torch.equal, learn.model.parameters(), alone.model.parameters()))


def test_a_fold_says_how_many_trained_it(rendered: RenderedSet, tmp_path: Path) -> None:
    run, weights = crossval.open_run(tmp_path / "run", rendered, CONFIG)
    record = crossval.train_fold(run, rendered, weights, 1, n_gpus=2)
    assert record["gpus"] == 2
    assert (run.fold_folder(1) / "model" / "model.safetensors").is_file()
    assert "gpus" not in crossval.train_fold(run, rendered, weights, 2)


def test_what_is_wrong_in_one_of_them_ends_all_and_is_told_as_ever(
    parts: Split, rendered: RenderedSet, tmp_path: Path
) -> None:
    images = parts.train["image"].to_list()
    train = parts.train.assign(image=[*images[:-1], str(tmp_path / "absent.png")])
    with pytest.raises(RenderError, match=r"absent\.png: is not there"):
        members.train(
            Split(train=train, watch=parts.watch, score=parts.score),
            rendered.labels, CONFIG, resolve("none", "cnn4"), rendered.config, n_gpus=2,
        )  # fmt: skip
    assert not torch.multiprocessing.active_children()


def test_what_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus.check(1, 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    gpus.check(4, 8)
    with pytest.raises(ConfigError, match=r"batch of 8 .* --batch-size 9 can"):
        gpus.check(3, 8)
    with pytest.raises(ConfigError, match=r"batch of 6 .* --batch-size 8 can"):
        gpus.check(4, 6)
    with pytest.raises(ConfigError, match="--gpus 5: there are 4 here"):
        gpus.check(5, 10)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match=r"spectro\[gpus\]"):
        gpus.check(2, 8)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train-fold", "--fold", "1"], f"--gpus 99: there are {torch.cuda.device_count()} here"),
        (["cross-validate"], "--gpus 99: there "),
        (["cross-validate", "--track", "tensorboard"], "--track does not go with --gpus"),
        (["train-fold", "--fold", "1", "--time-budget", "1"], "--time-budget does not go"),
        (["cross-validate", "--scheduler", "tcp://localhost:1"], "--gpus shares one fold"),
        (["cross-validate", "--candidates", "some.toml"], "--gpus does not go with --candidates"),
    ],
)
def test_the_command_line_refuses_before_anything_is_done(
    command: list[str], message: str, rendered: RenderedSet, tmp_path: Path
) -> None:
    name, *options = command
    with pytest.raises(ConfigError) as told:
        app([name, str(rendered.folder), *options, "--gpus", "99", "--runs", str(tmp_path / "r")],
            standalone_mode=False)  # fmt: skip
    assert message in str(told.value)
    assert not (tmp_path / "r").exists()
