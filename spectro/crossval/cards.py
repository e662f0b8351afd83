"""The card of a network that a fold was scored with."""

from __future__ import annotations

import pandas as pd

from spectro.crossval.records import FoldRecord
from spectro.crossval.run import Run
from spectro.models.card import ModelCard
from spectro.models.networks import build as networks
from spectro.pictures.rendered import RenderedSet
from spectro.scores import metrics
from spectro.training.recipes import RECIPES, changes

__all__ = ["bare_card", "card_of"]


def bare_card(
    run: Run, pictures: RenderedSet, folds: list[int], clips: int, precision: str | None
) -> ModelCard:
    """Describe a single network of a run, without a score.

    Parameters
    ----------
    run : Run
        Whose settings it was trained with.
    pictures : RenderedSet
        What it was trained on.
    folds : list of int
        Which of them.
    clips : int
        How many clips they hold.
    precision : "fp32", "bf16", "fp16" or None
        Arithmetic of the training; None where it is not known.
    """
    config, record = run.config, run.record
    mean, std = networks.statistics(config.arch)
    return ModelCard(
        arch=networks.full_name(config.arch),
        labels=tuple(run.labels),
        spectrogram=pictures.config,
        size=config.size,
        mean=mean,
        std=std,
        training={
            "dataset": record.dataset.name,
            "clips": clips,
            "folds": folds,
            "pictures": record.rendered.identity,
            "weights": record.weights.detail,
            "precision": precision,
            "recipe": config.recipe,
            "changed": changes(config) if config.recipe in RECIPES else {},
            "settings": config.to_dict(),
        },
        licence=record.dataset.licence,
    )


def card_of(
    run: Run, pictures: RenderedSet, record: FoldRecord, predictions: pd.DataFrame
) -> ModelCard:
    """Write the card of the network that a fold was scored with.

    Parameters
    ----------
    run : Run
        That the fold belongs to.
    pictures : RenderedSet
        What it was trained on.
    record : FoldRecord
        Of the fold.
    predictions : pandas.DataFrame
        Of its clips, out of fold.
    """
    intervals = metrics.bootstrap_interval(predictions, run.labels, seed=run.config.seed)
    held_out = (record.fold, record.inner_fold)
    folds = [fold for fold in pictures.folds if fold not in held_out]
    return bare_card(run, pictures, folds, record.train_clips, record.precision).replace(
        members=run.config.members,
        scores={
            "accuracy": round(record.accuracy, 4),
            "accuracy_interval": [round(end, 4) for end in intervals["accuracy"]],
            "clips": record.scored_clips,
            "measured": _measured(run, record),
        },
    )


def _measured(run: Run, record: FoldRecord) -> str:
    """Say which clips were scored, for the person who gets the model without its run."""
    if run.leaks:
        return (
            "drawn at random, and others of their recordings were trained on: A RANDOM SPLIT, NOT "
            "AN HONEST SCORE"
        )
    return f"of fold {record.fold}, on which it was not trained"
