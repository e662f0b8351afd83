"""How much of a GPU real training uses: images/s of it against one batch that is already there.

    python benchmarks/train_gpu.py --pictures data/spectrograms/urbansound8k

Real training is the epoch that ``spectro train-fold`` runs, with reading, augmentation, optimiser
and schedule. The loop beside it does nothing but forward, backward and step, in the same precision,
on one batch that lies on the device. Rounds are interleaved; the share is their median. It needs a
GPU: ``--any-device`` runs it elsewhere, to see that it works, and says nothing of a GPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from train import sample_pictures  # beside this file

from spectro.models.networks.precision import choose_precision
from spectro.models.weights import resolve
from spectro.pictures.rendered import RenderedSet
from spectro.training import data
from spectro.training.loop import learner
from spectro.training.settings import Phase, TrainConfig

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def bare_loop(learn: Any, precision: str) -> Callable[[int], None]:
    """Train on one batch by torch alone, with its fused AdamW."""
    x, y = (torch.Tensor(t).to(learn.dls.device) for t in learn.dls.train.one_batch())
    x, y = x.contiguous(memory_format=torch.channels_last), y.long()
    optimizer = torch.optim.AdamW(learn.model.parameters(), 1e-4, fused=True)
    scaler = torch.amp.GradScaler(x.device.type, enabled=precision == "fp16")
    autocast = torch.autocast(x.device.type, DTYPES.get(precision, torch.bfloat16),
                              enabled=precision != "fp32")  # fmt: skip

    def run(n_batches: int) -> None:
        learn.model.train()
        for _ in range(n_batches):
            with autocast:
                logits = learn.model(x)
            scaler.scale(nn.functional.cross_entropy(logits.float(), y)).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()

    return run


def timed(work: Callable[[], Any]) -> float:
    synchronize()
    started = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - started


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(rendered: RenderedSet, config: TrainConfig, rounds: int) -> None:
    clips = rendered.clips
    dls = data.dataloaders(clips, clips.head(2), rendered.labels, config)
    start = resolve(config.weights, config.arch)
    real, beside = (learner.new_learner(dls, config, start) for _ in range(2))
    precision, _ = choose_precision(config.precision, dls.device)
    batches = config.epochs * len(dls.train)  # the last clips, too few for a batch, sit out
    loop, images = bare_loop(beside, precision), batches * dls.train.bs
    found = []
    for _ in range(rounds + 1):
        seconds = timed(lambda: learner.fit(real, config)), timed(lambda: loop(batches))
        found.append([images / taken for taken in seconds])
    _, *counted = found  # the first reads the pictures and warms up
    shares = [ours / bare for ours, bare in counted]
    ours, bare = (statistics.median(column) for column in zip(*counted, strict=True))
    print(
        f"{config.arch} at {config.size}, {precision}, batches of {dls.train.bs}: "
        f"{ours:.0f} images/s of {bare:.0f}, {100 * statistics.median(shares):.0f} % "
        f"({100 * min(shares):.0f} to {100 * max(shares):.0f}); "
        f"the first round, with reading, {found[0][0]:.0f} images/s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="a rendered set; default: the sample's")
    parser.add_argument("--archs", nargs="+", default=["resnet34", "resnet50"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--clips", type=int, help="to train on; default: all")
    parser.add_argument("--epochs", type=int, default=3, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--any-device", action="store_true")
    asked = parser.parse_args()
    if not (torch.cuda.is_available() or asked.any_device):
        sys.exit("no GPU here; --any-device runs it all the same, to see that it works")
    warnings.filterwarnings("ignore")
    print(torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: a trial run")
    with tempfile.TemporaryDirectory() as scratch:
        rendered = RenderedSet.load(asked.pictures or sample_pictures(Path(scratch)))
        if asked.clips:
            rendered.clips.drop(rendered.clips.index[asked.clips :], inplace=True)
        for arch in asked.archs:
            config = TrainConfig(arch=arch, weights="none", size=asked.size,
                                 batch_size=asked.batch_size,
                                 phases=(Phase(epochs=asked.epochs),))  # fmt: skip
            measure(rendered, config, asked.rounds)


if __name__ == "__main__":
    main()
