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

__all__ = ["card_of"]


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
    config = run.config
    intervals = metrics.bootstrap_interval(predictions, run.labels, seed=config.seed)
    held_out = (record.fold, record.inner_fold)
    mean, std = networks.statistics(config.arch)
    return ModelCard(
        arch=networks.full_name(config.arch),
        members=config.members,
        labels=tuple(run.labels),
        spectrogram=pictures.config,
        size=config.size,
        mean=mean,
        std=std,
        training={
            "dataset": run.record.dataset.name,
            "clips": record.train_clips,
            "folds": [fold for fold in pictures.folds if fold not in held_out],
            "pictures": run.record.rendered.identity,
            "weights": run.record.weights.detail,
            "precision": record.precision,
            "recipe": config.recipe,
            "changed": changes(config) if config.recipe in RECIPES else {},
            "settings": config.to_dict(),
        },
        scores={
            "accuracy": round(record.accuracy, 4),
            "accuracy_interval": [round(end, 4) for end in intervals["accuracy"]],
            "clips": record.scored_clips,
            "measured": f"of fold {record.fold}, on which it was not trained",
        },
        licence=run.record.dataset.licence,
    )
