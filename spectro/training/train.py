"""Training all that a fold's prediction takes: one network, or several one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from fastai.callback.core import Callback
from fastai.learner import Learner

from spectro.errors import ConfigError
from spectro.models.networks import Ensemble
from spectro.models.weights import Weights
from spectro.pictures.settings import SpectrogramConfig
from spectro.training import data as datablock
from spectro.training import learner
from spectro.training import several_gpus as gpus
from spectro.training.progress import Listener
from spectro.training.settings import TrainConfig
from spectro.training.splits import Split

__all__ = ["configs", "train"]


def configs(config: TrainConfig) -> list[TrainConfig]:
    """Give each network its settings; no two seeds of an ensemble share a network.

    Examples
    --------
    >>> [one.seed for seed in (0, 1) for one in configs(TrainConfig(members=3, seed=seed))]
    [0, 1, 2, 3, 4, 5]
    """
    first = config.seed * config.members
    seeds = [(first + number) % 2**32 for number in range(config.members)]
    return [config.replace(members=1, seed=seed) for seed in seeds]


def train(
    parts: Split,
    labels: list[str],
    config: TrainConfig,
    weights: Weights,
    spectrogram: SpectrogramConfig | None = None,
    listener: Listener | None = None,
    callbacks: Sequence[Callback] = (),
    n_gpus: int = 1,
) -> tuple[Learner, pd.DataFrame]:
    """Train on ``parts.train``, watching ``parts.watch``.

    Parameters
    ----------
    parts : Split
        Of :func:`spectro.training.splits.split`; its clips to score are not looked at.
    labels : list of str
        Every class of the dataset.
    config : TrainConfig
        How to train, and how many networks.
    weights : Weights
        Where each of them starts.
    spectrogram : SpectrogramConfig or None
        How sounds become pictures; see :func:`spectro.training.data.data_block`.
    listener : Listener or None
        Told of every batch and epoch, numbered through from the first network to the last.
    callbacks : sequence of fastai callbacks
        Take part in each training.
    n_gpus : int
        Share each training among so many (:mod:`spectro.training.several_gpus`), without callbacks.

    Returns
    -------
    learn : Learner
        Its model is the network, or the :class:`~spectro.models.networks.Ensemble` of them.
    history : pandas.DataFrame
        Of :func:`spectro.training.learner.fit`; of several networks one after another, with the column
        ``member``, counted from 1. What it says of an epoch is of that one network.
    """
    if callbacks and n_gpus > 1:
        raise ConfigError("callbacks, as those that track, do not go with several GPUs")
    trained, tables = [], []
    for number, one in enumerate(configs(config)):
        told = _numbered_through(listener or Listener(), number, config)
        clips = (parts.train, parts.watch, labels)
        if n_gpus > 1:
            learn, table = gpus.train(*clips, one, weights, spectrogram, told, n_gpus)
        else:
            dls = datablock.dataloaders(*clips, one, spectrogram)
            learn = learner.new_learner(dls, one, weights)
            table = learner.fit(learn, one, told, callbacks)
        tables.append(table)
        trained.append(learn.model)
    if config.members == 1:
        return learn, tables[0]
    learn.model = Ensemble(trained)
    rows = [
        _place_of(row, number, config)
        for number, table in enumerate(tables)
        for row in table.to_dict("records")
    ]
    return learn, pd.DataFrame(rows)


def _numbered_through(listener: Listener, number: int, config: TrainConfig) -> Listener:
    """Tell a listener of one network's training as of its part of them all."""
    if config.members == 1:
        return listener
    return replace(
        listener,
        batch=lambda done, total: listener.batch(number * total + done, config.members * total),
        epoch=lambda row: listener.epoch(_place_of(row, number, config)),
    )


def _place_of(row: dict[Any, Any], number: int, config: TrainConfig) -> dict[Any, Any]:
    """Say of an epoch where it stands among those of all networks."""
    return {"member": number + 1, **row, "epoch": number * config.epochs + row["epoch"]}
