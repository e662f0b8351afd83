"""The arithmetic of training on the processor, chosen by timing a few steps of this network.

Sixteen bits are not equally faster wherever the processor multiplies them: of a resnet18 one thread
makes almost twice as many pictures a second in bf16 as in fp32, of an EfficientNet-Lite0 a fifth
more. So both are tried, with each number of threads that training may use.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import torch
from fastai.torch_core import no_random
from torch.nn import functional

from spectro.models.networks import build as networks
from spectro.models.networks.precision import autocast, choose_precision
from spectro.training.loop.threads import WORTH, candidates, rate
from spectro.training.settings import TrainConfig

__all__ = ["choose", "fastest", "of_steps"]

_PICTURES = 8  # a batch to time: as fast a picture as a larger one, within a tenth
_SECONDS = 0.2  # of timed steps, each time
_ROUNDS = 2  # both take turns, and the better time counts: other work slows one or the other
_FASTER = 1.1  # what sixteen bits must gain

Rates = dict[str, float]


def choose(
    config: TrainConfig,
    n_classes: int,
    shape: tuple[int, int],
    n_clips: int,
    device: torch.device,
    n_threads: int | None = None,
) -> tuple[str, str]:
    """Settle the precision of a training.

    Parameters
    ----------
    config : TrainConfig
        Gives the network, and what is asked for.
    n_classes : int
        Classes to tell apart.
    shape : tuple of int
        Height and width of the pictures as they are drawn.
    n_clips : int
        Clips in an epoch. A training of under 100 steps is not worth the timing.
    device : torch.device
        Where it runs. Only the processor is timed, and only if it multiplies sixteen bits.
    n_threads : int or None
        Threads that it will have; None tries several.

    Returns
    -------
    precision : "fp32", "bf16" or "fp16"
    reason : str
        Why, in a few words.
    """
    steps = max(config.all_epochs, 1) * (n_clips // config.batch_size)
    size = (config.size, config.size) if config.size else shape
    kind = (config.arch, n_classes, size, bool(config.phases))
    return of_steps(config.precision, device, steps, *kind, n_threads=n_threads)


def of_steps(
    asked: str,
    device: torch.device,
    n_steps: int,
    arch: str,
    n_classes: int,
    size: tuple[int, int],
    learns: bool = True,
    *,
    n_threads: int | None = None,
) -> tuple[str, str]:
    """Settle the precision of so many steps of a network on pictures of a size, in pixels.

    What they learn may be other than `n_classes` classes, which cost next to nothing. Other
    parameters and what is returned are as of :func:`choose`.
    """
    guess, reason = choose_precision(asked, device)
    if asked != "auto" or device.type != "cpu" or guess == "fp32" or n_steps < WORTH:
        return guess, reason
    rates = _rates(arch, n_classes, size, learns, n_threads)
    best = "bf16" if rates["bf16"] > _FASTER * rates["fp32"] else "fp32"
    told = ", ".join(f"{_PICTURES * rates[name]:.2g} in {name}" for name in ("fp32", "bf16"))
    return best, f"pictures/s timed: {told}; --precision overrides"


@functools.cache  # all runs of a study choose alike, and are not timed again
def _rates(
    arch: str, n_classes: int, size: tuple[int, int], learns: bool, n_threads: int | None
) -> Rates:
    return fastest(_steps(arch, n_classes, size, learns), n_threads)


def fastest(steps: dict[str, Callable[[], object]], n_threads: int | None = None) -> Rates:
    """Time steps of each precision; leave torch's number of threads as it was.

    Parameters
    ----------
    steps : dict of str to callable
        For each precision what does one step.
    n_threads : int or None
        As of :func:`choose`.

    Returns
    -------
    rates : dict of str to float
        Steps per second of each with the number of threads that suits it.
    """
    most = torch.get_num_threads()
    numbers = [n_threads or most]
    if n_threads is None and "OMP_NUM_THREADS" not in os.environ:
        numbers = candidates(most)
    rates = dict.fromkeys(steps, 0.0)
    try:
        for number in numbers:
            torch.set_num_threads(number)
            for name in [*steps] * _ROUNDS:
                rates[name] = max(rates[name], rate(steps[name], seconds=_SECONDS))
    finally:
        torch.set_num_threads(most)
    return rates


def _steps(
    arch: str, n_classes: int, size: tuple[int, int], learns: bool
) -> dict[str, Callable[[], object]]:
    """Give a step of training, or of a probe, which trains nothing, in both precisions."""
    with no_random():  # timing must change no result
        model = networks.build(arch, n_classes).to(memory_format=torch.channels_last)
        x = torch.rand(_PICTURES, 3, *size).contiguous(memory_format=torch.channels_last)
    target = torch.arange(_PICTURES) % n_classes
    model.train(learns)

    def step(precision: str) -> None:
        with torch.set_grad_enabled(learns), no_random():
            with autocast(x.device, precision):
                predicted = model(x)
            if learns:
                functional.cross_entropy(predicted.float(), target).backward()
                model.zero_grad()

    return {name: functools.partial(step, name) for name in ("fp32", "bf16")}
