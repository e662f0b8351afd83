"""Local workers: processes where they can be forked safely, else threads.

Drawing spends most of its time outside Python's lock, so that threads do well; forked processes do
better, as they share neither that lock nor the memory map. Forking a process that runs threads is
not safe, and spawned processes spend longer on their imports than most runs take.
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

__all__ = ["completed", "keep_memory", "pool"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT = 1 << 26  # bytes


class _Prompt(Executor):
    """Waits for no clip in hand when Ctrl-C ends its block; what is left ends with this process."""

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
    count = workers or _processors()
    if not _can_fork():
        return _Threads(count)
    forking = multiprocessing.get_context("fork")
    executor = _Processes(count, mp_context=forking, initializer=_begin)
    executor.submit(int).result()  # forks them all, before anyone starts a thread
    return executor


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _can_fork() -> bool:
    return sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules


def _begin() -> None:
    """Leave Ctrl-C and words to the parent, do not outlive it, and keep memory that was freed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not faulthandler.is_enabled():  # decoders write notes that name no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    keep_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def keep_memory() -> None:
    """Have glibc reuse what was freed: being given pages, over and over, takes a fifth of the time.

    mallopt(3): the size above which an array is mapped for itself, and the free memory above which
    some is handed back, are raised beyond the size of any clip.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    connection.wait([parent.sentinel])
    os._exit(1)


_BATCHES = 256  # to aim at: small enough that workers end together and Ctrl-C loses little
_LARGEST = 128  # jobs a task: sending one over a network costs as much as one clip's picture
_AHEAD = 512  # tasks waiting: feeds hundreds of workers, and memory stays flat

Job = TypeVar("Job")
Result = TypeVar("Result")


def completed(
    executor: Executor, work: Callable[[list[Job]], list[Result]], jobs: Iterable[Job], total: int
) -> Iterator[list[Result]]:
    """Do `work` on batches of `jobs`; yield the results of each batch as it comes, in any order.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        Threads, processes, or a cluster. `work` and the jobs are pickled where it needs that.
    work : callable
        Takes a list of jobs, returns a list of results.
    jobs : iterable
        Taken from as the work goes on, never far ahead of it.
    total : int
        How many there are.

    Yields
    ------
    results : list
        What `work` returned for one batch.
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
    finally:  # an error, or whoever asks has heard enough
        for future in waiting:
            future.cancel()
