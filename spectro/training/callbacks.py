"""What takes part in fastai's training loop: augmentation, bf16, the history, a stopwatch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.fp16 import MixedPrecision
from fastai.learner import Recorder
from fastai.torch_core import TensorImage, to_float
from fastai.vision.augment import DisplayedTransform

from spectro.training.augment import Transform
from spectro.training.progress import Listener

__all__ = ["Augment", "Bfloat16", "History", "Stopwatch", "is_autocast"]


class Augment(DisplayedTransform):  # type: ignore[misc]
    """Ours among fastai's batch transforms; training batches alone go through it.

    One for all changes: fastai keeps only the last transform of a class.
    """

    order = 20  # after the pictures became floating point, before they are normalised
    split_idx = 0

    def __init__(self, changes: Sequence[Transform]) -> None:
        super().__init__()
        self.changes = changes

    @property
    def name(self) -> str:
        """What ``DataBlock.summary`` calls it."""
        return ", ".join(map(repr, self.changes))

    def encodes(self, x: TensorImage) -> TensorImage:
        """Change a batch of pictures; labels are of another type and pass by."""
        pixels = x.as_subclass(torch.Tensor)
        for change in self.changes:
            pixels = change(pixels)
        return TensorImage(pixels)


class Bfloat16(Callback):  # type: ignore[misc]
    """Training in bf16 on any device; fastai's own MixedPrecision is CUDA only.

    No gradient scaling: bf16 has the range of fp32.
    """

    order = MixedPrecision.order

    def before_batch(self) -> None:
        """Enter autocast."""
        self.autocast = torch.autocast(self.dls.device.type, torch.bfloat16)
        self.autocast.__enter__()

    def after_pred(self) -> None:
        """Give the loss fp32."""
        self.learn.pred = to_float(self.pred)

    def after_loss(self) -> None:
        """Leave autocast."""
        self.autocast.__exit__(None, None, None)


def is_autocast(callback: Callback) -> bool:
    """Tell whether it is the callback that makes training run in sixteen bits."""
    return isinstance(callback, Bfloat16 | MixedPrecision)


class History(Callback):  # type: ignore[misc]
    """Collects a row an epoch and tells the listener."""

    order = Recorder.order + 10  # after it has closed the epoch's values

    def __init__(self, listener: Listener, n_batches: int) -> None:
        self.listener, self.n_batches = listener, n_batches
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

    def after_epoch(self) -> None:
        """Write the row."""
        train_loss, valid_loss, correct = self.recorder.values[-1]
        row = {
            "epoch": len(self.rows) + 1,
            "phase": self.phase,
            "train_loss": round(train_loss, 6),
            "valid_loss": round(valid_loss, 6),
            "accuracy": round(correct, 6),
            "lr": self.opt.hypers[-1]["lr"],
            "seconds": round(time.perf_counter() - self.started, 2),
        }
        self.rows.append(row)
        self.listener.epoch(row)


class Stopwatch(Callback):  # type: ignore[misc]
    """Times the first batches of each phase of training, and ends the phase then.

    Attributes
    ----------
    phases : list of list of float
        For each phase, the seconds from its start to the end of each batch.
    """

    order = Recorder.order + 20  # after all that a batch takes

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
        """Stop before anything is predicted."""
        raise CancelFitException
