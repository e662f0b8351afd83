"""Train what predicts a fold: one network, or several one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from fastai.callback.core import Callback
from fastai.learner import Learner

from spectro.errors import ConfigError
from spectro.models.networks.build import Ensemble
from spectro.models.weights import Weights
from spectro.pictures.settings import SpectrogramConfig
from spectro.training import data, from_sounds
from spectro.training.loop import learner, several_gpus
from spectro.training.loop.progress import Listener
from spectro.training.loop.threads import Threads
from spectro.training.settings import TrainConfig
from spectro.training.splits import Split

__all__ = ["configs", "train"]


def configs(config: TrainConfig) -> list[TrainConfig]:
    """Return the settings of each network; ensembles of different seeds share no network.

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
    threads: Threads | None = None,
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
        Where each network starts.
    spectrogram : SpectrogramConfig or None
        How sounds become pictures; see :func:`spectro.training.data.data_block`.
    listener : Listener or None
        Called after every batch and epoch, which are counted over all networks.
    callbacks : sequence of fastai callbacks
        Take part in each training.
    n_gpus : int
        Share each training among so many GPUs (:mod:`spectro.training.loop.several_gpus`); then
        there must be no callbacks.
    threads : Threads or None
        Chooses the number of threads; None leaves torch's. Has no effect on several GPUs.

    Returns
    -------
    learn : Learner
        Its model is the network, or the :class:`~spectro.models.networks.build.Ensemble` of them.
    history : pandas.DataFrame
        Of :func:`spectro.training.loop.learner.fit`. Of several networks, one after another, with
        the column ``member``, counted from 1; losses and accuracy are those of that network alone.

    Raises
    ------
    ConfigError
        If there are callbacks and several GPUs, or data and settings do not fit.
    """
    if callbacks and n_gpus > 1:
        raise ConfigError("callbacks, as those that track, do not go with several GPUs")
    if config.source == "sounds" and spectrogram is not None:
        from_sounds.check(parts.score["path"], spectrogram, config)  # drawn when all is trained
    listener = listener or Listener()
    n_steps = config.all_epochs * (len(parts.train) // config.batch_size)
    if threads and n_gpus == 1:
        callbacks = [*callbacks, *threads.callbacks(listener.say, n_steps)]
    trained, tables = [], []
    for number, one in enumerate(configs(config)):
        told = _numbered_through(listener, number, config)
        clips = (parts.train, parts.watch, labels)
        if n_gpus > 1:
            learn, table = several_gpus.train(*clips, one, weights, spectrogram, told, n_gpus)
        else:
            dls = data.dataloaders(*clips, one, spectrogram)
            learn = learner.new_learner(dls, one, weights)
            table = learner.fit(learn, one, told, callbacks)
        tables.append(table)
        trained.append(learn.model)
    if config.members == 1:
        return learn, tables[0]
    learn.model = Ensemble(trained)
    rows = [
        _counted_on(row, number, config)
        for number, table in enumerate(tables)
        for row in table.to_dict("records")
    ]
    return learn, pd.DataFrame(rows)


def _numbered_through(listener: Listener, number: int, config: TrainConfig) -> Listener:
    """Count one network's batches and epochs on from those of the networks before it."""
    if config.members == 1:
        return listener
    return replace(
        listener,
        batch=lambda done, total: listener.batch(number * total + done, config.members * total),
        epoch=lambda row: listener.epoch(_counted_on(row, number, config)),
    )


def _counted_on(row: dict[Any, Any], number: int, config: TrainConfig) -> dict[Any, Any]:
    """Return an epoch's row with its number among the epochs of all networks."""
    return {"member": number + 1, **row, "epoch": number * config.epochs + row["epoch"]}
