"""One network trained on several GPUs, a process on each, through fastai and accelerate.

The gradients of all processes are averaged, and batch norm counts the whole batch. Folds are
independent: to train several, one fold on each GPU (``cross-validate --scheduler``) wastes less.

What differs from one GPU: fastai gives each process one contiguous part of the shuffled clips, not
one part of every batch. So a batch of all processes together has as many clips as on one GPU, but
other ones. Where the clips cannot be shared evenly, fastai repeats one or more of them. MixUp and
augmentations that need a second clip take it from the same process's part.
"""

from __future__ import annotations

import os
import pickle
import signal
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from fastai.learner import Learner
from torch import multiprocessing
from torch.multiprocessing.spawn import ProcessContext, ProcessException, start_processes

from spectro.errors import ConfigError, MissingExtraError, SpectroError
from spectro.models.weights import Weights
from spectro.pictures.settings import SpectrogramConfig
from spectro.training.data import dataloaders
from spectro.training.loop.learner import fit, new_learner
from spectro.training.loop.progress import Listener
from spectro.training.settings import TrainConfig

__all__ = ["check", "train"]

_POLL = 0.05  # seconds between looks at the messages of the processes


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
        If this machine has fewer, or a batch cannot be shared evenly, two pictures each at least.
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
    """Train one network in `n` processes, one on each GPU; without GPUs, on the processor.

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
        Called after every batch and epoch.
    n : int
        Number of processes, two or more.

    Returns
    -------
    learn : Learner
        A learner of this process, with the trained network.
    history : pandas.DataFrame
        Of :func:`spectro.training.loop.learner.fit`.

    Raises
    ------
    ConfigError
        If there are too few clips to give each process two.
    SpectroError
        Whatever a process raised on purpose, or if one was killed; the others are ended.
    torch.multiprocessing.ProcessException
        If a process failed for another reason: a bug.
    """
    share = min(config.batch_size, len(learned)) // n
    if share < 2:
        raise ConfigError(f"{len(learned)} training clips are too few to share among {n} GPUs")
    learn = new_learner(dataloaders(learned, watched, labels, config, spectrogram), config, weights)
    each = config.replace(batch_size=share)
    # As bytes: torch would open a file descriptor for each tensor, and a resnet152 has 930.
    work = pickle.dumps((learned, watched, labels, each, weights, spectrogram))
    messages = multiprocessing.get_context("spawn").SimpleQueue()
    with TemporaryDirectory() as scratch:
        arguments = (n, Path(scratch, "rendezvous").as_uri(), work, messages)
        processes = start_processes(
            _run, arguments, nprocs=n, join=False, daemon=False, start_method="spawn"
        )
        assert processes is not None
        state, history = pickle.loads(_wait(processes, messages, listener))
    learn.model.load_state_dict(state)
    learn.model.to(learn.dls.device)  # fastai does so before training, which ran elsewhere
    return learn, history


def _wait(processes: ProcessContext, messages: SimpleQueue[Any], listener: Listener) -> bytes:
    """Pass messages on until all processes have ended; return the result. If one fails, end all."""
    result, ended = b"", False
    try:
        while not ended:
            try:
                ended = processes.join(timeout=_POLL)
            finally:  # a process that failed may have sent the reason
                result = _pass_on(messages, listener) or result
    except ProcessException:
        codes = [process.exitcode or 0 for process in processes.processes]
        killed = [-code for code in codes if code < 0 and -code != signal.SIGTERM]
        if not killed:
            raise
        name = signal.Signals(killed[0]).name
        raise SpectroError(
            f"--gpus {len(codes)}: a training process was ended by {name}; if memory ran out, take "
            "a smaller --batch-size"
        ) from None
    finally:
        for process in processes.processes:
            process.terminate()
            process.join()
    return result


def _pass_on(messages: SimpleQueue[Any], listener: Listener) -> bytes:
    """Call the listener for each message there is; return the result if it has come."""
    result = b""
    while not messages.empty():
        match messages.get():
            case SpectroError() as error:
                raise error from None
            case dict() as row:
                listener.epoch(row)
            case (done, total):
                listener.batch(done, total)
            case bytes() as result:
                pass
    return result


def _run(rank: int, n: int, rendezvous: str, work: bytes, messages: SimpleQueue[Any]) -> None:
    """Train in process number `rank`; the first one sends what the listener and the caller get."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # torch sends it if the parent dies
    for name, value in (("RANK", rank), ("WORLD_SIZE", n)):  # fastai and accelerate read them
        os.environ.update({name: str(value), f"LOCAL_{name}": str(value)})
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(rank)
    backend = "nccl" if cuda else "gloo"
    torch.distributed.init_process_group(backend, rendezvous, rank=rank, world_size=n)
    try:
        result = _train_part(rank, n, work, messages)
    except SpectroError as error:
        messages.put(error)
        raise
    if rank == 0:
        messages.put(result)
    torch.distributed.destroy_process_group()


def _train_part(rank: int, n: int, work: bytes, messages: SimpleQueue[Any]) -> bytes:
    """Train one process's part; return the network's state and the history."""
    from fastai.distributed import DistributedDL  # needs accelerate

    # fastai sends the order of clips from the first process to all through CUDA, which the
    # processor lacks. All draw the same order, since their loaders have the same seed.
    DistributedDL._broadcast = lambda self, order, rank: order
    learned, watched, labels, config, weights, spectrogram = pickle.loads(work)
    dls = dataloaders(learned, watched, labels, config, spectrogram)
    learn = new_learner(dls, config, weights)
    steps = config.epochs * (-(-len(learned) // n) // config.batch_size)
    told = Listener(lambda done, _: messages.put((done, steps)), messages.put)
    own = config.replace(seed=(config.seed + rank * 2**16) % 2**32)  # augmentations differ
    with learn.distrib_ctx(sync_bn=torch.cuda.is_available(), cpu=not torch.cuda.is_available()):
        history = fit(learn, own, told if rank == 0 else None)
    state = {name: x.cpu() for name, x in learn.model.state_dict().items()}
    return pickle.dumps((state, history))
