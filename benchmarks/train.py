"""Training, ours against plain fastai's and OpenSoundscape's, side by side on the same clips.

    make bench-train
    make bench-train ARGS="--pictures data/spectrograms/urbansound8k --clips 480 --seeds 3"
    make bench-train ARGS="--arch tf_efficientnet_lite0 --only spectro 'plain fastai'"

Every method has a process of its own, all on the same one core, and they take turns: a busy machine
is busy for all of them. Speed is images/s of one epoch, its ratio the median over rounds, by the
clock and by processor time, which a busy machine falsifies less. Accuracy is that of the last epoch
on a fold that was not trained on, for each seed. A peer that is not installed is named and left
out. OpenSoundscape makes its spectrograms anew from the clips in each epoch, and augments them:
that is how it trains.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# One thread a method, so that figures are per core. Libraries read this when they are imported.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import pandas as pd

BASE = "plain fastai"
RATE = 1e-3


@dataclasses.dataclass(frozen=True)
class Task:
    """What every method is given: clips with ``image``, ``path`` and ``label``; how to train."""

    train: pd.DataFrame
    valid: pd.DataFrame
    labels: list[str]
    arch: str
    weights: str
    size: int | None
    batch_size: int
    epochs: int
    seed: int


Train = Callable[[], float]  # through all epochs; gives the accuracy on `valid`


def spectro_in(precision: str) -> Callable[[Task], Train]:
    """Ours, through the functions that ``spectro train-fold`` calls."""

    def make(task: Task) -> Train:
        from spectro.models.weights import resolve
        from spectro.training import data
        from spectro.training.loop import learner
        from spectro.training.settings import Phase, TrainConfig

        config = TrainConfig(
            arch=task.arch,
            weights=task.weights,
            size=task.size,
            batch_size=task.batch_size,
            precision=precision,
            seed=task.seed,
            phases=(Phase(epochs=task.epochs, lr=RATE),),
        )
        dls = data.dataloaders(task.train, task.valid, task.labels, config)
        if precision == "auto":
            config = config.replace(precision=_timed(config, dls, task))
        learn = learner.new_learner(dls, config, resolve(task.weights, task.arch))

        def train() -> float:
            learner.fit(learn, config)
            best = learner.predict_clips(learn, task.valid).argmax(axis=1)
            return float((task.valid["label"] == [task.labels[k] for k in best]).mean())

        return train

    return make


def _timed(config: Any, dls: Any, task: Task) -> str:
    """Choose the precision as a run does, however few the clips."""
    from spectro.training.loop import timing

    shape = tuple(dls.one_batch()[0].shape[2:])
    chosen, why = timing.choose(config, len(task.labels), shape, 10_000, dls.device)
    print(f"{config.arch}: {chosen} ({why})", file=sys.stderr, flush=True)
    return chosen


def plain_fastai(task: Task) -> Train:
    """Train by the book: ImageDataLoaders and vision_learner, in fp32, all else as it comes."""
    import torchvision
    from fastai.vision.all import (
        ImageDataLoaders,
        Normalize,
        Resize,
        ResizeMethod,
        accuracy,
        set_seed,
        vision_learner,
    )

    from spectro.models.networks import build as network
    from spectro.models.weights import resolve

    set_seed(task.seed, reproducible=True)
    both = pd.concat([task.train.assign(valid=False), task.valid.assign(valid=True)])
    dls = ImageDataLoaders.from_df(
        both,
        path="/",
        fn_col="image",
        label_col="label",
        valid_col="valid",
        bs=task.batch_size,
        item_tfms=Resize(task.size, method=ResizeMethod.Squish) if task.size else None,
        batch_tfms=Normalize.from_stats(*network.statistics(task.arch)),
    )
    timms = network.is_timms(task.arch)  # which fastai takes by name
    arch = task.arch if timms else getattr(torchvision.models, task.arch)
    learn = vision_learner(
        dls,
        arch,
        pretrained=False,
        normalize=False,
        n_out=len(task.labels),
        metrics=accuracy,
    )
    start: Any = network.body(task.arch, resolve(task.weights, task.arch).state)
    theirs, ours = (learn.model[0].model, start[0].net) if timms else (learn.model[0], start)
    theirs.load_state_dict(ours.state_dict())

    def train() -> float:
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(task.epochs, RATE)
            return float(learn.validate()[1])

    return train


def opensoundscape(task: Task) -> Train:
    """OpenSoundscape's CNN (0.13) on the clips themselves."""
    import torch
    from opensoundscape.ml import cnn_architectures
    from opensoundscape.ml.cnn import CNN

    from spectro.models.networks import build as network
    from spectro.models.weights import resolve

    torch.manual_seed(task.seed)
    tables = [
        pd.get_dummies(part.set_index("path")["label"]).reindex(columns=task.labels, fill_value=0)
        for part in (task.train, task.valid)
    ]
    net = getattr(cnn_architectures, task.arch)(len(task.labels), weights=None)
    start = resolve(task.weights, task.arch).state or network.body(task.arch).state_dict()
    net.load_state_dict(start, strict=False)
    model = CNN(net, task.labels, sample_duration=4, sample_rate=22_050, single_target=True)
    steps = task.epochs * -(-len(task.train) // task.batch_size)

    def train() -> float:
        with tempfile.TemporaryDirectory() as scratch:
            model.train(
                tables[0].astype(float),
                steps=steps,
                batch_size=task.batch_size,
                save_path=scratch,
                progress_bar=False,
            )
        best = model.predict(tables[1].astype(float)).to_numpy().argmax(axis=1)
        return float((task.valid["label"] == [task.labels[k] for k in best]).mean())

    return train


METHODS: dict[str, Callable[[Task], Train]] = {
    "spectro": spectro_in("auto"),
    "spectro, fp32": spectro_in("fp32"),
    BASE: plain_fastai,
    "OpenSoundscape": opensoundscape,
}


def serve(name: str, core: int | None, pipe: Connection) -> None:
    """Make a trainer of each task that comes, or train with the last; answer seconds, accuracy."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    if "fork" in multiprocessing.get_all_start_methods():  # this process was spawned, and its
        multiprocessing.set_start_method("fork", force=True)  # loaders would be: seconds each
    warnings.filterwarnings("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # peers tell how they go
    train: Any = None
    while asked := pipe.recv():
        try:
            if isinstance(asked, Task):
                train = METHODS[name](asked)
            started = time.perf_counter(), busy()
            accuracy = train()
            pipe.send((time.perf_counter() - started[0], busy() - started[1], accuracy))
        except Exception as problem:  # a peer that is not installed, or fails
            pipe.send(f"{type(problem).__name__}: {problem}"[:90])
    os._exit(0)


def busy() -> float:
    """Processor time of this process and of the loaders that it waited for, in seconds."""
    return sum(os.times()[:4])


class Methods:
    """The processes; those that cannot answer are said once, and dropped."""

    def __init__(self, names: list[str], core: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes = {}
        for name in names:
            self.pipes[name], theirs = context.Pipe()
            context.Process(target=serve, args=(name, core, theirs), daemon=False).start()

    def ask(self, asked: Task | str) -> dict[str, tuple[float, float, float]]:
        """Let each do it in turn; its seconds, those of its processor, and its accuracy."""
        answers = {}
        for name, pipe in list(self.pipes.items()):
            pipe.send(asked)
            answer = pipe.recv()
            if isinstance(answer, str):
                print(f"left out: {name} ({answer})", flush=True)
                self.pipes.pop(name).send(None)
            else:
                answers[name] = answer
        return answers

    def end(self) -> None:
        """Let the processes go."""
        for pipe in self.pipes.values():
            pipe.send(None)


def spread(values: list[float], digits: int) -> str:
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def speeds(methods: Methods, task: Task, rounds: int, all_clips: int) -> None:
    methods.ask(dataclasses.replace(task, epochs=1, valid=task.valid.head(2)))  # and warm up
    found = [methods.ask("again") for _ in range(rounds)]
    clips = len(task.train)
    print(f"\n{'method':<16}{'images/s':>20}{'epochs/minute':>15}{'times ' + BASE:>22}", end="")
    print(f"{'images/s of processor':>24}{'times ' + BASE:>22}")
    for name in methods.pipes:
        cells = []
        for kind in (0, 1):  # by the clock, and by the processor's time
            cells.append(spread([clips / one[name][kind] for one in found], 1))
            ratios = [one[BASE][kind] / one[name][kind] for one in found if BASE in one]
            cells.append(spread(ratios, 2) if ratios else "")
        whole = 60 * clips / statistics.median(one[name][0] for one in found) / all_clips
        print(f"{name:<16}{cells[0]:>20}{whole:>15.2f}{cells[1]:>22}{cells[2]:>24}{cells[3]:>22}")
    sys.stdout.flush()


def accuracies(methods: Methods, task: Task, seeds: int) -> None:
    print(f"\n{'accuracy after ' + str(task.epochs) + ' epochs':<26} mean    by seed", flush=True)
    found = [methods.ask(dataclasses.replace(task, seed=seed)) for seed in range(seeds)]
    for name in methods.pipes:
        reached = [one[name][2] for one in found]
        each = ", ".join(f"{100 * share:.1f}" for share in reached)
        print(f"{name:<26} {100 * statistics.mean(reached):.1f} %  {each}")


def sample_pictures(folder: Path) -> Path:
    from spectro.clips import datasets
    from spectro.clips.sample.write import write_sample
    from spectro.pictures.render import render
    from spectro.pictures.settings import SpectrogramConfig

    root = write_sample(folder, sources=3, slices=2, folds=4)
    render(datasets.load(root), folder / "pictures", SpectrogramConfig())
    return folder / "pictures"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="a rendered set; default: the sample's")
    parser.add_argument("--fold", type=int, help="held out; default: the first")
    parser.add_argument("--clips", type=int, default=320, help="to train on")
    parser.add_argument("--scored", type=int, default=400, help="clips of the fold held out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=0, help="trainings for the accuracy")
    parser.add_argument("--epochs", type=int, default=5, help="of these trainings")
    parser.add_argument("--arch", nargs="+", default=["resnet18", "tf_efficientnet_lite0"])
    parser.add_argument("--weights", default="none")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--core", type=int, help="run on this one; default: the last, -1: on all")
    parser.add_argument("--only", nargs="*", choices=list(METHODS), default=list(METHODS))
    asked = parser.parse_args()
    core = max(os.sched_getaffinity(0)) if asked.core is None else asked.core
    print(f"{platform.platform()}, {os.cpu_count()} processors, one thread a method")
    with tempfile.TemporaryDirectory() as scratch:
        from spectro.pictures.rendered import RenderedSet
        from spectro.training.splits import split

        rendered = RenderedSet.load(asked.pictures or sample_pictures(Path(scratch)))
        parts = split(rendered.clips, asked.fold or rendered.folds[0])
        clips = parts.train.sample(min(asked.clips, len(parts.train)), random_state=0)
        scored = parts.score.sample(min(asked.scored, len(parts.score)), random_state=0)
        for arch in asked.arch:
            task = Task(clips, scored, rendered.labels, arch, asked.weights, asked.size,
                        asked.batch_size, asked.epochs, 0)  # fmt: skip
            print(
                f"\n{len(clips)} of {len(parts.train)} training clips of {rendered.dataset.name}, "
                f"{arch} from {Path(asked.weights).name}, batches of {asked.batch_size}"
            )
            methods = Methods(asked.only, None if core < 0 else core)
            if asked.rounds:
                speeds(methods, task, asked.rounds, len(parts.train))
            if asked.seeds:
                accuracies(methods, task, asked.seeds)
            methods.end()


if __name__ == "__main__":
    main()
