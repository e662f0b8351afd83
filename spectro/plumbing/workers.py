"""Local workers: processes where they can be forked safely, else threads.

Drawing spends most of its time outside Python's lock, so that threads do well; forked processes do
better, as they share neither that lock nor the memory map. Forking a process that runs threads is
not safe, and spawned processes spend longer on their imports than most runs take.
"""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.connection import wait
from typing import Any

__all__ = ["keep_memory", "pool"]

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
    wait([parent.sentinel])
    os._exit(1)
