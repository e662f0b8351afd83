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
from typing import Any

from spectro.crossval import folds as crossval
from spectro.crossval.run import Run
from spectro.errors import ModelError, SpectroError
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.paths import absolute, place

__all__ = ["Outcome", "train_folds"]

_ONE_AT_A_TIME = threading.Lock()  # training seeds the whole process


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a fold.

    Attributes
    ----------
    fold : int
        Which.
    record : dict or None
        What its ``fold.json`` says; None if it failed.
    reason : str
        Why it failed, in one line.
    """

    fold: int
    record: dict[str, Any] | None = None
    reason: str = ""


def train_folds(
    run: Run,
    rendered: RenderedSet,
    folds: list[int],
    executor: Executor,
    *,
    track: str | None = None,
) -> Iterator[Outcome]:
    """Train each fold through `executor`; yield what became of it, in the order they end.

    A fold that fails stops no other.

    Parameters
    ----------
    run : Run
        Of :func:`spectro.crossval.folds.open_run`.
    rendered : RenderedSet
        Pictures of all folds.
    folds : list of int
        Those to train.
    executor : concurrent.futures.Executor
        Of :func:`spectro.plumbing.cluster.connect`, for one.
    track : "tensorboard", "wandb" or None
        As in :func:`spectro.crossval.folds.train_fold`.
    """
    here = Run(run.folder.resolve(), run.record)  # workers have another working directory
    pictures = _absolute(rendered)
    spec = run.config.weights
    spec = absolute(spec) if Path(spec).is_file() else spec
    tasks = {executor.submit(_train, here, pictures, spec, fold, track): fold for fold in folds}
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


def _train(run: Run, rendered: RenderedSet, spec: str, fold: int, track: str | None) -> Outcome:
    """Train a fold where this runs, if it would be trained as anywhere else."""
    try:
        with _ONE_AT_A_TIME:
            weights, about, precision = crossval.start(run.config.replace(weights=spec))
            _check_same(run, about, precision)
            record = crossval.train_fold(run, rendered, weights, fold, track=track)
    except (SpectroError, OSError) as error:
        return Outcome(fold, reason=str(error).removeprefix(f"fold {fold}: "))
    return Outcome(fold, record)


def _check_same(run: Run, weights: dict[str, str], precision: str) -> None:
    """Refuse to mix into a run what another machine would train otherwise."""
    asked = run.record["weights"]
    if weights["source"] != asked["source"] or (asked["source"] != "random" and weights != asked):
        raise ModelError(f"the worker starts from {weights['detail']}, not {asked['detail']}")
    if precision != run.record["precision"]:
        raise ModelError(
            f"the worker would train in {precision}, not {run.record['precision']}; "
            "say --precision fp32 to have all alike"
        )
