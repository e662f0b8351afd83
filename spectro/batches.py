"""Many small jobs through any `concurrent.futures.Executor`, in batches, with flat memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import TypeVar

__all__ = ["completed"]

_BATCH = 16  # jobs a task: large enough that sending it costs nothing, even over a network
_AHEAD = 64  # tasks waiting: keeps workers fed and memory flat, however many jobs there are

Job = TypeVar("Job")
Result = TypeVar("Result")


def completed(
    executor: Executor, work: Callable[[list[Job]], list[Result]], jobs: Iterable[Job]
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

    Yields
    ------
    results : list
        What `work` returned for one batch.
    """
    left = iter(jobs)
    batches = iter(lambda: list(itertools.islice(left, _BATCH)), [])
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
