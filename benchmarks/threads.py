"""Training on one thread and on all, idle and beside a process that keeps a core busy.

    python benchmarks/threads.py
    python benchmarks/threads.py --pictures data/spectrograms/urbansound8k --rounds 9

Images/s of forward and backward steps, as spectro times them to choose the number of threads. In
each round all four take turns: one thread and all, idle and busy, so that other work on the machine
falls on all of them. Ratios are of one thread to all of the same round; medians over rounds, with
the lowest and the highest. Run it on an otherwise idle machine, without OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from train import sample_pictures, spread  # beside this file; after torch has read OMP_NUM_THREADS

from spectro.models.networks.precision import choose_precision
from spectro.models.weights import resolve
from spectro.pictures.rendered import RenderedSet
from spectro.training.data import dataloaders
from spectro.training.loop.learner import new_learner
from spectro.training.loop.threads import one_step, quickest
from spectro.training.settings import TrainConfig
from spectro.training.splits import split


def spin() -> None:
    while True:
        pass


@contextmanager
def busy_core() -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def learner(folder: Path, asked: argparse.Namespace) -> Any:
    rendered = RenderedSet.load(folder)
    parts = split(rendered.clips, rendered.folds[0])
    config = TrainConfig(arch=asked.arch, weights="none", size=asked.size,
                         batch_size=asked.batch_size, precision=asked.precision)  # fmt: skip
    some = parts.train.head(4 * asked.batch_size)
    dls = dataloaders(some, parts.watch.head(8), rendered.labels, config, rendered.config)
    precision, _ = choose_precision(config.precision, dls.device)  # by what the hardware has
    print(f"{asked.arch}, {precision}, batches of {asked.batch_size}, "
          f"{rendered.config.n_mels} bands", flush=True)  # fmt: skip
    return new_learner(dls, config, resolve("none", config.arch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="a rendered set; default: the sample's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="all")
    asked = parser.parse_args()
    numbers = [asked.threads, 1]
    machines: dict[str, Callable[[], AbstractContextManager[None]]]
    machines = {"idle": nullcontext, "one core busy": busy_core}
    rates: dict[str, list[dict[int, float]]] = {name: [] for name in machines}
    print(f"{platform.platform()}, {multiprocessing.cpu_count()} processors, "
          f"torch {torch.__version__}")  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.pictures or sample_pictures(Path(scratch))
        with one_step(learner(folder, asked)) as step:
            for _ in range(asked.rounds):
                for name, other_work in machines.items():
                    with other_work():
                        rates[name].append(quickest(step, numbers)[1])
    print(f"\n{'images/s':<16}{f'{numbers[0]} threads':>20}{'1 thread':>20}{'ratio':>20}")
    for name, found in rates.items():
        cells = [spread([asked.batch_size * one[n] for one in found], 1) for n in numbers]
        cells.append(spread([one[1] / one[numbers[0]] for one in found], 2))
        print(f"{name:<16}" + "".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    main()
