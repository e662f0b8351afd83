"""Pretraining shared by several GPUs: each makes its part of every step's sounds.

The gradients of all are averaged, and batch norm counts the whole batch. Pairs are told from the
others of the same GPU alone, so that a step is not quite that of one GPU with the whole batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from spectro.pictures.settings import SpectrogramConfig
from spectro.training.loop import processes
from spectro.training.loop.processes import Place, Tell
from spectro.training.pretraining.pretrain import Pretraining, Score
from spectro.training.pretraining.settings import PretrainConfig

__all__ = ["check", "run"]


def check(n: int, config: PretrainConfig) -> None:
    """Refuse what `n` GPUs cannot share.

    Raises
    ------
    ConfigError
        If this machine has fewer, or a batch cannot be shared evenly; pairs stay together.
    """
    processes.check(n, config.batch_size, 1 if config.objective == "parameters" else 4)


def run(
    folder: Path,
    config: PretrainConfig,
    spectrogram: SpectrogramConfig,
    n: int,
    *,
    every: int,
    seconds: float,
    score: Score | None,
    told: Tell,
) -> bool:
    """Train in `n` processes, one on each GPU; without GPUs, on the processor.

    Parameters
    ----------
    folder, config, spectrogram
        As of :class:`~spectro.training.pretraining.pretrain.Pretraining`.
    n : int
        Number of processes, two or more.
    every, seconds, score, told
        As of its ``run``; `score` is pickled, `told` is called in this process.

    Returns
    -------
    done : bool
        Whether it is at its end.

    Raises
    ------
    SpectroError
        Whatever a process raised on purpose, or if one was killed; the others are ended.
    torch.multiprocessing.ProcessException
        If a process failed for another reason: a bug.
    """
    given = folder, config, spectrogram, every, seconds, score
    return bool(processes.shared(n, _part, given, told))


def _part(place: Place, given: Any, tell: Tell) -> bool:
    """Train in one of the processes."""
    folder, config, spectrogram, every, seconds, score = given
    training = Pretraining(folder, config, spectrogram, place=place)
    torch.distributed.barrier()  # all have read the folder before the first writes to it
    return training.run(every=every, seconds=seconds, score=score, told=tell)
