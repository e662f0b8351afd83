"""Settings that fit a time budget: fewer epochs, then smaller pictures, by timing a few batches.

What comes out are ordinary settings. A run that records them can be repeated without the budget,
which no two machines would meet alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt
import pandas as pd

from spectro.errors import ConfigError
from spectro.models.weights import Weights
from spectro.pictures.rendered import RenderedSet
from spectro.training import data as datablock
from spectro.training import train as members
from spectro.training.loop import learner
from spectro.training.loop.callbacks import Stopwatch, is_autocast
from spectro.training.loop.progress import Listener
from spectro.training.settings import TrainConfig
from spectro.training.splits import Split, split

__all__ = ["Fitted", "Pace", "find_lr", "fit", "measure", "rehearse", "seconds"]

_BATCHES = 8  # timed in each phase; the first two warm up
_USED = 0.9  # of the time: machines are not as even as eight batches
_FEW = 3  # epochs of the last phase below which smaller pictures are tried
_SIDES = (224, 160, 128, 96, 64)  # tried in turn; a ResNet sees 2 x 2 cells of a 64 x 64 picture


@dataclass(frozen=True)
class Pace:
    """How fast a training goes.

    Attributes
    ----------
    phases : tuple of (float, float)
        For each phase, the seconds until an epoch is under way and the seconds of a step.
    predict : float
        Seconds to predict a clip.
    read : float
        Seconds to read a picture, where all are read once and kept; else 0, and steps include it.
    """

    phases: tuple[tuple[float, float], ...]
    predict: float
    read: float = 0.0


@dataclass(frozen=True)
class Fitted:
    """Settings that fit.

    Attributes
    ----------
    config : TrainConfig
        As asked, with other epochs of the last phase or another size where that was needed.
    seconds : float
        What all trainings should take.
    """

    config: TrainConfig
    seconds: float

    def in_words(self, minutes: float, trainings: int) -> str:
        """Say which settings were chosen, and how to ask for the same without a budget."""
        size = f" --size {self.config.size}" if self.config.size else ""
        return (
            f"time budget {minutes:g} min: --epochs {self.config.phases[-1].epochs}{size} should "
            f"take {self.seconds / 60:.2g} min ({trainings} training"
            f"{'s' if trainings > 1 else ''})"
        )


def measure(
    train: pd.DataFrame, rendered: RenderedSet, config: TrainConfig, weights: Weights
) -> Pace:
    """Time a few steps of each phase and a few predictions, on training clips only.

    Parameters
    ----------
    train : pandas.DataFrame
        Clips to learn from; nothing else is looked at.
    rendered : RenderedSet
        Gives every class of the dataset, and how sounds become pictures.
    config : TrainConfig
        How to train.
    weights : Weights
        Where to start.
    """
    some = train.head(2 * config.batch_size)
    dls = datablock.dataloaders(train, some, rendered.labels, config, rendered.config)
    learn = learner.new_learner(dls, config, weights)
    is_kept = isinstance(dls.train, datablock.KeptDL)
    read = _timed(dls.train.one_batch) / len(train) if is_kept else 0.0
    watch = Stopwatch(_BATCHES)
    learner.fit(learn, config, callbacks=[watch])
    if is_kept:
        dls.valid.one_batch()  # which reads them
    sixteen_bits = learn.cbs.filter(is_autocast)  # scores are made without
    with learn.no_bar(), learn.no_logging(), learn.removed_cbs(sixteen_bits):
        predict = _timed(lambda: learn.validate(dl=dls.valid)) / len(some)
    return Pace(tuple(_start_and_step(times) for times in watch.phases), predict, read)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _start_and_step(times: list[float]) -> tuple[float, float]:
    steps = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
    step = median(steps[2:] or steps)
    return max(0.0, times[0] - step), step


def seconds(pace: Pace, config: TrainConfig, parts: Split) -> float:
    """Add up the seconds of one training, watching and scoring included."""
    return _parts_of_time(pace, config, parts, config.phases[-1].epochs)


def _parts_of_time(pace: Pace, config: TrainConfig, parts: Split, last: int) -> float:
    steps = max(1, len(parts.train) // config.batch_size)
    watching = len(parts.watch) * pace.predict
    epochs = [*(phase.epochs for phase in config.phases[:-1]), last]
    training = sum(
        count * (start + steps * step + watching)
        for count, (start, step) in zip(epochs, pace.phases, strict=True)
    )
    settling = len(parts.train) * pace.predict if config.settle_norms else 0.0
    reads = len(parts.train) * (1 + config.settle_norms) + len(parts.watch) + len(parts.score)
    scoring = len(parts.score) * pace.predict
    return config.members * (training + settling + scoring + reads * pace.read)


def fit(
    minutes: float,
    trainings: int,
    asked: TrainConfig,
    parts: Split,
    pixels: int,
    pace_of: Callable[[TrainConfig], Pace],
) -> Fitted:
    """Choose the epochs of the last phase, and a smaller size where too few would fit.

    Never more epochs than were asked for: what a recipe says is its best, not its least.

    Parameters
    ----------
    minutes : float
        Time for everything.
    trainings : int
        How many trainings there will be, each about as long.
    asked : TrainConfig
        What to train if time were no matter.
    parts : Split
        Clips of one of them.
    pixels : int
        In a picture as it is now; only smaller ones are tried.
    pace_of : callable
        Measures the pace of some settings.

    Raises
    ------
    ConfigError
        If not even one epoch of the smallest pictures fits.
    """
    allowed = _USED * 60 * minutes / trainings
    wanted = asked.phases[-1].epochs
    for size in (asked.size, *(side for side in _SIDES if side * side < pixels)):
        config = asked.replace(size=size)
        pace = pace_of(config)
        least, two = (_parts_of_time(pace, config, parts, epochs) for epochs in (1, 2))
        epochs = min(wanted, int(1 + (allowed - least) // (two - least)))
        if epochs >= min(_FEW, wanted):
            break
    if epochs < 1:
        raise ConfigError(
            f"--time-budget {minutes:g}: not even one epoch fits, of the smallest pictures; "
            f"{least * trainings / 60 / _USED:.2g} minutes would do for {trainings} trainings"
        )
    config = config.with_last_phase(epochs=epochs)
    return Fitted(config, trainings * seconds(pace, config, parts))


def find_lr(
    rendered: RenderedSet, config: TrainConfig, weights: Weights, fold: int, *, steps: int = 100
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Run the learning-rate range test on every fold but `fold`, which is not looked at.

    Nor is the inner fold of `config`, if it has one.

    Returns
    -------
    lrs, losses, suggestion
        Of :func:`spectro.training.loop.learner.find_lr`.
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
    """Train as for `fold` and score the inner fold after each epoch; keep only the history.

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
