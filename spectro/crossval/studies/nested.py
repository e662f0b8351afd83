"""Nested cross-validation: settings are chosen anew for each fold, without looking at it.

For each fold that is scored, the outer fold, every candidate is trained and scored on inner folds:
folds of a clip table from which the outer fold has been taken away. The candidate with the best
mean accuracy there is trained on all of that table, and scored once on the outer fold. So the score
counts the price of choosing, which the best of several scores on one fold never does.

::

    nested/fold3/CANDIDATE/    a run over the folds that are not fold 3, without its models
    candidates.toml            what was chosen from
    choices.csv                a row an outer fold and candidate: accuracy on each inner fold
    fold3/                     as in any run, trained with the settings that were chosen
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from spectro.crossval.folds import Training
from spectro.crossval.records import Design, FoldRecord
from spectro.crossval.run import Run
from spectro.crossval.start import Start, check_takes, start
from spectro.errors import ConfigError, DivergedError
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.files import write_text
from spectro.plumbing.settings import read_tables
from spectro.training import from_sounds
from spectro.training.loop.progress import Listener
from spectro.training.recipes import recipe
from spectro.training.settings import TrainConfig

__all__ = ["Nested", "choices", "inner_folds", "read_candidates"]

_NAME = re.compile(r"[^\W_][\w=,.+-]*")  # it names a folder


def read_candidates(path: str | Path, base: TrainConfig) -> dict[str, TrainConfig]:
    """Read the settings that a run is to choose from.

    Parameters
    ----------
    path : str or Path
        TOML file.
    base : TrainConfig
        Settings of the run, which each candidate changes.

    Returns
    -------
    candidates : dict of str to TrainConfig
        By name, in the order of the file.

    Raises
    ------
    ConfigError
        If there are fewer than two, two alike, or one that is not valid.
    """
    candidates: dict[str, TrainConfig] = {}
    for number, table in enumerate(read_tables(path, "candidate"), start=1):
        try:
            name, config = _candidate(table, base)
        except ConfigError as error:
            raise ConfigError(f"{path}: candidate {number}: {error}") from None
        for other, settings in candidates.items():
            if name.lower() == other.lower() or config == settings:
                raise ConfigError(f"{path}: candidate {number} is {other} once more")
        candidates[name] = config
    if len(candidates) < 2:
        raise ConfigError(f"{path}: lists {len(candidates)} [[candidate]]; a choice needs two")
    return candidates


def _candidate(table: dict[str, Any], base: TrainConfig) -> tuple[str, TrainConfig]:
    changes = {name: value for name, value in table.items() if name != "name"}
    said = ",".join(f"{name}={value}" for name, value in changes.items())
    name = str(table.get("name", re.sub(r"[^\w=,.+-]+", "-", said) or "base"))
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name {name!r}: use letters, digits and any of = , . + - _")
    if "recipe" in changes:
        kept = {key: getattr(base, key) for key in ("weights", "precision", "seed")}
        other = recipe(changes.pop("recipe"))
        if base.arch == "auto" and other.arch == recipe(base.recipe).arch:  # none is asked for
            kept["arch"] = "auto"
        base = other.replace(**kept)
    config = base.with_table(changes)
    if config.inner_fold is not None:
        raise ConfigError("inner_fold cannot be set: the inner folds take turns")
    return name, config


Candidates = Mapping[str, TrainConfig]
Watch = Callable[[str, int], AbstractContextManager[Listener]]


def inner_folds(folds: list[int], fold: int, count: int | None = None) -> list[int]:
    """Name the folds on which settings for `fold` are chosen: those after it, in turn.

    Parameters
    ----------
    folds : list of int
        All that are there.
    fold : int
        The outer fold.
    count : int or None
        How many; None for all others.

    Raises
    ------
    ConfigError
        If there are too few: two others are the least, one to learn from and one to judge by.
    """
    others = [k for k in folds if k > fold] + [k for k in folds if k < fold]
    if len(others) < 2:
        raise ConfigError(f"{len(folds)} folds are too few to choose settings by; three are needed")
    if count is not None and not 1 <= count <= len(others):
        raise ConfigError(f"--inner-folds {count}: there are 1 to {len(others)} beside the scored")
    return others[:count]


@dataclass(frozen=True)
class Nested:
    """A run in the making whose settings are chosen anew for each fold.

    Attributes
    ----------
    run : Run
        Where results go.
    pictures : RenderedSet
        Pictures of all folds.
    candidates : mapping of str to TrainConfig
        What to choose from; of equals, the first.
    watch : callable
        Given what is trained and for how many epochs, gives a context with its listener.
    track : "tensorboard", "wandb" or None
        Record the training on all training folds with this tool.
    n_threads : int or None
        As of :class:`spectro.crossval.folds.Training`.
    tell : callable
        Called with what a candidate starts from, before it is first trained.
    """

    run: Run
    pictures: RenderedSet
    candidates: Candidates
    watch: Watch
    track: str | None = None
    n_threads: int | None = None
    tell: Callable[[Start], None] = lambda begun: None
    _told: set[str] = field(default_factory=set)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        pictures: RenderedSet,
        base: TrainConfig,
        candidates: Candidates,
        watch: Watch,
        *,
        inner: int | None = None,
        track: str | None = None,
        n_threads: int | None = None,
        tell: Callable[[Start], None] = lambda begun: None,
    ) -> Nested:
        """Start or resume such a run.

        Parameters
        ----------
        folder : str or Path
            Of the run.
        pictures : RenderedSet
            Pictures of all folds.
        base : TrainConfig
            What the candidates are changes of; gives the run its name and seed.
        candidates : mapping of str to TrainConfig
            Of :func:`read_candidates`.
        watch, track, n_threads, tell
            As the attributes.
        inner : int or None
            Inner folds that each choice rests on; None for all.

        Raises
        ------
        ConfigError, ModelError
            If there are too few folds, weights cannot be had, or the folder holds another run.
        """
        turns = {fold: inner_folds(pictures.folds, fold, inner) for fold in pictures.folds}
        for name, config in candidates.items():  # told before hours of training
            _check(name, config, pictures)
        design = Design(candidates=dict(candidates), inner_folds=turns)
        begun = Training.open(folder, pictures, base, design, n_threads=n_threads)
        return cls(begun.run, pictures, candidates, watch, track, n_threads, tell)

    def fold(self, fold: int) -> FoldRecord:
        """Choose settings for a fold on its training folds, train with them, and score the fold.

        Inner and outer trainings that are finished are not repeated.

        Returns
        -------
        record : FoldRecord
            ``chosen`` is the candidate, ``chosen_at`` its mean accuracy on the inner folds,
            ``weights`` what it started from.

        Raises
        ------
        DivergedError
            If the training of every candidate did.
        """
        run = self.run
        if fold in run.finished_folds:
            self._write_choices()  # which a kill may have cost
            return run.fold_record(fold)
        means = {name: self._mean_accuracy(name, fold) for name in self.candidates}
        best = max(means, key=lambda name: means[name])
        if means[best] < 0:
            raise DivergedError(
                f"fold {fold}: training diverged with every candidate; lower their lr"
            )
        record = self._train_with(best, means[best], fold)
        self._write_choices()
        return record

    def _write_choices(self) -> None:
        text = choices(self.run).to_csv(index=False, lineterminator="\n")
        write_text(self.run.folder / "choices.csv", text)

    def _train_with(self, best: str, mean: float, fold: int) -> FoldRecord:
        begun = start(self.candidates[best], folder=inner_folder(self.run, fold, best))
        config = begun.config
        own = self.run.trained_with(config, begun.origin, begun.precision)
        training = Training(own, self.pictures, begun.weights, self.track, n_threads=self.n_threads)
        about = {"chosen": best, "chosen_at": mean, "weights": begun.origin.detail}
        with self.watch(f"fold {fold}, {best}", config.all_epochs) as listener:
            return training.fold(fold, listener, **about)

    def _mean_accuracy(self, name: str, fold: int) -> float:
        """Train a candidate for each inner fold of `fold`; -1 if its training diverges."""
        clips, config = self.pictures.clips, self.candidates[name]
        rest = replace(self.pictures, clips=clips[clips["fold"] != fold].reset_index(drop=True))
        folder = inner_folder(self.run, fold, name)
        others = [inner_folder(self.run, other, name) for other in self.pictures.folds]
        training = Training.open(
            folder, rest, config, like=others, n_threads=self.n_threads, keep_models=False
        )
        if name not in self._told:
            self._told.add(name)
            self.tell(training.begun)
        accuracies = []
        for k in inner_folds_of(self.run, fold):
            with self.watch(f"fold {fold}, {name}, inner fold {k}", config.all_epochs) as listener:
                try:
                    accuracies.append(training.fold(k, listener).accuracy)
                except DivergedError:
                    return -1.0
        return sum(accuracies) / len(accuracies)


def _check(name: str, config: TrainConfig, pictures: RenderedSet) -> None:
    """Refuse a candidate that could not be trained: its weights, its pictures, its sounds."""
    try:
        begun = start(config)
        if not config.phases:
            raise ConfigError(f"recipe {config.recipe} trains no network")
        check_takes(begun.config, pictures.config.shape)
        if config.source == "sounds":
            from_sounds.check([*pictures.clips["path"]], pictures.config, config)
    except ConfigError as error:
        raise ConfigError(f"candidate {name}: {error}") from None


def inner_folder(run: Run, fold: int, candidate: str) -> Path:
    """Name the inner run of a fold and candidate."""
    return run.inner("nested", f"fold{fold}", candidate)


def inner_folds_of(run: Run, fold: int) -> tuple[int, ...]:
    """Read on which folds the settings for `fold` are chosen."""
    return (run.design.inner_folds or {})[fold]


def choices(run: Run) -> pd.DataFrame:
    """Tell how the candidates did on the inner folds of each finished fold.

    Returns
    -------
    choices : pandas.DataFrame
        A row an outer fold and candidate: ``fold``, ``candidate``, ``chosen`` ("yes" or ""),
        ``inner_accuracy`` (mean, missing if it diverged), and ``inner_K`` for each inner fold K.
    """
    rows = [
        _row(run, fold, name)
        for fold in run.finished_folds
        for name in (run.design.candidates or {})
    ]
    inner = [f"inner_{k}" for k in sorted({k for _, by_fold in rows for k in by_fold})]
    flat = [{**row, **{f"inner_{k}": a for k, a in by_fold.items()}} for row, by_fold in rows]
    return pd.DataFrame(flat, columns=["fold", "candidate", "chosen", "inner_accuracy", *inner])


def _row(run: Run, fold: int, name: str) -> tuple[dict[str, Any], dict[int, float]]:
    inner = Run.load(inner_folder(run, fold, name))
    by_fold = {k: inner.fold_record(k).accuracy for k in inner.finished_folds}
    whole = by_fold.keys() == set(inner_folds_of(run, fold))
    row = {
        "fold": fold,
        "candidate": name,
        "chosen": "yes" if run.fold_record(fold).chosen == name else "",
        "inner_accuracy": sum(by_fold.values()) / len(by_fold) if whole else float("nan"),
    }
    return row, by_fold
