"""Events and times of listening reach the file of months, though it cannot be written at first."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from spectro.listening.events.finding import Event, Origin
from spectro.listening.events.store import Effort, EventStore
from spectro.listening.live import diary as diaries
from spectro.listening.live.diary import Diary

BEGAN = datetime(2026, 5, 1, 23)
HERE = Origin("mic-1", BEGAN, "garden", "model")


def event(number: int) -> Event:
    at, when = float(number), f"2026-05-01T23:00:{number:02}"
    return Event("mic-1", at, at + 1, when, "owl", 0.9, 0.95, "garden", "m", "t")


class Said(list[tuple[str, str]]):
    def __call__(self, what: str, text: str) -> None:
        self.append((what, text))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "months.sqlite"


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def spans(path: Path) -> list[tuple[datetime, datetime]]:
    return [(one.start, one.end) for one in EventStore(path).effort()]


def test_a_time_that_goes_on_is_one_row(path: Path) -> None:
    said = Said()
    diary = Diary(EventStore(path), said)
    for seconds in (10, 20, 30):
        diary.heard("mic", 0, HERE, seconds - 10, seconds)
        diary.write()
    assert list(EventStore(path).effort()) == [Effort("mic", "garden", BEGAN, after(30))]
    again = HERE._replace(begin=after(100))
    diary.heard("mic", 1, again, 0, 5)
    diary.write()
    diary.heard("mic", 1, again, 5, 7)
    diary.write()
    assert spans(path) == [(BEGAN, after(30)), (after(100), after(107))]
    assert said == []


@pytest.mark.parametrize("moved", [3, -60, 10_000_000])
def test_a_clock_put_right_moves_the_time_and_claims_no_more(moved: int, path: Path) -> None:
    diary = Diary(EventStore(path), Said())
    diary.heard("mic", 0, HERE, 0, 10)
    diary.write()
    diary.heard("mic", 0, HERE._replace(begin=after(moved)), 10, 12)
    diary.write()
    assert spans(path) == [(after(moved), after(moved + 12))]


def test_what_a_dead_microphone_gives_is_not_listened_to(path: Path) -> None:
    diary = Diary(EventStore(path), Said())
    diary.heard("mic", 0, HERE, 0, 10)
    diary.deaf("mic")
    diary.write()
    diary.deaf("mic")
    diary.heard("mic", 0, HERE, 300, 301)
    diary.heard("mic", 0, HERE, 301, 302)
    diary.write()
    assert spans(path) == [(BEGAN, after(10)), (after(300), after(302))]


def test_without_a_time_no_effort_is_claimed(path: Path) -> None:
    diary = Diary(EventStore(path), Said())
    diary.heard("pipe", 0, HERE._replace(begin=None), 0, 10)
    diary.over("1", event(1))
    diary.write()
    assert spans(path) == []
    assert list(EventStore(path).events()) == [event(1)]


def test_what_is_not_kept_at_the_end_is_told(path: Path) -> None:
    path.mkdir()
    said = Said()
    diary = Diary(EventStore(path), said)
    diary.over("1", event(1))
    diary.heard("mic", 0, HERE, 0, 10)
    diary.heard("mic", 1, HERE, 0, 10)
    diary.finish(0.1)
    assert said[-1] == ("not kept", "1 events and 2 times of listening")


def test_what_cannot_be_written_waits_and_is_told_once(path: Path) -> None:
    path.write_text("another program's")
    said = Said()
    diary = Diary(EventStore(path), said)
    for number in range(3):
        diary.over(str(number), event(number))
        diary.heard("mic", 0, HERE, 0, 10 * number + 1)
        diary.write()
    assert [what for what, _ in said] == ["not written"]
    assert diary.settled() == []
    path.unlink()
    diary.over("3", event(3))
    diary.write()
    assert diary.settled() == ["0", "1", "2", "3"] and diary.settled() == []
    assert list(EventStore(path).events()) == [event(number) for number in range(4)]
    assert spans(path) == [(BEGAN, after(21))]
    assert [what for what, _ in said] == ["not written", "written again"]


def test_memory_is_bounded_and_what_is_dropped_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diaries, "_MOST", 2)
    path.mkdir()
    said = Said()
    diary = Diary(EventStore(path), said)
    for number in range(3):
        diary.over(str(number), event(number))
    diary.write()
    assert [what for what, _ in said] == ["not written", "dropped"]
    assert said[1][1].startswith("1 of the oldest")
    assert diary.settled() == ["0"]
    path.rmdir()
    diary.write()
    assert list(EventStore(path).events()) == [event(1), event(2)]
