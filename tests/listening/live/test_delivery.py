"""Messages arrive: at least once, in order, with an id, whatever the other side and the disk do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectro.errors import ConfigError
from spectro.listening.events.finding import Event
from spectro.listening.live.delivery import messages
from spectro.listening.live.delivery.alerts import Alerts
from spectro.listening.live.delivery.command import Command
from spectro.listening.live.delivery.courier import Courier, DeliveryError
from spectro.listening.live.delivery.outbox import Batch, Message, Outbox
from spectro.listening.live.delivery.webhook import Webhook, read_secret
from spectro.listening.live.settings import AlertSettings
from spectro.listening.live.stats import ListenerStats
from tests.listening.live.clocks import FakeClock
from tests.listening.live.disk import FullDisk
from tests.listening.live.receiver import Receiver


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(tmp_path / "outbox.sqlite")
    yield box
    box.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.close()


def put(outbox: Outbox, *names: str, channel: str = "webhook") -> None:
    batch = Batch()
    for name in names:
        body = messages.written({**messages.notice("test", "", name, 1.8e9), "id": name})
        batch.send(channel, name, body, 1.8e9)
    outbox.commit(batch)


def courier(
    outbox: Outbox, channel: Any, clock: FakeClock
) -> tuple[Courier, ListenerStats, list[tuple[str, str]]]:
    told: list[tuple[str, str]] = []
    stats = ListenerStats()
    return Courier(channel, outbox, clock, stats, lambda *t: told.append(t)), stats, told


def run(one: Courier, clock: FakeClock, seconds: float = 3_600) -> None:
    until = clock.monotonic() + seconds
    while clock.monotonic() < until and one.outbox.head(one.channel.name):
        clock.advance(one.step())


def test_a_message_outlives_the_process(tmp_path: Path) -> None:
    """A process that is killed right after commit returned loses nothing."""
    code = (
        "import os, sys\n"
        "from spectro.listening.live.delivery.outbox import *\n"
        "box, batch = Outbox(sys.argv[1]), Batch()\n"
        "batch.send('webhook', 'a', '{}', 1.0)\n"
        "batch.keep('open', 'x', '{}')\n"
        "box.commit(batch)\n"
        "os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "box.sqlite"
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -9
    box = Outbox(path)
    assert box.head("webhook") == Message(1, "a", "{}", 1.0, 0, 0.0)
    assert box.kept("open") == {"x": "{}"} and box.waiting("webhook") == 1
    assert box._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert box._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with pytest.raises(ConfigError, match="locked"):
        Outbox(path)
    box.close()


def test_in_order_while_half_of_all_attempts_fail(outbox: Outbox, receiver: Receiver) -> None:
    dice = random.Random(3)
    receiver.answer = lambda: dice.choice([204, 204, 500, 0, 503, 599])
    put(outbox, *map(str, range(40)))
    clock = FakeClock()
    one, stats, told = courier(outbox, Webhook(receiver.url, None, clock), clock)
    run(one, clock, 1e6)
    assert list(dict.fromkeys(receiver.ids)) == [str(i) for i in range(40)]
    assert len(receiver.ids) > 40  # 599: it had it, and did not say so
    assert stats.delivered["webhook"] == 40 and stats.failures["webhook"] > 10
    assert {what for what, _ in told} == {"undelivered", "delivered"}


def test_waits_grow_and_stay_bounded(outbox: Outbox) -> None:
    clock = FakeClock()
    one, _, told = courier(outbox, Webhook("http://127.0.0.1:9/", None, clock), clock)
    put(outbox, "a")
    waits = [one.step() for _ in range(14) if not clock.advance(361)]
    assert waits[0] < 1.3 and waits[5] > waits[0] and max(waits) <= 360
    assert outbox.head("webhook").attempts == 14  # type: ignore[union-attr]
    assert len(told) == 1 and "127.0.0.1" in told[0][1]


def test_a_clock_set_back_does_not_hold_a_message_for_years(outbox: Outbox) -> None:
    clock = FakeClock()
    one, *_ = courier(outbox, Webhook("http://127.0.0.1:9/", None, clock), clock)
    put(outbox, "a")
    one.step()
    clock.jump(-1e8)
    attempts = one.stats.failures["webhook"]
    one.step()
    assert one.stats.failures["webhook"] == attempts + 1  # it was tried at once
    for _ in range(3):
        clock.advance(one.step())
        one.step()
    assert one.stats.failures["webhook"] > attempts + 3


def test_the_receiver_asks_to_wait(outbox: Outbox, receiver: Receiver) -> None:
    clock = FakeClock()
    receiver.answer, receiver.more = lambda: 429, {"Retry-After": "77"}
    one, *_ = courier(outbox, Webhook(receiver.url, None, clock), clock)
    put(outbox, "a")
    assert one.step() == 77


def test_what_is_refused_too_often_lets_the_others_pass_and_is_tried_at_the_next_start(
    outbox: Outbox, receiver: Receiver
) -> None:
    clock = FakeClock()
    answers = iter([400] * 8 + [204] * 2)
    receiver.answer = lambda: next(answers)
    one, stats, told = courier(outbox, Webhook(receiver.url, None, clock), clock)
    put(outbox, "bad", "good", "better")
    run(one, clock)
    assert receiver.ids == ["good", "better"] and outbox.waiting("webhook") == 1
    assert stats.aside["webhook"] == 1 and any(what == "aside" for what, _ in told)
    outbox.close()
    again = Outbox(outbox.path)
    assert again.head("webhook").id == "bad"  # type: ignore[union-attr]
    again.close()


def test_a_refused_login_blocks_and_sets_nothing_aside(outbox: Outbox, receiver: Receiver) -> None:
    clock = FakeClock()
    receiver.answer = lambda: 401
    one, stats, _ = courier(outbox, Webhook(receiver.url, None, clock), clock)
    put(outbox, "a", "b")
    run(one, clock, 4_000)
    receiver.answer = lambda: 204
    run(one, clock)
    assert receiver.ids == ["a", "b"] and not stats.aside


def test_the_signature_is_the_standard_one(outbox: Outbox, receiver: Receiver) -> None:
    key = b"0123456789abcdef01234567"
    secret = read_secret("whsec_" + base64.b64encode(key).decode() + "\n")
    clock = FakeClock()
    put(outbox, "msg_1")
    courier(outbox, Webhook(receiver.url, secret, clock), clock)[0].step()
    [headers], [body] = receiver.headers, receiver.bodies
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"
    assert headers["webhook-id"] == "msg_1" and headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("text", ["", "whsec_?"])
def test_a_secret_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="secret"):
        read_secret(text)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "http://",
        "http://x:99999/",
        "file:///x",
        "hook",
        "http://a..b/",
        f"http://{'x' * 64}/",
    ],
)
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match="--webhook"):
        Webhook(url, None, FakeClock())


def test_a_url_may_have_any_letters_and_its_password_any_sign(
    receiver: Receiver, outbox: Outbox
) -> None:
    address = receiver.url.removeprefix("http://").partition("/")[0]
    clock = FakeClock()
    hook = Webhook(f"http://me:p%40ss%2F@{address}/überwachung/a%20b?ort=Füßen", None, clock)
    put(outbox, "a")
    courier(outbox, hook, clock)[0].step()
    [headers] = receiver.headers
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"me:p@ss/"
    assert receiver.paths == ["/%C3%BCberwachung/a%20b?ort=F%C3%BC%C3%9Fen"]
    assert Webhook("http://münchen.example/", None, clock)._host == "xn--mnchen-3ya.example"


def test_what_no_client_can_send_blocks_and_does_not_end_the_listener(
    receiver: Receiver, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    hook = Webhook(receiver.url, None, clock)
    monkeypatch.setattr(hook, "_path", "/ü")
    put(outbox, "a")
    courier(outbox, hook, clock)[0].step()
    assert outbox.waiting("webhook") == 1 and receiver.asked == 0


def test_a_message_that_was_written_to_disk_while_it_was_under_way_is_sent_once(
    outbox: Outbox, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    db = outbox._db
    monkeypatch.setattr(outbox, "_db", FullDisk(db))
    put(outbox, "a", "b")
    first = outbox.head("webhook")
    assert first is not None and first.seq < 0
    monkeypatch.setattr(outbox, "_db", db)
    outbox.flush()  # another thread, while the courier waits for the receiver
    outbox.failed("webhook", first, clock.time() + 5)
    again = outbox.head("webhook")
    assert again is not None and (again.id, again.attempts) == ("a", 1)
    outbox.done("webhook", first)
    second = outbox.head("webhook")
    assert second is not None and second.id == "b"
    assert outbox.waiting("webhook") == 1
    assert db.execute("SELECT count(*) FROM message").fetchone() == (1,)


def test_no_redirect_is_followed(receiver: Receiver, outbox: Outbox) -> None:
    other, clock = Receiver(), FakeClock()
    receiver.answer, receiver.more = lambda: 307, {"Location": other.url}
    put(outbox, "a")
    courier(outbox, Webhook(receiver.url, None, clock), clock)[0].step()
    other.close()
    assert receiver.asked == 1 and other.asked == 0 and outbox.waiting("webhook") == 1


def test_messages_wait_in_memory_while_the_disk_is_full(tmp_path: Path, receiver: Receiver) -> None:
    box, clock = Outbox(tmp_path / "box.sqlite"), FakeClock()
    one, *_ = courier(box, Webhook(receiver.url, None, clock), clock)
    put(box, "before")
    pages = box._db.execute("PRAGMA page_count").fetchone()[0]
    box._db.execute(f"PRAGMA max_page_count={pages}")
    for name in "abcdef":
        batch = Batch()
        batch.send("webhook", name, json.dumps({"id": name, "x": "y" * 9_000}), 1.0)
        box.commit(batch)
    assert "full" in box.trouble and box.waiting("webhook") == 7
    one.step()
    one.step()
    assert receiver.ids == ["before", "a"]
    box._db.execute("PRAGMA max_page_count=1000000")
    put(box, "after")
    assert box.trouble == ""
    box.close()
    again = Outbox(tmp_path / "box.sqlite")
    one, *_ = courier(again, Webhook(receiver.url, None, clock), clock)
    run(one, clock)
    assert receiver.ids == ["before", *"abcdef", "after"]
    again.close()


def test_a_delivered_message_that_cannot_be_deleted_is_not_sent_for_ever(
    outbox: Outbox, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    one, *_ = courier(outbox, Webhook(receiver.url, None, clock), clock)
    put(outbox, "a", "b")

    db = outbox._db
    monkeypatch.setattr(outbox, "_db", FullDisk(db))
    run(one, clock)
    assert receiver.ids == ["a", "b"] and outbox.waiting("webhook") == 0
    monkeypatch.setattr(outbox, "_db", db)
    outbox.flush()
    assert outbox.trouble == ""
    assert db.execute("SELECT count(*) FROM message").fetchone() == (0,)


@pytest.mark.parametrize("on_disk", [True, False])
def test_while_the_disk_refuses_attempts_count_and_what_is_kept_does_not_pile_up(
    outbox: Outbox, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, on_disk: bool
) -> None:
    clock = FakeClock()
    receiver.answer = lambda: 400
    one, *_ = courier(outbox, Webhook(receiver.url, None, clock), clock)
    if on_disk:
        put(outbox, "bad", "good")

    db = outbox._db
    monkeypatch.setattr(outbox, "_db", FullDisk(db))
    if not on_disk:
        put(outbox, "bad", "good")
    for number in range(500):
        batch = Batch()
        batch.keep("count", "x", str(number))
        batch.drop("open", "y")
        outbox.commit(batch)
    assert len(outbox._changes) == 2
    for _ in range(16):  # an attempt, and a wait
        clock.advance(one.step())
        if one.stats.failures["webhook"] == 8:
            break
    head = outbox.head("webhook")
    assert head is not None and head.id == "good"  # the refused one is set aside
    receiver.answer = lambda: 204
    clock.advance(one.step())
    one.step()
    monkeypatch.setattr(outbox, "_db", db)
    outbox.flush()
    rows = db.execute("SELECT id, attempts FROM message").fetchall()
    assert rows == [("bad", 8)]
    assert outbox.kept("count") == {"x": "499"}


def test_a_file_that_is_no_outbox(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"something else" * 100)
    with pytest.raises(ConfigError, match="no outbox"):
        Outbox(tmp_path / "x")


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "hook.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_program_reads_the_message_and_no_shell_sees_it(tmp_path: Path) -> None:
    line = script(tmp_path, f'cat > {tmp_path}/got; echo "$1" > {tmp_path}/arg')
    message = Message(1, "a", '{"label": "$(touch x); `id`"}', 1.0, 0, 0.0)
    Command(f"{line} '$HOME; two words'").deliver(message)
    assert (tmp_path / "got").read_text() == message.body
    assert (tmp_path / "arg").read_text() == "$HOME; two words\n"


def test_a_program_that_fails_or_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = Message(1, "a", "{}", 1.0, 0, 0.0)
    with pytest.raises(DeliveryError, match="status 3: no bell") as found:
        Command(script(tmp_path, "echo no bell >&2; exit 3")).deliver(message)
    assert found.value.refused
    monkeypatch.setattr("spectro.listening.live.delivery.command._PATIENCE", 0.3)
    began = time.monotonic()
    with pytest.raises(DeliveryError, match="did not end"):
        Command(script(tmp_path, "sleep 600 & sleep 600")).deliver(message)
    assert time.monotonic() - began < 60
    with pytest.raises(ConfigError, match="no such program"):
        Command("/nowhere/at-all")


def test_what_a_program_leaves_running_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds on to all that the program was given, as a siren that goes on would."""
    monkeypatch.setattr("spectro.listening.live.delivery.command._PATIENCE", 20.0)
    began = time.monotonic()
    line = script(tmp_path, f"sleep 60 & echo $! > {tmp_path}/pid; exit 0")
    Command(line).deliver(Message(1, "a", "{}", 1.0, 0, 0.0))
    assert time.monotonic() - began < 15
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, 0)  # it goes on
    os.kill(pid, signal.SIGKILL)


def event(label: str, start: float) -> Event:
    return Event("mic", start, start + 1, "", label, 0.9, 0.95, "", "", "")


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 400)), min_size=1, max_size=30),
    st.sampled_from([0, 60, 300]),
    st.sampled_from([1, 5, 1_000]),
    st.sampled_from(["raised", "over", "both"]),
)
def test_every_event_is_told_at_once_or_in_a_digest(
    tmp_path_factory: pytest.TempPathFactory,
    found: list[tuple[str, float]],
    cooldown: float,
    most: int,
    tell: str,
) -> None:
    box = Outbox(tmp_path_factory.mktemp("box") / "box.sqlite")
    clock = FakeClock()
    own = AlertSettings(tell=tell, cooldown=cooldown, digest=900, most=most)  # type: ignore[arg-type]
    alerts = Alerts(["webhook"], own, box, clock)
    at_once: dict[str, list[float]] = {}
    for number, (label, wait) in enumerate(found):
        for state in ("raised", "over"):
            batch = Batch()
            told = messages.event(str(number), state, "mic", event(label, number), clock.time())
            if alerts.add(batch, told) and state == ("over" if tell == "over" else "raised"):
                at_once.setdefault(label, []).append(clock.monotonic())
            box.commit(batch)
        clock.advance(wait)
        alerts.step()
    alerts.flush()
    rows = box._db.execute("SELECT body FROM message").fetchall()
    bodies = [json.loads(row[0]) for row in rows]
    single = [one["id"] for one in bodies if one["kind"] == "event"]
    digested = [e["id"] for one in bodies if one["kind"] == "digest" for e in one["events"]]
    assert set(single) | set(digested) == set(map(str, range(len(found))))
    assert not set(single) & set(digested) and len(set(digested)) == len(digested)
    assert len(single) == len(set(single)) * (2 if tell == "both" else 1)
    for times in at_once.values():
        assert all(b - a >= cooldown for a, b in itertools.pairwise(times))
    hours = sorted(time for times in at_once.values() for time in times)
    assert all(b - a >= 3_600 for a, b in zip(hours, hours[most:], strict=False))
    box.close()


def test_what_waits_for_the_digest_outlives_a_crash(tmp_path: Path) -> None:
    clock, own = FakeClock(), AlertSettings()
    box = Outbox(tmp_path / "box.sqlite")
    alerts = Alerts(["webhook"], own, box, clock)
    for number in range(3):
        batch = Batch()
        alerts.add(batch, messages.event(str(number), "raised", "mic", event("a", number), 1e9))
        box.commit(batch)
    box._db.close()  # no flush, no farewell
    again = Outbox(tmp_path / "box.sqlite")
    alerts = Alerts(["webhook"], own, again, clock)
    assert alerts.held == 2
    clock.advance(901)
    alerts.step()
    rows = again._db.execute("SELECT body FROM message ORDER BY seq").fetchall()
    digest = json.loads(rows[-1][0])
    assert (digest["kind"], digest["count"], digest["classes"]) == ("digest", 2, {"a": 2})
    assert again.kept("held") == {}
    again.close()
