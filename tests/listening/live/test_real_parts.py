"""A real microphone, Icecast, an MQTT broker and promtool, on loopback; each skips where it is not.

Debian: ``pulseaudio pulseaudio-utils libportaudio2 libasound2-plugins icecast2 ffmpeg mosquitto
prometheus``.
"""

from __future__ import annotations

import functools
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from spectro.errors import AudioError
from spectro.listening.live.delivery.courier import Courier
from spectro.listening.live.delivery.outbox import Batch, Outbox
from spectro.listening.live.health.metrics import Metrics
from spectro.listening.live.settings import SourceSettings
from spectro.listening.live.sources.process import Ffmpeg
from spectro.listening.live.stats import ListenerStats
from tests.listening.live.camera import camera
from tests.listening.live.hearing import listening, model_folder, recording
from tests.listening.live.test_health import stats

pytestmark = pytest.mark.slow
__all__ = ["stats"]


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(answer: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not answer():
        assert time.monotonic() < end, "did not come"
        time.sleep(0.1)


def ended(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait(20)


class Lines:
    """What a process says, as it says it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process, self.text = process, ""
        for stream in (process.stdout, process.stderr):
            threading.Thread(target=self._read, args=[stream], daemon=True).start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            self.text += line.decode()

    def has(self, text: str, times: int = 1) -> Callable[[], bool]:
        return lambda: self.text.count(text) >= times or self._alive()

    def _alive(self) -> bool:
        assert self.process.poll() is None, self.text
        return False

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        assert self.process.returncode == 0, self.text


@pytest.fixture(scope="module")
def ears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("ears"))


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """Three seconds of a high tone in six."""
    return recording(tmp_path / "tone.wav", (3000, 1, 4), seconds=6, sr=48_000)


# A microphone: PulseAudio's null sink, whose monitor PortAudio hears


class Pulse:
    def __init__(self) -> None:
        self.pulseaudio, self.paplay = program("pulseaudio"), program("paplay")
        self.folder = Path(tempfile.mkdtemp(prefix="pulse"))  # a short path: it holds a socket
        self.environment = {
            **os.environ, "HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder),
            "PULSE_SERVER": f"unix:{self.folder}/native",
        }  # fmt: skip
        (self.folder / ".asoundrc").write_text("pcm.!default { type pulse }\n")
        self.daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.daemon = subprocess.Popen(
            [
                self.pulseaudio, "-n", "--daemonize=no", "--exit-idle-time=-1",
                "--use-pid-file=no",
                "--load=module-native-protocol-unix auth-anonymous=1 "
                f"socket={self.folder}/native",
                "--load=module-null-sink sink_name=mic rate=48000",
            ],
            env=self.environment, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until((self.folder / "native").exists, 20)

    def play(self, path: Path) -> None:
        command = [self.paplay, "--device=mic", str(path)]
        subprocess.run(command, env=self.environment, check=True, timeout=60)

    def unplug(self) -> None:
        assert self.daemon is not None
        ended(self.daemon)
        (self.folder / "native").unlink(missing_ok=True)


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        pytest.skip(f"sounddevice does not work here: {error}")
    assert sounddevice
    found = Pulse()
    found.start()
    yield found
    found.unplug()
    shutil.rmtree(found.folder, ignore_errors=True)


@pytest.mark.long
def test_a_microphone_that_is_unplugged_and_comes_back(
    pulse: Pulse, ears: Path, tmp_path: Path, tone: Path
) -> None:
    process = listening(
        ears, "mic", "--state", tmp_path / "state", "--hop", "0.25", "--heartbeat", "1",
        env=pulse.environment,
    )  # fmt: skip
    said = Lines(process)
    until(said.has("mic: up"))
    pulse.play(tone)
    until(said.has("mic: high"))
    until(said.has("over, "))
    pulse.unplug()
    until(said.has("mic: lost"))
    pulse.start()
    until(said.has("mic: up", 2), 120)
    pulse.play(tone)
    until(said.has("over, ", 2))
    said.end()
    assert "low" not in said.text


def test_the_list_of_microphones(pulse: Pulse, ears: Path) -> None:
    done = subprocess.run(
        [*listening_command(), "--list"], env=pulse.environment, capture_output=True, check=True
    )
    assert b"mic:" in done.stdout and b"(default)" in done.stdout


def test_a_microphone_of_another_name_is_told(pulse: Pulse, ears: Path, tmp_path: Path) -> None:
    config = tmp_path / "listen.toml"
    config.write_text('[[source]]\nname = "door"\ninput = "mic:No Such Thing"\n')
    process = subprocess.Popen(
        [*listening_command(), ears, "--backend", "onnx", "--config", config, "--state", tmp_path],
        env=pulse.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    said = Lines(process)
    until(said.has("no microphone's name holds 'No Such Thing'; there are"))
    until(said.has("it is looked for again"))
    said.end()


def listening_command() -> list[str]:
    import sys

    return [sys.executable, "-m", "spectro", "listen"]


# A stream: Icecast, fed by ffmpeg


ICECAST = """<icecast><limits><sources>2</sources><source-timeout>3</source-timeout></limits>
<authentication><source-password>hackme</source-password></authentication>{owner}
<hostname>127.0.0.1</hostname>
<listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
<paths><logdir>{folder}</logdir><webroot>/usr/share/icecast2/web</webroot>
<adminroot>/usr/share/icecast2/admin</adminroot></paths>
<logging><accesslog>-</accesslog><errorlog>-</errorlog></logging></icecast>
"""


class Icecast:
    """A server and the program that feeds it."""

    def __init__(self, tone: Path) -> None:
        self._server_program, self._ffmpeg = program("icecast2"), program("ffmpeg")
        self.folder = Path(tempfile.mkdtemp(prefix="icecast"))
        self.port = free_port()
        owner = ""
        if os.geteuid() == 0:  # it does not run as root
            import pwd  # Windows has none

            who = pwd.getpwnam("nobody")
            os.chown(self.folder, who.pw_uid, who.pw_gid)
            owner = "<user>nobody</user><group>nogroup</group>"
            owner = f"<security><changeowner>{owner}</changeowner></security>"
        config = self.folder / "icecast.xml"
        config.write_text(ICECAST.format(port=self.port, folder=self.folder, owner=owner))
        self.url = f"http://127.0.0.1:{self.port}/live.ogg"
        self._tone = tone
        self.server = subprocess.Popen(
            [self._server_program, "-c", str(config)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until(self._answers, 20)
        self.feed()

    def _answers(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def feed(self) -> None:
        self.feeder = subprocess.Popen(
            [
                self._ffmpeg, "-nostdin", "-loglevel", "error", "-re", "-stream_loop", "-1",
                "-i", str(self._tone), "-c:a", "libvorbis", "-content_type", "audio/ogg",
                "-f", "ogg", f"icecast://source:hackme@127.0.0.1:{self.port}/live.ogg",
            ],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def close(self) -> None:
        for process in (self.feeder, self.server):
            process.send_signal(signal.SIGCONT)
            ended(process)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def icecast(tone: Path) -> Iterator[Icecast]:
    found = Icecast(tone)
    yield found
    found.close()


def children(process: subprocess.Popen[bytes]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    task = Path(f"/proc/{process.pid}/task")
    found = [(one / "children").read_text().split() for one in task.iterdir()]
    assert path.exists()
    return [int(pid) for pids in found for pid in pids]


def test_a_stream_that_dies_stalls_and_comes_back(
    icecast: Icecast, ears: Path, tmp_path: Path
) -> None:
    (tmp_path / "ears").mkdir()
    model_folder(tmp_path / "ears")
    with (tmp_path / "ears" / "listen.toml").open("a") as file:
        file.write(f'[[source]]\nname = "radio"\ninput = "{icecast.url}"\nstall = 4\n')
    process = listening(
        tmp_path / "ears", "--state", tmp_path / "state", "--hop", "0.25", "--heartbeat", "1"
    )
    said = Lines(process)
    until(said.has("radio: up"), 60)
    until(said.has("radio: high"), 60)

    [ffmpeg] = children(process)
    os.kill(ffmpeg, signal.SIGKILL)  # our ffmpeg dies
    until(said.has("radio: lost", 1))
    until(said.has("radio: up", 2), 90)

    [ffmpeg] = children(process)
    os.kill(ffmpeg, signal.SIGSTOP)  # our ffmpeg hangs
    until(said.has("radio: lost: no sample for", 1), 60)
    until(said.has("radio: up", 3), 90)
    assert not Path(f"/proc/{ffmpeg}").exists()

    icecast.feeder.send_signal(signal.SIGSTOP)  # the camera hangs: the stream is half open
    until(said.has("radio: lost", 3), 60)
    ended(icecast.feeder)
    icecast.feed()
    until(said.has("radio: up", 4), 120)
    before = said.text.count("over, ")
    until(said.has("over, ", before + 1), 60)
    said.end()
    assert not children_left(ffmpeg)


def test_a_camera_over_rtsp_is_heard_and_comes_back(ears: Path, tmp_path: Path, tone: Path) -> None:
    program("ffmpeg")
    with camera(tone) as url:
        process = listening(
            ears, url, "--state", tmp_path / "state", "--hop", "0.25", "--heartbeat", "1"
        )
        said = Lines(process)
        until(said.has("stream: up"))
        until(said.has("stream: high"))
        [ffmpeg] = children(process)
        os.kill(ffmpeg, signal.SIGKILL)
        until(said.has("stream: lost"))
        until(said.has("stream: up", 2), 90)
        said.end()
    assert "low" not in said.text


class Server:
    """Hands out files, all of them or half, over HTTP."""

    def __init__(self, folder: Path, share: float = 1.0) -> None:
        class Handler(SimpleHTTPRequestHandler):
            def copyfile(self, source: Any, outputfile: Any) -> None:
                body = source.read()
                outputfile.write(body[: round(share * len(body))])

        handler = functools.partial(Handler, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_a_recording_on_a_server_is_heard_once_and_whole(ears: Path, tmp_path: Path) -> None:
    """Its end is the end: a stream that ends is opened again, and this would alarm for ever."""
    program("ffmpeg")
    recording(tmp_path / "night.wav", (3000, 0, 2), (200, 4, 6), seconds=8)
    server = Server(tmp_path)
    process = listening(
        ears, f"{server.url}/night.wav", "--hop", "0.5", "--json", "--state", tmp_path / "state"
    )
    out, told = process.communicate(timeout=120)
    server.close()
    assert process.returncode == 0, told
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["label"] for event in events] == ["high", "low"]
    assert events[0]["start"] == 0 and events[1]["end"] == pytest.approx(6.5, abs=0.6)


def test_a_recording_that_breaks_off_is_told_and_tried_again(tmp_path: Path) -> None:
    program("ffmpeg")
    recording(tmp_path / "night.wav", (3000, 0, 2), seconds=8)
    for share, told in ((1.0, ""), (0.5, "broke off after 4 of 8 s")):
        server = Server(tmp_path, share)
        source = Ffmpeg(SourceSettings(name="a", input=f"{server.url}/night.wav"))
        form, seconds, error = source.open(), 0.0, ""
        try:
            while (samples := source.read(1)) is not None:
                seconds += len(samples) / form.sr
        except AudioError as broken:
            error = str(broken)
        live = source.live
        source.close()
        server.close()
        assert told in error and bool(error) == bool(told)
        assert seconds == pytest.approx(8 * share, abs=0.2)
        assert live is False


@pytest.mark.parametrize(
    ("line", "length"),
    [
        ("[info]   Duration: 00:01:00.50, bitrate: 128 kb/s", 60.5),
        ("[info]   Duration: N/A, bitrate: 128 kb/s", 0),
        ("[info]   Duration: 00:00:00.00, start: 0.000000", 0),
        ("[info]     icy-name        : x, Duration: 01:00:00", 0),
    ],
)
def test_only_ffmpegs_own_line_says_how_long_it_is(line: str, length: float) -> None:
    """What a server calls itself is not believed."""
    program("ffmpeg")
    source = Ffmpeg(SourceSettings(name="a", input="http://127.0.0.1:9/x"))
    source._listen_to(io.BytesIO(f"[info] Input #0\n{line}\n".encode()))
    assert source._length == length
    assert source.live == (False if length else None)


def children_left(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_playlist_cannot_open_our_files(ears: Path, tmp_path: Path) -> None:
    """A URL may be a playlist, and that could name a file here."""
    program("ffmpeg")
    from http.server import BaseHTTPRequestHandler, HTTPServer

    canary = recording(tmp_path / "canary.wav", (3000, 0, 5), seconds=6)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            head, entry = "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n", f"file://{canary}\n"
            text = f"{head}{entry}#EXT-X-ENDLIST\n"
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.apple.mpegurl")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Keep silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://me:secret@127.0.0.1:{server.server_address[1]}/list.m3u8"
    said = Lines(listening(ears, url, "--state", tmp_path / "state"))
    until(said.has("stream: lost"), 60)
    said.end()
    server.shutdown()
    assert "high" not in said.text and "secret" not in said.text


# An MQTT broker


class Broker:
    def __init__(self, folder: Path) -> None:
        self._program = program("mosquitto")
        self.port, self.folder = free_port(), folder
        owner = "user root\n" if os.geteuid() == 0 else ""
        (folder / "m.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\nautosave_interval 1\n{owner}"
        )
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self._program, "-c", str(self.folder / "m.conf")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    pytest.importorskip("paho.mqtt.client")
    found = Broker(tmp_path)
    yield found
    ended(found.process)


class Subscriber:
    """Home Assistant, as far as it listens."""

    def __init__(self, port: int) -> None:
        import paho.mqtt.client as mqtt

        self.got: list[tuple[str, str, bool]] = []
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id="ha", clean_session=False
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_message = lambda client, data, message: self.got.append(
            (message.topic, message.payload.decode(), message.retain)
        )
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    def last(self, topic: str) -> str | None:
        return next((body for name, body, _ in reversed(self.got) if name == topic), None)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.mark.long
def test_a_broker_that_is_restarted_in_mid_flight(broker: Broker, tmp_path: Path) -> None:
    from spectro.listening.live.clock import SystemClock
    from spectro.listening.live.delivery.mqtt import Mqtt

    hears = Subscriber(broker.port)
    outbox = Outbox(tmp_path / "outbox.sqlite")
    channel = Mqtt(f"mqtt://127.0.0.1:{broker.port}", "node", ["car horn", "saw"], ["gate"])
    one = Courier(channel, outbox, SystemClock(), ListenerStats(), lambda *_: None)
    until(lambda: hears.last("spectro/node/status") == "online")
    check_discovery(hears)

    def send(first: int, last: int) -> None:
        for number in range(first, last):
            batch = Batch()
            body = {"kind": "event", "id": str(number), "state": "raised", "label": "saw"}
            batch.send("mqtt", str(number), json.dumps(body), time.time())
            outbox.commit(batch)

    send(0, 100)
    for _ in range(40):
        one.step()
    broker.stop()
    one.step()
    assert outbox.waiting("mqtt") >= 60
    send(100, 120)
    broker.start()

    def all_out() -> bool:
        time.sleep(min(1.0, one.step()))
        return outbox.head("mqtt") is None

    until(all_out, 120)

    def ids() -> list[str]:
        bodies = [body for topic, body, _ in hears.got if topic == "spectro/node/messages"]
        return list(dict.fromkeys(json.loads(body)["id"] for body in bodies))

    until(lambda: len(ids()) == 120)
    assert ids() == [str(number) for number in range(120)]
    assert hears.last("spectro/node/class/saw") == "ON"
    channel.close()
    until(lambda: hears.last("spectro/node/status") == "offline")
    hears.close()
    outbox.close()


@pytest.mark.long
def test_two_listeners_of_one_name_leave_each_other_connected(broker: Broker) -> None:
    """A broker drops the older of two connections of one id; a topic tells them apart."""
    from spectro.listening.live.delivery.mqtt import Mqtt

    hears = Subscriber(broker.port)
    url = f"mqtt://127.0.0.1:{broker.port}"
    one = Mqtt(url, "pi", ["saw"], ["gate"])
    until(lambda: hears.last("spectro/pi/status") == "online")
    other = Mqtt(f"{url}/forest/north", "pi", ["saw"], ["gate"])
    until(lambda: hears.last("forest/north/status") == "online")
    time.sleep(3)  # long enough to come back to throw the other off
    assert [body for topic, body, _ in hears.got if topic == "spectro/pi/status"] == ["online"]
    ids = {json.loads(b)["unique_id"] for name, b, _ in hears.got if name.endswith("/config")}
    assert len(ids) == 6
    one.close()
    other.close()
    hears.close()


def check_discovery(hears: Subscriber) -> None:
    """Look at what Home Assistant needs."""
    import re

    topic = r"homeassistant/(binary_sensor|sensor)/node/[A-Za-z0-9_-]+/config"
    until(lambda: sum(name.startswith("homeassistant/") for name, *_ in hears.got) >= 4)
    found = {name: json.loads(b) for name, b, _ in hears.got if name.startswith("homeassistant/")}
    assert len(found) == 4 and all(re.fullmatch(topic, name) for name in found)
    assert len({about["unique_id"] for about in found.values()}) == 4
    for about in found.values():
        assert about["availability_topic"] == "spectro/node/status"
        assert about["device"]["identifiers"] == ["node"] and about["origin"]["name"] == "spectro"
        assert set(about["device"]) >= {"name", "manufacturer", "model", "sw_version"}
    saw = found["homeassistant/binary_sensor/node/saw/config"]
    assert (saw["device_class"], saw["state_topic"]) == ("sound", "spectro/node/class/saw")
    assert saw["off_delay"] > 0


def test_the_will_says_offline_when_we_are_killed(
    broker: Broker, ears: Path, tmp_path: Path
) -> None:
    hears = Subscriber(broker.port)
    process = listening(
        ears, "-", "--mqtt", f"mqtt://127.0.0.1:{broker.port}/base", "--state", tmp_path / "s"
    )
    until(lambda: hears.last("base/status") == "online")
    process.kill()
    process.wait()
    until(lambda: hears.last("base/status") == "offline", 90)
    hears.close()


def test_promtool_finds_nothing_to_complain_about(stats: ListenerStats) -> None:
    tool = program("promtool")
    stats.sources["gate"].level = -47.0
    text = Metrics(stats, "abc").text()
    done = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()


def test_a_full_disk_still_delivers(ears: Path, tmp_path: Path) -> None:
    """The state and the evidence on a disk of half a megabyte that is full."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can make a small disk")
    from tests.listening.live.receiver import Receiver

    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], check=False
    )
    if made.returncode:
        pytest.skip("a small disk cannot be made here")
    receiver = Receiver()
    try:
        (disk / "s").mkdir()
        Outbox(disk / "s" / "outbox.sqlite").close()
        free = shutil.disk_usage(disk).free
        (disk / "filler").write_bytes(bytes(max(0, free - 8_192)))
        process = listening(
            ears, "-", "--state", disk / "s", "--evidence", disk / "e", "--hop", "0.5",
            "--webhook", receiver.url, "--cooldown", "0",
        )  # fmt: skip
        tones = [(3000.0, 2.0 + 4 * k, 3.5 + 4 * k) for k in range(12)]
        sent = recording(tmp_path / "many.wav", *tones, seconds=50).read_bytes()
        out, told = process.communicate(sent, timeout=120)
        assert process.returncode == 0, told.decode()
        assert out.decode().count("over, ") == 12
        assert len(receiver.events()) == 12
        assert b"evidence is skipped, events are still told" in told
    finally:
        receiver.close()
        subprocess.run(["umount", str(disk)], check=True)
