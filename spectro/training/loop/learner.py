"""fastai's learner: made, trained through the phases of a schedule, and used to predict.

Each phase is one call of ``fit_one_cycle`` or ``fit``. The network of the last epoch is kept; none
is chosen by its accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.mixup import MixUp
from fastai.callback.schedule import Learner  # fit_one_cycle and lr_find are patched onto it there
from fastai.data.core import DataLoaders
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.torch_core import set_seed
from fastai.vision.learner import vision_learner
from torch import nn

from spectro.models.networks import build as networks
from spectro.models.networks.precision import choose_precision, without_tf32
from spectro.models.weights import Weights
from spectro.plumbing.workers import ACTIVATIONS, keep_memory
from spectro.training.data import to_predict
from spectro.training.loop.callbacks import (
    Bfloat16,
    FusedAdam,
    History,
    SettleNorms,
    is_autocast,
    leaving_autocast,
    to_settle_on,
)
from spectro.training.loop.progress import Listener
from spectro.training.settings import TrainConfig

__all__ = ["find_lr", "fit", "new_learner", "predict_clips", "predict_items"]


def new_learner(dls: DataLoaders, config: TrainConfig, weights: Weights) -> Learner:
    """Make the learner: a body with the given weights, and a new head.

    Parameters
    ----------
    dls : DataLoaders
        Of :func:`spectro.training.data.dataloaders`.
    config : TrainConfig
        Gives architecture, precision and seed.
    weights : Weights
        Of :func:`spectro.models.weights.resolve`.

    Returns
    -------
    Learner
        Only its head is trainable, as `vision_learner` leaves it.
    """
    set_seed(config.seed, reproducible=True)
    backbone = networks.body(config.arch, weights.state)
    top = networks.top(config.arch, networks.n_features(backbone), len(dls.vocab))
    learn = vision_learner(
        dls,
        lambda pretrained: nn.Sequential(*backbone, nn.AdaptiveAvgPool2d(1)),  # fastai cuts at it
        custom_head=top,
        normalize=False,  # the DataBlock does
        splitter=networks.layer_groups,
        loss_func=CrossEntropyLossFlat(),
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
    """Train through all phases and keep the network of the last epoch.

    Parameters
    ----------
    learn : Learner
        Of :func:`new_learner`; trained in place.
    config : TrainConfig
        Gives the phases.
    listener : Listener or None
        Called after every batch and epoch.
    callbacks : sequence of fastai callbacks
        Take part in training.

    Returns
    -------
    history : pandas.DataFrame
        A row an epoch: ``epoch, phase, train_loss, valid_loss, accuracy, lr, seconds``.
    """
    keep_memory(ACTIVATIONS)
    history = History(listener or Listener(), config.epochs * len(learn.dls.train))
    set_seed(config.seed, reproducible=True)
    with (
        learn.no_bar(),
        learn.no_logging(),
        learn.added_cbs([history, *callbacks]),
        leaving_autocast(learn),
    ):
        for number, phase in enumerate(config.phases, start=1):
            history.phase = number
            learn.freeze() if phase.frozen else learn.unfreeze()
            lr_max = slice(*phase.lr) if isinstance(phase.lr, tuple) else phase.lr
            cbs = []
            if config.settle_norms and number == len(config.phases):
                cbs.append(SettleNorms(to_settle_on(learn.dls, config.seed)))
            if phase.schedule == "flat":
                learn.fit(phase.epochs, lr=lr_max, cbs=cbs)
            else:
                learn.fit_one_cycle(phase.epochs, lr_max=lr_max, cbs=cbs)
    return pd.DataFrame(history.rows)


def find_lr(
    learn: Learner, steps: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Run fastai's learning-rate range test on training clips.

    Parameters
    ----------
    learn : Learner
        Of :func:`new_learner`; its weights are put back afterwards.
    steps : int
        Number of batches, each at a higher rate than the one before.

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
    with (
        learn.no_bar(),
        learn.no_logging(),
        leaving_autocast(learn),
        TemporaryDirectory() as scratch,
    ):
        learn.path = Path(scratch)  # fastai saves the weights to put back
        suggestion = learn.lr_find(num_it=steps, show_plot=False).valley
    lrs, losses = np.array(learn.recorder.lrs), np.array([float(x) for x in learn.recorder.losses])
    return lrs, losses, float(suggestion)


def predict_clips(learn: Learner, clips: pd.DataFrame) -> npt.NDArray[np.float32]:
    """Predict the probability of each class for rendered clips, in fp32.

    Parameters
    ----------
    learn : Learner
        Trained.
    clips : pandas.DataFrame
        Clip table with the column ``image``.

    Returns
    -------
    probabilities : np.ndarray [shape=(n_clips, n_classes)], float32
        Rows in the order of `clips`, columns in that of ``learn.dls.vocab``.
    """
    return predict_items(learn, to_predict(clips))


def predict_items(learn: Learner, items: Any) -> npt.NDArray[np.float32]:
    """Predict in fp32 for items of whatever kind the Learner's DataLoaders take."""
    dl = learn.dls.test_dl(items)
    with (
        learn.no_bar(),
        learn.no_logging(),
        learn.removed_cbs(learn.cbs.filter(is_autocast)),
        without_tf32(),
    ):
        probabilities, _ = learn.get_preds(dl=dl)
    result: npt.NDArray[np.float32] = probabilities.float().cpu().numpy()
    return result
