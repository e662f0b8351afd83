"""Cross-validation: train on all folds but one, predict that one, for each fold.

Honest by construction: the scored fold is predicted once, by the network of the last epoch; no
checkpoint, learning rate or threshold is chosen by looking at it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from spectro.crossval import protocol
from spectro.crossval.run import Run, accuracy, out_of_fold, write_predictions
from spectro.errors import ConfigError, DivergedError
from spectro.models.card import ModelCard
from spectro.models.folder import save_model
from spectro.models.precision import choose_precision
from spectro.models.weights import Weights, resolve
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.environment import environment
from spectro.plumbing.files import write_text
from spectro.scores import breakdown, metrics
from spectro.training import data as datablock
from spectro.training import learner
from spectro.training import train as members
from spectro.training.log import training_log
from spectro.training.progress import Listener, tracking
from spectro.training.settings import TrainConfig
from spectro.training.splits import Split, random_folds, split

__all__ = [
    "fold_record",
    "open_run",
    "precision_in_words",
    "score_run",
    "start",
    "train_fold",
    "train_random_split",
]

_RANDOM = "random-split"


def open_run(
    folder: str | Path,
    rendered: RenderedSet,
    config: TrainConfig,
    design: dict[str, Any] | None = None,
) -> tuple[Run, Weights]:
    """Start or resume a run, having found the weights that it starts from.

    `design` is that of :meth:`spectro.crossval.run.Run.open`.

    Raises
    ------
    ConfigError, ModelError
        If the weights cannot be had, or the folder holds another run.
    """
    if len(rendered.labels) < 2:
        raise ConfigError(
            f"{rendered.folder}: all clips are {rendered.labels[0]}; two classes needed"
        )
    weights, about, precision = start(config)
    return Run.open(folder, rendered, config, about, precision, design), weights


def start(config: TrainConfig) -> tuple[Weights, dict[str, str], str]:
    """Find what training starts from.

    Returns
    -------
    weights : Weights
    about : dict
        Their ``source`` and ``detail``, as ``run.json`` has them.
    precision : "fp32" or "bf16"
    """
    weights = resolve(config.weights, config.arch)
    precision, _ = choose_precision(config.precision, datablock.device())
    return weights, {"source": weights.source, "detail": weights.detail}, precision


def train_fold(
    run: Run,
    rendered: RenderedSet,
    weights: Weights,
    fold: int,
    listener: Listener | None = None,
    *,
    track: str | None = None,
    keep_model: bool = True,
    about: Mapping[str, Any] | None = None,
    n_gpus: int = 1,
) -> dict[str, Any]:
    """Train on all folds but one and predict that one; a finished fold is left as it is.

    Parameters
    ----------
    run : Run
        Where results go; of :func:`open_run`.
    rendered : RenderedSet
        Pictures of all folds.
    weights : Weights
        Where training starts.
    fold : int
        The fold to hold out and score.
    listener : Listener or None
        Told of every batch and epoch.
    track : "tensorboard", "wandb" or None
        Record the training with this tool too (:mod:`spectro.training.progress`).
    keep_model : bool
        Write the trained network. Those that only help to choose or to compare are many, and
        45 MB each for a resnet18.
    about : mapping or None
        More for ``fold.json`` to say.
    n_gpus : int
        Share the training among so many (:mod:`spectro.training.several_gpus`); `track` is for one.

    Returns
    -------
    record : dict
        What ``fold.json`` says: ``fold``, ``accuracy``, ``train_clips``, ``scored_clips``,
        ``seconds``, ``precision``, ``environment``; with an inner fold also ``inner_fold`` and
        ``inner_accuracy``.
    """
    if fold in run.finished_folds:
        return run.fold_record(fold)
    started = time.perf_counter()
    config = run.config
    if not config.phases:
        raise ConfigError(f"recipe {config.recipe} trains no network; run spectro probe")
    parts = split(rendered.clips, fold, config.inner_fold)
    with tracking(track, run.folder, f"fold{fold}", config) as callbacks:
        learn, history = members.train(
            parts, run.labels, config, weights, rendered.config, listener, callbacks, n_gpus
        )
    probabilities = learner.predict_clips(learn, parts.score)
    if not np.isfinite(probabilities).all():
        raise DivergedError(f"fold {fold}: training diverged; nothing is kept, try a lower --lr")
    predictions = out_of_fold(probabilities, parts.score, run.labels)
    record = {
        **fold_record(run, fold, parts, predictions, time.perf_counter() - started),
        **_inner(config, learn, parts, run.labels),
        **({"gpus": n_gpus} if n_gpus > 1 else {}),
        **(about or {}),
    }
    with run.writing_fold(fold) as folder:
        history.to_csv(folder / "history.csv", index=False, lineterminator="\n")
        write_predictions(folder, predictions, rendered)
        if keep_model:
            save_model(folder / "model", learn.model, _card(run, rendered, record))
        write_text(folder / "training.log", _log(run, rendered, parts, learn.model, history))
        write_text(folder / "fold.json", json.dumps(record, indent=2) + "\n")
    return record


def fold_record(
    run: Run, fold: int, parts: Split, predictions: pd.DataFrame, seconds: float
) -> dict[str, Any]:
    """Say of a fold what ``fold.json`` says whatever predicted it."""
    return {
        "fold": fold,
        "accuracy": accuracy(predictions),
        "train_clips": len(parts.train),
        "scored_clips": len(parts.score),
        "seconds": round(seconds, 1),
        "device": str(datablock.device()),
        "precision": run.record["precision"],
        "environment": environment(),
    }


def _inner(config: TrainConfig, learn: Any, parts: Split, labels: list[str]) -> dict[str, Any]:
    """Say what the fold that is watched while tuning came to."""
    if config.inner_fold is None:
        return {}
    watched = out_of_fold(learner.predict_clips(learn, parts.watch), parts.watch, labels)
    return {"inner_fold": config.inner_fold, "inner_accuracy": accuracy(watched)}


def precision_in_words(config: TrainConfig) -> str:
    """Say the arithmetic of training and why, as "bf16 (the processor has it)"."""
    precision, reason = choose_precision(config.precision, datablock.device())
    return f"{precision} ({reason})"


def _log(
    run: Run, rendered: RenderedSet, parts: Split, model: nn.Module, history: pd.DataFrame
) -> str:
    watched = {} if run.config.inner_fold is None else {"watched": parts.watch}
    return training_log(
        run.config,
        rendered.config,
        model,
        {"trained on": parts.train, **watched, "scored": parts.score},
        history,
        about={
            "dataset": rendered.dataset["name"],
            "recipe": run.config.recipe,
            "weights": run.record["weights"]["detail"],
            "arithmetic": run.record["precision"],
        },
    )


def _card(run: Run, rendered: RenderedSet, record: dict[str, Any]) -> ModelCard:
    config = run.config
    fold = record["fold"]
    return ModelCard(
        arch=config.arch,
        members=config.members,
        labels=tuple(run.labels),
        spectrogram=rendered.config,
        size=config.size,
        training={
            "dataset": rendered.dataset["name"],
            "clips": record["train_clips"],
            "folds": [k for k in rendered.folds if k not in (fold, config.inner_fold)],
            "weights": run.record["weights"]["detail"],
            "settings": config.to_dict(),
        },
        scores={
            f"accuracy on fold {fold}, never trained on": round(record["accuracy"], 4),
            "clips it was measured on": record["scored_clips"],
        },
        licence=rendered.dataset["licence"],
    )


def score_run(run: Run, rendered: RenderedSet) -> dict[str, Any]:
    """Score all finished folds together, say what the number is, and write ``scores.json``.

    Returns
    -------
    scores : dict
        Of :func:`spectro.scores.metrics.score`, plus ``protocol``: what was trained and scored, in words;
        and ``groups``, of :func:`spectro.scores.breakdown.by_group`.
    """
    scores = metrics.score(run.predictions(), run.labels, seed=run.config.seed)
    groups = breakdown.by_group(run.predictions()).to_dict("records")
    scores = {"protocol": protocol.lines(run, rendered), **scores, "groups": groups}
    if (run.folder / _RANDOM / "scores.json").is_file():
        leaking = Run.load(run.folder / _RANDOM).scores()
        scores["random_split"] = {
            name: leaking[name] for name in ("fold_mean", "fold_std", "clips")
        }
    run.write_scores(scores)
    return scores


def train_random_split(
    run: Run,
    rendered: RenderedSet,
    weights: Weights,
    listener: Listener | None = None,
    n_gpus: int = 1,
) -> None:
    """Cross-validate once more over :func:`random_folds`, to show what a leak would claim.

    Written to ``random-split/`` inside the run, itself a run; the next :func:`score_run` reports it
    beside the honest score.
    """
    leaking = random_folds(rendered, seed=run.config.seed)
    same = (run.config, run.record["weights"], run.record["precision"])
    inner = Run.open(run.folder / _RANDOM, leaking, *same)
    for fold in leaking.folds:
        train_fold(inner, leaking, weights, fold, listener, n_gpus=n_gpus)
    inner.write_scores(metrics.score(inner.predictions(), inner.labels, seed=run.config.seed))
