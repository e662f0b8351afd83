"""Local workers: processes where they can be forked safely, else threads.

Drawing spends most of its time outside Python's lock, so that threads do well; forked processes do
better, as they share neither that lock nor the memory map. Forking a process that runs threads is
not safe, and spawned processes spend longer on their imports than most runs take.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.connection import wait

__all__ = ["pool"]


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
    if count == 1 or not _can_fork():
        return ThreadPoolExecutor(count)
    forking = multiprocessing.get_context("fork")
    executor = ProcessPoolExecutor(count, mp_context=forking, initializer=_begin)
    executor.submit(int).result()  # forks them all, before anyone starts a thread
    return executor


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _can_fork() -> bool:
    return sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules


def _begin() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    wait([parent.sentinel])
    os._exit(1)
