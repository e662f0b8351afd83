"""Training: what fastai is given, which clips it may see, and what the schedule does."""

from __future__ import annotations

import random
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.learner import Learner
from PIL import Image
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.errors import ConfigError
from spectro.models.card import IMAGENET_MEAN, IMAGENET_STD
from spectro.models.networks import build as network
from spectro.models.networks.precision import choose_precision
from spectro.models.weights import Weights
from spectro.pictures import read
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import network_pixels
from spectro.plumbing.workers import ACTIVATIONS
from spectro.training import data, own
from spectro.training.loop import callbacks, learner
from spectro.training.loop.log import training_log
from spectro.training.loop.progress import Listener
from spectro.training.recipes import recipe
from spectro.training.settings import Phase, TrainConfig
from spectro.training.splits import split
from tests.conftest import SHORT_TRAINING

RANDOM = Weights("random", "as asked")
ONE_EPOCH = SHORT_TRAINING.with_last_phase(epochs=1).replace(arch="cnn4")


def make(rendered: RenderedSet, config: TrainConfig, fold: int = 1) -> Learner:
    parts = split(rendered.clips, fold, config.inner_fold)
    dls = data.dataloaders(parts.train, parts.watch, rendered.labels, config)
    return learner.new_learner(dls, config, RANDOM)


def images(items: Any) -> set[str]:
    return {item.image for item in items}


def test_no_clip_of_the_scored_fold_is_trained_on(rendered: RenderedSet) -> None:
    dls = make(rendered, ONE_EPOCH, fold=2).dls
    folds = rendered.clips.set_index("image")["fold"]
    assert set(folds[list(images(dls.train_ds.items))]) == {1, 3}
    assert set(folds[list(images(dls.valid_ds.items))]) == {2}


def test_an_inner_fold_is_watched_and_neither_it_nor_the_scored_one_is_trained_on(
    rendered: RenderedSet,
) -> None:
    dls = make(rendered, ONE_EPOCH.replace(inner_fold=3), fold=2).dls
    folds = rendered.clips.set_index("image")["fold"]
    assert set(folds[list(images(dls.train_ds.items))]) == {1}
    assert set(folds[list(images(dls.valid_ds.items))]) == {3}


@pytest.mark.parametrize("size", [None, 96])
def test_a_batch_is_what_prediction_shows_the_network(
    rendered: RenderedSet, size: int | None
) -> None:
    dls = make(rendered, ONE_EPOCH.replace(size=size)).dls
    clips = rendered.clips.head(3)
    (batch, *_) = dls.test_dl(data.to_predict(clips)).one_batch()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (
        IMAGENET_MEAN, IMAGENET_STD))  # fmt: skip
    pixels = np.stack([network_pixels(Image.open(i), size) for i in clips["image"]])
    assert torch.allclose(torch.Tensor(batch).cpu(), (torch.from_numpy(pixels) - mean) / std,
                          atol=1e-5)  # fmt: skip


def test_pictures_are_not_flipped_or_warped(rendered: RenderedSet) -> None:
    dls = make(rendered, ONE_EPOCH).dls
    clip = data.to_predict(rendered.clips.head(1))
    first, second = (dls.test_dl(clip).one_batch()[0] for _ in range(2))
    assert torch.equal(first, second)
    trained = torch.cat([x.flatten(1) for x, _ in dls.train])
    watched = torch.cat([x.flatten(1) for x, _ in make(rendered, ONE_EPOCH, fold=3).dls.valid])
    alike = torch.cdist(trained, watched).min(dim=1).values < 1e-2
    assert alike.sum() == len(watched), "clips of fold 3 are learned from as their files are"


def test_the_blog_recipe_runs_the_blogs_schedule(
    rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, Any, int]] = []

    def record(self: Learner, n_epoch: int, lr_max: Any = None, **_: Any) -> None:
        calls.append((n_epoch, lr_max, self.opt.frozen_idx))

    monkeypatch.setattr(Learner, "fit_one_cycle", record)
    learner.fit(make(rendered, recipe("blog").replace(arch="resnet18", size=64)), recipe("blog"))
    assert calls == [(3, 1e-3, 2), (1, 1e-3, 0), (3, slice(1e-6, 1e-4), 0)]


def test_a_frozen_phase_leaves_the_bodys_weights_alone(rendered: RenderedSet) -> None:
    config = ONE_EPOCH.replace(phases=[{"epochs": 1, "frozen": True}])
    learn = make(rendered, config)
    before = {k: v.clone() for k, v in learn.model.named_parameters()}
    learner.fit(learn, config)
    moved = {k for k, v in learn.model.named_parameters() if not torch.equal(v, before[k])}
    body_weights = {k for k in moved if k.startswith("0.") and before[k].ndim > 1}
    assert any(k.startswith("1.") for k in moved)
    assert not body_weights  # batch norms do move, as in fastai


def test_history_has_a_row_an_epoch_and_the_listener_hears_all(rendered: RenderedSet) -> None:
    rows: list[dict[str, Any]] = []
    batches: list[tuple[int, int]] = []
    config = ONE_EPOCH.replace(phases=[{"epochs": 2, "frozen": True}, {"epochs": 1}])
    learn = make(rendered, config)
    history = learner.fit(
        learn, config, Listener(batch=lambda *b: batches.append(b), epoch=rows.append)
    )
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["phase"].tolist() == [1, 1, 2]
    assert history.to_dict("records") == rows
    n = 3 * len(learn.dls.train)
    assert batches == [(k, n) for k in range(1, n + 1)]


def test_the_last_epoch_counts(rendered: RenderedSet) -> None:
    config = ONE_EPOCH.with_last_phase(epochs=3).replace(precision="fp32")
    learn = make(rendered, config)
    history = learner.fit(learn, config)
    scored = rendered.clips[rendered.clips["fold"] == 1]
    best = learner.predict_clips(learn, scored).argmax(axis=1)
    truth = [rendered.labels.index(label) for label in scored["label"]]
    assert history["accuracy"].iloc[-1] == pytest.approx((best == truth).mean(), abs=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_same_seed_same_probabilities(rendered: RenderedSet, precision: str) -> None:
    def probabilities(seed: int) -> Any:
        config = ONE_EPOCH.replace(precision=precision, seed=seed)
        learn = make(rendered, config)
        learner.fit(learn, config)
        return learner.predict_clips(learn, rendered.clips.head(6))

    first = probabilities(5)
    np.testing.assert_array_equal(first, probabilities(5))
    assert np.abs(first - probabilities(6)).max() > 1e-3
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-5)


def test_the_order_of_clips_hangs_on_no_other_threads_draws(
    rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask's threads draw from Python's generator at any time, also after it was seeded."""
    orders = []
    for draws in range(3):
        fits = partial(_after_drawing, data.fits, draws)
        with monkeypatch.context() as patched:
            patched.setattr(data, "fits", fits)
            orders.append([y.tolist() for _, y in make(rendered, ONE_EPOCH).dls.train])
    assert orders[0] == orders[1] == orders[2]


def _after_drawing(fits: Any, draws: int, *args: Any) -> Any:
    for _ in range(draws):
        random.random()
    return fits(*args)


def test_bf16_is_used_in_training_and_not_for_scores(rendered: RenderedSet) -> None:
    config = ONE_EPOCH.replace(precision="bf16")
    learn = make(rendered, config)
    seen: list[torch.dtype] = []
    learn.model[0][0].register_forward_hook(lambda *args: seen.append(args[2].dtype))
    learner.fit(learn, config)
    assert set(seen) == {torch.bfloat16}
    seen.clear()
    cudnn: list[tuple[bool, bool]] = []
    flags = torch.backends.cudnn
    learn.model[0][0].register_forward_hook(
        lambda *_: cudnn.append((flags.enabled, flags.allow_tf32))
    )
    learner.predict_clips(learn, rendered.clips.head(2))
    assert set(cudnn) == {(True, False)}, "on a GPU: cuDNN, but in full fp32"
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("ways", ["fit", "find_lr", "own"])
def test_a_training_that_fails_in_a_step_leaves_autocast(rendered: RenderedSet, ways: str) -> None:
    """Else later trainings in this thread would compute in bf16, with weights that are no more."""
    config = ONE_EPOCH.replace(precision="bf16")
    learn = make(rendered, config)
    assert learn.cbs.filter(callbacks.is_autocast)
    learn.model.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        if ways == "fit":
            learner.fit(learn, config)
        elif ways == "find_lr":
            learner.find_lr(learn, 10)
        else:
            own.train(learn.dls, lambda dls: learn, lambda it: it.fit_one_cycle(1), config)
    assert not torch.is_autocast_enabled(learn.dls.device.type)


def test_precision_is_what_was_asked_or_what_the_processor_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")
    assert choose_precision("fp32", cpu) == ("fp32", "as asked")
    assert choose_precision("bf16", cpu) == ("bf16", "as asked")
    for has, expected in (({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"),
                          ({"avx512_f": True}, "fp32"), ({}, "fp32")):  # fmt: skip
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: has)
        assert choose_precision("auto", cpu)[0] == expected


def test_lr_find_looks_at_training_folds_only_and_draws_its_curve(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: set[str] = set()
    real_open = read.open_regular

    def spy(path: str) -> Any:
        opened.add(path)
        return real_open(path)

    monkeypatch.setattr(read, "open_regular", spy)
    out = tmp_path / "curve.png"
    words = ["lr-find", rendered.folder, "--fold", 2, "--weights", "none", "--out", out]
    done = CliRunner().invoke(
        app, [*map(str, words), "--batch-size", "8", "--steps", "30", "--arch", "cnn4"]
    )
    assert done.exit_code == 0, done.output
    seen = {Path(path).parent.name for path in opened}
    assert seen == {"fold1", "fold3"}
    assert min(Image.open(out).size) > 300
    assert re.search(r"recipe default: cnn4, 15 epochs, (fp32|bf16) \(", done.output)
    assert "), from random weights" in " ".join(done.output.split())
    suggestion = re.search(r"suggested: --lr (\S+)", done.output)
    assert suggestion
    assert 1e-7 < float(suggestion[1]) < 10
    assert list(Path.cwd().glob("models")) == [], "fastai's scratch file went elsewhere"


def test_too_few_clips_are_refused_in_words(rendered: RenderedSet) -> None:
    with pytest.raises(ConfigError, match="1 training clips are too few"):
        data.dataloaders(rendered.clips.head(1), rendered.clips, rendered.labels, ONE_EPOCH)


def test_phases_take_a_pair_of_rates() -> None:
    config = TrainConfig(phases=(Phase(epochs=1, lr=(1e-5, 1e-3)),))
    assert config.phases[0].lr == (1e-5, 1e-3)


def test_a_flat_phase_keeps_its_rate_and_one_cycle_does_not(rendered: RenderedSet) -> None:
    phases = [{"epochs": 1, "lr": 1e-3, "schedule": "flat"}, {"epochs": 1, "lr": 1e-3}]
    config = ONE_EPOCH.replace(phases=phases, arch="cnn4")
    learn = make(rendered, config)
    learner.fit(learn, config)  # the recorder keeps the rates of the last phase
    assert len(set(learn.recorder.lrs)) > 1
    learn = make(rendered, config)
    learner.fit(learn, config.replace(phases=phases[:1]))
    assert set(learn.recorder.lrs) == {1e-3}


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_weight_decay_is_what_was_asked(rendered: RenderedSet, decay: float) -> None:
    config = ONE_EPOCH.replace(weight_decay=decay, arch="cnn4")
    learn = make(rendered, config)
    learner.fit(learn, config)
    assert {hyper["wd"] for hyper in learn.opt.hypers} == {decay}


@pytest.mark.parametrize("seed", [0, 7])
def test_settled_norms_are_those_of_the_training_pictures_as_they_are(
    rendered: RenderedSet, seed: int
) -> None:
    config = ONE_EPOCH.replace(arch="cnn4", stretch=0.5, seed=seed)
    left, settled = (make(rendered, config) for _ in range(2))
    learner.fit(left, config)
    learner.fit(settled, config.replace(settle_norms=True))
    for wanted, found in zip(left.model.parameters(), settled.model.parameters(), strict=True):
        assert torch.equal(wanted, found)
    items = list(settled.dls.train.items)
    assert len(items) < 64, "all in one batch, so that a naive mean is the very thing"
    (batch,) = settled.dls.test_dl(items, bs=len(items))
    pictures = torch.Tensor(batch[0]).double()
    convolution, relu, norm = settled.model[0][0]
    values = relu(convolution.double()(pictures))
    torch.testing.assert_close(
        norm.running_mean.double(), values.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        norm.running_var.double(), values.var(dim=(0, 2, 3)), rtol=2e-3, atol=1e-5
    )
    assert not torch.allclose(norm.running_mean, left.model[0][0][2].running_mean)
    assert norm.momentum == left.model[0][0][2].momentum == 0.1
    assert not settled.model.training


def test_norms_settle_before_the_last_epoch_is_watched(rendered: RenderedSet) -> None:
    """So that the curves end at the network that is kept; the epochs before are as ever."""
    config = ONE_EPOCH.replace(
        arch="cnn4", precision="fp32", time_masks=5, mask_share=1.0, phases=(Phase(epochs=3),)
    )
    left, settled = (make(rendered, config) for _ in range(2))
    without = learner.fit(left, config)
    rows = learner.fit(settled, config.replace(settle_norms=True))
    same = ["train_loss", "valid_loss", "accuracy"]
    pd.testing.assert_frame_equal(rows[same].head(2), without[same].head(2))
    losses = [float(learn.validate()[0]) for learn in (left, settled)]
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
    assert without["valid_loss"].iloc[-1] == pytest.approx(losses[0], rel=1e-4)
    assert rows["valid_loss"].iloc[-1] == pytest.approx(losses[1], rel=1e-4)


def test_norms_settle_in_the_last_phase_alone(
    rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases = (Phase(epochs=1, frozen=True), Phase(epochs=2, schedule="flat"))
    config = ONE_EPOCH.replace(arch="cnn4", phases=phases, settle_norms=True)
    learn = make(rendered, config)
    settled = []
    monkeypatch.setattr(callbacks, "settle", lambda model, pictures: settled.append(model))
    assert len(learner.fit(learn, config)) == 3
    assert len(settled) == 1


def test_norms_settle_on_whole_batches_of_many_pictures(rendered: RenderedSet) -> None:
    """A batch of one would be refused by the head's batch norm."""
    config = ONE_EPOCH
    learn = make(rendered, config)
    many = learn.dls.train.items * 10
    learn.dls.train.items = many[:129]
    callbacks.settle(learn.model, callbacks.to_settle_on(learn.dls, 0))
    norm = next(m for m in learn.model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.num_batches_tracked == 2


def test_the_training_log_names_what_changes_pictures_and_norms() -> None:
    config = ONE_EPOCH.replace(arch="cnn4", band_gain=0.1, pitch=0.2, settle_norms=True)
    given = (SpectrogramConfig(), network.build("cnn4", 3), {}, pd.DataFrame({"epoch": [1]}))
    log = training_log(config, *given, about={})
    assert "augmentation: band_gain 0.1, pitch 0.2\n" in log
    assert "batch norm's statistics, measured anew" in log
    assert "batch norm's" not in training_log(config.replace(settle_norms=False), *given, about={})


def test_memory_is_returned_while_training(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    history = callbacks.History(Listener(), 1_000)
    history.learn = SimpleNamespace(training=True)
    monkeypatch.setattr(callbacks, "return_memory", lambda: done.append(history.done))
    for _ in range(250):
        history.after_batch()
    assert done == [100, 200]


def test_training_keeps_the_memory_of_a_step(
    rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    monkeypatch.setattr(learner, "keep_memory", kept.append)
    learner.fit(make(rendered, ONE_EPOCH), ONE_EPOCH)
    assert kept == [ACTIVATIONS]
