"""Sound that waits to be heard: so many seconds of it, and of live sound the oldest goes first."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from spectro.listening.live.sources.pcm import Format, Samples

__all__ = ["Backlog", "Block"]


class Block(NamedTuple):
    """A piece of sound from a source.

    Parameters
    ----------
    samples : np.ndarray [shape=(n, channels)], float32
    form : Format
    began : float
        When its first sample sounded, in seconds since 1970.
    stretch : int
        Another number means that something is missing in between.
    live : bool
        Whether it is heard as it sounds, as far as is known: of a file, the clock tells nothing.
    last : bool
        The source has ended; there are no samples.
    """

    samples: Samples
    form: Format
    began: float
    stretch: int
    live: bool = True
    last: bool = False

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.form.sr


class Backlog:
    """Blocks of one source, from the thread that reads to the one that listens.

    Where more waits than may, half of it goes at once: a machine that does not keep up hears long
    stretches with few holes, not slivers, and what it hears is recent.

    Parameters
    ----------
    limit : float
        Seconds of sound.
    bell : threading.Condition
        Rung when something comes or goes.
    """

    def __init__(self, limit: float, bell: threading.Condition) -> None:
        self.limit, self.bell = limit, bell
        self._blocks: deque[Block] = deque()
        self._skipped = 0  # how often a stretch was broken by dropping
        self.seconds = 0.0
        self.dropped = 0.0  # s, since the start

    def put(self, block: Block) -> float:
        """Add a block; return how many seconds were dropped, of the oldest, as too much waits.

        What comes after the hole is of another stretch.
        """
        with self.bell:
            self._blocks.append(block)
            self.seconds += block.seconds
            lost = 0.0
            keep = self.limit if self.seconds <= self.limit else self.limit / 2
            while self.seconds > keep and len(self._blocks) > 1:
                lost += self._pop().seconds
            self._skipped += lost > 0
            self.dropped += lost
            self.bell.notify_all()
            return lost

    def room(self, seconds: float) -> bool:
        """Tell whether a block of this length would drop none."""
        with self.bell:
            return not self._blocks or self.seconds + seconds <= self.limit

    def take(self) -> Block | None:
        """Take the oldest block; None if there is none."""
        with self.bell:
            if not self._blocks:
                return None
            block = self._pop()
            self.bell.notify_all()
            return block._replace(stretch=block.stretch + 1_000_000 * self._skipped)

    def _pop(self) -> Block:
        block = self._blocks.popleft()
        self.seconds = max(0.0, self.seconds - block.seconds) if self._blocks else 0.0
        return block
