"""Which clips are learned from and which are scored: by fold, or at random, which leaks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold, train_test_split

from spectro.errors import ConfigError
from spectro.pictures.rendered import RenderedSet

__all__ = ["Split", "random_folds", "random_share", "split"]


@dataclasses.dataclass(frozen=True)
class Split:
    """The clips of one fold of cross-validation.

    Attributes
    ----------
    train : pandas.DataFrame
        Clips to learn from.
    watch : pandas.DataFrame
        Clips whose accuracy is shown after each epoch: the inner fold, or without one the scored.
    score : pandas.DataFrame
        Clips of the fold that is scored, never learned from.
    """

    train: pd.DataFrame
    watch: pd.DataFrame
    score: pd.DataFrame


def split(clips: pd.DataFrame, fold: int, inner_fold: int | None = None) -> Split:
    """Split a clip table by fold.

    Raises
    ------
    ConfigError
        If a fold does not exist, both are the same, or no clip is left to train on.
    """
    there = sorted(int(k) for k in clips["fold"].unique())
    for wanted in (fold, inner_fold):
        if wanted is not None and wanted not in there:
            raise ConfigError(
                f"fold {wanted} has no pictures; there are {', '.join(map(str, there))}"
            )
    if fold == inner_fold:
        raise ConfigError(f"fold {fold} cannot be both the scored and the inner fold")
    scored, inner = clips["fold"] == fold, clips["fold"] == inner_fold
    train = clips[~scored & ~inner]
    if train.empty:
        raise ConfigError(f"nothing is left to train on: the only folds are {there}")
    watch = clips[scored] if inner_fold is None else clips[inner]
    return Split(train, watch, clips[scored])


def random_folds(rendered: RenderedSet, *, seed: int) -> RenderedSet:
    """Divide the clips into as many random folds, whatever their recordings: a split that leaks.

    Slices of one recording are then both trained on and scored. Only to show how much too high the
    score becomes.

    Parameters
    ----------
    rendered : RenderedSet
        Pictures with the dataset's folds.
    seed : int
        Of the random division.

    Returns
    -------
    RenderedSet
        The same pictures with other folds.
    """
    clips = rendered.clips.copy()
    if clips["label"].value_counts().max() < len(rendered.folds):
        raise ConfigError(f"a random split needs {len(rendered.folds)} clips of some class")
    splitter = StratifiedKFold(len(rendered.folds), shuffle=True, random_state=seed)
    dealt = np.empty(len(clips), dtype=int)
    for fold, (_, held_out) in zip(
        rendered.folds, splitter.split(clips, clips["label"]), strict=True
    ):
        dealt[held_out] = fold
    clips["fold"] = dealt
    return dataclasses.replace(rendered, clips=clips)


def random_share(rendered: RenderedSet, share: float, *, seed: int) -> RenderedSet:
    """Draw a random share of the clips to be scored, whatever their recordings: a split that leaks.

    Many publications split so. Clips of one speaker or recording are then both trained on and
    scored, which the notes of the result say.

    Parameters
    ----------
    rendered : RenderedSet
        Pictures with the dataset's folds.
    share : float
        Share of the clips of each class that is scored, above 0 and below 1.
    seed : int
        Of the random draw.

    Returns
    -------
    RenderedSet
        The same pictures in two folds: 1 is scored, 2 is learned from. Its ``dataset`` has
        ``random_share``.

    Raises
    ------
    ConfigError
        If the share is out of range, or too small or large for a class to be on both sides.
    """
    if not 0 < share < 1:
        raise ConfigError(f"the random share is {share:g}: it must lie between 0 and 1")
    clips = rendered.clips.copy()
    try:
        _, scored = train_test_split(
            np.arange(len(clips)), test_size=share, stratify=clips["label"], random_state=seed
        )
    except ValueError as error:
        raise ConfigError(
            f"a random share of {share:g} cannot be drawn from {len(clips)} clips ({error})"
        ) from None
    clips["fold"] = 2
    clips.loc[clips.index[scored], "fold"] = 1
    dataset = rendered.dataset.replace(folds=(1, 2), random_share=share)
    return dataclasses.replace(rendered, clips=clips, dataset=dataset)
