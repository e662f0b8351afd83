"""Many small jobs through any `concurrent.futures.Executor`, in batches, with flat memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import TypeVar

__all__ = ["completed"]

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
