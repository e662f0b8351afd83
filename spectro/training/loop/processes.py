"""One piece of work shared by several processes, one on each GPU, that average what they learn."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor, multiprocessing
from torch.multiprocessing.spawn import ProcessContext, ProcessException, start_processes

from spectro.errors import ConfigError, SpectroError

__all__ = ["ALONE", "Rank", "Tell", "Work", "any_of_them", "average", "check", "shared"]

_POLL = 0.05  # seconds between looks at the messages of the processes

Tell = Callable[[object], None]


class Rank(NamedTuple):
    """Which process this is of those that share a piece of work.

    Parameters
    ----------
    number : int
        That of the first, which alone writes files, is 0.
    n : int
        How many there are.
    """

    number: int = 0
    n: int = 1


ALONE = Rank()

Work = Callable[[Rank, Any, Tell], object]
"""What each process does, a function of a module: given its rank, what it works on, and a function
through which it sends messages."""


def check(n: int, batch_size: int, multiple: int = 1, least: int = 2) -> None:
    """Refuse what cannot be shared by `n` GPUs.

    Parameters
    ----------
    n : int
        How many are asked for; 1 is never refused.
    batch_size : int
        Of a step, of all of them together.
    multiple, least : int
        What each gets of it is a multiple of the one, and as many as the other: batch norm needs
        two.

    Raises
    ------
    ConfigError
        If this machine has fewer, or a batch cannot be shared evenly.
    """
    if n == 1:
        return
    there = torch.cuda.device_count()
    if n > there:
        raise ConfigError(f"--gpus {n}: this machine has {there}")
    if batch_size % (n * multiple) or batch_size < n * least:
        share = max(least, multiple * round(batch_size / n / multiple))
        of = f", a multiple of {multiple} for each" if multiple > 1 else ""
        raise ConfigError(
            f"--gpus {n}: a batch of {batch_size} cannot be shared evenly{of}, {least} at least; "
            f"--batch-size {share * n} can"
        )


def average(tensors: Sequence[Tensor], rank: Rank) -> None:
    """Replace tensors by their means over all processes.

    A collective: every process must call it, in the same order, with as many tensors of the same
    shapes.

    Parameters
    ----------
    tensors : sequence of Tensor, floating point
        On the device of this process.
    rank : Rank
    """
    if rank.n == 1:
        return
    flat = torch.cat([tensor.flatten().float() for tensor in tensors])
    torch.distributed.all_reduce(flat)
    parts = (flat / rank.n).split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


def any_of_them(yes: bool, rank: Rank, device: torch.device) -> bool:
    """Ask all processes, and give all of them the same answer: whether one of them said yes.

    A collective: every process must call it, in the same order.
    """
    if rank.n == 1:
        return yes
    share = torch.tensor(float(yes), device=device)
    average([share], rank)
    return bool(share > 0)


def shared(
    n: int, work: Work, given: object, told: Tell, longest_wait: timedelta | None = None
) -> Any:
    """Do a piece of work in `n` processes, one on each GPU; without GPUs, on the processor.

    Parameters
    ----------
    n : int
        Number of processes.
    work : callable
        What each does.
    given : object
        What it works on; pickled.
    told : callable
        Called, in this process, with each message that one of them sends.
    longest_wait : timedelta or None
        Of a process for the others, as while one of them scores; None means torch's default.

    Returns
    -------
    result : object
        What the first process returned.

    Raises
    ------
    SpectroError, OSError
        Whatever a process raised on purpose, or of its files, or if one was killed; the others are
        ended.
    torch.multiprocessing.ProcessException
        If a process failed for another reason: a bug.
    """
    messages = multiprocessing.get_context("spawn").SimpleQueue()
    # As bytes: torch would open a file descriptor for each tensor, and a resnet152 has 930.
    with TemporaryDirectory() as scratch:
        rendezvous = Path(scratch, "rendezvous").as_uri()
        arguments = (n, rendezvous, longest_wait, work, pickle.dumps(given), messages)
        processes = start_processes(
            _run, arguments, nprocs=n, join=False, daemon=False, start_method="spawn"
        )
        assert processes is not None
        return pickle.loads(_wait(processes, messages, told))


def _wait(processes: ProcessContext, messages: SimpleQueue[Any], told: Tell) -> bytes:
    """Pass messages on until all processes have ended; return the result. If one fails, end all."""
    result, ended = b"", False
    try:
        while not ended:
            try:
                ended = processes.join(timeout=_POLL)
            finally:  # a process that failed may have sent the reason
                result = _pass_on(messages, told) or result
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


def _pass_on(messages: SimpleQueue[Any], told: Tell) -> bytes:
    """Pass on each message there is; return the result if it has come."""
    result = b""
    while not messages.empty():
        match messages.get():
            case SpectroError() | OSError() as error:
                raise error from None
            case bytes() as result:
                pass
            case message:
                told(message)
    return result


def _run(
    number: int,
    n: int,
    rendezvous: str,
    longest_wait: timedelta | None,
    work: Work,
    given: bytes,
    messages: SimpleQueue[Any],
) -> None:
    """Do the work in one of the processes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # torch sends it if the parent dies
    for name, value in (("RANK", number), ("WORLD_SIZE", n)):  # fastai and accelerate read them
        os.environ.update({name: str(value), f"LOCAL_{name}": str(value)})
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(number)
    backend = "nccl" if cuda else "gloo"
    torch.distributed.init_process_group(
        backend, rendezvous, timeout=longest_wait, rank=number, world_size=n
    )
    try:
        result = work(Rank(number, n), pickle.loads(given), messages.put)
    except (SpectroError, OSError) as error:
        messages.put(error)
        raise
    if number == 0:
        messages.put(pickle.dumps(result))
    torch.distributed.destroy_process_group()
