"""One network trained on several GPUs, a process each, as fastai does it: through accelerate.

Each process takes its part of every batch and the gradients are averaged, so that the batches are
those of one GPU. Folds are independent: where there is more than one to train, a fold a GPU
(``cross-validate --scheduler``) wastes less. This is for a network that takes long.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from fastai.distributed import DistributedDL, DistributedTrainer
from fastai.learner import Learner
from safetensors.torch import load_file, save_file
from torch import multiprocessing
from torch.multiprocessing.spawn import ProcessContext, start_processes

from spectro.errors import ConfigError, MissingExtraError, SpectroError
from spectro.models.weights import Weights
from spectro.pictures.settings import SpectrogramConfig
from spectro.training import data as datablock
from spectro.training import learner
from spectro.training.progress import Listener
from spectro.training.settings import TrainConfig

__all__ = ["PartDL", "Together", "check", "train"]


class PartDL(DistributedDL):  # type: ignore[misc]
    """One process's part of the batches of all.

    Where the last, smaller batch is dropped, as in training, all processes together see the very
    batches of one. Otherwise, when watching, fastai repeats a clip or two until all have as many.
    """

    def __len__(self) -> int:
        batches: int = self.dl.n // self._shared if self.drop_last else super().__len__()
        return batches

    def get_idxs(self) -> list[int]:
        """List this process's clips."""
        if not self.drop_last:
            mine: list[int] = super().get_idxs()
            return mine
        order = self._broadcast(list(self.dl.get_idxs()), 0)
        self.n = self.n_padded = len(order) // self._shared * self._shared
        starts = range(self.rank * self.bs, self.n, self._shared)
        return [clip for start in starts for clip in order[start : start + self.bs]]

    @property
    def _shared(self) -> int:
        """Clips in a batch of all."""
        return int(self.bs * self.world_size)

    def _broadcast(self, t: list[int], rank: int) -> list[int]:
        order = torch.tensor(t, device=self.device)
        torch.distributed.broadcast(order, rank)
        agreed: list[int] = order.tolist()
        return agreed


class Together(DistributedTrainer):  # type: ignore[misc]
    """Trains as one with the other processes: the first one's weights, the mean of all gradients.

    Arguments are those of fastai's `DistributedTrainer`.
    """

    def _wrap_dl(self, dl: Any) -> Any:
        return dl if isinstance(dl, PartDL) else PartDL(dl, device=self.dls.device)


_START, _NETWORK = "start.safetensors", "network.safetensors"
_POLL = 0.05  # seconds between looks at what the processes tell


@dataclass(frozen=True)
class _Work:
    """All that a process needs to know."""

    learned: pd.DataFrame
    watched: pd.DataFrame
    labels: list[str]
    config: TrainConfig
    weights: Weights
    spectrogram: SpectrogramConfig | None
    n: int
    folder: Path


def check(n: int, batch_size: int) -> None:
    """Refuse what cannot be trained on `n` GPUs, before anything is done.

    Parameters
    ----------
    n : int
        How many are asked for; 1 is never refused.
    batch_size : int
        Pictures in a step.

    Raises
    ------
    ConfigError
        If this machine has fewer, or they cannot share a batch evenly, two pictures each at least.
    MissingExtraError
        If accelerate is not installed.
    """
    if n == 1:
        return
    there = torch.cuda.device_count()
    if n > there:
        raise ConfigError(f"--gpus {n}: this machine has {there}")
    if batch_size % n or batch_size < 2 * n:  # batch norm needs two
        raise ConfigError(
            f"--gpus {n}: a batch of {batch_size} cannot be shared evenly, two pictures each at "
            f"least; --batch-size {max(2, round(batch_size / n)) * n} can"
        )
    try:
        import accelerate  # noqa: F401
    except ImportError:
        raise MissingExtraError("gpus", f"--gpus {n}") from None


def train(
    learned: pd.DataFrame,
    watched: pd.DataFrame,
    labels: list[str],
    config: TrainConfig,
    weights: Weights,
    spectrogram: SpectrogramConfig | None,
    listener: Listener,
    n: int,
) -> tuple[Learner, pd.DataFrame]:
    """Train one network in `n` processes; on GPUs, a GPU each.

    Parameters
    ----------
    learned, watched : pandas.DataFrame
        Clip tables with the column ``image``.
    labels : list of str
        Every class of the dataset.
    config : TrainConfig
        How to train; its batches are shared among the processes.
    weights : Weights
        Where training starts.
    spectrogram : SpectrogramConfig or None
        How sounds become pictures; see :func:`spectro.training.data.data_block`.
    listener : Listener
        Told of every batch and epoch.
    n : int
        How many processes, two or more.

    Returns
    -------
    learn : Learner
        Of this process, with the trained network.
    history : pandas.DataFrame
        Of :func:`spectro.training.learner.fit`.

    Raises
    ------
    ConfigError
        If clips are too few to give each process two.
    SpectroError
        What one of them raised on purpose; the others are ended.
    torch.multiprocessing.ProcessException
        If one of them failed otherwise.
    """
    share = min(config.batch_size, len(learned)) // n
    if share < 2:
        raise ConfigError(f"{len(learned)} training clips are too few to share among {n} GPUs")
    dls = datablock.dataloaders(learned, watched, labels, config, spectrogram)
    learn = learner.new_learner(dls, config, weights)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if weights.state is not None:  # else a file descriptor each: a resnet152 has 930 tensors
            save_file({k: x.clone() for k, x in weights.state.items()}, folder / _START)
            weights = replace(weights, state=None)
        each = config.replace(batch_size=share)
        work = _Work(learned, watched, labels, each, weights, spectrogram, n, folder)
        told = multiprocessing.get_context("spawn").SimpleQueue()
        processes = start_processes(_run, (work, told), nprocs=n, join=False, start_method="spawn")
        assert processes is not None
        try:
            rows = _listen(processes, told, listener)
        finally:
            for process in processes.processes:
                process.terminate()
                process.join()
        learn.model.load_state_dict(load_file(folder / _NETWORK))
    learn.model.to(dls.device)  # fastai moves what it fits, and this one is fitted elsewhere
    return learn, pd.DataFrame(rows)


def _listen(
    processes: ProcessContext, told: SimpleQueue[Any], listener: Listener
) -> list[dict[str, Any]]:
    """Pass on what the processes tell until all have ended; return the rows of epochs."""
    rows = []
    ended = False
    while not ended:
        try:
            ended = processes.join(timeout=_POLL)
        finally:  # whatever one of them died of, it may have said what is wrong
            while not told.empty():
                what = told.get()
                if isinstance(what, SpectroError):
                    raise what from None
                if isinstance(what, dict):
                    rows.append(what)
                    listener.epoch(what)
                else:
                    listener.batch(*what)
    return rows


def _run(rank: int, work: _Work, told: SimpleQueue[Any]) -> None:
    """Be one of the processes, and say what is wrong before dying of it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # torch sends it if the parent dies
    try:
        _train_part(rank, work, told)
    except SpectroError as error:
        told.put(error)
        raise


def _train_part(rank: int, work: _Work, told: SimpleQueue[Any]) -> None:
    """Be one of the processes; the first writes the network and tells how it goes."""
    from spectro.training.several_gpus import Together  # needs accelerate

    for name, value in (("RANK", rank), ("WORLD_SIZE", work.n)):  # accelerate asks for all four
        os.environ.update({name: str(value), f"LOCAL_{name}": str(value)})
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(rank)
    torch.distributed.init_process_group(
        "nccl" if cuda else "gloo",
        init_method=(work.folder / "meet").as_uri(),
        rank=rank,
        world_size=work.n,
    )
    seed = (work.config.seed + rank * 2**16) % 2**32  # an augmentation of its own
    config, start = work.config.replace(seed=seed), work.weights
    if (work.folder / _START).is_file():
        start = replace(start, state=load_file(work.folder / _START))
    dls = datablock.dataloaders(work.learned, work.watched, work.labels, config, work.spectrogram)
    learn = learner.new_learner(dls, config, start)
    learn.add_cb(Together(sync_bn=cuda, cpu=not cuda))  # the first one's weights go to all
    first = rank == 0
    steps = config.epochs * (len(work.learned) // (config.batch_size * work.n))
    listener = Listener(lambda done, _: told.put((done, steps)), told.put) if first else None
    learner.fit(learn, config, listener)
    if first:
        state = {name: x.cpu().contiguous() for name, x in learn.model.state_dict().items()}
        save_file(state, work.folder / _NETWORK)
    torch.distributed.destroy_process_group()
