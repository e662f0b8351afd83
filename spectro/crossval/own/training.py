"""Learners of the user's own under our protocol: cross-validated, scored, reported, compared.

``run.json`` keeps the source of what made them (:mod:`spectro.crossval.own.source`), so that a run
says what it was and another is not mixed into it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from spectro.crossval.cards import card_of
from spectro.crossval.final.evidence import evenly
from spectro.crossval.folds import check_pictures, measured, score_run
from spectro.crossval.own.source import source_of
from spectro.crossval.predictions import accuracy, out_of_fold, write_predictions
from spectro.crossval.records import Design, FoldRecord, Origin, OwnLearner, Scores
from spectro.crossval.run import Run
from spectro.errors import ConfigError, DivergedError
from spectro.models.card import ModelCard
from spectro.models.folder import predict_levels, save_model
from spectro.models.networks.build import full_name
from spectro.models.networks.own import as_ours, save_weights
from spectro.models.trained_on import marks_of
from spectro.pictures.read import read_levels
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.files import write_text
from spectro.scores import breakdown, metrics
from spectro.training import own
from spectro.training.loop.callbacks import is_autocast
from spectro.training.loop.progress import Listener
from spectro.training.settings import TrainConfig
from spectro.training.splits import split

__all__ = ["OwnTraining", "cross_validate_own", "score"]

_RECIPE = "own"
_TRIED = 16  # clips by which a model folder is compared with what the Learner said
_FAR = 0.02  # of a probability; other pixels, or another normalisation, are farther off


def score(learn: Any, pictures: RenderedSet, fold: int) -> Scores:
    """Score a trained Learner of one's own on a fold that it has not heard.

    Parameters
    ----------
    learn : fastai Learner
        Trained on DataLoaders of :func:`spectro.dataloaders`, or of one's own making.
    pictures : RenderedSet
        Pictures of all folds.
    fold : int
        The fold to score.

    Returns
    -------
    Scores
        Accuracy, macro F1 and their intervals, confusion, classes.

    Raises
    ------
    ConfigError
        If the Learner was trained on a clip of the fold, or tells other classes apart.
    DivergedError
        If its predictions are not finite.
    """
    clips = split(pictures.clips, fold).score
    is_known = own.check_unheard(learn, clips)
    predictions = _predicted(learn, clips, pictures.labels, fold)
    said = [f"fold {fold} of {pictures.dataset.name} scored by a Learner of one's own"]
    if not is_known:
        said.append(
            "its DataLoaders do not tell which pictures it was trained on: this is an honest score "
            "only if none was of the fold"
        )
    return Scores(
        protocol=tuple(said),
        **metrics.score(predictions, pictures.labels, seed=0),
        groups=breakdown.by_group(predictions).to_dict("records"),
    )


@dataclass(frozen=True)
class OwnTraining:
    """A run in the making whose networks the user makes.

    Attributes
    ----------
    run : Run
        Where results go.
    pictures : RenderedSet
        Pictures of all folds.
    make_learner : callable
        Given the DataLoaders of a fold, gives a Learner.
    fit : callable or None
        Trains it; None trains through the phases of the settings.
    """

    run: Run
    pictures: RenderedSet
    make_learner: own.MakeLearner
    fit: Callable[[Any], object] | None = None

    @classmethod
    def open(
        cls,
        folder: str | Path,
        pictures: RenderedSet,
        config: TrainConfig | None,
        make_learner: own.MakeLearner,
        fit: Callable[[Any], object] | None = None,
    ) -> OwnTraining:
        """Start or resume a run.

        Raises
        ------
        ConfigError, ModelError
            If there is one class only, or the folder holds another run.
        """
        if len(pictures.labels) < 2:
            raise ConfigError(
                f"{pictures.folder}: all clips are {pictures.labels[0]}; two classes needed"
            )
        config = (config or TrainConfig()).replace(recipe=_RECIPE, weights="none")
        own.check_settings(config)
        learner = OwnLearner(
            name=getattr(make_learner, "__name__", type(make_learner).__name__)[:100],
            fit="" if fit is None else getattr(fit, "__name__", type(fit).__name__)[:100],
            source=source_of(make_learner, fit),
        )
        origin = Origin(source="own", detail="what make_learner starts from")
        run = Run.open(folder, pictures, config, origin, "fp32", Design(learner=learner))
        check_pictures(run, pictures)
        return cls(run, pictures, make_learner, fit)

    def fold(self, fold: int, listener: Listener | None = None) -> FoldRecord:
        """Train without a fold, and predict it once; a finished fold is left as it is.

        Raises
        ------
        ConfigError
            If the Learner does not fit, or its DataLoaders hold clips of the fold.
        DivergedError
            If predictions became NaN or infinite; nothing is kept.
        """
        run, config, labels = self.run, self.run.config, self.run.labels
        if fold in run.finished_folds:
            return run.fold_record(fold)
        started = time.perf_counter()
        folds = self.pictures.folds
        inner = config.inner_fold if config.inner_fold is not None else own.inner_fold(folds, fold)
        parts = split(self.pictures.clips, fold, inner)
        dls = own.dataloaders(self.pictures, fold, config)
        learn, history = own.train(dls, self.make_learner, self.fit, config, listener)
        own.check_unheard(learn, parts.score)
        predictions = _predicted(learn, parts.score, labels, fold)
        about: dict[str, Any] = {}
        if inner is not None:
            watched = _predicted(learn, parts.watch, labels, fold)
            about = {"inner_fold": inner, "inner_accuracy": accuracy(watched)}
        seconds = time.perf_counter() - started
        record = measured(run, fold, parts, predictions, seconds, **about)
        record = record.replace(precision=_precision(learn))
        self._write(record, predictions, learn, history)
        return record

    def _write(
        self, record: FoldRecord, predictions: pd.DataFrame, learn: Any, history: pd.DataFrame
    ) -> None:
        """Write the fold's folder, which appears whole."""
        with self.run.writing_fold(record) as folder:
            history.to_csv(folder / "history.csv", index=False, lineterminator="\n")
            write_predictions(folder, predictions, self.pictures)
            self._keep(folder, learn, record, predictions)
            write_text(folder / "training.log", f"{learn.model}\n\n{history.to_string()}\n")

    def _keep(
        self, folder: Path, learn: Any, record: FoldRecord, predictions: pd.DataFrame
    ) -> None:
        """Keep the network: as a model folder if it is one of ours, else as its tensors."""
        named = getattr(getattr(learn, "arch", None), "__name__", "")
        in_order = list(learn.dls.vocab) == self.run.labels
        found = as_ours(learn.model, len(self.run.labels), [named] if named else [])
        if found is None or not in_order:
            save_weights(folder / "own-model", learn.model)
            return
        arch, model = found
        card = card_of(self.run, self.pictures, record, predictions)
        training = {**card.training, "settings": {"make_learner": self.run.design.learner_name}}
        card = card.replace(arch=full_name(arch), training=training)
        if not _answers(model, card, predictions):  # it was shown other pictures than our cards say
            save_weights(folder / "own-model", learn.model)
            return
        clips = self.pictures.clips
        learned = clips[~clips["fold"].isin([record.fold, record.inner_fold])]
        marks = marks_of([*learned["image"]], self.pictures.config)
        save_model(folder / "model", model, card, marks)


def _precision(learn: Any) -> str:
    """Name the arithmetic that a Learner trained in."""
    half = learn.cbs.filter(is_autocast)
    mode = getattr(half[0], "amp_mode", "bf16") if half else "fp32"
    return str(getattr(mode, "value", mode))


def _answers(model: nn.Module, card: ModelCard, predictions: pd.DataFrame) -> bool:
    """Tell whether a model, shown pictures as its card says, answers as the Learner did."""
    some = predictions.iloc[evenly(len(predictions), _TRIED)]
    levels = read_levels([*some["image"]], card.size, card.spectrogram.shape)
    found = predict_levels(model.cpu().float().eval(), card, levels).probabilities.numpy()
    said = some[metrics.probability_columns([*card.labels])].to_numpy()
    return bool(np.abs(found - said).max() <= _FAR)


def _predicted(learn: Any, clips: pd.DataFrame, labels: list[str], fold: int) -> pd.DataFrame:
    probabilities = own.predict(learn, clips, labels)
    if not np.isfinite(probabilities).all():
        raise DivergedError(
            f"fold {fold}: training diverged; nothing is scored or kept, try a lower rate"
        )
    return out_of_fold(probabilities, clips, labels)


def cross_validate_own(
    pictures: RenderedSet,
    folder: str | Path,
    make_learner: own.MakeLearner,
    fit: Callable[[Any], object] | None = None,
    config: TrainConfig | None = None,
    listener: Listener | None = None,
) -> Run:
    """Train and score every fold with Learners of one's own: see `spectro.cross_validate`."""
    training = OwnTraining.open(folder, pictures, config, make_learner, fit)
    for fold in pictures.folds:
        training.fold(fold, listener)
    score_run(training.run, pictures)
    return training.run
