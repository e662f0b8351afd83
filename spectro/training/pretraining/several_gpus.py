"""Pretraining shared by several GPUs: each makes its part of every step's sounds.

The gradients of all are averaged, and on GPUs batch norm counts the whole batch. Pairs are told
from the others of the same GPU alone, so that a step is not quite that of one GPU.
"""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

from spectro.pictures.settings import SpectrogramConfig
from spectro.training.loop import processes
from spectro.training.loop.processes import ALONE, Rank, Tell
from spectro.training.pretraining.pretrain import Pretraining, Probe
from spectro.training.pretraining.settings import PretrainConfig

__all__ = ["check", "run"]

_LONGEST_SCORE = timedelta(hours=6)  # all others wait while the first process scores


def check(n: int, config: PretrainConfig) -> None:
    """Refuse what `n` GPUs cannot share.

    Parameters
    ----------
    n : int
        How many are asked for; 1 is never refused.
    config : PretrainConfig
        Settings.

    Raises
    ------
    ConfigError
        If this machine has fewer, or a batch cannot be shared evenly: pairs stay together, and
        each is held against another.
    """
    multiple, least = (1, 2) if config.objective == "parameters" else (2, 4)
    processes.check(n, config.batch_size, multiple, least)


def run(
    folder: Path,
    config: PretrainConfig,
    spectrogram: SpectrogramConfig,
    n: int = 1,
    *,
    every: int = 2_000,
    seconds: float = math.inf,
    probe: Probe | None = None,
    told: Tell = lambda message: None,
) -> bool:
    """Train in `n` processes, one on each GPU; without GPUs, on the processor.

    Parameters
    ----------
    folder, config, spectrogram
        As of :class:`~spectro.training.pretraining.pretrain.Pretraining`.
    n : int
        Number of processes; 1 is this one.
    every, seconds, probe
        As of its ``run``; `probe` is pickled.
    told : callable
        Called in this process, first with a
        :class:`~spectro.training.pretraining.checkpoint.Checkpoint`, how it begins, and then with
        each row of the log.

    Returns
    -------
    done : bool
        Whether it is at its end.

    Raises
    ------
    SpectroError, OSError
        As :class:`~spectro.training.pretraining.pretrain.Pretraining` and its ``run``, or if a
        process was killed; the others are ended.
    torch.multiprocessing.ProcessException
        If a process failed for another reason: a bug.
    """
    given = folder, config, spectrogram, every, seconds, probe
    if n == 1:
        return _part(ALONE, given, told)
    return bool(processes.shared(n, _part, given, told, _LONGEST_SCORE))


def _part(rank: Rank, given: Any, tell: Tell) -> bool:
    """Train in one of the processes."""
    folder, config, spectrogram, every, seconds, probe = given
    training = Pretraining(folder, config, spectrogram, rank=rank)
    if rank.number == 0:
        tell(training.about)
    # All have read the folder before the first writes to it.
    processes.any_of_them(False, rank, training.device)
    return training.run(every=every, seconds=seconds, probe=probe, told=tell)
