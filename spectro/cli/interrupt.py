"""Workers, a progress bar, and Ctrl-C: the command ends at once and says how far it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager

from spectro.cli import console
from spectro.cli.options import INTERRUPTED

__all__ = ["working"]


@contextmanager
def working(
    workers: AbstractContextManager[Executor], what: str, *, clips: int, told: str
) -> Iterator[tuple[Executor, Callable[[int, int], None]]]:
    """Give workers, and what to tell the number of clips done and of all.

    On Ctrl-C the process ends within the block: Python would wait for the clip in hand, which may
    take minutes, and no file is ever written in part.

    Parameters
    ----------
    workers : context manager of concurrent.futures.Executor
        From :func:`spectro.plumbing.workers.pool` or :func:`spectro.plumbing.cluster.connect`.
    what : str
        Shown before the bar, as "rendering".
    clips : int
        How many there are.
    told : str
        What to say on Ctrl-C, after how many clips were done.
    """
    done = 0
    try:
        with workers as pool, console.counting(what, "clips") as show:

            def count(now: int, total: int) -> None:
                nonlocal done
                done = now
                show(now, total)

            yield pool, count
    except KeyboardInterrupt:
        console.complain(f"interrupted with {done:,} of {clips:,} clips done; {told}")
        sys.stdout.flush()
        os._exit(INTERRUPTED)
