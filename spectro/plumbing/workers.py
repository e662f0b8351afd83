"""Workers on this machine, and jobs in batches for these or other workers.

Workers are forked processes where forking is safe, else threads. Drawing spends most of its time
outside the GIL, so that threads do well; forked processes do better, as they share neither the GIL
nor the memory map. Forking a process that runs threads is not safe, and spawned processes spend
longer on their imports than most runs take.
"""

from __future__ import annotations

import ctypes
import faulthandler
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from multiprocessing import connection
from typing import Any, TypeVar

__all__ = ["ACTIVATIONS", "completed", "keep_memory", "pool", "processors", "return_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT = 1 << 26  # bytes
ACTIVATIONS = 1 << 30
"""Bytes that training keeps: what a step computes is larger than any clip."""

_BATCHES = 256  # to aim at: small enough that workers end together and Ctrl-C loses little
_LARGEST = 128  # jobs a batch: sending one over a network costs as much as drawing one picture
_AHEAD = 512  # batches submitted at once: enough for hundreds of workers, and memory stays flat

Job = TypeVar("Job")
Result = TypeVar("Result")


class _Prompt(Executor):
    """Does not wait for running jobs when Ctrl-C ends its block; workers end with this process."""

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> bool | None:
        self.shutdown(wait=kind is not KeyboardInterrupt, cancel_futures=kind is not None)
        return None


class _Threads(_Prompt, ThreadPoolExecutor):
    pass


class _Processes(_Prompt, ProcessPoolExecutor):
    pass


def pool(workers: int | None = None) -> Executor:
    """Start workers on this machine.

    Parameters
    ----------
    workers : int or None
        How many; None means one for each processor that this process may use.

    Returns
    -------
    executor : concurrent.futures.Executor
        Processes on Linux while this process has one thread and has not loaded torch, which keeps
        threads of its own; threads otherwise.
    """
    count = workers or processors()
    if not _can_fork():
        return _Threads(count)
    forking = multiprocessing.get_context("fork")
    executor = _Processes(count, mp_context=forking, initializer=_start)
    with warnings.catch_warnings():
        # Python 3.12 counts the threads of OpenBLAS too, which looks after them in a fork itself.
        warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
        executor.submit(int).result()  # forks them all, before anyone starts a thread
    return executor


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _can_fork() -> bool:
    return sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules


def _start() -> None:
    """Start a worker: Ctrl-C and messages are the parent's, and the worker ends with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not faulthandler.is_enabled():  # decoders print warnings that name no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    keep_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def keep_memory(most: int = _KEPT) -> None:
    """Have glibc keep freed memory for reuse; asking for new pages takes a fifth of the time.

    Raises two limits of mallopt(3) beyond the size of any clip: that above which an array is mapped
    by itself, and that of free memory above which some is returned to the system. They hold for
    the process from then on.

    Parameters
    ----------
    most : int
        Both limits, in bytes, below 2 GiB; training has larger arrays than drawing.
    """
    mallopt = _of_libc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, most)
        mallopt(_M_TRIM_THRESHOLD, most)


def return_memory() -> None:
    """Have glibc return free memory to the system, also what lies between things that are kept.

    A process that for hours keeps something small of each step, as its loss, beside arrays of many
    megabytes that it frees, grows by a part of these arrays with every step.
    """
    trim = _of_libc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_libc(name: str) -> Any:
    """Find a function of the C library; None where it, or the library, is not to be had."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # Windows has none without a name
        return None


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    connection.wait([parent.sentinel])
    os._exit(1)


def completed(
    executor: Executor, work: Callable[[list[Job]], list[Result]], jobs: Iterable[Job], total: int
) -> Iterator[list[Result]]:
    """Do `work` on batches of `jobs`; yield the results of each batch when it is done.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        Threads, processes, or a cluster. `work` and the jobs are pickled where it needs that.
    work : callable
        Takes a list of jobs, returns a list of results.
    jobs : iterable
        Read as the work goes on, never far ahead of it.
    total : int
        How many there are.

    Yields
    ------
    results : list
        What `work` returned for one batch; batches come in any order.
    """
    left = iter(jobs)
    size = min(_LARGEST, max(1, total // _BATCHES))
    batches = iter(lambda: list(itertools.islice(left, size)), [])
    waiting: set[Future[list[Result]]] = set()
    try:
        while True:
            for batch in itertools.islice(batches, _AHEAD - len(waiting)):
                waiting.add(executor.submit(work, batch))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:  # an error, or the caller has stopped asking
        for future in waiting:
            future.cancel()
