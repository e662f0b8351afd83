"""One supervisor a source: opens and reads it, and opens it again when it is lost, ever slower."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from spectro.errors import SpectroError
from spectro.listening.live.clock import Clock
from spectro.listening.live.settings import SourceSettings
from spectro.listening.live.sources.backlog import Backlog, Block
from spectro.listening.live.sources.fault import FaultWatch
from spectro.listening.live.sources.pcm import Format, Samples
from spectro.listening.live.sources.pipe import Source
from spectro.listening.live.stats import SourceStats

__all__ = ["Supervisor"]

_READ = 0.25  # s that one read waits
_LONGEST_WAIT = 60.0  # s between two attempts
_SAY = 60.0  # s between two lines about what is dropped
_KINDS = {(True, False): "up", (True, True): "fault", (False, True): "lost"}
_KINDS[False, False] = "finished"
_PROVEN = 60.0  # s of sound after which it counts as healthy, and the waits start small again


class Supervisor:
    """Keeps one source open. Each :meth:`step` is one read, or one attempt to open it.

    Parameters
    ----------
    source : Source
    settings : SourceSettings
    backlog : Backlog
        Takes the sound.
    clock : Clock
    stats : SourceStats
        Written here.
    tell : callable
        Told, in words, when the source is lost, faulty or back: of (what, text).
    first_only : bool
        Whether the model hears the first channel alone.
    """

    def __init__(
        self,
        source: Source,
        settings: SourceSettings,
        backlog: Backlog,
        clock: Clock,
        stats: SourceStats,
        tell: Callable[[str, str], None],
        *,
        first_only: bool = False,
    ) -> None:
        self.source, self.settings, self.backlog = source, settings, backlog
        self.clock, self.stats, self._tell = clock, stats, tell
        self._form: Format | None = None
        self._held: Block | None = None  # of a file: waits for room
        self._live = source.live
        self._first_only = first_only
        self._watch = FaultWatch(settings.frozen, first_only=first_only)
        self._told: tuple[bool, bool] | None = None
        self._stretch = 0
        self._failures = 0
        self._due = self._opened = self._heard = 0.0
        self._stalled = False
        self._delivered = 0.0  # s, since it was opened
        self._unsaid = 0.0  # s that were dropped
        self._unsaid_overflows, self._overflows_due = 0, 0.0
        self._say_due = -_SAY

    def step(self) -> float:
        """Do the next thing; return how many seconds to wait before the one after it."""
        if self.stats.finished:
            return _LONGEST_WAIT
        if self._form is None:
            wait = self._due - self.clock.monotonic()
            return wait if wait > 0 else self._open()
        if self._held is not None and not self._put(self._held):
            return 0.02
        try:
            samples = self.source.read(_READ)
        except (SpectroError, OSError) as error:
            return self._gone(_line(error))
        if samples is None:
            return self._end()
        return self._take(samples) if len(samples) else self._nothing()

    def close(self) -> None:
        """Close the source."""
        self.source.close()

    def _open(self) -> float:
        try:
            self._form = self.source.open()
        except (SpectroError, OSError) as error:
            return self._gone(_line(error))
        self._opened = self._heard = self.clock.monotonic()
        self._delivered = 0.0
        self._stretch += 1
        self.stats.opened += 1
        self._watch = FaultWatch(self.settings.frozen, first_only=self._first_only)
        return 0.0

    def _take(self, samples: Samples) -> float:
        """Hand sound on, and look whether it is any."""
        assert self._form is not None
        seconds = len(samples) / self._form.sr
        self._heard, self._stalled = self.clock.monotonic(), False
        self._delivered += seconds
        if self._delivered >= _PROVEN:
            self._failures = 0
        now = self.clock.time()
        self.stats.last_audio, self.stats.seconds = now, self.stats.seconds + seconds
        self._say_overflows(self.source.overflows - self.stats.overflows)
        self.stats.overflows = self.source.overflows
        self._state(self._watch.push(samples, self._form.sr))
        self.stats.level = self._watch.level
        self._know()
        live = self._live is not False
        block = Block(samples, self._form, now - seconds, self._stretch, live)
        return 0.0 if self._put(block) else 0.02

    def _know(self) -> None:
        """Ask the source whether it is live: a stream says so when it is open, a server later."""
        if self._live is None:
            self._live = self.source.live

    def _put(self, block: Block) -> bool:
        """Hand a block on. That of a file waits for room; that of a live source cannot."""
        self._held = None
        if not self.backlog.room(block.seconds):
            if self._live is None:
                self._live = self._comes_in_real_time()
            if not self._live:
                self._held = block
                return False
        lost = self.backlog.put(block)
        if lost:
            self.stats.dropped_at = self.clock.time()
        self.stats.queued, self.stats.dropped = self.backlog.seconds, self.backlog.dropped
        self._say_dropped(lost)
        return True

    def _say_overflows(self, grown: int) -> None:
        """Say that the driver dropped samples before we had them, once a minute."""
        self._unsaid_overflows += max(0, grown)
        now = self.clock.monotonic()
        if self._unsaid_overflows and now >= self._overflows_due:
            self._overflows_due = now + _SAY
            times = f"{self._unsaid_overflows} time{'s' if self._unsaid_overflows > 1 else ''}"
            self._tell("behind", f"the driver dropped samples {times}: this machine is too busy")
            self._unsaid_overflows = 0

    def _say_dropped(self, lost: float) -> None:
        """Say what was dropped, once a minute."""
        self._unsaid += lost
        now = self.clock.monotonic()
        if self._unsaid and now >= self._say_due:
            self._say_due = now + _SAY
            text = f"dropped {self._unsaid:.1f} s unheard: this machine does not keep up"
            self._tell("behind", text)
            self._unsaid = 0.0

    def _comes_in_real_time(self) -> bool:
        """Tell a microphone's pipe from a file's, when it has filled the backlog once."""
        elapsed = self.clock.monotonic() - self._opened
        return self._delivered < 2 * elapsed

    def _nothing(self) -> float:
        """No sample came in a read's time."""
        silent = self.clock.monotonic() - self._heard
        if silent < self.settings.stall:
            return 0.0
        if not self.source.again:
            self._break_off()
            self._state(f"no sample for {self.settings.stall:g} s", up=False)
            return 0.0
        return self._lose(f"no sample for {silent:.0f} s")

    def _break_off(self) -> None:
        """End what a live pipe let hear up to here; what comes later was recorded later."""
        has_clock = self._live is not False and self.settings.start_time is None
        if self._form is not None and has_clock and not self._stalled:
            self._stalled = True
            self._stretch += 1
            self.backlog.put(_empty(self._form, self._stretch))

    def _end(self) -> float:
        """Act on the end of a source: a file is done, a stream is lost."""
        self._know()
        if self.source.again and self._live is not False:
            return self._lose("the stream ended")
        if not self.source.again and self._live is not False and self._comes_in_real_time():
            self.stats.ended = "its sound ended"
        return self._give_up("")

    def _gone(self, why: str) -> float:
        """Act on an error: what cannot be opened again ends."""
        return self._lose(why) if self.source.again else self._give_up(why)

    def _give_up(self, why: str) -> float:
        """Nothing more can come."""
        self.stats.finished = True
        self._state(why, up=False)
        self.source.close()
        form = self._form or Format("s16le", 1, 1)
        self.backlog.put(_empty(form, self._stretch, last=True))
        return 0.0

    def _lose(self, why: str) -> float:
        """Close it, and say when to try again: after 1, 2, 4... seconds."""
        self._state(why, up=False)  # first: a device that is gone may hold its closing up
        self.source.close()
        if self._form is not None:
            self._stretch += 1  # what was heard up to here ends now, not when it is back
            self.backlog.put(_empty(self._form, self._stretch))
        self._form = self._held = None
        self._failures += 1
        wait = min(_LONGEST_WAIT, 2.0 ** min(self._failures - 1, 10)) * random.uniform(0.8, 1.2)
        self._due = self.clock.monotonic() + wait
        return wait

    def _about(self) -> str:
        form = self._form
        return f"{form.sr} Hz, {form.channels} channels" if form and self.stats.up else ""

    def _state(self, fault: str, *, up: bool = True) -> None:
        """Note whether it hears; say so where that changes."""
        self.stats.up, self.stats.fault = up, fault
        now = (up, bool(fault))
        if now != self._told:
            self._told = now
            self.stats.since = self.clock.time()
            self._tell(_KINDS[now], fault or self._about())


def _empty(form: Format, stretch: int, *, last: bool = False) -> Block:
    return Block(np.zeros((0, form.channels), np.float32), form, 0.0, stretch, last=last)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
