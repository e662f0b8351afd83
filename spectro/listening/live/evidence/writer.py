"""Evidence is written aside: a slow disk must not keep anybody from listening."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any, NamedTuple

from spectro.listening.events.settings import EventSettings
from spectro.listening.live.evidence import make
from spectro.listening.live.evidence.store import EvidenceStore
from spectro.listening.live.hearing.session import Sound
from spectro.listening.live.stats import ListenerStats
from spectro.models.card import ModelCard

__all__ = ["EvidenceWriter", "Job"]

_WAITING = 16  # events whose evidence waits to be written; of more it is skipped


class Job(NamedTuple):
    """Evidence to be written; see :func:`spectro.listening.live.evidence.make.facts`."""

    stem: str
    message: dict[str, Any]
    sound: Sound
    settings: EventSettings
    clock: dict[str, Any]


class EvidenceWriter:
    """Writes evidence, one event a step.

    Parameters
    ----------
    store : EvidenceStore
    card : ModelCard
    stats : ListenerStats
    tell : callable
        Told, in words, of trouble and of its end: of (what, text).
    """

    def __init__(
        self,
        store: EvidenceStore,
        card: ModelCard,
        stats: ListenerStats,
        tell: Callable[[str, str], None],
    ) -> None:
        self.store, self._card, self._stats, self._tell = store, card, stats, tell
        self._jobs: queue.Queue[Job | None] = queue.Queue(_WAITING)
        self._trouble = False

    def add(self, job: Job) -> None:
        """Ask for evidence; skip it where too much waits."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self._skip("the disk is too slow")

    def end(self) -> None:
        """Let :meth:`step` return False when all that waits is written."""
        self._jobs.put(None)

    def step(self, timeout: float) -> bool:
        """Write one event's evidence if one waits; return False after :meth:`end`."""
        try:
            job = self._jobs.get(timeout=timeout) if timeout else self._jobs.get_nowait()
        except queue.Empty:
            return True
        if job is None:
            return False
        self._write(job)
        return True

    def _write(self, job: Job) -> None:
        about = make.facts(job.message, job.sound, self._card, job.settings, job.clock)
        try:
            sound, picture = make.flac(job.sound), make.png(job.sound, self._card)
            kept = self.store.write(about, job.stem, sound, picture)
        except Exception as error:  # evidence is worth less than listening
            self._skip(f"{getattr(error, 'strerror', None) or error or type(error).__name__}")
            return
        self._stats.evidence_kept += kept
        if self._trouble:
            self._trouble = False
            self._tell("evidence", "evidence is written again")

    def _skip(self, why: str) -> None:
        self._stats.evidence_skipped += 1
        if not self._trouble:
            self._trouble = True
            self._tell("no evidence", f"evidence is skipped, events are still told: {why}")
