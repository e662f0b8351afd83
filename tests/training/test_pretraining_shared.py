"""Pretraining in several processes: real ones, which meet on the loopback, on the processor."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.errors import ConfigError
from spectro.models.networks import build as networks
from spectro.pictures.settings import SpectrogramConfig
from spectro.training.loop.processes import ALONE, Rank
from spectro.training.pretraining import checkpoint, several_gpus
from spectro.training.pretraining.pretrain import WEIGHTS, Pretraining, Probe
from spectro.training.pretraining.settings import PretrainConfig

SMALL = SpectrogramConfig(sr=4_000, duration=0.5, n_fft=256, hop_length=64, n_mels=32, fmax=2_000)
FEW = PretrainConfig(arch="cnn4", sounds=32, batch_size=8, precision="fp32")


@pytest.fixture(autouse=True)
def on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are GPUs they are left alone, here and in the processes that are started."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.long
def test_a_step_is_that_of_the_mean_gradient(tmp_path: Path) -> None:
    """A step by hand, the parts of both processes one after the other."""
    config = FEW.replace(sounds=8)
    told: list[object] = []
    assert several_gpus.run(tmp_path / "two", config, SMALL, 2, every=8, told=told.append)
    parts = [Pretraining(tmp_path / "none", config, SMALL, rank=Rank(k, 2)) for k in range(2)]
    losses = []
    for part in parts:
        plans, levels = part._sounds(0)
        assert len(levels) == 4
        part.body.train()
        errors = part._errors(part._features(levels), plans)
        losses.append(torch.stack(list(errors.values())).sum())
        (losses[-1] / 2).backward()
    first, second = ([*p.body.parameters(), *p._heads.parameters()] for p in parts)
    assert not torch.equal(first[0].grad, second[0].grad)
    for mine, other in zip(first, second, strict=True):
        mine.grad += other.grad
    parts[0]._optimizer.step()
    found = safetensors.torch.load_file(tmp_path / "two" / checkpoint.STATE)
    before = Pretraining(tmp_path / "none", config, SMALL).body.state_dict()
    for name, wanted in parts[0].body.state_dict().items():
        torch.testing.assert_close(found[f"body.{name}"], wanted, rtol=1e-4, atol=1e-6)
    assert any(not torch.equal(found[f"body.{name}"], old) for name, old in before.items())
    about, row = told
    assert isinstance(about, checkpoint.Checkpoint) and isinstance(row, checkpoint.LogRow)
    assert (about.steps, about.gpus, row.sounds) == (0, 2, 8)
    assert row.loss == pytest.approx(float(torch.stack(losses).detach().mean()), abs=1e-4)


@pytest.mark.long
def test_broken_off_and_gone_on_it_ends_the_same(tmp_path: Path) -> None:
    def stop(message: object) -> None:
        if isinstance(message, checkpoint.LogRow):
            raise KeyboardInterrupt

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert several_gpus.run(whole, FEW, SMALL, 2, every=16)
    with pytest.raises(KeyboardInterrupt):
        several_gpus.run(parts, FEW, SMALL, 2, every=16, told=stop)
    assert not torch.multiprocessing.active_children()
    assert Pretraining(parts, FEW, SMALL, rank=Rank(0, 2)).about.steps in (2, 4)
    with pytest.raises(ConfigError, match=r"was begun with --gpus 2, which has other batches"):
        Pretraining(parts, FEW, SMALL)
    assert several_gpus.run(parts, FEW, SMALL, 2, every=16)
    one, other = (safetensors.torch.load_file(f / checkpoint.STATE) for f in (whole, parts))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert (parts / WEIGHTS).is_file()


@pytest.mark.long
def test_the_first_scores_while_the_others_wait_and_time_is_over_for_all_at_once(
    tmp_path: Path,
) -> None:
    told: list[object] = []
    many = FEW.replace(sounds=100_000)
    run = {"every": 16, "probe": Probe(slow_score, "folds"), "told": told.append}
    assert not several_gpus.run(tmp_path / "net", many, SMALL, 2, seconds=4.0, **run)  # type: ignore[arg-type]
    rows = [row for row in told if isinstance(row, checkpoint.LogRow)]
    assert len(rows) >= 2 and {row.score for row in rows} == {0.25}
    about = Pretraining(tmp_path / "net", many, SMALL, rank=Rank(0, 2)).about
    assert about.steps * 8 == rows[-1].sounds < 100_000
    assert "on 2 GPUs" in (tmp_path / "net" / "README.md").read_text()


def slow_score(body: torch.nn.Sequential) -> float:
    time.sleep(0.5)
    return 0.25


@pytest.mark.long
def test_a_file_that_cannot_be_written_is_told_as_ever(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        several_gpus.run(tmp_path / "file" / "net", FEW, SMALL, 2)


@pytest.mark.parametrize("arch", ["resnet18", "cnn4", "tf_efficientnet_lite0"])
def test_norms_that_count_the_whole_batch_leave_the_network_as_it_is(arch: str) -> None:
    """torch's own conversion drops the activations in the norms of timm."""
    body = networks.body(arch).eval()
    with torch.inference_mode():
        x = torch.randn(2, 3, 64, 64)
        before, names = body(x), list(body.state_dict())
        networks.synchronise_norms(body)
        torch.testing.assert_close(body.eval()(x), before)
    norms = [one for one in body.modules() if isinstance(one, torch.nn.modules.batchnorm._NormBase)]
    assert norms and all(isinstance(one, torch.nn.SyncBatchNorm) for one in norms)
    assert list(body.state_dict()) == names


def test_each_process_makes_other_sounds_and_one_alone_makes_those_it_always_made(
    tmp_path: Path,
) -> None:
    def levels(rank: Rank, config: PretrainConfig) -> torch.Tensor:
        return Pretraining(tmp_path, config, SMALL, rank=rank)._sounds(3)[1]

    half = FEW.replace(batch_size=4)
    assert torch.equal(levels(Rank(0, 2), FEW), levels(ALONE, half))
    assert not torch.equal(levels(Rank(0, 2), FEW), levels(Rank(1, 2), FEW))


def test_what_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["pretrain", "--out", str(tmp_path / "net"), "--gpus", "99"])
    assert "--gpus 99: this machine has " in str(result.exception)
    assert not (tmp_path / "net").exists()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    several_gpus.check(1, FEW)
    several_gpus.check(2, FEW)
    several_gpus.check(2, FEW.replace(batch_size=12))
    several_gpus.check(4, FEW.replace(objective="parameters"))
    with pytest.raises(
        ConfigError,
        match=r"batch of 8 .* a multiple of 2 for each, 4 at least; --batch-size 16 can",
    ):
        several_gpus.check(4, FEW)
    with pytest.raises(ConfigError, match=r"batch of 8 .* evenly, 2 at least; --batch-size 9 can"):
        several_gpus.check(3, FEW.replace(objective="parameters"))
