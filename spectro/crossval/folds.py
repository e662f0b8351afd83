"""Cross-validation: train on all folds but one, predict that one, for each fold.

Honest by construction: the scored fold is predicted once, by the network of the last epoch; no
checkpoint, learning rate or threshold is chosen by looking at it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from spectro.clips.table import leaking_groups
from spectro.crossval import protocol
from spectro.crossval.cards import card_of
from spectro.crossval.final.evidence import write_calibration
from spectro.crossval.predictions import accuracy, out_of_fold, write_predictions
from spectro.crossval.records import Design, FoldRecord, Scores
from spectro.crossval.run import RANDOM, Run
from spectro.crossval.start import Start, start
from spectro.errors import ConfigError, DivergedError, ModelError
from spectro.models.folder import save_model
from spectro.models.trained_on import each_mark, marks_of, read_marks
from spectro.models.weights import Weights
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.environment import environment
from spectro.plumbing.files import write_text
from spectro.scores import breakdown, metrics
from spectro.training import train
from spectro.training.data import device
from spectro.training.loop import learner
from spectro.training.loop.log import training_log
from spectro.training.loop.progress import Listener, tracking
from spectro.training.loop.threads import Threads
from spectro.training.recipes import recipe
from spectro.training.settings import TrainConfig
from spectro.training.splits import Split, random_folds, split

__all__ = [
    "Training",
    "check_pictures",
    "cross_validate",
    "measured",
    "score_run",
]


@dataclass(frozen=True)
class Training:
    """A run in the making: its folder, its pictures, and what each network starts from.

    Attributes
    ----------
    run : Run
        Where results go.
    pictures : RenderedSet
        Pictures of all folds.
    weights : Weights
        Where each network starts.
    track : "tensorboard", "wandb" or None
        Record each training with this tool too (:mod:`spectro.training.loop.progress`).
    n_gpus : int
        Share each training among so many (:mod:`spectro.training.loop.several_gpus`).
    n_threads : int or None
        Threads of training; None chooses (:class:`spectro.training.loop.threads.Threads`).
    keep_models : bool
        Write the trained networks. Those that only help to choose or to compare are many, and
        45 MB each for a resnet18.
    reason : str
        Why the run trains in its precision, in a few words.
    """

    run: Run
    pictures: RenderedSet
    weights: Weights
    track: str | None = None
    n_gpus: int = 1
    n_threads: int | None = None
    keep_models: bool = True
    reason: str = ""

    @classmethod
    def open(
        cls,
        folder: str | Path,
        pictures: RenderedSet,
        config: TrainConfig,
        design: Design | None = None,
        like: Iterable[Path] = (),
        **options: Any,
    ) -> Training:
        """Start or resume a run, having found the weights that it starts from.

        Parameters
        ----------
        folder : str or Path
            Of the run.
        pictures : RenderedSet
            Pictures of all folds.
        config : TrainConfig
            Settings of training.
        design : Design or None
            What makes the run other than a plain cross-validation.
        like : iterable of Path
            As of :func:`start`.
        **options
            `track`, `n_gpus`, `n_threads` and `keep_models`.

        Raises
        ------
        ConfigError, ModelError
            If there is one class only, the weights cannot be had, or the folder holds another run,
            or a fold of other pictures.
        """
        if len(pictures.labels) < 2:
            raise ConfigError(
                f"{pictures.folder}: all clips are {pictures.labels[0]}; two classes needed"
            )
        begun = start(config, pictures, folder, options.get("n_threads"), like)
        run = Run.open(folder, pictures, begun.config, begun.origin, begun.precision, design)
        check_pictures(run, pictures)
        return cls(run, pictures, begun.weights, reason=begun.reason, **options)

    @property
    def begun(self) -> Start:
        """What each network starts from."""
        return Start(self.run.config, self.weights, self.run.record.precision, self.reason)

    def fold(self, fold: int, listener: Listener | None = None, **about: Any) -> FoldRecord:
        """Train on all folds but one and predict that one; a finished fold is left as it is.

        Parameters
        ----------
        fold : int
            The fold to hold out and score.
        listener : Listener or None
            Called after every batch and epoch.
        **about
            More fields of the fold's record.

        Returns
        -------
        record : FoldRecord
            What ``fold.json`` says.

        Raises
        ------
        ConfigError
            If the recipe trains no network, or the fold cannot be held out.
        DivergedError
            If predictions became NaN or infinite; nothing is kept.
        """
        run, config = self.run, self.run.config
        if fold in run.finished_folds:
            return run.fold_record(fold)
        if not config.phases:
            raise ConfigError(f"recipe {config.recipe} trains no network; run spectro probe")
        self._check_gpus()
        started = time.perf_counter()
        parts = split(self.pictures.clips, fold, config.inner_fold)
        marks = marks_of([*parts.train["image"]], self.pictures.config) if self.keep_models else []
        with Threads(self.n_threads) as threads:
            learn, history = self._train(parts, fold, listener, threads)
            predictions = _predicted(learn, parts.score, run.labels, fold)
        seconds = time.perf_counter() - started
        about["threads"] = tuple(threads.used)
        if self.n_gpus > 1:
            about["gpus"] = self.n_gpus
        about |= _watched(config, learn, parts, run.labels)
        record = measured(run, fold, parts, predictions, seconds, **about)
        self._write(record, parts, predictions, learn.model, history, marks)
        return record

    def _check_gpus(self) -> None:
        """Refuse to go on with another number of GPUs, which has other batches."""
        for record in map(self.run.fold_record, self.run.finished_folds):
            before = record.gpus or 1
            if before != self.n_gpus:
                raise ConfigError(
                    f"{self.run.folder}: fold {record.fold} was trained with --gpus {before}, "
                    "which has other batches; go on with it, or name another --run"
                )

    def _train(
        self, parts: Split, fold: int, listener: Listener | None, threads: Threads
    ) -> tuple[Any, pd.DataFrame]:
        run = self.run
        with tracking(self.track, run.folder, f"fold{fold}", run.config) as callbacks:
            return train.train(
                parts,
                run.labels,
                run.config.replace(precision=run.record.precision),
                self.weights,
                self.pictures.config,
                listener,
                callbacks,
                self.n_gpus,
                threads,
            )

    def _write(
        self,
        record: FoldRecord,
        parts: Split,
        predictions: pd.DataFrame,
        model: nn.Module,
        history: pd.DataFrame,
        marks: list[str],
    ) -> None:
        """Write the fold's folder, which appears whole."""
        with self.run.writing_fold(record) as folder:
            history.to_csv(folder / "history.csv", index=False, lineterminator="\n")
            write_predictions(folder, predictions, self.pictures)
            if self.keep_models:
                card = card_of(self.run, self.pictures, record, predictions)
                save_model(folder / "model", model, card, marks)
            write_text(folder / "training.log", self._log(parts, model, history))

    def _log(self, parts: Split, model: nn.Module, history: pd.DataFrame) -> str:
        record, config = self.run.record, self.run.config
        watched = {} if config.inner_fold is None else {"watched": parts.watch}
        return training_log(
            config,
            self.pictures.config,
            model,
            {"trained on": parts.train, **watched, "scored": parts.score},
            history,
            about={
                "dataset": record.dataset.name,
                "recipe": config.recipe,
                "weights": record.weights.detail,
                "arithmetic": record.precision,
            },
        )

    def random_split(self, listener: Listener | None = None) -> None:
        """Cross-validate once more over random folds, which leak, for comparison.

        Written to ``random-split/`` inside the run, itself a run; the next :func:`score_run`
        reports it beside the honest score.
        """
        run, record = self.run, self.run.record
        leaking = random_folds(self.pictures, seed=run.config.seed)
        folder = run.inner(RANDOM)
        earlier = Run.is_at(folder) and Run.load(folder).record.design is None  # known by its place
        design = None if earlier else Design(random_folds=True)
        inner = Run.open(folder, leaking, run.config, record.weights, record.precision, design)
        training = replace(self, run=inner, pictures=leaking, track=None)
        for fold in leaking.folds:
            training.fold(fold, listener)
        found = metrics.score(inner.predictions(), inner.labels, seed=run.config.seed)
        inner.write_scores(Scores(protocol=tuple(protocol.lines(inner, leaking)), **found))


def check_pictures(run: Run, pictures: RenderedSet) -> None:
    """Refuse to go on with folds whose training pictures were drawn anew, of other sounds.

    Folds of which no model is kept, as those that settings are chosen on, do not tell.

    Raises
    ------
    ModelError
        If there is one.
    """
    marks: dict[str, str] = {}
    for fold in run.finished_folds:
        before = read_marks(run.fold_folder(fold) / "model")
        if not before:
            continue
        if not marks:
            images = [*pictures.clips["image"]]
            marks = dict(zip(images, each_mark(images, pictures.config), strict=True))
        parts = split(pictures.clips, fold, run.fold_record(fold).inner_fold)
        now = {marks[image] for image in parts.train["image"]} - {""}
        if now != before:
            raise ModelError(
                f"{run.folder}: fold {fold} was trained on other pictures than are there now "
                f"({len(now - before):,} of {len(parts.train):,} are new), as of sounds that were "
                f"mended; name another --run, or remove its folder fold{fold}"
            )


def _predicted(learn: Any, clips: pd.DataFrame, labels: list[str], fold: int) -> pd.DataFrame:
    """Predict clips in fp32, or tell that training diverged."""
    probabilities = learner.predict_clips(learn, clips)
    if not np.isfinite(probabilities).all():
        raise DivergedError(f"fold {fold}: training diverged; nothing is kept, try a lower --lr")
    return out_of_fold(probabilities, clips, labels)


def _watched(config: TrainConfig, learn: Any, parts: Split, labels: list[str]) -> dict[str, Any]:
    """Score the inner fold, which is set aside to tune by."""
    if config.inner_fold is None:
        return {}
    watched = out_of_fold(learner.predict_clips(learn, parts.watch), parts.watch, labels)
    return {"inner_fold": config.inner_fold, "inner_accuracy": accuracy(watched)}


def measured(
    run: Run, fold: int, parts: Split, predictions: pd.DataFrame, seconds: float, **about: Any
) -> FoldRecord:
    """Make the record of a fold that was trained or probed just now, on this machine."""
    return FoldRecord(
        fold=fold,
        accuracy=accuracy(predictions),
        train_clips=len(parts.train),
        scored_clips=len(parts.score),
        seconds=round(seconds, 1),
        device=str(device()),
        precision=run.record.precision,
        environment=environment(),
        **about,
    )


def score_run(run: Run, pictures: RenderedSet) -> Scores:
    """Score all finished folds together; write ``scores.json`` and ``calibration.json``."""
    predictions = run.predictions()
    found = metrics.score(predictions, run.labels, seed=run.config.seed)
    doubts = protocol.doubts(predictions, run.labels, tuple(found["accuracy_interval"]))
    scores = Scores(
        protocol=(*protocol.lines(run, pictures), *doubts),
        **found,
        groups=breakdown.by_group(predictions).to_dict("records"),
        random_split=_leaking_score(run),
    )
    run.write_scores(scores)
    write_calibration(run, predictions)
    return scores


def cross_validate(
    pictures: RenderedSet,
    folder: str | Path,
    config: TrainConfig | None = None,
    listener: Listener | None = None,
    *,
    make_learner: Callable[[Any], Any] | None = None,
    fit: Callable[[Any], object] | None = None,
) -> Run:
    """Train and score every fold; a finished fold is not trained again.

    Parameters
    ----------
    pictures : RenderedSet
        Pictures of all folds.
    folder : str or Path
        Of the run.
    config : TrainConfig or None
        Settings of training; None is the recipe ``default``.
    listener : Listener or None
        Called after every batch and epoch.
    make_learner : callable or None
        Given the DataLoaders of a fold (:func:`spectro.dataloaders`), gives a fastai Learner of
        one's own: any network, loss, metric or callback. `config` then gives batch size, picture
        size and augmentation.
    fit : callable or None
        Trains that Learner, as ``lambda learn: learn.fine_tune(5)``; None trains it through the
        phases of `config`.

    Returns
    -------
    run : Run
        Finished and scored.

    Raises
    ------
    ConfigError, ModelError
        As :meth:`Training.open`.

    Examples
    --------
    >>> import tempfile
    >>> from spectro import RenderedSet, SpectrogramConfig, TrainConfig, cross_validate
    >>> from spectro import load_dataset, render, write_sample
    >>> folder = tempfile.mkdtemp()
    >>> sounds = write_sample(folder, sources=1, slices=1, folds=2, classes=("siren", "jackhammer"))
    >>> pictures = f"{folder}/pictures"
    >>> _ = render(load_dataset(sounds), pictures, SpectrogramConfig(n_mels=32, hop_length=2048))
    >>> config = TrainConfig(arch="cnn4", weights="none", batch_size=2, phases=[{"epochs": 1}])
    >>> run = cross_validate(RenderedSet.load(pictures), f"{folder}/run", config)
    >>> run.finished_folds, run.scores().clips
    ([1, 2], 4)
    """
    if make_learner is not None:
        from spectro.crossval.own.training import cross_validate_own

        return cross_validate_own(pictures, folder, make_learner, fit, config, listener)
    if fit is not None:
        raise ConfigError("fit trains what make_learner makes; give both")
    training = Training.open(folder, pictures, config or recipe("default"))
    for fold in pictures.folds:
        training.fold(fold, listener)
    score_run(training.run, pictures)
    return training.run


def _leaking_score(run: Run) -> dict[str, Any] | None:
    """Read what the split at random claimed, if it was trained for comparison."""
    inner = run.inner(RANDOM)
    if not Run.is_at(inner) or not (leaking := Run.load(inner)).is_scored:
        return None
    scores = leaking.scores()
    return {
        "accuracy": scores.accuracy,
        "shared": len(leaking_groups(leaking.predictions())),
        "fold_mean": scores.fold_mean,
        "fold_std": scores.fold_std,
        "clips": scores.clips,
    }
