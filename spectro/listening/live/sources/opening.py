"""How a source begins, each time that it is opened: a recording begins with the same sound."""

from __future__ import annotations

import numpy as np

from spectro.listening.live.sources.pcm import Samples

__all__ = ["Opening"]

_SECONDS = 1.0


class Opening:
    """Tells a recording that a server hands out again from a stream that goes on.

    The first second after each opening is held against that of the opening before. A stream gives
    another; a recording gives the same, was heard once, and must not be heard for ever.
    """

    def __init__(self) -> None:
        self._before: Samples | None = None
        self._parts: list[Samples] | None = []

    def again(self) -> None:
        """Begin anew: the source is opened."""
        if self._parts:
            self._before = np.concatenate(self._parts)
        self._parts = []

    def push(self, samples: Samples, sr: int, *, last: bool = False) -> tuple[Samples, bool]:
        """Take in samples; return those to hand on, and whether it is the same sound again.

        Parameters
        ----------
        samples : np.ndarray [shape=(n, channels)], float32
        sr : int
        last : bool
            Nothing more comes: what is held is handed on.
        """
        if self._parts is None:
            return samples, False
        self._parts.append(samples)
        begun = np.concatenate(self._parts)
        if not len(begun):
            return begun, False
        if len(begun) < _SECONDS * sr and not last:
            return (samples if self._before is None else samples[:0]), False
        before, self._before, self._parts = self._before, begun[: round(_SECONDS * sr)], None
        if before is None:
            return samples, False
        return begun, _is_same(before, self._before)


def _is_same(before: Samples, now: Samples) -> bool:
    """Compare two beginnings; silence, or a constant, tells nothing."""
    return before.shape == now.shape and np.array_equal(before, now) and bool(np.ptp(now) > 0)
