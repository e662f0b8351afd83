"""Batch norm's statistics, measured anew at the end of training.

While training they are a running mean over the last few batches, as augmentation changed them; what
is to be predicted is not changed. With small batches and strong changes either costs points.

References
----------
Y. Wu, J. Johnson, "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576, 2021 ("PreciseBN").
"""

from __future__ import annotations

import random

import torch
from fastai.callback.core import Callback
from fastai.learner import Learner, Recorder
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["SettleNorms", "settle"]

_BATCH = 64


class SettleNorms(Callback):  # type: ignore[misc]
    """Settles them after the last step, before the last epoch is watched.

    Parameters
    ----------
    seed : int
        See :func:`settle`.
    """

    order = Recorder.order + 30  # after a stopwatch has ended it all

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def after_train(self) -> None:
        """Settle, if that was the last epoch's training."""
        if self.epoch == self.n_epoch - 1:
            settle(self.learn, self.seed)


def settle(learn: Learner, seed: int) -> None:
    """Set running statistics to those of the training pictures as they are, in fp32.

    Parameters
    ----------
    learn : Learner
        Trained; its network's statistics are set in place, its weights stay.
    seed : int
        Shuffles the pictures into batches of 64: clips of one recording are neighbours, and a
        batch's variance should be that of all. A last batch that is smaller is left out.
    """
    items = list(learn.dls.train.items)
    random.Random(seed).shuffle(items)
    if len(items) > _BATCH:
        items = items[: len(items) // _BATCH * _BATCH]
    layers = [layer for layer in learn.model.modules() if isinstance(layer, _BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    learn.model.eval()  # dropout is off
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean of all batches, each as much as another
        layer.train()
    with torch.no_grad():
        for (x,) in learn.dls.test_dl(items, bs=_BATCH):
            learn.model(x)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    learn.model.eval()
