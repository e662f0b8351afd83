"""``spectro listen`` as processes of its own: piped, ended, killed; and wrong usage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.errors import AudioError
from spectro.listening.backends import open_backend
from spectro.listening.events.settings import EventSettings
from spectro.listening.events.store import Effort, EventStore
from spectro.listening.events.tables import json_line
from spectro.listening.live.sources import microphone
from spectro.listening.live.sources.microphone import Device
from spectro.listening.live.sources.pcm import as_bytes
from spectro.listening.scan import ScanSettings, scan_recording
from spectro.models.identity import model_hash
from tests.listening.live.hearing import EVENTS, SR, listening, model_folder, recording, sound
from tests.listening.live.receiver import Receiver

TONES = ((3000, 2, 5), (200, 7, 10), (3000, 20, 24))


@pytest.fixture(scope="module")
def ears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("ears"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.close()


def waited(process: subprocess.Popen[bytes], data: bytes | None = None) -> tuple[str, str]:
    out, told = process.communicate(data, timeout=120)
    return out.decode(), told.decode()


@pytest.mark.slow
def test_a_recording_through_a_pipe_gives_the_events_of_its_scan(
    ears: Path, tmp_path: Path, receiver: Receiver
) -> None:
    path = recording(tmp_path / "night.wav", *TONES, seconds=30)
    scanning = ScanSettings(
        model=model_hash(ears), hop=0.5, site="here", start_time="2026-05-01 23:00",
        events=EventSettings(**EVENTS),
    )  # fmt: skip
    events = scan_recording(path, open_backend(ears, "onnx"), scanning).events
    assert len(events) == 3
    truth = "".join(json_line(event._replace(recording="night.wav")) for event in events)
    process = listening(
        ears, "-", "--name", "night.wav", "--hop", "0.5", "--site", "here", "--json",
        "--start-time", "2026-05-01 23:00", "--state", tmp_path / "state",
        "--webhook", receiver.url, "--cooldown", "0", "--evidence", tmp_path / "evidence",
        "--store", tmp_path / "months.sqlite",
    )  # fmt: skip
    out, told = waited(process, path.read_bytes())
    assert process.returncode == 0, told
    assert out == truth
    store = EventStore(tmp_path / "months.sqlite")
    assert "".join(map(json_line, store.events())) == truth
    began = datetime(2026, 5, 1, 23)
    assert list(store.effort()) == [
        Effort("night.wav", "here", began, began + timedelta(seconds=30))
    ]
    labels = [(one["label"], one["state"]) for one in receiver.taken]
    assert labels == [("high", "raised"), ("low", "raised"), ("high", "raised")]
    assert "no thresholds for here" in told and "all messages delivered" in told
    words = ("--hop", "0.5", "--json", "--ignore", "high", "--state", tmp_path / "other")
    out, told = waited(listening(ears, path, *words))
    assert [json.loads(line)["label"] for line in out.splitlines()] == ["low"], told
    for one in receiver.taken:
        about = json.loads(Path(one["evidence"] + ".json").read_text())
        assert (about["id"], about["state"], about["label"]) == (one["id"], "over", one["label"])
        assert Path(one["evidence"] + ".flac").exists() and Path(one["evidence"] + ".png").exists()


class Live:
    """A process that is sent sound as it would sound, from a microphone that hums when asked to."""

    def __init__(self, ears: Path, state: Path, *arguments: str | Path) -> None:
        raw = ("--format", "s16le", "--rate", SR, "--state", state, "--hop", "0.5")
        self.process = listening(ears, "-", *map(str, raw), *arguments)

    def play(self, *tones: tuple[float, float, float], seconds: float) -> None:
        y = sound(*tones, seconds=seconds)
        assert self.process.stdin is not None
        for at in range(0, len(y), SR // 10):
            self.process.stdin.write(as_bytes(y[at : at + SR // 10]))
            self.process.stdin.flush()
            time.sleep(0.05)  # twice as fast as it sounds, which still is live

    def kill(self, number: int) -> tuple[str, str]:
        self.process.send_signal(number)
        return waited(self.process)


def until(answer: object, seconds: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not answer():  # type: ignore[operator]
        assert time.monotonic() < end, "did not come"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_kill_loses_no_event_that_was_raised(
    ears: Path, tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = lambda: 503
    one = Live(ears, tmp_path, "--webhook", receiver.url, "--tell", "both")
    one.play((3000, 1, 4), seconds=4)
    until(lambda: receiver.asked > 0)
    _, told = one.kill(signal.SIGKILL)
    assert receiver.taken == []
    receiver.answer = lambda: 204
    again = listening(ears, "-", "--state", tmp_path, "--webhook", receiver.url, "--tell", "both")
    _, told = waited(again, recording(tmp_path / "s.wav", seconds=2).read_bytes())
    assert again.returncode == 0, told
    states = [(m["label"], m["state"]) for m in receiver.taken]
    assert states == [("high", "raised"), ("high", "broken off")]
    assert len(set(receiver.ids)) == 1
    assert "high broke off" in told


@pytest.mark.long
def test_sigterm_ends_the_events_and_keeps_the_outbox(
    ears: Path, tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answer = lambda: 503
    one = Live(ears, tmp_path, "--webhook", receiver.url, "--json", "--heartbeat", "0.1")
    one.play((3000, 1, 4), seconds=4)
    until(lambda: receiver.asked > 2)  # what was tried often has its chance at the next start too
    out, told = one.kill(signal.SIGTERM)
    assert one.process.returncode == 0, told
    [event] = map(json.loads, out.splitlines())
    assert (event["label"], event["end"]) == ("high", pytest.approx(4, abs=0.3))
    assert "webhook: 1 messages stay in the outbox" in told
    assert "stdin: up: 8000 Hz, 1 channels" in told and " dBFS, " in told
    receiver.answer = lambda: 204
    again = listening(ears, "-", "--state", tmp_path, "--webhook", receiver.url)
    waited(again, recording(tmp_path / "s.wav", seconds=2).read_bytes())
    assert [m["state"] for m in receiver.taken] == ["raised"]


@pytest.mark.long
def test_a_listener_with_two_sources_and_a_health_page(ears: Path, tmp_path: Path) -> None:
    import socket
    import urllib.request

    recording(tmp_path / "a.wav", (3000, 2, 5), seconds=12)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "listen.toml").write_text(
        f'[listen]\nhop = 0.5\nhttp = "{port}"\nheartbeat = 0.5\nstate = "{tmp_path}/state"\n'
        "[events]\non = 0.3\noff = 0.2\nextent = 0.2\n"
        f'[[source]]\nname = "file"\ninput = "{tmp_path}/a.wav"\nsite = "north"\n'
        '[[source]]\nname = "pipe"\ninput = "-"\n'
    )
    ears_here = tmp_path / "ears"
    model_folder(ears_here)
    (ears_here / "listen.toml").write_bytes((tmp_path / "listen.toml").read_bytes())
    process = listening(ears_here)
    assert process.stdin is not None
    process.stdin.write(recording(tmp_path / "b.wav", (200, 1, 3), seconds=5).read_bytes())
    process.stdin.flush()

    def metrics() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    until(lambda: 'spectro_events_total{class="low"} 1.0' in metrics())
    until(lambda: 'spectro_events_total{class="high"} 1.0' in metrics())
    out, told = waited(process)
    assert process.returncode == 0, told
    assert "file: high" in out and "pipe: low" in out


@pytest.mark.parametrize(
    ("what", "devices", "told"),
    [
        ((), [], "there is no microphone; plug one in; or name a file, the URL of a stream, or -"),
        (("mic:USB",), [], "there is no microphone"),
        (
            ("mic:USB",),
            ["Line"],
            "no microphone's name holds 'USB'; there are Line; or name a file",
        ),
    ],
)
def test_no_microphone_is_told_at_once(
    ears: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: tuple[str, ...],
    devices: list[str],
    told: str,
) -> None:
    found = [Device(i, name, "ALSA", 1, 48_000, i == 0) for i, name in enumerate(devices)]
    monkeypatch.setattr(microphone, "list_devices", lambda: found)
    done = CliRunner().invoke(app, ["listen", str(ears), *what, "--state", str(tmp_path / "s")])
    assert isinstance(done.exception, AudioError)
    assert str(done.exception).startswith(told)
    assert "- for standard input" in str(done.exception)


def failing(ears: Path, *arguments: str | Path) -> str:
    process = listening(ears, *arguments, stdin=subprocess.DEVNULL)
    _, told = waited(process)
    assert process.returncode in (1, 2)
    assert "Traceback" not in told
    return told


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-", "--webhook", "x"], "--webhook x: write http://HOST/PATH"),
        (["-", "--on-event", "/no/such"], "there is no such program"),
        (["gopher://x"], "gopher is no kind of stream"),
        (["-", "--format", "s16le"], "need a rate"),
        (["-", "--name", "a/b"], "up to 64 letters"),
        (["-", "--proof", "x.wav"], "--proof-label"),
        (["-", "--proof-at", "25:00"], "goes with --proof CLIP"),
        (["-", "--proof", "x.wav", "--proof-label", "cat"], "it knows high, low"),
        (["-", "--http", "host:port"], "HOST:PORT"),
        (["-", "--mqtt", "http://x"], "write mqtt://HOST"),
        (["no-such-file.wav"], "no-such-file.wav"),
    ],
)
def test_wrong_usage_is_one_line(
    ears: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    line = failing(ears, *arguments, "--state", tmp_path)
    assert told in " ".join(line.replace("│", " ").split()), line


def test_where_alerts_go_may_stand_in_the_file_but_no_program(tmp_path: Path) -> None:
    """A file of settings is handed on; what starts a program is said by who starts us."""
    from spectro.cli.listening.listen import _plan
    from spectro.errors import ConfigError

    path = tmp_path / "listen.toml"
    path.write_text(
        '[alerts]\nwebhook = "https://here.example/a"\nwebhook_secret = "key.txt"\n'
        'mqtt = "mqtt://broker"\ncooldown = 5\n'
    )
    found = _plan(path, "-", {}, {}, {}, {}, []).alerts
    assert (found.webhook, found.mqtt) == ("https://here.example/a", "mqtt://broker")
    assert (found.webhook_secret, found.cooldown) == (tmp_path / "key.txt", 5)
    flags = {"webhook": "http://there.example", "webhook_secret": Path("mine.txt")}
    found = _plan(path, "-", {}, {}, flags, {}, []).alerts
    assert (found.webhook, found.webhook_secret) == ("http://there.example", Path("mine.txt"))
    path.write_text('[alerts]\non_event = "beep"\n')
    with pytest.raises(ConfigError, match=r"listen\.toml.*unknown setting on_event"):
        _plan(path, "-", {}, {}, {}, {}, [])


@pytest.mark.slow
def test_events_that_overlap_come_when_they_are_over(ears: Path, tmp_path: Path) -> None:
    """The lines are those of the scan; live, the shorter of two comes first."""
    path = recording(tmp_path / "n.wav", (3000, 2, 12), (200, 5, 8), seconds=15)
    when = ("--hop", "0.5", "--start-time", "2026-05-01 23:00")
    scanning = ScanSettings(
        model=model_hash(ears), hop=0.5, start_time="2026-05-01 23:00",
        events=EventSettings(**EVENTS),
    )  # fmt: skip
    events = scan_recording(path, open_backend(ears, "onnx"), scanning).events
    assert len(events) > 1 and events[0].end > events[1].end
    truth = [json_line(one._replace(recording="n.wav")) for one in events]
    words = ("--name", "n.wav", "--json", *when, "--state", tmp_path / "state")
    out, told = waited(listening(ears, "-", *words), path.read_bytes())
    lines = out.splitlines(keepends=True)
    assert sorted(lines) == sorted(truth), told
    ends = [json.loads(line)["end"] for line in lines]
    assert ends == sorted(ends)


def test_a_table_that_nothing_reads(tmp_path: Path) -> None:
    from spectro.errors import ConfigError
    from spectro.listening.live.settings import check_tables, read_proofs, read_sources

    path = tmp_path / "l.toml"
    path.write_text("[alert]\ncooldown = 3\n")
    with pytest.raises(ConfigError, match="unknown table 'alert'; there are alerts"):
        check_tables(path, {"alerts"})
    path.write_text('[[source]]\nname = "a"\n[[source]]\nname = "a"\n')
    with pytest.raises(ConfigError, match="two sources have the name 'a'"):
        read_sources(path)
    path.write_text('[[source]]\nname = "a"\ninput="-"\n[[source]]\nname = "b"\ninput = "-"\n')
    with pytest.raises(ConfigError, match="standard input"):
        read_sources(path)
    path.write_text('[[source]]\nname = "a"\nrates = 3\n')
    with pytest.raises(ConfigError, match=r"\[\[source\]\] 1: unknown setting rates"):
        read_sources(path)
    path.write_text('[[proof]]\nclip = "a.wav"\nlabel = "high"\nat = ["06:00"]\n')
    assert read_proofs(path)[0].clip == tmp_path / "a.wav"
    assert os.sep
