"""What a training starts from: network, weights and arithmetic, chosen once for all of a study."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from spectro.crossval.records import Origin, RunRecord
from spectro.crossval.run import Run
from spectro.models.networks import build as networks
from spectro.models.networks.precision import choose_precision
from spectro.models.weights import Weights, settle
from spectro.pictures.rendered import RenderedSet
from spectro.training.data import device
from spectro.training.loop import timing
from spectro.training.settings import TrainConfig

__all__ = ["Start", "check_takes", "start"]

_CHOSEN = ("imagenet", "sounds")  # weights that "auto" may have taken


class Start(NamedTuple):
    """What training starts from: weights, and the arithmetic it goes on in.

    Attributes
    ----------
    config : TrainConfig
        Settings of training, which name the network.
    weights : Weights
        Where it starts.
    precision : "fp32", "bf16" or "fp16"
        Arithmetic.
    reason : str
        Why that, in a few words.
    """

    config: TrainConfig
    weights: Weights
    precision: str
    reason: str

    @property
    def origin(self) -> Origin:
        """Where the weights come from, as ``run.json`` says it."""
        return Origin.of(self.weights)


def start(
    config: TrainConfig,
    pictures: RenderedSet | None = None,
    folder: str | Path | None = None,
    n_threads: int | None = None,
    like: Iterable[Path] = (),
) -> Start:
    """Find what training starts from: network, weights and arithmetic, each where it says "auto".

    Parameters
    ----------
    config : TrainConfig
        Settings of training.
    pictures : RenderedSet or None
        What will be trained on: steps on such pictures are timed to choose the precision. None
        chooses by what the hardware has.
    folder : str or Path or None
        A run that may be there; what it chose when it began is chosen again.
    n_threads : int or None
        Threads of training; None chooses.
    like : iterable of Path
        Runs of the same study. Where `folder` is not there yet, the first of these that is counts
        as it would, so that a study that is gone on with does not mix two.

    Raises
    ------
    ConfigError, ModelError
        If the weights cannot be had.
    """
    there = (Path(one) for one in (folder, *like) if one is not None)
    first = next((one for one in there if Run.is_at(one)), None)
    begun = None if first is None else Run.load(first).record
    arch, weights = _weights(config, begun)
    config = config.replace(arch=arch)
    if begun is not None and config.precision == "auto":
        choose_precision(begun.precision, device())  # this machine must have it
        return Start(config, weights, begun.precision, "as the run began")
    if pictures is None:
        return Start(config, weights, *choose_precision(config.precision, device()))
    check_takes(config, pictures.config.shape)
    about = (len(pictures.labels), pictures.config.shape, len(pictures.clips), device())
    return Start(config, weights, *timing.choose(config, *about, n_threads))


def _weights(config: TrainConfig, begun: RunRecord | None) -> tuple[str, Weights]:
    """Find network and weights; where "auto" is asked for, as the run began."""
    if begun is None:
        return settle(config.weights, config.arch)
    spec, arch = config.weights, config.arch
    chosen = "auto" in (spec, arch) and arch in ("auto", begun.train.arch)
    if chosen and spec == "auto" and begun.weights.source in _CHOSEN:
        spec = begun.weights.source
    arch, weights = settle(spec, begun.train.arch if arch == "auto" else arch)
    instead = begun.weights.instead if chosen else None
    return arch, replace(weights, instead=weights.instead or instead or "")


def check_takes(config: TrainConfig, drawn: tuple[int, int]) -> None:
    """Refuse pictures too small for the network, as they are trained on: resized, and cut.

    Parameters
    ----------
    config : TrainConfig
    drawn : tuple of int
        Height and width of the pictures as they are drawn.

    Raises
    ------
    ConfigError
        If they are.
    """
    height, width = (config.size, config.size) if config.size else drawn
    networks.check_takes(config.arch, (height, max(1, round((config.crop or 1) * width))))
