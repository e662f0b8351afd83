"""What probes and Prometheus read, over HTTP, from a server that a slow client does not stop."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from spectro.errors import ConfigError
from spectro.listening.live.health import server as health_server
from spectro.listening.live.health.metrics import Metrics
from spectro.listening.live.health.notify import notify
from spectro.listening.live.health.server import HealthServer
from spectro.listening.live.health.state import heartbeat, problems
from spectro.listening.live.settings import ListenSettings
from spectro.listening.live.stats import ListenerStats, SourceStats
from tests.listening.live.clocks import FakeClock


@pytest.fixture
def stats() -> ListenerStats:
    found = ListenerStats()
    gate = SourceStats(True, "", 1.0, 1.8e9, 120.5, 2.5, -47.25, 3, 1)
    found.sources = {"gate": gate, "roof": SourceStats()}
    found.events.update({'car "horn"\n': 2, "saw": 1})
    found.inference.add(0.004, 100)
    found.delivered["webhook"] = 3
    found.proofs["gate", "saw"] = 1.8e9 - 60
    found.proof_counts["saw", "heard"] = 1
    return found


@pytest.fixture
def server(stats: ListenerStats) -> Iterator[str]:
    found = HealthServer(("127.0.0.1", 0), stats, Metrics(stats, "abc"), FakeClock())
    yield f"http://127.0.0.1:{found.address[1]}"
    found.close()


def get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_healthz_is_red_for_a_source_that_hears_nothing(server: str, stats: ListenerStats) -> None:
    status, body = get(f"{server}/healthz")
    told = json.loads(body)
    assert (status, told["status"], told["problems"]) == (503, "failing", ["roof: not opened yet"])
    del stats.sources["roof"]
    status, body = get(f"{server}/healthz")
    assert (status, json.loads(body)["status"]) == (200, "ok")
    assert json.loads(body)["sources"]["gate"]["level_dbfs"] == -47.2
    gate = stats.sources["gate"]
    gate.dropped_at = FakeClock().time() - 60
    (told,) = json.loads(get(f"{server}/healthz")[1])["problems"]
    assert told == "gate: this machine does not keep up: 2 s were dropped unheard"
    gate.dropped_at -= 3_600
    stats.refused["webhook"], stats.aside["webhook"] = "400 Bad Request", 12
    (told,) = json.loads(get(f"{server}/healthz")[1])["problems"]
    assert told == "webhook: refuses messages, 12 set aside: 400 Bad Request"
    stats.refused.clear()
    stats.sources["pipe"] = SourceStats(up=False, fault="", finished=True, ended="its sound ended")
    assert get(f"{server}/healthz")[0] == 503
    stats.sources["pipe"].ended = ""  # a file that was heard whole
    assert get(f"{server}/healthz")[0] == 200
    del stats.sources["pipe"]
    stats.unheard["gate", "saw"] = "would have heard saw at +3 dB: no"
    stats.oldest["webhook"], stats.waiting["webhook"] = 1.8e9 - 7_200, 4
    assert problems(stats, 1.8e9) == [
        "gate: would have heard saw at +3 dB: no",
        "webhook: 4 messages wait, the first for 2.0 h",
    ]
    assert get(f"{server}/healthz")[0] == 503


def test_metrics_have_the_names_and_values_and_no_other_page(server: str) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    status, body = get(f"{server}/metrics")
    assert status == 200
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }
    gate = ("source", "gate")
    expected = {
        ("spectro_events_total", ("class", 'car "horn"\n')): 2,
        ("spectro_audio_seconds_total", gate): 120.5,
        ("spectro_audio_dropped_seconds_total", gate): 2.5,
        ("spectro_last_audio_timestamp_seconds", gate): 1.8e9,
        ("spectro_source_up", gate): 1,
        ("spectro_source_up", ("source", "roof")): 0,
        ("spectro_queue_depth", gate): 0,
        ("spectro_inference_duration_seconds_count",): 100,
        ("spectro_inference_duration_seconds_bucket", ("le", "0.0025")): 0,
        ("spectro_inference_duration_seconds_bucket", ("le", "0.005")): 100,
        ("spectro_messages_delivered_total", ("channel", "webhook")): 3,
        ("spectro_hearing", ("class", "saw"), gate): 1,
        ("spectro_hearing_proofs_total", ("class", "saw"), ("result", "heard")): 1,
    }
    assert {key: samples.get(key) for key in expected} == expected
    assert any(key[0] == "spectro_build_info" for key in samples)
    assert get(f"{server}/secret")[0] == 404


def test_clients_that_say_nothing_do_not_stop_it(server: str) -> None:
    host, port = server.removeprefix("http://").split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(30)]
    for one in idle:
        one.close()
    until = time.monotonic() + 20  # their threads see the end when they are given time
    while True:
        try:
            assert get(f"{server}/metrics")[0] == 200
            break
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_clients_that_drip_do_not_stop_it(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_server, "_LONGEST", 0.3)
    host, port = server.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(8)]
    until = time.monotonic() + 20
    answered = False
    while not answered and time.monotonic() < until:
        for one in slow:
            with contextlib.suppress(OSError):
                one.send(b"x")  # never a whole line, and never silent for long
        with contextlib.suppress(OSError):
            answered = get(f"{server}/healthz")[0] in (200, 503)
        time.sleep(0.05)
    for one in slow:
        one.close()
    assert answered


def test_a_source_whose_driver_hangs_is_no_longer_green(stats: ListenerStats) -> None:
    gate = stats.sources["gate"] = SourceStats(up=True, fault="", last_audio=1.8e9)
    stats.sources.pop("roof")
    assert problems(stats, 1.8e9 + 200) == []
    [told] = problems(stats, 1.8e9 + 168 * 3_600)
    assert told == "gate: no sample for 10080 min, and its driver does not answer"
    assert "gate FAULT (no sample for 10 min" in heartbeat(stats, 1.8e9 + 600)
    gate.finished = True  # a file
    assert problems(stats, 1.8e9 + 600) == []


def test_the_heartbeat_says_what_is_wrong(stats: ListenerStats) -> None:
    stats.waiting["webhook"] = 2
    assert heartbeat(stats, 1.8e9) == (
        "gate -47 dBFS, 2 s dropped, roof FAULT (not opened yet), 100 windows of 4.0 ms, 3 events, "
        "2 messages wait"
    )


@pytest.mark.parametrize(
    ("text", "address"),
    [("9464", ("127.0.0.1", 9464)), ("0.0.0.0:80", ("0.0.0.0", 80)), ("[::1]:9", ("::1", 9))],
)
def test_an_address_is_on_loopback_unless_it_says_otherwise(
    text: str, address: tuple[str, int]
) -> None:
    assert ListenSettings(http=text).address == address


@pytest.mark.parametrize("text", ["", "host:", "host:99999", "x"])
def test_an_address_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        _ = ListenSettings(http=text).address


def test_a_taken_port_is_told(server: str, stats: ListenerStats) -> None:
    port = int(server.rpartition(":")[2])
    with pytest.raises(ConfigError, match="choose another"):
        HealthServer(("127.0.0.1", port), stats, Metrics(stats, ""), FakeClock())


def test_systemd_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("n") / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NOTIFY_SOCKET", str(path))
            notify("READY=1")
        assert sock.recv(100) == b"READY=1"
    notify("READY=1")  # nobody asked
