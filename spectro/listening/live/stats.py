"""What is counted while listening, from which heartbeat, /healthz and /metrics are made.

Plain numbers: writing one is a single step of the interpreter, and a reader may see two of them a
moment apart.
"""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["ListenerStats", "SourceStats", "Timings"]

_BEHIND = 600.0  # s for which a source counts as not kept up with, after sound was dropped
_QUIET = 300.0  # s without a sample, of a source that says nothing
_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass
class SourceStats:
    """How one source does.

    Attributes
    ----------
    up : bool
        Whether sound comes.
    fault : str
        Why not, or what is wrong with it; "" for nothing.
    since : float
        When `up` or `fault` last changed, in seconds since 1970.
    last_audio : float
        When the last sample came; 0 for never.
    seconds, dropped : float
        Sound that came, and sound that was dropped unheard, in seconds.
    level : float
        Level of the last second in dBFS.
    opened, overflows : int
        How often it was opened, and how often its driver dropped samples.
    dropped_at : float
        When sound was dropped last, in seconds since 1970; 0 for never.
    finished : bool
        A file or pipe that has ended.
    ended : str
        Why that is wrong, of one that gave its sound as it happened; "" of a file.
    queued : float
        Seconds of sound that wait.
    """

    up: bool = False
    fault: str = "not opened yet"
    since: float = 0.0
    last_audio: float = 0.0
    seconds: float = 0.0
    dropped: float = 0.0
    level: float = float("-inf")
    opened: int = 0
    overflows: int = 0
    dropped_at: float = 0.0
    finished: bool = False
    ended: str = ""
    queued: float = 0.0

    @property
    def deaf(self) -> str:
        """Why nothing is heard, now or ever again; "" if it is, or if a file was heard whole."""
        return self.fault or self.ended

    def stuck(self, now: float) -> str:
        """Say that a source counts as up and has given nothing for minutes; "" if it has not.

        One that is lost is told as that; here its driver does not even come back to say so.
        """
        quiet = now - self.last_audio
        if self.finished or not self.up or not self.last_audio or quiet < _QUIET:
            return ""
        return f"no sample for {quiet / 60:.0f} min, and its driver does not answer"

    def behind(self, now: float) -> str:
        """Say that sound was dropped of late as the machine is too slow; "" if none was."""
        if not self.dropped_at or abs(now - self.dropped_at) >= _BEHIND:
            return ""
        return f"this machine does not keep up: {self.dropped:.0f} s were dropped unheard"


@dataclass
class Timings:
    """A histogram of durations in seconds: counts up to each bound, and beyond."""

    bounds: tuple[float, ...] = _BOUNDS
    counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count a duration, `times` times."""
        self.counts[bisect.bisect_left(self.bounds, seconds)] += times
        self.total += seconds * times

    @property
    def number(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """Their mean in seconds; 0 of none."""
        return self.total / self.number if self.number else 0.0


@dataclass
class ListenerStats:
    """How all of it does.

    Attributes
    ----------
    sources : dict of str to SourceStats
        By name.
    events, alarms : Counter
        Events raised, by class; notices that something is wrong, by kind.
    inference : Timings
        Picture and network, a window.
    delivered, failures : Counter
        Messages and failed attempts, by channel.
    waiting, aside : Counter
        Messages in the outbox, by channel: in line, and set aside as they were refused.
    oldest : dict of str to float
        When the first in line was made, in seconds since 1970; 0 for none.
    evidence_kept, evidence_skipped : int
        Events whose evidence was written, and could not be.
    proofs : dict of tuple of str to float
        When each proof was last heard, by source and class, in seconds since 1970.
    unheard : dict of tuple of str to str
        Proofs that were not heard the last time, and why.
    proof_counts : Counter
        By class and "heard" or "missed".
    clock_jumps : int
    drifting : dict of str to str
        Classes that alarm more often than their contract allows, and what is told of it.
    refused : dict of str to str
        Channels that took nothing since they refused a message, and what they said.
    disk : str
        Why messages wait in memory; "" while the disk takes them.
    """

    sources: dict[str, SourceStats] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    alarms: Counter[str] = field(default_factory=Counter)
    inference: Timings = field(default_factory=Timings)
    delivered: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    aside: Counter[str] = field(default_factory=Counter)
    oldest: dict[str, float] = field(default_factory=dict)
    evidence_kept: int = 0
    evidence_skipped: int = 0
    proofs: dict[tuple[str, str], float] = field(default_factory=dict)
    unheard: dict[tuple[str, str], str] = field(default_factory=dict)
    proof_counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    clock_jumps: int = 0
    drifting: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    disk: str = ""
