"""Threads around the parts: one a source, one a channel, one for evidence; this one listens."""

from __future__ import annotations

import contextlib
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from spectro.listening.live.clock import Clock
from spectro.listening.live.delivery.courier import Courier
from spectro.listening.live.evidence.writer import EvidenceWriter
from spectro.listening.live.health.notify import notify
from spectro.listening.live.health.state import heartbeat
from spectro.listening.live.listener import Listener
from spectro.listening.live.sources.supervisor import Supervisor
from spectro.listening.live.stats import ListenerStats

__all__ = ["Runner"]

_LOOK = 0.25  # s between two looks for sound, where nothing rings before
_LAST_CHANCE = 10.0  # s in which messages may still be delivered when listening ends


@dataclass
class Runner:
    """Runs a listener until its sources have ended, or a signal ends it.

    Attributes
    ----------
    listener : Listener
    supervisors : list of Supervisor
    couriers : list of Courier
    evidence : EvidenceWriter or None
    bell : threading.Condition
        Rung by the backlogs.
    clock : Clock
    stats : ListenerStats
    beat : float
        Seconds between two heartbeats.
    say : callable
        Told of (source, text).
    beats : list of callable
        Called with the counts at each heartbeat.
    """

    listener: Listener
    supervisors: list[Supervisor]
    couriers: list[Courier]
    evidence: EvidenceWriter | None
    bell: threading.Condition
    clock: Clock
    stats: ListenerStats
    beat: float
    say: Callable[[str, str], None]
    beats: list[Callable[[ListenerStats], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._done = threading.Event()  # for couriers: nothing new will come
        self._broken: list[str] = []
        self._notices: list[tuple[str, str, str]] = []

    def run(self) -> None:
        """Listen; return when all is over, and what is left lies in the outbox.

        Raises
        ------
        RuntimeError
            If a part broke that nothing should break: who watches over us must start us anew.
        """
        with self._signals():
            sources = [self._thread(one.step, self._stop) for one in self.supervisors]
            couriers = [self._thread(one.step, self._done) for one in self.couriers]
            writer, diary = self._evidence_thread(), self.listener.diary
            if diary is not None:
                couriers.append(self._thread(diary.step, self._done))
            try:
                notify("READY=1")
                self._listen()
                notify("STOPPING=1")
            finally:
                self._stop.set()
                self._end(sources, couriers, writer)
        if self._broken:
            raise RuntimeError(self._broken[0])

    def failed(self) -> list[str]:
        """Return which sources ended as they could not be read, and why."""
        return [one.fault for one in self.stats.sources.values() if one.finished and one.fault]

    def stop(self) -> None:
        """End it soon; may be called from anywhere."""
        self._stop.set()

    def tell(self, channel: str, what: str, text: str) -> None:
        """Hand on what a thread has to tell; it is said from the one that listens."""
        self._notices.append((channel, what, text))

    def _listen(self) -> None:
        next_step = self.clock.monotonic()
        next_beat = next_step + self.beat
        while not self._stop.is_set() and not self._broken and not self._all_ended():
            if not self._hear():
                with self.bell:
                    self.bell.wait(_LOOK)
            now = self.clock.monotonic()
            if now >= next_step:
                next_step = now + 1
                self._say_notices()
                self.listener.step()
            if now >= next_beat:
                next_beat = now + self.beat
                self._heartbeat()
            notify("WATCHDOG=1")

    def _hear(self) -> bool:
        """Take a block of each source; tell whether there was one."""
        found = False
        for supervisor in self.supervisors:
            block = supervisor.backlog.take()
            if block is not None:
                found = True
                self.listener.hear(supervisor.settings.name, block)
                supervisor.stats.queued = supervisor.backlog.seconds
        return found

    def _all_ended(self) -> bool:
        return all(place.ended for place in self.listener.places.values())

    def _heartbeat(self) -> None:
        self.say("", heartbeat(self.stats, self.clock.time()))
        for called in self.beats:
            called(self.stats)

    def _say_notices(self) -> None:
        while self._notices:
            channel, what, text = self._notices.pop(0)
            self.stats.alarms[what] += 1
            self.say(channel, f"{what}: {text}" if text else what)

    def _end(
        self,
        sources: list[threading.Thread],
        couriers: list[threading.Thread],
        writer: threading.Thread | None,
    ) -> None:
        """Finish events, then let messages and evidence out for a while."""
        until = self.clock.monotonic() + _LAST_CHANCE
        for supervisor in self.supervisors:
            supervisor.close()
        for thread in sources:
            thread.join(2)
        while not self._broken and self.clock.monotonic() < until and self._hear():
            pass
        self.listener.finish()
        if self._all_ended():
            self.listener.alerts.flush()
        if writer is not None and self.evidence is not None:
            self.evidence.end()
        self._deliver(until)
        self._done.set()
        for thread in [*couriers, *([writer] if writer else [])]:
            thread.join(max(0.1, until - self.clock.monotonic()))
        if self.listener.diary is not None:
            self.listener.diary.finish(max(1.0, until - self.clock.monotonic()))
        self._close()

    def _deliver(self, until: float) -> None:
        """Wait until all is delivered, or it is clear that it will not be now.

        What an earlier process tried in vain has a chance of its own: it is clear once an attempt
        of this time failed, or if the next one is not due before the end.
        """
        before: dict[tuple[str, str], int] = {}
        while (left := until - self.clock.monotonic()) > 0:
            if not any(self._may_arrive(one, before, left) for one in self.couriers):
                return
            self.clock.wait(threading.Event(), 0.05)

    def _may_arrive(
        self, courier: Courier, before: dict[tuple[str, str], int], seconds: float
    ) -> bool:
        """Tell whether a courier's first message may arrive within so many seconds."""
        name = courier.channel.name
        head = self.listener.outbox.head(name)
        if head is None:
            return False
        failed = head.attempts > before.setdefault((name, head.id), max(1, head.attempts))
        late = head.attempts > 0 and head.due - self.clock.time() > seconds
        return not (failed or late)

    def _close(self) -> None:
        self._say_notices()
        self.say("", heartbeat(self.stats, self.clock.time()))
        left = {one.channel.name: self.listener.outbox.waiting(one.channel.name)
                for one in self.couriers}  # fmt: skip
        for name, number in left.items():
            if number:
                self.say(name, f"{number} messages stay in the outbox for the next start")
        for courier in self.couriers:
            with contextlib.suppress(Exception):
                courier.channel.close()
        self.listener.settle()
        self.listener.outbox.close()

    def _thread(self, step: Callable[[], float], stop: threading.Event) -> threading.Thread:
        def run() -> None:
            while not stop.is_set():
                wait = step()
                if wait > 0:
                    self.clock.wait(stop, wait)

        return self._start(run)

    def _evidence_thread(self) -> threading.Thread | None:
        writer = self.evidence
        if writer is None:
            return None

        def run() -> None:
            while writer.step(1.0):
                pass

        return self._start(run)

    def _start(self, run: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                run()
            except BaseException:
                self._broken.append(traceback.format_exc())

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Let SIGTERM and Ctrl-C end it well; the second of them at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def ended(number: int, frame: Any) -> None:
            if self._stop.is_set():
                raise KeyboardInterrupt
            self._stop.set()

        before = {one: signal.signal(one, ended) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
