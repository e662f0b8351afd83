"""One network in several processes: real ones, which meet on the loopback, on the processor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from fastai.callback.core import Callback
from fastai.learner import Learner
from fastai.torch_core import set_seed
from torchvision.models import get_model

from spectro.cli.app import app
from spectro.crossval import folds as crossval
from spectro.errors import AudioError, ConfigError, MissingExtraError
from spectro.models.folder import load_model
from spectro.models.weights import resolve
from spectro.pictures.rendered import RenderedSet
from spectro.training import callbacks as norms
from spectro.training import data as datablock
from spectro.training import learner
from spectro.training import several_gpus as gpus
from spectro.training import train as members
from spectro.training.progress import Listener
from spectro.training.settings import Phase, TrainConfig
from spectro.training.several_gpus import PartDL
from spectro.training.splits import Split, split
from tests.conftest import SHORT_TRAINING

CONFIG = SHORT_TRAINING.replace(arch="cnn4", precision="fp32", phases=(Phase(epochs=2),))


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Where there are GPUs they are left alone, here and in the processes that are started."""
    if "gpu" not in request.keywords:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


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


@pytest.mark.slow
def test_norms_are_settled_on_all_training_pictures(parts: Split, rendered: RenderedSet) -> None:
    """Settling once more changes nothing: each process had the pictures of all."""
    config, weights = CONFIG.replace(settle_norms=True), resolve("none", CONFIG.arch)
    data = (parts, rendered.labels, config, weights, rendered.config)
    learn, history = members.train(*data, n_gpus=2)
    found = {name: x.clone() for name, x in learn.model.state_dict().items()}
    predicted = learner.predict_clips(learn, parts.watch).argmax(axis=1)
    accuracy = (parts.watch["label"] == [rendered.labels[k] for k in predicted]).mean()
    assert history["accuracy"].iloc[-1] == pytest.approx(accuracy, abs=1e-6)
    norms.settle(learn.model, norms.to_settle_on(learn.dls, config.seed))
    for name, wanted in learn.model.state_dict().items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_fold_starts_from_a_file_goes_through_all_phases_and_says_how_many_trained_it(
    rendered: RenderedSet, tmp_path: Path
) -> None:
    """At a rate next to nothing, what comes out is what went in."""
    file = tmp_path / "start.pth"
    state = get_model("resnet18").state_dict()
    torch.save({name: x for name, x in state.items() if not name.startswith("fc.")}, file)
    phases = (Phase(epochs=1, frozen=True, lr=1e-9), Phase(epochs=1, lr=1e-9))
    config = CONFIG.replace(arch="resnet18", weights=str(file), phases=phases, size=32)
    training = crossval.Training.open(tmp_path / "run", rendered, config, n_gpus=2)
    run = training.run
    record = training.fold(1)
    assert record.gpus == 2
    history = pd.read_csv(run.fold_folder(1) / "history.csv")
    assert list(history["phase"]) == [1, 2]
    model, _ = load_model(run.fold_folder(1) / "model")
    first = next(model.parameters())
    torch.testing.assert_close(first, state["conv1.weight"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch_size", [2, 3, 5])
def test_all_together_see_the_batches_of_one(
    batch_size: int, parts: Split, rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PartDL, "_broadcast", lambda self, t, rank: t)
    n, train = 2, parts.train.iloc[:-1]

    def loader(bs: int) -> Any:
        config = CONFIG.replace(batch_size=bs)
        return datablock.dataloaders(train, parts.watch, rendered.labels, config).train

    shares = [PartDL(loader(batch_size), rank=rank, world_size=n) for rank in range(n)]
    alone = loader(n * batch_size)
    for _ in range(2):  # epochs
        seen = [list(share) for share in shares]
        assert {len(batches) for batches in seen} == {len(share) for share in shares}
        assert len(shares[0]) == len(train) // (n * batch_size)
        together = zip(*seen, strict=True)
        for (wanted, _), batch in zip(alone, together, strict=True):
            found = torch.cat([torch.Tensor(x) for x, _ in batch])
            assert torch.equal(torch.Tensor(wanted), found)


def test_what_is_wrong_in_one_of_them_ends_all_and_is_told_as_ever(
    parts: Split, rendered: RenderedSet, tmp_path: Path
) -> None:
    """One process meets a broken sound; the other waits for its gradients, in vain."""
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF, but no sound")
    train = parts.train.assign(path=[*parts.train["path"][:-1], str(broken)])
    config = CONFIG.replace(source="sounds")
    with pytest.raises(AudioError, match=r"broken\.wav"):
        members.train(
            Split(train=train, watch=parts.watch, score=parts.score),
            rendered.labels, config, resolve("none", "cnn4"), rendered.config, n_gpus=2,
        )  # fmt: skip
    assert not torch.multiprocessing.active_children()


def test_few_clips_and_callbacks_are_refused(parts: Split, rendered: RenderedSet) -> None:
    weights = resolve("none", "cnn4")
    few = Split(train=parts.train.head(3), watch=parts.watch, score=parts.score)
    with pytest.raises(ConfigError, match="3 training clips are too few to share among 2"):
        members.train(few, rendered.labels, CONFIG, weights, n_gpus=2)
    with pytest.raises(ConfigError, match="callbacks"):
        members.train(few, rendered.labels, CONFIG, weights, callbacks=[Callback()], n_gpus=2)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_a_network_that_predicts_on_one(parts: Split, rendered: RenderedSet) -> None:
    learn, history = members.train(
        parts, rendered.labels, CONFIG, resolve("none", "cnn4"), rendered.config, n_gpus=2
    )
    assert next(learn.model.parameters()).device == learn.dls.device
    assert learn.dls.device.type == "cuda"
    assert history["train_loss"].notna().all()
    assert len(learner.predict_clips(learn, parts.score)) == len(parts.score)


def test_what_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus.check(1, 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    gpus.check(4, 8)
    with pytest.raises(ConfigError, match=r"batch of 8 .* --batch-size 9 can"):
        gpus.check(3, 8)
    with pytest.raises(ConfigError, match=r"batch of 6 .* --batch-size 8 can"):
        gpus.check(4, 6)
    with pytest.raises(ConfigError, match="--gpus 5: this machine has 4"):
        gpus.check(5, 10)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match=r"spectro\[gpus\]"):
        gpus.check(2, 8)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train-fold", "--fold", "1"], "--gpus 99: this machine has "),
        (["cross-validate"], "--gpus 99: this machine has "),
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
