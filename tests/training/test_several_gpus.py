"""One network in several processes: real ones, which meet on the loopback, on the processor."""

from __future__ import annotations

import importlib.util
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from fastai.callback.core import Callback
from fastai.learner import Learner
from fastai.torch_core import set_seed
from torch.multiprocessing.spawn import start_processes
from torchvision.models import get_model

from spectro.cli.app import app
from spectro.crossval import folds as crossval
from spectro.errors import AudioError, ConfigError, MissingExtraError, SpectroError
from spectro.models.folder import load_model
from spectro.models.weights import resolve
from spectro.pictures.rendered import RenderedSet
from spectro.training.data import dataloaders
from spectro.training.loop import processes, several_gpus
from spectro.training.loop.callbacks import settle, to_settle_on
from spectro.training.loop.learner import new_learner, predict_clips
from spectro.training.loop.progress import Listener
from spectro.training.settings import Phase, TrainConfig
from spectro.training.splits import Split, split
from spectro.training.train import train
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


@pytest.mark.long
def test_a_step_is_that_of_the_mean_gradient_and_progress_is_that_of_one_training(
    parts: Split, rendered: RenderedSet
) -> None:
    """A step by hand: one network, the halves of all clips one after the other."""
    every = len(parts.train)
    step = Phase(epochs=1, lr=1e-2, schedule="flat")
    config = CONFIG.replace(batch_size=every, phases=(step,))
    batches: list[tuple[int, int]] = []
    epochs: list[dict[str, Any]] = []
    listener = Listener(lambda *at: batches.append(at), epochs.append)
    data = (rendered.labels, config, resolve("none", "cnn4"), rendered.config)
    together, history = train(parts, *data, listener, n_gpus=2)
    naive = one_process(parts, rendered.labels, config)
    set_seed(config.seed, reproducible=True)
    naive.unfreeze()
    naive.model.train()
    ((x, y),) = naive.dls.train
    for half in (slice(every // 2), slice(every // 2, every)):
        (naive.loss_func(naive.model(x[half]), y[half]) / 2).backward()
    naive.opt.set_hyper("lr", step.lr)
    before = [p.detach().clone() for p in naive.model.parameters()]
    naive.opt.step()
    moved = zip(before, naive.model.parameters(), together.model.parameters(), strict=True)
    for old, wanted, found in moved:
        torch.testing.assert_close(found.cpu(), wanted.cpu(), rtol=1e-3, atol=1e-5)
        assert not torch.equal(wanted, old)
    assert batches == [(1, 1)]
    pd.testing.assert_frame_equal(pd.DataFrame(epochs), history, check_column_type=False)
    # The watched clips are gathered from both processes: the accuracy is that of all.
    assert history["accuracy"].tolist() == [pytest.approx(accuracy(together, parts), abs=1e-6)]


def one_process(parts: Split, labels: list[str], config: TrainConfig) -> Learner:
    dls = dataloaders(parts.train, parts.watch, labels, config)
    return new_learner(dls, config, resolve("none", config.arch))


def accuracy(learn: Learner, parts: Split) -> float:
    best = predict_clips(learn, parts.watch).argmax(axis=1)
    return float((parts.watch["label"] == [learn.dls.vocab[k] for k in best]).mean())


@pytest.mark.long
def test_norms_are_settled_on_all_training_pictures(parts: Split, rendered: RenderedSet) -> None:
    """Settling once more changes nothing: each process had the pictures of all."""
    config, weights = CONFIG.replace(settle_norms=True), resolve("none", CONFIG.arch)
    data = (parts, rendered.labels, config, weights, rendered.config)
    learn, history = train(*data, n_gpus=2)
    found = {name: x.clone() for name, x in learn.model.state_dict().items()}
    assert history["accuracy"].iloc[-1] == pytest.approx(accuracy(learn, parts), abs=1e-6)
    settle(learn.model, to_settle_on(learn.dls, config.seed))
    for name, wanted in learn.model.state_dict().items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.long
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


@pytest.mark.long
def test_a_network_with_layers_that_no_picture_goes_through_is_shared(
    parts: Split, rendered: RenderedSet
) -> None:
    """timm builds a last layer of it that stands behind the feature maps."""
    pytest.importorskip("timm")
    config = CONFIG.replace(arch="mobilenetv3_small_050").with_last_phase(epochs=2)
    data = (parts, rendered.labels, config, resolve("none", config.arch), rendered.config)
    _, history = train(*data, n_gpus=2)
    assert list(history["epoch"]) == [1, 2] and history["train_loss"].notna().all()


@pytest.mark.long
def test_what_is_wrong_in_one_of_them_ends_all_and_is_told_as_ever(
    parts: Split, rendered: RenderedSet, tmp_path: Path
) -> None:
    """One process meets a broken sound; the other waits for its gradients, in vain."""
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF, but no sound")
    clips = parts.train.assign(path=[*parts.train["path"][:-1], str(broken)])
    config = CONFIG.replace(source="sounds")
    with pytest.raises(AudioError, match=r"broken\.wav"):
        train(
            Split(train=clips, watch=parts.watch, score=parts.score),
            rendered.labels, config, resolve("none", "cnn4"), rendered.config, n_gpus=2,
        )  # fmt: skip
    assert not torch.multiprocessing.active_children()


class Messages:
    """A queue that nothing is sent through."""

    def empty(self) -> bool:
        return True


@pytest.fixture
def sleeping() -> Any:
    """Two processes that sleep, as those do that wait for each other's gradients."""
    return start_processes(_sleep, nprocs=2, join=False, start_method="fork")


def _sleep(rank: int) -> None:
    time.sleep(600)


def test_ctrl_c_ends_all(sleeping: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(timeout: float) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(sleeping, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        processes._wait(sleeping, Messages(), print)  # type: ignore[arg-type]
    assert all(process.exitcode == -signal.SIGTERM for process in sleeping.processes)


def test_a_process_that_is_killed_ends_all_and_is_told_in_a_line(sleeping: Any) -> None:
    sleeping.processes[1].kill()
    with pytest.raises(SpectroError, match=r"^--gpus 2: .* ended by SIGKILL; if memory ran out"):
        processes._wait(sleeping, Messages(), print)  # type: ignore[arg-type]
    assert not any(process.is_alive() for process in sleeping.processes)


def test_training_on_one_gpu_needs_no_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is loaded anew where accelerate is missing, as on most machines."""
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.delitem(sys.modules, "fastai.distributed", raising=False)
    spec = importlib.util.find_spec("spectro.training.loop.several_gpus")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert "fastai.distributed" not in sys.modules


def test_few_clips_and_callbacks_are_refused(parts: Split, rendered: RenderedSet) -> None:
    weights = resolve("none", "cnn4")
    few = Split(train=parts.train.head(3), watch=parts.watch, score=parts.score)
    with pytest.raises(ConfigError, match="3 training clips are too few to share among 2"):
        train(few, rendered.labels, CONFIG, weights, n_gpus=2)
    with pytest.raises(ConfigError, match="callbacks"):
        train(few, rendered.labels, CONFIG, weights, callbacks=[Callback()], n_gpus=2)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_a_network_that_predicts_on_one(parts: Split, rendered: RenderedSet) -> None:
    learn, history = train(
        parts, rendered.labels, CONFIG, resolve("none", "cnn4"), rendered.config, n_gpus=2
    )
    assert next(learn.model.parameters()).device == learn.dls.device
    assert learn.dls.device.type == "cuda"
    assert history["train_loss"].notna().all()
    assert len(predict_clips(learn, parts.score)) == len(parts.score)


def test_what_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    several_gpus.check(1, 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    several_gpus.check(4, 8)
    with pytest.raises(ConfigError, match=r"batch of 8 .* --batch-size 9 can"):
        several_gpus.check(3, 8)
    with pytest.raises(ConfigError, match=r"batch of 6 .* --batch-size 8 can"):
        several_gpus.check(4, 6)
    with pytest.raises(ConfigError, match="--gpus 5: this machine has 4"):
        several_gpus.check(5, 10)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match=r"spectro\[gpus\]"):
        several_gpus.check(2, 8)


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
