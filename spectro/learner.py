"""fastai: DataBlock, learner, schedule.

The schedule is a list of phases, each one call of ``fit_one_cycle`` or ``fit``; the last epoch
counts.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.mixup import MixUp
from fastai.callback.schedule import Learner  # fit_one_cycle and lr_find are patched onto it there
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.core import DataLoaders
from fastai.data.transforms import FuncSplitter, Normalize
from fastai.metrics import accuracy
from fastai.torch_core import default_device, set_seed
from fastai.vision.augment import Resize, ResizeMethod
from fastai.vision.data import ImageBlock
from fastai.vision.learner import vision_learner
from torch import nn

from spectro import augment, network, sounds
from spectro.callbacks import Augment, Bfloat16, History, is_autocast
from spectro.config import SpectrogramConfig, TrainConfig
from spectro.errors import ConfigError
from spectro.listener import Listener
from spectro.loading import KeptDL, fits
from spectro.optimizer import FusedAdam
from spectro.precision import choose_precision
from spectro.weights import Weights

__all__ = [
    "data_block",
    "dataloaders",
    "device",
    "find_lr",
    "fit",
    "items",
    "new_learner",
    "predict_clips",
]


@dataclass(frozen=True)
class _Clip:
    """One item of the DataBlock."""

    image: str
    label: str
    held_out: bool = False
    path: str = ""
    start: float | None = None
    end: float | None = None


def _items(clips: pd.DataFrame, held_out: bool) -> list[_Clip]:
    times = clips[["start", "end"]].astype(object).where(clips[["start", "end"]].notna(), None)
    columns = (clips["image"], clips["label"], clips["path"], times["start"], times["end"])
    return [
        _Clip(image, label, held_out, path, start, end)
        for image, label, path, start, end in zip(*columns, strict=True)
    ]


def items(train: pd.DataFrame, valid: pd.DataFrame) -> list[Any]:
    """List clips as a DataBlock takes them: those to learn from, then those held out."""
    return [*_items(train, held_out=False), *_items(valid, held_out=True)]


def data_block(
    labels: list[str], config: TrainConfig, spectrogram: SpectrogramConfig | None = None
) -> DataBlock:
    """Describe how clips become batches; ``.summary(items(train, valid))`` shows each step.

    Training batches are augmented (:mod:`spectro.augment`), on the device, others are not.

    Parameters
    ----------
    labels : list of str
        Every class of the dataset, so that probability columns are the same in every fold.
    config : TrainConfig
        Gives the source, the size and the augmentations.
    spectrogram : SpectrogramConfig or None
        How sounds become pictures; needed where the source is "sounds".

    Returns
    -------
    DataBlock

    Raises
    ------
    ConfigError
        If it is needed and not given.
    """
    if config.source == "sounds" and spectrogram is None:
        raise ConfigError('source = "sounds" needs the settings that the pictures were drawn with')
    hear = sounds.Hear(spectrogram, config) if spectrogram and config.source == "sounds" else None
    squish = [Resize(config.size, method=ResizeMethod.Squish)] if config.size else []
    changes = augment.transforms(config)
    normalize = Normalize.from_stats(network.IMAGENET_MEAN, network.IMAGENET_STD)
    return DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=labels)),
        get_x=hear or attrgetter("image"),
        get_y=attrgetter("label"),
        splitter=FuncSplitter(attrgetter("held_out")),
        item_tfms=squish,
        batch_tfms=[*([Augment(changes)] if changes else []), normalize],
    )


def device() -> torch.device:
    """Return where fastai trains: a GPU if there is one."""
    where: torch.device = default_device()
    return where


def dataloaders(
    train: pd.DataFrame,
    valid: pd.DataFrame,
    labels: list[str],
    config: TrainConfig,
    spectrogram: SpectrogramConfig | None = None,
) -> DataLoaders:
    """Make fastai DataLoaders of training clips and clips to watch.

    Parameters
    ----------
    train, valid : pandas.DataFrame
        Clip tables with the column ``image``.
    labels : list of str
        Every class of the dataset.
    config : TrainConfig
        Gives batch size, picture size, source, augmentations and seed.
    spectrogram : SpectrogramConfig or None
        How sounds become pictures; needed where the source is "sounds".

    Returns
    -------
    DataLoaders

    Raises
    ------
    ConfigError
        If there are fewer than two training clips: batch norm needs two; or if gain would not
        show.
    AudioError
        If the source is "sounds" and one is not there.
    """
    if len(train) < 2:
        raise ConfigError(f"{len(train)} training clips are too few; two are the least")
    if config.source == "sounds" and spectrogram is not None:
        sounds.check([*train["path"], *valid["path"]], spectrogram, config)
    set_seed(config.seed, reproducible=True)
    images = [*train["image"], *valid["image"], *valid["image"]]  # watched, and then predicted
    if config.source == "pictures" and fits(images, config.size, device()):
        how: dict[str, Any] = {"dl_type": partial(KeptDL, size=config.size), "num_workers": 0}
    else:
        how = {"num_workers": _n_loaders(len(train))}
    dls = data_block(labels, config, spectrogram).dataloaders(
        items(train, valid),
        bs=min(config.batch_size, len(train)),
        device=device(),
        **how,
    )
    for dl in dls:  # else its order hangs on who else draws from Python's generator: Dask does
        dl.rng = random.Random(config.seed)
    return dls


def _n_loaders(n_clips: int) -> int:
    """Count the processes that load pictures; a daemon, as Dask's workers are, may have none."""
    if n_clips <= 500 or multiprocessing.current_process().daemon:
        return 0
    return min(4, (os.cpu_count() or 2) // 2)


def new_learner(dls: DataLoaders, config: TrainConfig, weights: Weights) -> Learner:
    """Make the learner: the body with the given weights under its head.

    Parameters
    ----------
    dls : DataLoaders
        Of :func:`dataloaders`.
    config : TrainConfig
        Gives architecture, precision and seed.
    weights : Weights
        Of :func:`spectro.weights.resolve`.

    Returns
    -------
    Learner
        Frozen to its head, as `vision_learner` leaves it.
    """
    set_seed(config.seed, reproducible=True)
    backbone = network.body(config.arch, weights.state)
    top = network.top(config.arch, network.n_features(backbone), len(dls.vocab))
    learn = vision_learner(
        dls,
        lambda pretrained: nn.Sequential(*backbone, nn.AdaptiveAvgPool2d(1)),  # fastai cuts at it
        custom_head=top,
        normalize=False,  # the DataBlock does
        splitter=network.layer_groups,
        metrics=accuracy,
        opt_func=FusedAdam,
        wd=config.weight_decay,
        cbs=[ChannelsLast],
    )
    if config.mixup:
        learn.add_cb(MixUp(config.mixup))
    precision, _ = choose_precision(config.precision, dls.device)
    if precision != "fp32":
        learn.add_cb(Bfloat16() if precision == "bf16" else MixedPrecision())
    return learn


def fit(
    learn: Learner,
    config: TrainConfig,
    listener: Listener | None = None,
    callbacks: Sequence[Callback] = (),
) -> pd.DataFrame:
    """Train through all phases; the last epoch counts.

    Parameters
    ----------
    learn : Learner
        Of :func:`new_learner`; trained in place.
    config : TrainConfig
        Gives the phases.
    listener : Listener or None
        Told of every batch and epoch.
    callbacks : sequence of fastai callbacks
        Take part too.

    Returns
    -------
    history : pandas.DataFrame
        A row an epoch: ``epoch, phase, train_loss, valid_loss, accuracy, lr, seconds``.
    """
    history = History(listener or Listener(), config.epochs * len(learn.dls.train))
    set_seed(config.seed, reproducible=True)
    with learn.no_bar(), learn.no_logging(), learn.added_cbs([history, *callbacks]):
        for number, phase in enumerate(config.phases, start=1):
            history.phase = number
            learn.freeze() if phase.frozen else learn.unfreeze()
            lr_max = slice(*phase.lr) if isinstance(phase.lr, tuple) else phase.lr
            if phase.schedule == "flat":
                learn.fit(phase.epochs, lr=lr_max)
            else:
                learn.fit_one_cycle(phase.epochs, lr_max=lr_max)
    return pd.DataFrame(history.rows)


def find_lr(
    learn: Learner, steps: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Run fastai's learning-rate range test, on training clips only.

    Parameters
    ----------
    learn : Learner
        Of :func:`new_learner`; its weights are put back afterwards.
    steps : int
        Batches to try, each at a higher rate than the one before.

    Returns
    -------
    lrs, losses : np.ndarray [shape=(n_steps,)]
        Rate of each step and the smoothed loss after it.
    suggestion : float
        The rate in the middle of the longest valley.

    References
    ----------
    L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
    """
    learn.unfreeze()
    with learn.no_bar(), learn.no_logging(), TemporaryDirectory() as scratch:
        learn.path = Path(scratch)  # fastai saves the weights to put back
        suggestion = learn.lr_find(num_it=steps, show_plot=False).valley
    lrs, losses = np.array(learn.recorder.lrs), np.array([float(x) for x in learn.recorder.losses])
    return lrs, losses, float(suggestion)


def predict_clips(learn: Learner, clips: pd.DataFrame) -> npt.NDArray[np.float32]:
    """Give the probability of each class for rendered clips, in fp32.

    Parameters
    ----------
    learn : Learner
        Trained.
    clips : pandas.DataFrame
        Clip table with the column ``image``.

    Returns
    -------
    probabilities : np.ndarray [shape=(n_clips, n_classes)], float32
        In the order of `clips` and of ``learn.dls.vocab``.
    """
    dl = learn.dls.test_dl(_items(clips, held_out=True))
    with (
        learn.no_bar(),
        learn.no_logging(),
        learn.removed_cbs(learn.cbs.filter(is_autocast)),
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),  # else fp32 means TF32
    ):
        probabilities, _ = learn.get_preds(dl=dl)
    result: npt.NDArray[np.float32] = probabilities.float().cpu().numpy()
    return result
