"""A week in a minute, with all that goes wrong in one: no event lost, and nothing grows."""

from __future__ import annotations

import gc
import os
import random
import threading
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spectro.errors import AudioError
from spectro.listening.events.finding import Event
from spectro.listening.events.settings import EventSettings
from spectro.listening.events.store import EventStore
from spectro.listening.live.delivery.alerts import Alerts
from spectro.listening.live.delivery.courier import Courier
from spectro.listening.live.delivery.outbox import Outbox
from spectro.listening.live.delivery.webhook import Webhook
from spectro.listening.live.diary import Diary
from spectro.listening.live.evidence.store import EvidenceStore
from spectro.listening.live.evidence.writer import EvidenceWriter
from spectro.listening.live.hearing.ears import Ears, Site
from spectro.listening.live.hearing.place import Place
from spectro.listening.live.listener import Listener
from spectro.listening.live.settings import AlertSettings, ProofSettings, SourceSettings
from spectro.listening.live.sources.backlog import Backlog
from spectro.listening.live.sources.pcm import Format
from spectro.listening.live.sources.supervisor import Supervisor
from spectro.listening.live.stats import ListenerStats, SourceStats
from spectro.listening.live.watch.proof import Proof
from spectro.models.card import ModelCard
from spectro.pictures.settings import SpectrogramConfig
from tests.listening.live.clocks import FakeClock
from tests.listening.live.disk import FullDisk
from tests.listening.live.hearing import FakeEars, recording
from tests.listening.live.receiver import Receiver

pytestmark = pytest.mark.long

SR, STEP = 1_000, 30  # Hz; s of one turn, and of a window
DAY = 86_400 // STEP
WEEK = 7 * DAY
EVERY = 1_200 // STEP  # turns: a sound of two turns each 20 minutes
DIARY = 3_600 // STEP  # turns from one writing of the file of months to the next
CONFIG = SpectrogramConfig(
    sr=SR, duration=STEP, n_fft=64, hop_length=500, n_mels=8, ref=1.0, fmax=SR / 2
)
CARD = ModelCard(arch="ears", labels=("high", "low"), spectrogram=CONFIG)
FORM = Format("s16le", SR, 1)
T = np.arange(SR * STEP) / SR
SOUNDS = [0.5 * np.sin(2 * np.pi * f * T).astype(np.float32)[:, np.newaxis] for f in (380, 60)]


# What goes wrong, from which turn of which day on, and for how many turns.
def at(day: int, twenty_minutes: int, seconds: int, part: float = 0.25) -> tuple[int, int]:
    """Return the turn, between two sounds, and for how many turns."""
    return day * DAY + twenty_minutes * EVERY + int(part * EVERY), seconds // STEP


FAULTS = {
    "zeros": [at(day, 30, 600) for day in range(7)],
    "gone": [at(day, 8, 3_000) for day in (1, 4)],
    "stalled": [at(2, 10, 900)],
    "busy": [at(3, 20, 300)],  # we do not listen: the backlog overflows
    "slow disk": [at(1, 40, 30_000)],
    "full disk": [at(5, 10, 10_000)],
    "webhook down": [at(day, 50, 3_600, 0) for day in range(7)],
}
JUMPS = {at(2, 3, 0)[0]: 3_600.0, at(4, 3, 0)[0]: -7_200.0}
RESTARTS = (at(2, 20, 0, 0.5)[0], at(5, 12, 0, 0.5)[0])


def now_wrong(what: str, turn: int) -> bool:
    return any(start <= turn < start + length for start, length in FAULTS[what])


class Microphone:
    """Gives a turn's sound once, unless something is wrong; counts what it gave."""

    live, again, overflows = True, True, 0

    def __init__(self) -> None:
        self.turn, self.given = 0, -1
        self.bursts: set[int] = set()
        self.opened = 0
        self._rng = np.random.default_rng(0)

    def open(self) -> Format:
        self.opened += 1
        if now_wrong("gone", self.turn):
            raise AudioError("the microphone is not there")
        return FORM

    def read(self, timeout: float) -> np.ndarray | None:
        if now_wrong("gone", self.turn):
            raise AudioError("the microphone is gone")
        if now_wrong("stalled", self.turn) or self.given == self.turn:
            return np.zeros((0, 1), np.float32)
        self.given = self.turn
        if now_wrong("zeros", self.turn):
            return np.zeros((SR * STEP, 1), np.float32)
        noise = self._rng.normal(0, 1e-5, (SR * STEP, 1)).astype(np.float32)
        number, phase = divmod(self.turn, EVERY)
        if phase >= 2 or self.turn < 2:
            return noise
        self.bursts.add(number)
        return noise + SOUNDS[number % 2]

    def close(self) -> None:
        """Nothing is open."""


class Process:
    """One process' parts, stepped by hand; a kill drops them as they are."""

    def __init__(self, folder: Path, clock: FakeClock, microphone: Microphone, url: str) -> None:
        self.clock, self.microphone, self.stats = clock, microphone, ListenerStats()
        self.outbox = Outbox(folder / "outbox.sqlite")
        self.said: list[tuple[str, str]] = []
        self.raised: list[Event] = []
        self.diary = Diary(EventStore(folder / "months.sqlite"), lambda *_: None)
        store = EvidenceStore(folder / "evidence", 20, 0)
        self.evidence = EvidenceWriter(store, CARD, self.stats, self._tell("evidence"))
        own = SourceSettings(name="gate")
        self.stats.sources["gate"] = SourceStats(since=clock.time())
        clip = folder / "clip.wav"
        recording(clip, (3_000, 0, 1), seconds=1) if not clip.exists() else None
        proof = Proof(
            ProofSettings(clip=clip, label="high", snr=-40), clock.time(), clock.monotonic()
        )
        events = EventSettings(on=0.3, off=0.2, extent=0.2, merge_gap=0)
        place = Place(own, Site("here", events, None, 5.0), Ears(FakeEars(CARD), "m"), [proof])
        alerts = Alerts(["webhook"], AlertSettings(most=2), self.outbox, clock)
        self.listener = Listener(
            [place], alerts, self.outbox, self.evidence, clock, self.stats,
            lambda *told: self.said.append(told), self._happened, self.diary,
        )  # fmt: skip
        backlog = Backlog(own.buffer, threading.Condition())
        self.supervisor = Supervisor(
            microphone, own, backlog, clock, self.stats.sources["gate"], self._tell("gate")
        )
        webhook = Webhook(url, b"secret", clock)
        self.courier = Courier(webhook, self.outbox, clock, self.stats, self._tell("webhook"))
        self._wait = 0.0

    def _tell(self, name: str) -> Any:
        return lambda what, text: self.said.append((name, what))

    def _happened(self, state: str, source: str, event: Event) -> None:
        if state == "raised":
            self.raised.append(event)

    def turn(self, number: int) -> None:
        """Do what half a minute brings."""
        for _ in range(3):
            self.supervisor.step()
        if not now_wrong("busy", number):
            while (block := self.supervisor.backlog.take()) is not None:
                self.listener.hear("gate", block)
        self._fill_the_disk(now_wrong("full disk", number))
        self.listener.step()
        for _ in range(20):
            if self.clock.monotonic() < self._wait:
                break
            self._wait = self.clock.monotonic() + self.courier.step()
        if number % DIARY == 0:
            self.diary.write()
        if not now_wrong("slow disk", number):
            for _ in range(3):
                self.evidence.step(0)

    def _fill_the_disk(self, full: bool) -> None:
        db: Any = self.outbox._db
        if full != isinstance(db, FullDisk):
            self.outbox._db = FullDisk(db) if full else db.db  # type: ignore[assignment]
            self.evidence.store._free = 1e18 if full else 0.0

    def kill(self) -> None:
        self._fill_the_disk(False)
        self.outbox._db.close()


def test_a_week(tmp_path: Path) -> None:
    clock, microphone, dice = FakeClock(), Microphone(), random.Random(1)
    turn = 0

    def answer() -> int:
        if now_wrong("webhook down", turn):
            return 0
        return dice.choice([204, 204, 204, 500, 0, 599])

    receiver = Receiver(answer)
    process = Process(tmp_path, clock, microphone, receiver.url)
    raised: list[Event] = []
    said: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    sizes: list[tuple[int, int, int]] = []
    for turn in range(WEEK):
        microphone.turn = turn
        clock.advance(STEP)
        clock.jump(JUMPS.get(turn, 0.0))
        if turn in RESTARTS:
            process.kill()
            note(process, raised, said, counts)
            process = Process(tmp_path, clock, microphone, receiver.url)
        process.turn(turn)
        if turn % DAY == DAY - 1:
            note(process, raised, said, counts)
            gc.collect()
            sizes.append((resident(), threading.active_count(), files()))
    process.listener.finish()
    process.listener.alerts.flush()
    process.diary.write()
    process.listener.settle()
    assert process.outbox.kept("unwritten") == {}
    for _ in range(2_000):
        if process.outbox.head("webhook") is None:
            break
        clock.advance(max(process.courier.step(), 0.1))
    note(process, raised, said, counts)
    receiver.close()

    # Every sound that the microphone gave was raised once, and each was told, at least once.
    assert len(raised) == len(microphone.bursts) > 450
    told = receiver.events()
    assert len(told) == len(raised) and min(told.values()) >= 1
    # And each is in the file of months, though a kill came between sounds and their lines there;
    # but for those of the hour before the other kill: with a full disk they were in memory alone.
    written = len(list(EventStore(tmp_path / "months.sqlite").events()))
    assert len(raised) - 3 <= written <= len(raised)
    assert process.outbox.waiting("webhook") == 0 and process.outbox.lost == 0
    kinds = Counter(one["kind"] for one in receiver.taken)
    assert kinds["digest"] > 10 and kinds["event"] > 100
    assert len({one["id"] for one in receiver.taken}) < len(receiver.taken)  # some twice: 599

    # What went wrong was seen and said.
    for what in ("lost", "fault", "behind", "up", "undelivered", "delivered", "no evidence"):
        assert said[what] > 0, what
    notices = Counter(one["what"] for one in receiver.taken if one["kind"] == "notice")
    assert set(notices) >= {"lost", "fault", "back"}
    assert counts["jumps"] >= 2 and counts["dropped"] >= 200 and counts["skipped"] > 0
    assert counts["proofs"] >= 12
    last = datetime.fromisoformat(raised[-1].begin_time).timestamp()
    assert abs(last - (clock.time() - (WEEK - microphone_last(microphone)) * STEP)) < 3_600

    # Nothing grows: memory, threads, open files, disk.
    grown = sizes[-1][0] - sizes[1][0]
    assert grown < 20e6, sizes  # the receiver itself keeps all that it takes
    assert sizes[-1][1] <= sizes[0][1] + 2 and sizes[-1][2] <= sizes[0][2] + 8
    assert len(list((tmp_path / "evidence").rglob("*.json"))) <= 2 * 20
    assert (tmp_path / "outbox.sqlite").stat().st_size < 5e6
    assert microphone.opened < 200


def microphone_last(microphone: Microphone) -> int:
    """Return the turn of the last sound."""
    return max(microphone.bursts) * EVERY


def note(process: Process, raised: list[Event], said: Counter[str], counts: Counter[str]) -> None:
    """Take over what a process counted, and let it count anew."""
    raised += process.raised
    said.update(what for _, what in process.said)
    stats = process.stats
    counts["jumps"] += stats.clock_jumps
    counts["skipped"] += stats.evidence_skipped
    counts["dropped"] += int(stats.sources["gate"].dropped)
    counts["proofs"] += stats.proof_counts.total()
    process.raised.clear()
    process.said.clear()
    stats.clock_jumps = stats.evidence_skipped = 0
    stats.proof_counts.clear()


def resident() -> int:
    """Return the memory that this process has, in bytes."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * 4_096 if path.exists() else 0


def files() -> int:
    """Return how many files are open."""
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
