"""The last seconds of a source's sound, as it came in."""

from __future__ import annotations

from collections import deque

import numpy as np

from spectro.listening.live.sources.pcm import Format, Samples

__all__ = ["Tape"]


class Tape:
    """Sound of a fixed length, addressed by the time since the stretch began.

    Parameters
    ----------
    form : Format
    seconds : float
        How much is held, or a block more.
    """

    def __init__(self, form: Format, seconds: float) -> None:
        self.form = form
        self._keep = round(seconds * form.sr)
        self._blocks: deque[Samples] = deque()
        self._held = 0
        self._end = 0

    @property
    def end(self) -> float:
        """Up to which second it goes."""
        return self._end / self.form.sr

    def push(self, samples: Samples) -> None:
        """Add the next samples."""
        self._blocks.append(samples)
        self._held += len(samples)
        self._end += len(samples)
        while self._held - len(self._blocks[0]) >= self._keep:
            self._held -= len(self._blocks.popleft())

    def cut(self, start: float, end: float) -> tuple[float, Samples]:
        """Return a part, as far as it is held, and at which second it starts."""
        begin = self._end - self._held
        first = max(begin, round(start * self.form.sr))
        last = min(self._end, round(end * self.form.sr))
        parts, at = [], begin
        for block in self._blocks:
            part = block[max(0, first - at) : max(0, last - at)]
            if len(part):
                parts.append(part)
            at += len(block)
        empty = np.zeros((0, self.form.channels), np.float32)
        return first / self.form.sr, np.concatenate(parts) if parts else empty
