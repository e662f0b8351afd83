"""Folds on other machines: each is a task of its own, through any `concurrent.futures.Executor`.

A worker writes its fold's folder into the run, on the disk that all see; it appears whole. Only
names and settings go there, and the fold's record comes back.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, as_completed
from pathlib import Path

from spectro.crossval.folds import Training
from spectro.crossval.records import FoldRecord
from spectro.crossval.run import Run
from spectro.crossval.start import Start, start
from spectro.errors import ModelError, SpectroError
from spectro.models.networks.precision import choose_precision
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.paths import absolute, place
from spectro.training.data import device

__all__ = ["Outcome", "train_folds"]

_ONE_AT_A_TIME = threading.Lock()  # training seeds the whole process


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a fold.

    Attributes
    ----------
    fold : int
        Which.
    record : FoldRecord or None
        What its ``fold.json`` says; None if it failed.
    reason : str
        Why it failed, in one line.
    """

    fold: int
    record: FoldRecord | None = None
    reason: str = ""


def train_folds(training: Training, folds: list[int], executor: Executor) -> Iterator[Outcome]:
    """Train each fold through `executor`; yield what became of it, in the order they end.

    A fold that fails stops no other.

    Parameters
    ----------
    training : Training
        A run on a disk that all workers see. They find its weights themselves.
    folds : list of int
        Those to train.
    executor : concurrent.futures.Executor
        Of :func:`spectro.plumbing.cluster.connect`, for one.
    """
    run = Run(training.run.folder.resolve(), training.run.record)  # workers are in another folder
    pictures = _absolute(training.pictures)
    spec = run.config.weights
    spec = absolute(spec) if Path(spec).is_file() else spec
    given = run, pictures, spec, training.track, training.n_threads
    tasks = {executor.submit(_train, fold, *given): fold for fold in folds}
    try:
        for task in as_completed(tasks):
            try:
                yield task.result()
            except Exception as error:  # a worker that died, say: it must not cost the others
                told = str(error).strip().splitlines() or [""]
                yield Outcome(tasks[task], reason=f"{type(error).__name__}: {told[0]}")
    finally:
        for task in tasks:
            task.cancel()


def _absolute(rendered: RenderedSet) -> RenderedSet:
    files = {name: [absolute(path) for path in rendered.clips[name]] for name in ("path", "image")}
    folder = place(absolute(rendered.folder))
    return dataclasses.replace(rendered, folder=folder, clips=rendered.clips.assign(**files))


def _train(
    fold: int, run: Run, rendered: RenderedSet, spec: str, track: str | None, n_threads: int | None
) -> Outcome:
    """Train a fold on this machine, if it would be trained as on the client's."""
    try:
        with _ONE_AT_A_TIME:
            begun = start(run.config.replace(weights=spec), folder=run.folder)
            _check_same(run, begun)
            training = Training(run, rendered, begun.weights, track, n_threads=n_threads)
            record = training.fold(fold)
    except (SpectroError, OSError) as error:
        return Outcome(fold, reason=str(error).removeprefix(f"fold {fold}: "))
    return Outcome(fold, record)


def _check_same(run: Run, begun: Start) -> None:
    """Refuse to mix into a run what starts elsewhere; the precision is the run's."""
    asked = run.record
    choose_precision(asked.precision, device())  # a machine that lacks it says so
    if not begun.origin.same_start(asked.weights):
        raise ModelError(
            f"the worker starts from {begun.origin.detail}, not {asked.weights.detail}"
        )
