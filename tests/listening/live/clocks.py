"""A clock that goes on when it is told to, or when somebody waits."""

from __future__ import annotations

import threading


class FakeClock:
    def __init__(self, now: float = 1.8e9) -> None:
        self.wall, self.steady = now, 0.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.advance(seconds)
        return stop.is_set()

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock."""
        self.wall += seconds
