"""Tuning without looking at the scored fold: the rate test, and trainings that keep nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from spectro.errors import ConfigError
from spectro.models.weights import Weights
from spectro.pictures.rendered import RenderedSet
from spectro.training import data as datablock
from spectro.training import learner
from spectro.training import train as members
from spectro.training.progress import Listener
from spectro.training.settings import TrainConfig
from spectro.training.splits import split

__all__ = ["find_lr", "rehearse"]


def find_lr(
    rendered: RenderedSet, config: TrainConfig, weights: Weights, fold: int, *, steps: int = 100
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Run the learning-rate range test on every fold but `fold`, which is not looked at.

    Nor is the inner fold of `config`, if it has one.

    Returns
    -------
    lrs, losses, suggestion
        Of :func:`spectro.training.learner.find_lr`.
    """
    parts = split(rendered.clips, fold, config.inner_fold)
    dls = datablock.dataloaders(
        parts.train, parts.train.head(1), rendered.labels, config, rendered.config
    )
    learn = learner.new_learner(dls, config, weights)
    return learner.find_lr(learn, steps)


def rehearse(
    rendered: RenderedSet,
    config: TrainConfig,
    weights: Weights,
    fold: int,
    listener: Listener | None = None,
) -> pd.DataFrame:
    """Train as for `fold`, watching the inner fold; keep nothing but the history.

    What tuning is made of: neither the pictures nor the score of `fold` are looked at.

    Returns
    -------
    history : pandas.DataFrame
        Of :func:`spectro.training.train.train`.

    Raises
    ------
    ConfigError
        If `config` sets no inner fold aside.
    """
    if config.inner_fold is None:
        raise ConfigError(f"set an inner fold aside to watch; fold {fold} is there to be scored")
    parts = split(rendered.clips, fold, config.inner_fold)
    _, history = members.train(parts, rendered.labels, config, weights, rendered.config, listener)
    return history
