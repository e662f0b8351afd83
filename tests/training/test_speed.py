"""What makes training fast changes nothing that is learned: batches, steps, arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastai.callback.fp16 import MixedPrecision
from fastai.data.core import TfmdDL
from fastai.learner import Learner
from fastai.optimizer import Adam
from PIL import Image
from torch import nn

from spectro.errors import ConfigError, RenderError
from spectro.models.networks.precision import choose_precision
from spectro.models.weights import Weights
from spectro.pictures import read
from spectro.pictures.rendered import RenderedSet
from spectro.training import data
from spectro.training.data import KeptDL
from spectro.training.loop import learner
from spectro.training.loop.callbacks import FusedAdam
from spectro.training.settings import TrainConfig
from spectro.training.splits import split
from tests.conftest import SHORT_TRAINING

CONFIG = SHORT_TRAINING.with_last_phase(epochs=2).replace(arch="cnn4", precision="fp32")


def loaders(rendered: RenderedSet, config: TrainConfig = CONFIG) -> Any:
    parts = split(rendered.clips, 1)
    return data.dataloaders(parts.train, parts.watch, rendered.labels, config)


def batches(dls: Any) -> list[torch.Tensor]:
    """Two epochs of training batches and one of watched ones, in order."""
    each = [*dls.train, *dls.train, *dls.valid]
    return [torch.Tensor(tensor.float()) for batch in each for tensor in batch]


@pytest.mark.parametrize("size", [None, 48])
def test_kept_pictures_make_the_very_batches_of_fastais_own_loader(
    rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    config = CONFIG.replace(size=size)
    kept = loaders(rendered, config)
    monkeypatch.setattr(data, "fits", lambda *_: False)
    monkeypatch.setattr(data.os, "cpu_count", lambda: 1)  # no processes: the test is quicker
    plain = loaders(rendered, config)
    assert type(kept.train) is type(kept.valid) is KeptDL
    assert type(plain.train) is TfmdDL
    mine, theirs = batches(kept), batches(plain)
    assert len(mine) == len(theirs) == 2 * (3 + 3 + 2)
    assert not torch.equal(mine[0], mine[6]), "another order in each epoch"
    for ours, expected in zip(mine, theirs, strict=True):
        assert torch.equal(ours, expected)
    assert mine[0].is_contiguous(memory_format=torch.channels_last)


def test_clips_to_predict_have_no_labels(rendered: RenderedSet) -> None:
    dl = loaders(rendered).test_dl(data.to_predict(rendered.clips.head(9)))
    assert type(dl) is KeptDL
    assert [(len(batch), len(batch[0])) for batch in dl] == [(1, 8), (1, 1)]


def test_a_picture_is_read_once_for_all_epochs(
    rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real_open = read.open_regular
    monkeypatch.setattr(read, "open_regular", lambda path: opened.append(path) or real_open(path))
    dls = loaders(rendered)
    opened.clear()  # fastai has looked at one, to see what a batch is
    for _ in range(3):
        assert len(list(dls.train)) == 3
    trained = split(rendered.clips, 1).train["image"]
    assert set(opened) == set(trained)
    assert len(opened) <= len(trained) + 1, "the first twice, for its size"


def test_pictures_that_would_fill_the_memory_are_not_kept(
    rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = rendered.clips["image"].tolist()
    one = np.asarray(Image.open(images[0])).nbytes
    memory = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 4 * one * len(images)}
    monkeypatch.setattr(data.os, "sysconf", memory.__getitem__)
    cpu = torch.device("cpu")
    assert data.fits(images, 1, cpu)
    assert not data.fits([*images, images[0]], 1, cpu)
    assert not data.fits(images, 2, cpu)


def test_a_pixel_is_a_byte_in_memory(rendered: RenderedSet) -> None:
    dls = loaders(rendered)
    dls.train.one_batch()
    (levels, _), n = dls.train._kept, len(split(rendered.clips, 1).train)
    assert (levels.dtype, tuple(levels.shape)) == (torch.uint8, (n, 1, *rendered.config.shape))


def test_a_pixel_of_both_channels_is_two_bytes(rendered: RenderedSet, tmp_path: Path) -> None:
    """Red and green are the channels; blue, their mean, is made on the device."""
    rng = np.random.default_rng(0)
    clips = rendered.clips.assign(
        image=[str(tmp_path / f"{number}.png") for number in range(len(rendered.clips))]
    )
    config = rendered.config.replace(channels="both")
    for image in clips["image"]:
        two = rng.integers(0, 256, (*config.shape, 2), dtype=np.uint16)
        mean = (two.sum(axis=2, keepdims=True) + 1) // 2
        Image.fromarray(np.concatenate([two, mean], axis=2).astype(np.uint8)).save(image)
    parts = split(clips, 1)
    dls = data.dataloaders(parts.train, parts.watch, rendered.labels, CONFIG, config)
    dls.train.one_batch()
    levels = dls.train._kept[0]
    assert (levels.dtype, levels.shape[1]) == (torch.uint8, 2)


def test_memory_is_asked_for_all_that_is_ever_kept_at_a_time(
    rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training pictures once more while norms settle on them, after the last step."""
    asked: list[list[str]] = []
    monkeypatch.setattr(data, "fits", lambda images, *_: asked.append(images))
    for config in (CONFIG, CONFIG.replace(settle_norms=True)):
        loaders(rendered, config)
    parts = split(rendered.clips, 1)
    assert len(asked[0]) == len(parts.train) + 2 * len(parts.watch)
    assert sorted(asked[1]) == sorted([*asked[0], *parts.train["image"]])


def test_pictures_must_have_the_shape_of_the_settings(rendered: RenderedSet) -> None:
    parts = split(rendered.clips, 1)
    other = rendered.config.replace(n_mels=32)
    dls = data.dataloaders(parts.train, parts.score, rendered.labels, CONFIG, other)
    for dl in (dls.train, dls.test_dl(data.to_predict(parts.score))):
        with pytest.raises(
            RenderError, match=r"is 87 x 64 pixels, unlike the settings \(87 x 32\)"
        ):
            next(iter(dl))


def test_a_picture_that_is_gone_is_named(rendered: RenderedSet, tmp_path: Path) -> None:
    clips = rendered.clips.assign(image=str(tmp_path / "gone.png"))
    with pytest.raises(RenderError, match=r"gone\.png: is not there; run spectro render again"):
        data.dataloaders(clips, clips, rendered.labels, CONFIG)


def steps(opt_func: Any, n: int, *, skip: int = -1) -> list[torch.Tensor]:
    """Let an optimizer take steps with two rates, a changing momentum and no decay of biases."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4))
    opt = opt_func([list(part.parameters()) for part in net], lr=1e-2)
    for part in net:
        opt.state[part.bias]["do_wd"] = False
    for number in range(n):
        opt.set_hyper("lr", slice(1e-2, 1e-1))
        opt.set_hyper("mom", 0.95 - 0.1 * number / n)
        for param in net.parameters():
            param.grad = torch.randn_like(param)
        if number == skip:
            net[0].weight.grad = None
        opt.step()
        opt.zero_grad()
        assert all(p.grad is None or not p.grad.any() for p in net.parameters())
    return list(net.parameters())


@pytest.mark.parametrize("skip", [-1, 0, 3])
def test_the_fused_step_is_fastais(skip: int) -> None:
    ours, theirs = steps(FusedAdam, 20, skip=skip), steps(Adam, 20, skip=skip)
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-6)
    for mine, start in zip(ours, steps(Adam, 0), strict=True):
        assert (mine - start).abs().max() > 1e-2


def test_training_steps_with_it_as_with_fastais(
    rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def history(opt_func: Any) -> Any:
        monkeypatch.setattr(learner, "FusedAdam", opt_func)
        learn = learner.new_learner(loaders(rendered), CONFIG, Weights("random", ""))
        assert learn.opt_func is opt_func
        return learner.fit(learn, CONFIG)

    ours, theirs = history(FusedAdam), history(Adam)
    np.testing.assert_allclose(ours["train_loss"], theirs["train_loss"], rtol=2e-2)


def test_fp16_is_for_gpus_alone_and_said_in_a_line(rendered: RenderedSet) -> None:
    gpu = torch.device("cuda")
    assert choose_precision("fp16", gpu) == ("fp16", "as asked")
    with pytest.raises(ConfigError, match="fp16 needs a CUDA GPU; on cpu take bf16 or fp32"):
        choose_precision("fp16", torch.device("cpu"))


@pytest.mark.parametrize(("native", "chosen"), [(True, "bf16"), (False, "fp16")])
def test_a_gpu_trains_in_sixteen_bits(
    native: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: native)
    assert choose_precision("auto", torch.device("cuda"))[0] == chosen


def test_fp16_scales_gradients_and_is_off_while_scoring(
    rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is built, on any machine; that it trains needs a GPU (below)."""
    monkeypatch.setattr(learner, "choose_precision", lambda *_: ("fp16", "as if"))
    learn = learner.new_learner(loaders(rendered), CONFIG, Weights("random", ""))
    (scaled,) = learn.cbs.filter(lambda callback: isinstance(callback, MixedPrecision))
    assert scaled.amp_mode.value == "fp16"
    assert learner.is_autocast(scaled)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_trains_on_a_gpu(rendered: RenderedSet, precision: str) -> None:
    config = CONFIG.with_last_phase(epochs=6).replace(precision=precision)
    learn: Learner = learner.new_learner(loaders(rendered, config), config, Weights("random", ""))
    history = learner.fit(learn, config)
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    assert learn.dls.train.one_batch()[0].is_cuda
