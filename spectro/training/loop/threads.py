"""The number of threads that train, chosen by timing a few steps of training.

All threads wait for the slowest at every layer, so where other work keeps a processor busy, fewer
threads may train faster than all. docs/benchmarks.md has figures, and ``benchmarks/threads.py``
measures them.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.learner import Learner, Recorder
from fastai.torch_core import no_random

from spectro.errors import ConfigError
from spectro.models.networks.precision import autocast
from spectro.training.loop.callbacks import is_autocast

__all__ = ["WORTH", "Threads", "candidates", "one_step", "quickest", "rate"]

_WARM_UP = 2  # steps after each change, which start threads and fill caches
_SECONDS = 1.0  # of timed steps for each number of threads; warm-up ends after as long
_FASTER = 1.1  # what another number must gain: changing it changes rounding, so not for noise
_SLOWER = 1.5  # an epoch that took this many times the last one is followed by another timing

WORTH = 100
"""Steps of a training that is worth timing."""


def candidates(most: int) -> list[int]:
    """List the numbers of threads to try: all, then half as many each time, down to one.

    Examples
    --------
    >>> candidates(6)
    [6, 3, 1]
    """
    halves = [most]
    while halves[-1] > 1:
        halves.append(halves[-1] // 2)
    return halves


def quickest(
    step: Callable[[], object],
    numbers: Sequence[int],
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[int, dict[int, float]]:
    """Time a step with each number of threads and leave torch at the best.

    Parameters
    ----------
    step : callable
        Does one step of training; called two times or more for each number.
    numbers : sequence of int
        Numbers of threads to try. The first stays unless another is a tenth faster.
    clock : callable
        Gives the time in seconds.

    Returns
    -------
    best : int
        The number chosen, which torch now uses.
    rates : dict of int to float
        Steps per second with each number.
    """
    rates = {}
    for number in numbers:
        torch.set_num_threads(number)
        rates[number] = rate(step, clock)
    fastest = max(rates, key=rates.__getitem__)
    best = fastest if rates[fastest] > _FASTER * rates[numbers[0]] else numbers[0]
    torch.set_num_threads(best)
    return best, rates


def rate(
    step: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
    seconds: float = _SECONDS,
) -> float:
    """Return steps per second, timed for so long after two steps, or as long, of warming up."""
    started, done = clock(), 0
    while done < _WARM_UP and clock() - started < seconds:
        step()
        done += 1
    started, done = clock(), 0
    while not done or clock() - started < seconds:
        step()
        done += 1
    return done / (clock() - started)


@contextmanager
def one_step(learn: Learner) -> Iterator[Callable[[], None]]:
    """Yield a function that does one step of training on a copy of the network.

    The step is forward and backward of one training batch, without the optimizer's. At the end,
    random states and the order of clips are as they were, so that timing changes no result.

    Parameters
    ----------
    learn : fastai.learner.Learner
        Of :func:`spectro.training.loop.learner.new_learner`; left as it is.
    """
    loader = learn.dls.train
    rng, state = loader.rng, loader.rng.getstate()
    with no_random():
        try:
            *inputs, target = loader.one_batch()
            model = copy.deepcopy(learn.model).to(loader.device, memory_format=torch.channels_last)
            yield _step(learn, model.train().requires_grad_(), inputs, target)
        finally:
            rng.setstate(state)
            loader.rng = rng


def _step(learn: Learner, model: Any, inputs: list[Any], target: Any) -> Callable[[], None]:
    precision = "bf16" if learn.cbs.filter(is_autocast) else "fp32"

    def step() -> None:
        with autocast(torch.device("cpu"), precision):
            predicted = model(*inputs)
        learn.loss_func(predicted.float(), target).backward()
        model.zero_grad()

    return step


class Threads:
    """The number of threads of a training: given, or chosen while it trains.

    A context manager, to lie around training and the predictions that follow: the caller's number
    is put back at the end. A number is chosen where training is on the processor, unless
    ``OMP_NUM_THREADS`` is set; by timing before the first step, and again after an epoch that took
    one and a half times as long as the last. The most that is tried is torch's number at the start,
    so ``torch.set_num_threads(1)`` is kept. Trainings of under 100 steps are not timed.

    Parameters
    ----------
    wanted : int or None
        Number of threads, at least 1 and at most the number of processors; None chooses.

    Attributes
    ----------
    used : list of int
        The numbers trained with, in order: one, or more where the number was changed on the way.
    chosen : bool
        Whether a number has been chosen by timing.

    Raises
    ------
    ConfigError
        If `wanted` is out of range.

    Examples
    --------
    >>> with Threads(1) as threads:
    ...     threads.used
    [1]
    """

    def __init__(self, wanted: int | None = None) -> None:
        processors = os.cpu_count() or 1
        if wanted is not None and not 1 <= wanted <= processors:
            raise ConfigError(
                f"--threads {wanted}: give 1 to {processors}, the processors of this machine"
            )
        self.wanted = wanted
        self.used: list[int] = []
        self.chosen = False

    def __enter__(self) -> Threads:
        self._most = torch.get_num_threads()
        if self.wanted is not None:
            torch.set_num_threads(self.wanted)
        self.used = [torch.get_num_threads()]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        torch.set_num_threads(self._most)

    def callbacks(self, say: Callable[[str], None], n_steps: int) -> list[Callback]:
        """List the callback that chooses the number, or nothing where there is none to choose.

        Parameters
        ----------
        say : callable
            Called with one line for each choice.
        n_steps : int
            Steps of the training.
        """
        given = self.wanted is not None or "OMP_NUM_THREADS" in os.environ
        if given or self._most == 1 or n_steps < WORTH:
            return []
        return [_Choose(self, say)]

    def choose(self, step: Callable[[], object]) -> str:
        """Choose the number by timing `step`; return one line that says it."""
        now = self.used[-1]
        others = [number for number in candidates(self._most) if number != now]
        best, rates = quickest(step, [now, *others])
        if not self.chosen:
            self.used, self.chosen = [best], True
        elif best != now:
            self.used.append(best)
        measured = ", ".join(f"{rates[n]:.2g} with {n}" for n in sorted(rates, reverse=True))
        number = f"{best} of {self._most} threads"
        return f"training with {number} (steps/s: {measured}); --threads overrides"


class _Choose(Callback):  # type: ignore[misc]
    """Chooses the number of threads before the first step, and again after a slow epoch."""

    order = Recorder.order + 40  # after all that an epoch takes

    def __init__(
        self, threads: Threads, say: Callable[[str], None], clock: Callable[[], float] | None = None
    ) -> None:
        self.threads, self.say = threads, say
        self.clock = clock or time.perf_counter

    def before_fit(self) -> None:
        """Choose; another phase takes other times."""
        self.last: float | None = None
        if not self.threads.chosen:
            self._choose()

    def before_epoch(self) -> None:
        """Start the clock."""
        self.started = self.clock()

    def after_epoch(self) -> None:
        """Choose again if this epoch was slow and another follows."""
        seconds = self.clock() - self.started
        if self.last and seconds > _SLOWER * self.last and self.epoch < self.n_epoch - 1:
            self._choose()
        self.last = seconds

    def _choose(self) -> None:
        if self.dls.device.type == "cpu":
            with one_step(self.learn) as step:
                self.say(self.threads.choose(step))
