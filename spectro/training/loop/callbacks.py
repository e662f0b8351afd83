"""Parts of fastai's training loop: augmentation, bf16, history, stopwatch, batch norm, Adam."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.fp16 import MixedPrecision
from fastai.data.core import DataLoaders, TfmdDL
from fastai.learner import Learner, Recorder
from fastai.optimizer import Optimizer, step_stat
from fastai.torch_core import to_float
from fastai.vision.augment import DisplayedTransform
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.adamw import adamw

from spectro.models.networks.precision import autocast, without_tf32
from spectro.plumbing.workers import return_memory
from spectro.training.augment import Transform
from spectro.training.loop.progress import Listener
from spectro.training.pixels import TensorLevels

__all__ = [
    "Augment",
    "Bfloat16",
    "FusedAdam",
    "History",
    "SettleNorms",
    "Stopwatch",
    "is_autocast",
    "leaving_autocast",
    "settle",
    "to_settle_on",
]


_TRIMMED = 100  # batches from one return of memory to the next


class Augment(DisplayedTransform):  # type: ignore[misc]
    """The batch transform that augments training batches, and no others.

    One transform makes all changes, since fastai keeps only the last transform of a class.

    Parameters
    ----------
    changes : sequence of Transform
        Made in this order.
    """

    order = 20  # before levels become colours
    split_idx = 0

    def __init__(self, changes: Sequence[Transform]) -> None:
        super().__init__()
        self.changes = changes

    @property
    def name(self) -> str:
        """The name that ``DataBlock.summary`` shows."""
        return ", ".join(map(repr, self.changes))

    def encodes(self, x: TensorLevels) -> TensorLevels:
        """Change a batch of levels; fastai passes labels, which have another type, unchanged."""
        levels = x.as_subclass(torch.Tensor).float().div_(255)
        for change in self.changes:
            levels = change(levels)
        return TensorLevels(levels.mul(255).round_().clamp_(0, 255).byte())


class Bfloat16(Callback):  # type: ignore[misc]
    """Train in bf16 on any device; fastai's MixedPrecision is for CUDA only.

    No gradient scaling: bf16 has the range of fp32.
    """

    order = MixedPrecision.order

    def before_batch(self) -> None:
        """Enter autocast."""
        self.autocast = autocast(self.dls.device, "bf16")
        self.autocast.__enter__()

    def after_pred(self) -> None:
        """Convert the predictions to fp32 for the loss."""
        self.learn.pred = to_float(self.pred)

    def after_loss(self) -> None:
        """Leave autocast."""
        self.autocast.__exit__(None, None, None)


def is_autocast(callback: Callback) -> bool:
    """Tell whether a callback makes training run in bf16 or fp16."""
    return isinstance(callback, Bfloat16 | MixedPrecision)


@contextmanager
def leaving_autocast(learn: Learner) -> Iterator[None]:
    """Leave autocast if an error in this block ends a batch within it.

    fastai calls no callback then. Autocast would stay on in this thread, with the weights that it
    has converted already, and a later training would compute with those.
    """
    kind = next(learn.model.parameters()).device.type  # where fastai trains it
    before = torch.is_autocast_enabled(kind)
    try:
        yield
    except BaseException:
        if torch.is_autocast_enabled(kind) and not before:
            for callback in learn.cbs.filter(is_autocast):
                callback.autocast.__exit__(None, None, None)
        raise


class History(Callback):  # type: ignore[misc]
    """Collects a row for each epoch and calls the listener."""

    order = Recorder.order + 10  # after it has the epoch's values

    def __init__(self, listener: Listener, n_batches: int) -> None:
        self.listener, self.n_batches = listener, n_batches  # 0: not known
        self.rows: list[dict[str, Any]] = []
        self.phase, self.done = 1, 0

    def before_epoch(self) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def after_batch(self) -> None:
        """Count a training batch."""
        if self.training:
            self.done += 1
            self.listener.batch(self.done, self.n_batches)
            if self.done % _TRIMMED == 0:
                return_memory()  # fastai keeps every loss

    def after_epoch(self) -> None:
        """Write the row."""
        values = dict(zip(self.recorder.metric_names[1:], self.recorder.values[-1], strict=False))
        if "valid_loss" not in values:  # fastai's lr_find, which is no training
            return
        row = {
            "epoch": len(self.rows) + 1,
            "phase": self.phase,
            **{name: round(values[name], 6) for name in ("train_loss", "valid_loss", "accuracy")},
            "lr": self.opt.hypers[-1]["lr"],
            "seconds": round(time.perf_counter() - self.started, 2),
        }
        self.rows.append(row)
        self.listener.epoch(row)


class Stopwatch(Callback):  # type: ignore[misc]
    """Times the first batches of each phase of training, then ends the phase.

    Attributes
    ----------
    phases : list of list of float
        For each phase, the seconds from its start to the end of each batch.
    """

    order = Recorder.order + 20  # after the other callbacks of a batch

    def __init__(self, n_batches: int) -> None:
        self.n_batches = n_batches
        self.phases: list[list[float]] = []

    def before_fit(self) -> None:
        """Start the clock."""
        self.phases.append([])
        self.started = time.perf_counter()

    def after_batch(self) -> None:
        """Note the time; stop when enough batches are timed."""
        self.phases[-1].append(time.perf_counter() - self.started)
        if len(self.phases[-1]) == self.n_batches:
            raise CancelFitException

    def after_train(self) -> None:
        """Stop before the watched clips are predicted."""
        raise CancelFitException


_BATCH = 64  # pictures to settle on at a time


class SettleNorms(Callback):  # type: ignore[misc]
    """Settles batch norm after the last step, before the last epoch's watched clips are predicted.

    fastai has no such callback; the method is PreciseBN of Wu & Johnson (arXiv:2105.07576).

    Parameters
    ----------
    pictures : TfmdDL
        Of :func:`to_settle_on`, made before training: later, the loaders of several GPUs give each
        process only its part.
    """

    order = Recorder.order + 30  # after a stopwatch, which ends training

    def __init__(self, pictures: TfmdDL) -> None:
        self.pictures = pictures

    def after_train(self) -> None:
        """Settle after the last epoch's training."""
        if self.epoch == self.n_epoch - 1:
            shared = isinstance(self.model, nn.parallel.DistributedDataParallel)
            settle(self.model.module if shared else self.model, self.pictures)


def to_settle_on(dls: DataLoaders, seed: int) -> TfmdDL:
    """Make a loader of the training pictures without augmentation, in batches of 64.

    Parameters
    ----------
    dls : DataLoaders
        The loaders of training.
    seed : int
        Of the shuffling: clips of one recording are neighbours in the table, and each batch should
        have about the variance of all. A smaller last batch is left out.
    """
    items = [replace(item, held_out=True) for item in dls.train.items]  # sounds as they are, too
    random.Random(seed).shuffle(items)
    if len(items) > _BATCH:
        items = items[: len(items) // _BATCH * _BATCH]
    return dls.test_dl(items, bs=_BATCH)


def settle(model: nn.Module, pictures: TfmdDL) -> None:
    """Set batch norm's running statistics to those of `pictures`, in fp32.

    Parameters
    ----------
    model : torch.nn.Module
        Trained; its statistics are set in place and its weights stay.
    pictures : TfmdDL
        Batches of pictures without labels, all of one size; each counts the same.
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


class FusedAdam(Optimizer):  # type: ignore[misc]
    """fastai's `Adam` in torch's fused step: the same up to rounding, in about a sixth of the time.

    fastai's `OptimWrapper` around `torch.optim.AdamW(fused=True)` is as fast, but ignores what
    fastai notes for each parameter (``do_wd``): it decays biases and batch norms, which training
    by fastai does not. Parameter groups for them would get learning rates of their own instead of
    those of their layers.

    Parameters and defaults are those of `fastai.optimizer.Adam`.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        mom: float = 0.9,
        sqr_mom: float = 0.99,
        eps: float = 1e-5,
        wd: float = 0.01,
    ) -> None:
        super().__init__(params, [step_stat], lr=lr, mom=mom, sqr_mom=sqr_mom, eps=eps, wd=wd)

    def zero_grad(self) -> None:
        """Drop gradients, instead of setting them to zero, which takes longer."""
        for param, *_ in self.all_params(with_grad=True):
            param.grad = None

    def step(self, closure: None = None) -> None:
        """Update every parameter that has a gradient."""
        groups: dict[Any, list[tuple[torch.Tensor, dict[str, Any]]]] = {}
        for param, _, state, hyper in self.all_params(with_grad=True):
            decay = hyper["wd"] if state.get("do_wd", True) else 0.0
            key = (hyper["lr"], hyper["mom"], hyper["sqr_mom"], hyper["eps"], decay)
            groups.setdefault(key, []).append((param, state))
        for (lr, mom, sqr_mom, eps, decay), members in groups.items():
            states = [self._begun(param, state) for param, state in members]
            adamw(
                [param for param, _ in members],
                [param.grad for param, _ in members if param.grad is not None],
                [state["grad_avg"] for state in states],
                [state["sqr_avg"] for state in states],
                [],
                [state["step"] for state in states],
                fused=True,
                amsgrad=False,
                beta1=mom,
                beta2=sqr_mom,
                lr=lr,
                weight_decay=decay,
                eps=eps,
                maximize=False,
            )

    def _begun(self, param: torch.Tensor, state: dict[str, Any]) -> dict[str, Any]:
        """Return a parameter's state, with averages of zero before its first step."""
        if "step" not in state:
            averages = {name: torch.zeros_like(param) for name in ("grad_avg", "sqr_avg")}
            state.update(averages, step=torch.zeros((), device=param.device))
        return state
