"""A source that is lost comes back without a storm, and nothing is behind in silence."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from spectro.errors import AudioError
from spectro.listening.live.settings import SourceSettings
from spectro.listening.live.sources.backlog import Backlog, Block
from spectro.listening.live.sources.fault import FaultWatch
from spectro.listening.live.sources.pcm import Format
from spectro.listening.live.sources.supervisor import Supervisor
from spectro.listening.live.stats import SourceStats
from tests.listening.live.clocks import FakeClock

SR = 1_000
FORM = Format("s16le", SR, 1)
RNG = np.random.default_rng(0)


class Fake:
    """Gives what a function says, a tenth of a second at a time."""

    def __init__(
        self, clock: FakeClock, read: Callable[[], object], live: bool | None, again: bool
    ) -> None:
        self.clock, self._read, self.live = clock, read, live
        self.again, self.overflows, self.opened, self.closed = again, 0, [], 0
        self.refuse = False

    def open(self) -> Format:
        self.opened.append(self.clock.monotonic())
        if self.refuse:
            raise AudioError("camera: no route")
        return FORM

    def read(self, timeout: float) -> np.ndarray | None:
        found = self._read()
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[return-value]

    def close(self) -> None:
        self.closed += 1


def noise(seconds: float = 0.1) -> np.ndarray:
    return RNG.uniform(-0.1, 0.1, (round(seconds * SR), 1)).astype(np.float32)


def supervised(
    read: Callable[[], object],
    live: bool | None = True,
    again: bool | None = None,
    **settings: float,
) -> tuple[Supervisor, Fake, FakeClock, list[tuple[str, str]]]:
    clock, told = FakeClock(), []
    source = Fake(clock, read, live, live is not None if again is None else again)
    own = SourceSettings(name="gate", **settings)  # type: ignore[arg-type]
    backlog = Backlog(own.buffer, threading.Condition())
    tell = lambda what, text: told.append((what, text))  # noqa: E731
    return Supervisor(source, own, backlog, clock, SourceStats(), tell), source, clock, told


def run(one: Supervisor, clock: FakeClock, seconds: float, step: float = 0.1) -> None:
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        clock.advance(one.step() or step)


def test_no_storm_while_a_source_refuses() -> None:
    one, source, clock, told = supervised(noise)
    source.refuse = True
    run(one, clock, 3_600)
    assert len(source.opened) < 80
    gaps = np.diff(source.opened)
    assert (gaps[:4] > [0.7, 1.5, 3, 6]).all() and gaps.max() <= 73
    assert [what for what, _ in told] == ["lost"] and "no route" in one.stats.fault


def test_no_storm_where_it_opens_and_dies_at_once() -> None:
    one, source, clock, _ = supervised(lambda: AudioError("broke off"))
    run(one, clock, 3_600)
    assert 20 < len(source.opened) < 80


def test_it_comes_back_at_once_after_it_was_healthy() -> None:
    answers = iter([noise] * 700 + [lambda: AudioError("gone")] + [noise] * 100)
    one, source, clock, told = supervised(lambda: next(answers)(), buffer=600)  # noqa: PLW0108  # noqa: PLW0108
    run(one, clock, 77)
    assert [what for what, _ in told] == ["up", "lost", "up"]
    assert source.opened[1] - 70 < 2
    blocks = list(iter(one.backlog.take, None))
    assert len({block.stretch for block in blocks}) > 1


def test_a_half_open_stream_is_ended_and_opened_again() -> None:
    one, source, clock, told = supervised(lambda: np.zeros((0, 1), np.float32), stall=10)
    run(one, clock, 30)
    assert source.closed >= 2 and len(source.opened) >= 2
    assert told[0] == ("lost", "no sample for 10 s")


def test_live_sound_drops_the_oldest_counts_it_and_says_it() -> None:
    one, _, clock, told = supervised(noise, buffer=5)
    run(one, clock, 12)
    assert one.backlog.seconds <= 5
    assert one.stats.dropped + one.backlog.seconds == pytest.approx(12, abs=0.3)
    assert one.stats.seconds == pytest.approx(12, abs=0.3)
    assert [what for what, _ in told] == ["up", "behind"]
    assert told[-1][1].startswith("dropped 2.")
    waits = one.backlog.seconds
    first = one.backlog.take()
    assert first is not None and first.began == pytest.approx(clock.time() - waits, abs=0.3)


def test_a_machine_that_is_too_slow_hears_long_stretches_and_says_so() -> None:
    """Each of half the line; dropping as little as needed gave a hole a block, and slivers."""
    one, _, clock, _ = supervised(noise, buffer=10)
    stretches: dict[int, float] = {}
    budget = 0.0
    while clock.monotonic() < 300:
        clock.advance(one.step() or 0.1)
        budget += 0.08  # hears at 80 % of real time
        while budget > 0.1 and (block := one.backlog.take()) is not None:
            stretches[block.stretch] = stretches.get(block.stretch, 0.0) + block.seconds
            budget -= block.seconds
    assert min(list(stretches.values())[1:-1]) > 5
    assert one.stats.dropped == pytest.approx(0.2 * 300, rel=0.3)
    behind = one.stats.behind(clock.time())
    assert "does not keep up" in behind and "dropped unheard" in behind
    assert one.stats.behind(clock.time() + 3_600) == ""


def test_a_recording_behind_an_address_is_heard_once() -> None:
    """Its server says how long it is; a stream is opened again."""
    parts = [noise() for _ in range(40)]
    for live, opened in ((False, 1), (None, 5)):
        left: list[np.ndarray] = []
        one, source, clock, _ = supervised(
            lambda left=left: left.pop(0) if left else None, None, again=True, buffer=600
        )

        def opening(source: Fake = source, left: list[np.ndarray] = left) -> Format:
            left[:] = parts
            source.opened.append(0.0)
            return FORM

        source.open = opening  # type: ignore[method-assign]
        source.live = live  # known once it is open
        run(one, clock, 60, step=0.001)
        assert len(source.opened) >= opened
        assert one.stats.finished == (live is False)
        assert one.stats.seconds == pytest.approx(4) or live is None


def test_a_pipe_that_gave_sound_as_it_happened_must_not_end() -> None:
    answers = [noise() for _ in range(50)]
    one, _, clock, _ = supervised(lambda: answers.pop(0) if answers else None, None)
    run(one, clock, 10)
    assert one.stats.finished and one.stats.deaf == "its sound ended" and one.stats.fault == ""
    answers = [noise() for _ in range(50)]
    one, _, clock, _ = supervised(lambda: answers.pop(0) if answers else None, None)
    run(one, clock, 10, step=0.01)  # a file through a pipe
    assert one.stats.finished and one.stats.deaf == ""


def test_a_pipe_that_stalls_ends_its_stretch_and_begins_another() -> None:
    """What comes after an hour without a sample was recorded an hour later."""
    silent = np.zeros((0, 1), np.float32)
    answers = [noise() for _ in range(20)] + [silent] * 200 + [noise() for _ in range(20)]
    one, _, clock, told = supervised(lambda: answers.pop(0), live=True, again=False, stall=10)
    run(one, clock, 23.9)
    stretches = [block.stretch for block in iter(one.backlog.take, None)]
    assert stretches == sorted(stretches)
    assert stretches.count(stretches[0]) == 20 and len(set(stretches)) == 2
    assert [what for what, _ in told] == ["up", "lost", "up"]
    answers = [noise(), noise(), *[silent] * 200, noise(), noise()]
    one, _, clock, _ = supervised(lambda: answers.pop(0), live=False, again=False, stall=10)
    run(one, clock, 20.3)  # a file whose disk is slow
    assert len({block.stretch for block in iter(one.backlog.take, None)}) == 1


def test_a_source_is_told_lost_before_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a device that was pulled may take for ever."""
    one, source, clock, told = supervised(lambda: AudioError("gone"))
    seen: list[bool] = []
    monkeypatch.setattr(source, "close", lambda: seen.append(one.stats.up))
    one.stats.up = True
    run(one, clock, 1)
    assert seen[0] is False and told[0][0] == "lost"


def test_samples_that_the_driver_dropped_are_said_once_a_minute() -> None:
    one, source, clock, told = supervised(noise, buffer=100)
    run(one, clock, 3)
    for source.overflows in (1, 2, 3):
        run(one, clock, 3)
    assert one.stats.overflows == 3
    assert [text for what, text in told if what == "behind"] == [
        "the driver dropped samples 1 time: this machine is too busy"
    ]
    run(one, clock, 60)
    assert told[-1][1] == "the driver dropped samples 2 times: this machine is too busy"


def test_a_stretch_ends_where_sound_was_dropped() -> None:
    one, _, clock, _ = supervised(noise, buffer=5)
    run(one, clock, 3)
    before = one.backlog.take()
    run(one, clock, 9)
    after = one.backlog.take()
    assert before is not None and after is not None and before.stretch != after.stretch
    assert {block.stretch for block in iter(one.backlog.take, None)} == {after.stretch}


def test_a_file_through_a_pipe_waits_instead() -> None:
    one, _, clock, _ = supervised(lambda: noise(1), live=None, buffer=5)
    heard = 0.0
    for _ in range(500):  # it comes 50 times as fast as it sounds; we hear at 10 times
        clock.advance(one.step() or 0.02)
        block = one.backlog.take() if RNG.random() < 0.2 else None
        heard += block.seconds if block else 0
    assert one.stats.dropped == 0 and heard > 50
    assert one.backlog.seconds <= 5


def test_the_end_of_a_file_ends_it_and_that_of_a_stream_does_not() -> None:
    for live, finished in ((None, True), (True, False)):
        one, source, clock, _ = supervised(lambda: None, live=live)
        run(one, clock, 10)
        assert one.stats.finished == finished
        last = list(iter(one.backlog.take, None))[-1]
        assert last.last == finished
        assert (len(source.opened) > 1) == (not finished)


@pytest.mark.parametrize(
    ("second", "told"),
    [
        (np.zeros(SR), "digital silence"),
        (np.full(SR, 0.2), "digital silence"),
        (RNG.uniform(-1, 1, SR), "does not move"),
    ],
)
def test_zeros_and_a_frozen_level_are_faults(second: np.ndarray, told: str) -> None:
    watch = FaultWatch(10)
    second = second.astype(np.float32)[:, np.newaxis]
    tape = np.tile(second, (12, 1))
    pieces = [tape[i : i + 77] for i in range(0, len(tape), 77)]
    faults = [watch.push(piece, SR) for piece in pieces]
    assert faults[5 * SR // 77] == "" and told in faults[-1]
    assert watch.push(noise(2), SR) == ""


def test_faint_noise_is_no_fault_and_has_its_level() -> None:
    watch = FaultWatch(2)
    quiet = (RNG.integers(-1, 2, (20 * SR, 1)) / 32_768).astype(np.float32)
    assert watch.push(quiet, SR) == ""
    assert watch.level == pytest.approx(10 * np.log10(np.mean(quiet**2)), abs=0.5)


def test_the_backlog_keeps_one_block_however_long() -> None:
    backlog = Backlog(1, threading.Condition())
    for number in range(3):
        backlog.put(Block(noise(2), FORM, float(number), 1))
    kept = backlog.take()
    assert kept is not None and kept.began == 2 and backlog.take() is None
    assert backlog.dropped == 4 and backlog.seconds == 0


@pytest.mark.parametrize(("first_only", "fault"), [(False, ""), (True, "digital silence for 12 s")])
def test_one_dead_channel_is_no_fault_where_another_is_heard(first_only: bool, fault: str) -> None:
    watch = FaultWatch(10, first_only=first_only)
    for _ in range(12):
        told = watch.push(np.hstack([np.zeros((SR, 1), np.float32), noise(1)]), SR)
    assert told == fault
    for _ in range(12):
        told = watch.push(np.zeros((SR, 2), np.float32), SR)
    assert told.startswith("digital silence")
