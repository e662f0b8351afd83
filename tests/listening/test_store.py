"""Events of months in one file: added once however often, read as they were, drawn with effort."""

from __future__ import annotations

import random
import re
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from spectro.cli.app import app
from spectro.errors import ConfigError, DatasetError
from spectro.listening.activity.choose import Choice, Heard, choose, read_events
from spectro.listening.activity.counts import count
from spectro.listening.activity.draw import activity_svg
from spectro.listening.events import annotations
from spectro.listening.events.finding import Event
from spectro.listening.events.store import Effort, EventStore, add_found
from spectro.listening.events.tables import read_csv, write_csv
from spectro.listening.scan import Found, ScanSettings
from tests.listening.ears import make_ears, tones

MAY = datetime(2026, 5, 1)


def event(
    at: datetime | None = MAY, label: str = "owl", site: str = "ridge", peak: float = 0.9
) -> Event:
    told = "" if at is None else at.isoformat(timespec="milliseconds")
    return Event("a.wav", 1.0, 2.5, told, label, peak / 2, peak, site, "m", "t")


def spread(n: int, seed: int = 0) -> list[Event]:
    rng = random.Random(seed)
    return [
        event(MAY + timedelta(minutes=rng.randrange(10 * 1440)), rng.choice(["owl", "fox"]))
        for _ in range(n)
    ]


def test_events_come_back_as_they_were_and_once(tmp_path: Path) -> None:
    store, events = EventStore(tmp_path / "new" / "e.sqlite"), spread(50)
    assert store.add(events) == len(set(events))
    assert store.add(events) == 0
    assert EventStore(store.path).add([*events[:10], event(None, "jay")]) == 1
    assert set(store.events()) == {*events, event(None, "jay")}
    times = [one.begin_time for one in store.events()]
    assert times == sorted(times)


def test_an_event_is_the_same_from_a_table(tmp_path: Path) -> None:
    third = event()._replace(start=1 / 3, probability=2 / 3)
    store = EventStore(tmp_path / "e.sqlite")
    assert store.add([third]) == 1
    write_csv(tmp_path / "events.csv", [third])
    assert store.add(read_csv(tmp_path / "events.csv")) == 0


def test_a_batch_is_added_whole_or_not(tmp_path: Path) -> None:
    store = EventStore(tmp_path / "e.sqlite")
    store.add([event()])

    def broken():
        yield event(label="fox")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.add(broken())
    assert list(store.events()) == [event()]


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    code = """
import sys
from spectro.listening.events.finding import Event
from spectro.listening.events.store import EventStore
for i in range(40):
    EventStore(sys.argv[1]).add([Event(sys.argv[2], i, i + 1, "", "owl", 0.5, 0.5, "", "", "")])
"""
    path = tmp_path / "e.sqlite"
    running = [subprocess.Popen([sys.executable, "-c", code, path, seed]) for seed in "1234"]
    assert [process.wait(120) for process in running] == [0, 0, 0, 0]
    found = {(one.recording, one.start) for one in EventStore(path).events()}
    assert found == {(name, i) for name in "1234" for i in range(40)}


def test_effort_is_kept_with_its_site(tmp_path: Path) -> None:
    store = EventStore(tmp_path / "e.sqlite")
    for _ in range(2):
        store.add_effort("mic", MAY, MAY + timedelta(hours=2), site="ridge")
    assert list(store.effort()) == [Effort("mic", "ridge", MAY, MAY + timedelta(hours=2))]
    with pytest.raises(DatasetError, match="before it began"):
        store.add_effort("mic", MAY, MAY - timedelta(hours=2))


def sqlite(path: Path, *commands: str) -> None:
    with sqlite3.connect(path) as connection:
        for command in commands:
            connection.execute(command)
    connection.close()


@pytest.mark.parametrize(
    "commands",
    [
        ("CREATE TABLE events (a)",),
        ("PRAGMA application_id = 1397769558", "PRAGMA user_version = 9"),
        ("PRAGMA application_id = 1397769558", "PRAGMA user_version = 1", "CREATE TABLE x (a)"),
        (
            "PRAGMA application_id = 1397769558",
            "PRAGMA user_version = 1",
            "CREATE TABLE effort (source, site, began, ended)",
            "CREATE VIEW events AS SELECT 1 AS recording",
        ),
    ],
)
def test_files_of_others_are_refused_and_left_alone(tmp_path: Path, commands: tuple[str]) -> None:
    path = tmp_path / "e.sqlite"
    sqlite(path, *commands)
    before = path.read_bytes()
    for use in (lambda: list(read_events(path).events), lambda: EventStore(path).add([event()])):
        with pytest.raises(DatasetError, match=r"e\.sqlite"):
            use()
    assert path.read_bytes() == before


FOR_EVER = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"


@pytest.mark.parametrize(
    ("commands", "name"),
    [
        (f"CREATE TRIGGER t AFTER INSERT ON events BEGIN SELECT ({FOR_EVER}); END", "t"),
        ("CREATE TRIGGER u BEFORE INSERT ON effort BEGIN SELECT RAISE(IGNORE); END", "u"),
        ("CREATE INDEX i ON events (hex(zeroblob(length(label) * 100000000)))", "i"),
        (
            "ALTER TABLE events ADD COLUMN more TEXT GENERATED ALWAYS AS (hex(label)) VIRTUAL",
            "events",
        ),
    ],
)
def test_what_works_with_every_row_is_refused(tmp_path: Path, commands: str, name: str) -> None:
    store = EventStore(tmp_path / "e.sqlite")
    store.add(spread(3))
    with closing(sqlite3.connect(store.path)) as connection:
        if name == "i":  # it is worked out for the rows that there are
            connection.execute("DELETE FROM events")
        connection.executescript(commands)
    for use in (lambda: store.add(spread(4)), lambda: list(store.events())):
        with pytest.raises(DatasetError, match=f"'{name}' in it is not of spectro's making"):
            use()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 sets no limits of SQLite")
def test_a_value_longer_than_any_of_ours_is_not_read(tmp_path: Path) -> None:
    store = EventStore(tmp_path / "e.sqlite")
    store.add(spread(1))
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("UPDATE events SET label = hex(zeroblob(2000000))")
        connection.commit()
    with pytest.raises(DatasetError, match="too big"):
        list(store.events())


def test_tables_that_are_neither_are_left_alone(tmp_path: Path) -> None:
    """People who count by SQL keep notes and views in the same file."""
    store = EventStore(tmp_path / "e.sqlite")
    store.add(spread(3))
    with closing(sqlite3.connect(store.path)) as connection:
        connection.executescript("CREATE TABLE notes (x); CREATE VIEW owls AS SELECT 1; ANALYZE;")
    assert store.add([event(None, "jay")]) == 1
    assert len(list(store.events())) == 4


def test_damage_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "e.sqlite"
    EventStore(path).add(spread(2_000))
    sqlite(path, "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode = DELETE")
    whole = path.read_bytes()
    path.write_bytes(whole[:6_000] + bytes(len(whole) - 6_000))
    with pytest.raises(DatasetError, match=r"e\.sqlite"):
        read_events(path)
    sqlite(tmp_path / "f.sqlite")
    EventStore(tmp_path / "f.sqlite").add([event()])
    sqlite(tmp_path / "f.sqlite", "UPDATE events SET peak = 'high'")
    with pytest.raises(DatasetError, match="damaged"):
        read_events(tmp_path / "f.sqlite")


# ---------------------------------------------------------------------------------------- choosing


@settings(max_examples=60, deadline=None)
@given(
    since=st.none() | st.datetimes(MAY, MAY + timedelta(days=10)),
    until=st.none() | st.datetimes(MAY, MAY + timedelta(days=10)),
    labels=st.sets(st.sampled_from(["owl", "fox", "jay"])),
    least=st.floats(0, 1),
)
def test_a_choice_is_what_a_naive_reader_would_choose(
    since: datetime | None, until: datetime | None, labels: set[str], least: float
) -> None:
    events = [*spread(60), event(None)]
    chosen = choose(
        Heard(events, None), Choice(since, until, frozenset(labels), min_probability=least)
    )
    expected = [
        one
        for one in events
        if (not labels or one.label in labels)
        and one.peak >= least
        and ((since is None and until is None) or one.begin_time)
        and (since is None or datetime.fromisoformat(one.begin_time) >= since)
        and (until is None or datetime.fromisoformat(one.begin_time) < until)
    ]
    assert chosen.events == expected


def test_effort_is_cut_to_the_choice() -> None:
    efforts = [
        Effort("a", "ridge", MAY, MAY + timedelta(hours=10)),
        Effort("b", "lake", MAY, MAY + timedelta(hours=10)),
    ]
    asked = Choice(MAY + timedelta(hours=2), MAY + timedelta(hours=3), sites=frozenset({"ridge"}))
    [left] = choose(Heard([], efforts), asked).effort or []
    assert (left.start.hour, left.end.hour, left.site) == (2, 3, "ridge")


# ----------------------------------------------------------------------------------------- drawing


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4_000), st.integers(1, 600)), min_size=1, max_size=8))
def test_listened_shares_are_those_of_a_count_of_minutes(spans: list[tuple[int, int]]) -> None:
    minute = timedelta(minutes=1)
    efforts = [Effort("a", "", MAY + a * minute, MAY + (a + n) * minute) for a, n in spans]
    minutes = {MAY + (a + i) * minute for a, n in spans for i in range(n)}
    found = count(Heard([], efforts)).listened or {}
    for hour in {(one.date(), one.hour) for one in minutes} | set(found):
        naive = sum((one.date(), one.hour) == hour for one in minutes) / 60
        assert found[hour] == pytest.approx(naive)


def test_counts_are_by_class_day_and_hour() -> None:
    six = MAY.replace(hour=6)
    events = [
        event(six),
        event(six),
        event(six, "fox"),
        event(MAY + timedelta(days=2)),
        event(None),
    ]
    activity = count(Heard(events, None))
    assert activity.days == [date(2026, 5, 1), date(2026, 5, 2), date(2026, 5, 3)]
    assert activity.counts["owl"] == {(date(2026, 5, 1), 6): 2, (date(2026, 5, 3), 0): 1}
    assert (list(activity.counts), activity.listened, activity.untimed) == (["fox", "owl"], None, 1)
    zoned = event()._replace(begin_time="2026-05-01T23:30:00.000+02:00")
    assert list(count(Heard([zoned], None)).counts["owl"]) == [(date(2026, 5, 1), 23)]


def test_what_has_no_time_cannot_be_drawn() -> None:
    with pytest.raises(ConfigError, match="start-time"):
        count(Heard([event(None)], None))
    with pytest.raises(ConfigError, match="too many for a picture"):
        count(Heard([event(), event(MAY.replace(year=2036))], None))


def boxes(svg: str, name: str) -> list[tuple[float, float, float]]:
    """Give the left edge, the top and the width of each box of a class of colour."""
    drawn = "".join(re.findall(rf'<path class="{name}" d="([^"]*)"', svg))
    found = re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v", drawn)
    return [(float(x), float(y), float(w)) for x, y, w in found]


def test_silence_and_deafness_do_not_look_alike() -> None:
    six = MAY.replace(hour=6)
    heard = Heard([event(six), event(six)], [Effort("a", "", six, six + timedelta(hours=1.5))])
    svg = activity_svg(count(heard), "garden <& co>")
    root = ET.fromstring(svg)
    [(x, y, width)] = boxes(svg, "n2")  # two events
    [(silent_x, silent_y, silent_width)] = boxes(svg, "n0")  # half an hour without
    assert (silent_x, silent_y - y, silent_width) == (x, 7, width / 2)
    [deaf] = [
        one for one in root.iter() if one.get("class") == "deaf" and one.get("height") == "168"
    ]
    assert float(deaf.get("height", 0)) == 24 * 7  # all the rest
    assert root.get("aria-label") == "garden <& co>"
    unknown = activity_svg(count(Heard([event(six)], None)), "x")
    assert boxes(unknown, "n0") == []
    assert "is not known" in unknown


# ----------------------------------------------------------------------------------------- command


def test_a_scan_stores_its_events_and_its_effort(tmp_path: Path) -> None:
    """Twice, with an event in each of two recordings, of which one does not say when it began."""
    make_ears(tmp_path / "ears")
    for name in ("20260501_230000.wav", "undated.wav"):
        tones(tmp_path / name, (3000, 2, 5), seconds=10)
    path = tmp_path / "e.sqlite"
    words = ["scan", tmp_path / "ears", tmp_path / "20260501_230000.wav", tmp_path / "undated.wav"]
    words += ["--out", tmp_path / "out", "--store", path, "--ignore", "quiet", "--workers", "1"]
    for _ in range(2):
        app([str(word) for word in words], standalone_mode=False)
    heard = read_events(path)
    assert [one.label for one in heard.events] == ["high", "high"]
    assert sorted(heard.events) == sorted(read_csv(tmp_path / "out" / "events.csv"))
    began = datetime(2026, 5, 1, 23)
    assert [one[2:] for one in heard.effort or []] == [(began, began + timedelta(seconds=10))]
    app([*map(str, words), "--on", "0.99", "--hop", "0.5"], standalone_mode=False)
    again = read_events(path)
    assert sorted(again.events) == sorted(read_csv(tmp_path / "out" / "events.csv"))
    assert {one.thresholds for one in again.events}.isdisjoint(
        one.thresholds for one in heard.events
    )


def test_recordings_of_one_name_at_two_sites_are_two_and_a_path_in_two_forms_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ears(tmp_path / "ears")
    name = "20260501_230000.wav"
    for site in ("site1", "site2"):
        (tmp_path / site).mkdir()
        tones(tmp_path / site / name, (3000, 2, 5), seconds=10)
    store = tmp_path / "e.sqlite"
    for at in ("site1", "site2"):
        monkeypatch.chdir(tmp_path / at)
        for path in (name, tmp_path / at / name):
            words = ["scan", tmp_path / "ears", path, "--out", tmp_path / f"out-{at}"]
            words += ["--store", store, "--ignore", "quiet", "--workers", "1"]
            app([str(word) for word in words], standalone_mode=False)
    heard = read_events(store)
    recordings = [str(tmp_path / site / name) for site in ("site1", "site2")]
    assert sorted(one.recording for one in heard.events) == recordings
    assert sorted(one.source for one in heard.effort or []) == recordings


def found_in(path: Path, begin: datetime | None, n: int = 1) -> Found:
    events = [event(begin)._replace(recording=str(path), start=float(k)) for k in range(n)]
    return Found(annotations.Heard(str(path), 60.0, 8_000), "", "name", events, begin)


def test_a_recording_that_is_gone_by_now_is_stored_as_it_was_heard(tmp_path: Path) -> None:
    """As by somebody who clears the card."""
    store = EventStore(tmp_path / "e.sqlite")
    found = [found_in(tmp_path / f"{name}.wav", MAY) for name in "abc"]  # none of them is there
    assert add_found(store, found, ScanSettings(site="ridge", model="m")) == 3
    assert len([*store.events()]) == len([*store.effort()]) == 3
    assert add_found(store, found, ScanSettings(site="ridge", model="m")) == 0


def test_a_corrected_time_takes_the_place_of_what_was_said_before(tmp_path: Path) -> None:
    store, settings = EventStore(tmp_path / "e.sqlite"), ScanSettings(site="ridge", model="m")
    other = timedelta(days=1)
    add_found(store, [found_in(tmp_path / "a.wav", MAY)], settings)
    add_found(store, [found_in(tmp_path / "b.wav", MAY)], settings)
    add_found(store, [found_in(tmp_path / "a.wav", MAY + other)], settings)
    starts = {Path(one.source).stem: one.start for one in store.effort()}
    assert starts == {"a": MAY + other, "b": MAY}
    assert len([*store.effort()]) == len([*store.events()]) == 2
    add_found(store, [found_in(tmp_path / "a.wav", None)], settings)
    assert [Path(one.source).stem for one in store.effort()] == ["b"]


def test_events_of_a_recording_are_found_without_reading_all(tmp_path: Path) -> None:
    """In files of earlier versions, too."""
    path = tmp_path / "e.sqlite"
    EventStore(path).add(spread(20))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP INDEX by_recording")
    EventStore(path).add(spread(1))
    with closing(sqlite3.connect(path)) as connection:
        query = "DELETE FROM events WHERE (recording, site, model) = (?, ?, ?)"
        [plan] = connection.execute(f"EXPLAIN QUERY PLAN {query}", ("a", "b", "c")).fetchall()
    assert "by_recording" in plan[-1]


def test_a_recording_heard_anew_has_the_new_events_alone(tmp_path: Path) -> None:
    """What another model found, in another recording or at another site, stays."""
    store = EventStore(tmp_path / "e.sqlite")
    mine = event()
    others = [mine._replace(recording="b.wav"), mine._replace(site="x"), mine._replace(model="n")]
    store.add([mine, *others])
    moved = mine._replace(start=1.1)
    where = (mine.recording, mine.site, mine.model)
    assert store.add([moved], instead_of=where) == 1
    assert sorted(store.events()) == sorted([moved, *others])
    assert store.add([moved], instead_of=where) == 0
    assert store.add([], instead_of=where) == 0
    assert sorted(store.events()) == sorted(others)


def test_the_command_answers_from_a_store_and_from_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = spread(20)
    store = EventStore(tmp_path / "e.sqlite")
    store.add(events)
    store.add_effort("mic", MAY, MAY + timedelta(days=10))
    write_csv(tmp_path / "events.csv", events)
    for name in ("e.sqlite", "events.csv"):
        out, picture = tmp_path / f"{name}.csv", tmp_path / f"{name}.svg"
        words = ["events", tmp_path / name, "--label", "owl", "--since", "2026-05-03"]
        words += ["--csv", out, "--picture", picture, "--json"]
        app([str(word) for word in words], standalone_mode=False)
        said = capsys.readouterr().out
        expected = [e for e in events if e.label == "owl" and e.begin_time >= "2026-05-03"]
        assert sorted(read_csv(out)) == sorted(expected)
        assert said.count('"label": "owl"') == len(expected)
        assert bool(boxes(picture.read_text(), "n0")) == (name == "e.sqlite")
    table = tmp_path / "events.csv"
    write_csv(table, [*events, event(None), event(None), event(None, label="fox")])
    words = ["events", str(table), "--label", "owl", "--since", "2026-05-03"]
    app(words, standalone_mode=False)
    told = "2 events have no time, and so are left out; spectro scan --start-time gives one"
    assert told in capsys.readouterr().err.replace("\n", " ")
    app(words[:4], standalone_mode=False)
    assert "no time" not in capsys.readouterr().err
    with pytest.raises(typer.BadParameter, match=r"name it \.svg"):
        app([*words, "--picture", str(tmp_path / "p.png")], standalone_mode=False)
    before = table.read_bytes()
    with pytest.raises(typer.BadParameter, match="would replace the file that is read"):
        app(["events", str(table), "--csv", str(table)], standalone_mode=False)
    assert table.read_bytes() == before
