"""A whole cross-validation, ours against the same folds, network and epochs in plain fastai.

    python benchmarks/cross_validation.py PICTURES --weights FILE --epochs 2

Both are whole processes that take turns, with all of the machine's cores: from the start of Python
to the scores of every fold. Ours also writes models, predictions, intervals and the report; plain
fastai trains by ``fit_one_cycle`` in float32 and prints its accuracies. A run in which both are
quiet is worth more than many on a busy machine; seconds of processor time are told, too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from spectro.crossval.run import Run
from spectro.pictures.rendered import RenderedSet


class Whole(NamedTuple):
    """Seconds by the clock and of the processors; the accuracy of each fold."""

    wall: float
    processor: float
    accuracies: list[float]


def timed(words: list[str]) -> tuple[float, float, str]:
    """Run a process to its end; return both times and what it printed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr[-2_000:])
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return wall, spent, done.stdout


def ours(asked: argparse.Namespace) -> Whole:
    """Call ``spectro cross-validate``, as a user does."""
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        settings = {"recipe": "plain", "arch": asked.arch, "weights": asked.weights, "run": run}
        settings |= {"epochs": asked.epochs, "batch-size": asked.batch_size}
        options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        words = [sys.executable, "-m", "spectro", "cross-validate", str(asked.pictures), *options]
        wall, spent, _ = timed(words)
        found = Run.load(run)
        return Whole(wall, spent, [found.fold_record(n).accuracy for n in found.finished_folds])


def plain_fastai(asked: argparse.Namespace) -> Whole:
    """Call this script for the folds in plain fastai."""
    wall, spent, told = timed([sys.executable, __file__, *sys.argv[1:], "--peer"])
    return Whole(wall, spent, json.loads(told.splitlines()[-1]))


def train_folds(asked: argparse.Namespace) -> list[float]:
    """Train and score every fold by the book; return the accuracies."""
    sys.path.insert(0, str(Path(__file__).parent))
    import torch
    import train as side_by_side  # the same plain fastai as there, on all cores

    torch.set_num_threads(os.cpu_count() or 1)
    pictures = RenderedSet.load(asked.pictures.resolve())
    found = []
    for fold in pictures.folds:
        scored = pictures.clips["fold"] == fold
        task = side_by_side.Task(
            train=pictures.clips[~scored], valid=pictures.clips[scored], labels=pictures.labels,
            arch=asked.arch, weights=asked.weights, size=None, batch_size=asked.batch_size,
            epochs=asked.epochs, seed=0,
        )  # fmt: skip
        found.append(side_by_side.plain_fastai(task)())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, help="a rendered set")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peer:
        print(json.dumps(train_folds(asked)))
        return
    print(f"{asked.arch} from {Path(asked.weights).name}, epochs: {asked.epochs}, all folds")
    print(f"{'':<14}{'wall, s':>10}{'processor, s':>14}{'times':>8}   accuracy by fold, %")
    for _ in range(asked.rounds):
        both = {"plain fastai": plain_fastai(asked), "spectro": ours(asked)}
        for name, whole in both.items():
            ratio = both["plain fastai"].wall / whole.wall
            folds = ", ".join(f"{100 * accuracy:.1f}" for accuracy in whole.accuracies)
            mean = 100 * statistics.mean(whole.accuracies)
            print(f"{name:<14}{whole.wall:>10.0f}{whole.processor:>14.0f}{ratio:>8.2f}   "
                  f"{folds}: {mean:.1f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
