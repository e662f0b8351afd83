"""Batch norm's statistics, measured anew at the end of training.

While training they are a running mean over the last few batches, as augmentation changed them; what
is to be predicted is not changed. With small batches and strong changes either costs points.

References
----------
Y. Wu, J. Johnson, "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576, 2021 ("PreciseBN").
"""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders, TfmdDL
from fastai.learner import Recorder
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from spectro.models.precision import without_tf32

__all__ = ["SettleNorms", "settle", "to_settle_on"]

_BATCH = 64


class SettleNorms(Callback):  # type: ignore[misc]
    """Settles them after the last step, before the last epoch is watched.

    Parameters
    ----------
    pictures : TfmdDL
        Of :func:`to_settle_on`, made before training: while several GPUs train, the loaders give
        each only its part.
    """

    order = Recorder.order + 30  # after a stopwatch has ended it all

    def __init__(self, pictures: TfmdDL) -> None:
        self.pictures = pictures

    def after_train(self) -> None:
        """Settle, if that was the last epoch's training."""
        if self.epoch == self.n_epoch - 1:
            shared = isinstance(self.model, nn.parallel.DistributedDataParallel)
            settle(self.model.module if shared else self.model, self.pictures)


def to_settle_on(dls: DataLoaders, seed: int) -> TfmdDL:
    """Give the training pictures as they are, in batches of 64.

    Parameters
    ----------
    dls : DataLoaders
        Those of training.
    seed : int
        Shuffles them: clips of one recording are neighbours, and a batch's variance should be that
        of all. A last batch that is smaller is left out.
    """
    items = [replace(item, held_out=True) for item in dls.train.items]  # sounds as they are, too
    random.Random(seed).shuffle(items)
    if len(items) > _BATCH:
        items = items[: len(items) // _BATCH * _BATCH]
    return dls.test_dl(items, bs=_BATCH)


def settle(model: nn.Module, pictures: TfmdDL) -> None:
    """Set running statistics to those of `pictures`, in fp32.

    Parameters
    ----------
    model : torch.nn.Module
        Trained; its statistics are set in place, its weights stay.
    pictures : TfmdDL
        Batches of pictures and nothing else, each as much as another.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    model.eval()  # dropout is off
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the mean of all batches
        layer.train()
    with torch.no_grad(), without_tf32():
        for (x,) in pictures:
            model(x)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.eval()
