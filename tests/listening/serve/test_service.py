"""A real server, asked over HTTP: the same answers as the commands, and a bound on everything."""

from __future__ import annotations

import base64
import io
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.listening.backends import open_backend
from spectro.listening.classifier import Classifier
from spectro.listening.events.finding import Event
from spectro.listening.events.tables import csv_header, csv_line, read_csv
from spectro.listening.recorders import beginning
from spectro.listening.recorders.names import begin_in_name
from spectro.listening.scan import ScanSettings, scan_recording
from spectro.listening.serve.overview import draw_overview, n_bytes
from spectro.listening.serve.requests.refusals import RefusedError
from spectro.listening.serve.requests.uploads import Upload, Uploads
from spectro.listening.serve.settings import ServeSettings
from spectro.models.card import read_card
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import clip_image
from tests.listening.ears import LABELS, tones
from tests.listening.serve.service import Service, serving


def predicted(ears: Path, path: Path) -> dict[str, float]:
    [heard] = Classifier.load(ears, backend="onnx").classify([path])
    return dict(zip(LABELS, heard.probabilities.tolist(), strict=True))


def test_the_probabilities_are_those_of_predict(service: Service, ears: Path, clip: Path) -> None:
    answer = service.ask("predict?name=clip.wav", clip.read_bytes())
    assert answer.status == 200
    assert answer.json["probabilities"] == predicted(ears, clip)
    assert answer.json["label"] == "high"
    assert (answer.json["seconds"], answer.json["heard"], answer.json["name"]) == (1, 1, "clip.wav")


@pytest.mark.parametrize("kind", ["flac", "ogg", "mp3", "aiff"])
def test_any_format_goes_whatever_it_is_called(
    service: Service, ears: Path, tmp_path: Path, kind: str
) -> None:
    path = tones(tmp_path / f"a.{kind}", (200, 0, 1), seconds=1)
    answer = service.ask("predict?name=a", path.read_bytes(), content_type="")
    assert answer.json["probabilities"] == predicted(ears, path)


def test_of_a_longer_sound_it_says_how_much_was_heard(service: Service, night: Path) -> None:
    answer = service.ask("predict", night.read_bytes()).json
    assert (answer["seconds"], answer["heard"]) == (40, 1)


def test_the_picture_is_the_one_that_the_network_saw(
    service: Service, ears: Path, clip: Path
) -> None:
    about = service.ask("predict?picture=true", clip.read_bytes()).json["picture"]
    sent = Image.open(io.BytesIO(base64.b64decode(about["png"])))
    drawn = clip_image(clip, read_card(ears).spectrogram)
    assert np.array_equal(np.asarray(sent), np.asarray(drawn))
    brightest = np.asarray(drawn).mean(axis=1).argmax()  # the row of 3 kHz
    at = {tick["hz"]: tick["at"] for tick in about["frequencies"]}
    assert at[2000] < 1 - brightest / drawn.height
    assert at[100] < 0.1


# ------------------------------------------------------------------------------------- recordings


def test_a_scan_gives_the_events_of_scan(service: Service, ears: Path, night: Path) -> None:
    state = service.scanned(night.read_bytes(), f"name={night.name}")
    hashed = service.ask("model").json["hash"]
    settings = ScanSettings(model=hashed, hop=0.5)
    found = scan_recording(night, open_backend(ears, "onnx"), settings)
    expected = [event._replace(recording=night.name) for event in found.events]
    assert [Event(**event) for event in state["events"]] == expected
    assert {event.label for event in expected} == {"high", "low", "quiet"}
    assert expected[0].begin_time.startswith("2026-05-01T23:00:00")
    assert (state["progress"], state["seconds"], state["state"]) == (1, 40, "done")
    table = service.ask(f"scan/{state['id']}/events.csv")
    assert table.body.decode() == csv_header() + "".join(map(csv_line, expected))


def check_is_scan_at(
    service: Service, ears: Path, night: Path, out: Path, site: str, query: str, *options: str
) -> None:
    words = ["scan", ears, night, "--site", site, "--backend", "onnx", "--workers", "1", *options]
    done = CliRunner().invoke(app, [*map(str, words), "--out", str(out)])
    assert done.exit_code == 0, done.output
    expected = [event._replace(recording=night.name) for event in read_csv(out / "events.csv")]
    number = service.scanned(night.read_bytes(), f"name={night.name}{query}")["id"]
    table = service.ask(f"scan/{number}/events.csv").body.decode()
    assert table == csv_header() + "".join(map(csv_line, expected))
    assert {event.site for event in expected} == {site}
    assert {event.label for event in expected} == {"office": {"high"}, "door": {"low"}}[site]


def test_a_site_has_its_own_thresholds_as_in_scan(
    service: Service, ears: Path, night: Path, tmp_path: Path
) -> None:
    hop = ("--hop", "0.5")  # which the service was started with
    check_is_scan_at(service, ears, night, tmp_path / "out", "office", "&site=office", *hop)
    check_is_scan_at(service, ears, night, tmp_path / "out", "door", "&site=door", *hop)
    assert service.scanned(night.read_bytes(), "site=office")["warnings"] == []
    [warning] = service.scanned(night.read_bytes(), "site=door")["warnings"]
    assert "door's thresholds are for a hop of 0.25 s, not 0.5" in warning
    told = service.ask("model").json
    assert (told["site"], told["sites"]) == ("", ["door", "office"])
    for site in ("ridge", "..%2Fdoor", "door.json"):
        answer = service.ask(f"scan?site={site}", b"x")
        assert answer.status == 404
        assert answer.json["detail"].endswith("; there are door, office")


@pytest.mark.slow
def test_a_service_of_a_site_can_scan_at_another(ears: Path, night: Path, tmp_path: Path) -> None:
    with serving(ears, tmp_path / "serving", "--site", "office") as service:
        check_is_scan_at(service, ears, night, tmp_path / "out", "office", "")
        check_is_scan_at(service, ears, night, tmp_path / "out", "door", "&site=door")
        told = service.ask("model").json
        assert (told["site"], told["events"]["ignore"]) == ("office", ["low", "quiet"])


def test_damaged_thresholds_are_told_without_the_service_s_paths(
    service: Service, ears: Path
) -> None:
    path = ears / "thresholds" / "broken.json"
    path.write_text("{")
    answer = service.ask("scan?site=broken", b"x")
    path.unlink()
    assert answer.status == 500
    assert answer.json["detail"].startswith("the model/thresholds/broken.json: ")
    assert str(ears) not in answer.json["detail"]


def test_pictures_of_a_recording_show_its_tones(service: Service, night: Path) -> None:
    number = service.scanned(night.read_bytes())["id"]
    answer = service.ask(f"scan/{number}/picture?start=10&end=20&width=100")
    assert answer.headers["content-type"] == "image/png"
    picture = np.asarray(Image.open(io.BytesIO(answer.body)))
    assert picture.shape[1] == 100
    bottom = picture[-4:].max(axis=0)  # 200 Hz sounds from 12 s to 15 s
    assert bottom[25:45].min() > 200
    assert bottom[:15].max() < 150
    assert bottom[55:].max() < 150


@pytest.mark.long
def test_a_scan_can_be_given_up(service: Service, tmp_path: Path) -> None:
    path = tones(tmp_path / "long.flac", (3000, 2, 5), seconds=3_600)
    number = service.ask("scan", path.read_bytes()).json["id"]
    assert service.ask(f"scan/{number}/events.csv").status == 409
    assert service.ask(f"scan/{number}", method="DELETE").status == 204
    assert service.ask(f"scan/{number}").status == 404
    assert service.ask(f"scan/{number}", method="DELETE").status == 404
    last = time.monotonic() + 30  # the thread is free again long before the hour is heard
    while service.ask("healthz").json["scans"]:
        assert time.monotonic() < last


def test_a_broken_recording_fails_and_says_why(service: Service, night: Path) -> None:
    state = service.scanned(night.read_bytes()[:-10_000], "name=cut.wav")
    assert state["state"] == "failed"
    assert state["error"].startswith("cut.wav: truncated")
    assert "/" not in state["error"]


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "told"),
    [
        ("predict", b"no sound", "audio/wav", 422, "sound: cannot be decoded"),
        ("predict", b"", "audio/wav", 422, "no sound was sent"),
        ("predict", b"{}", "application/json", 415, "send the sound itself"),
        ("scan", b"x", "text/html; charset=utf-8", 415, "send the sound itself"),
        ("scan?start_time=yesterday", b"x", "audio/wav", 422, "start_time: "),
        ("scan?start_time=2026-05-01T04:30:00-25:00", b"x", "audio/wav", 422, "start_time: "),
        ("predict?name=" + 300 * "x", b"x", "audio/wav", 422, "at most 255"),
        ("nowhere", b"x", "audio/wav", 404, "Not Found"),
        ("model", b"x", "audio/wav", 405, "Method Not Allowed"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_line(
    service: Service, path: str, body: bytes, kind: str, status: int, told: str
) -> None:
    answer = service.ask(path, body, content_type=kind)
    assert answer.status == status
    assert told in answer.json["detail"]
    assert "\n" not in answer.json["detail"]


def test_a_flac_of_a_day_in_few_bytes_is_refused(service: Service, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.flac"
    with sf.SoundFile(bomb, "w", 8_000, 1) as file:
        for _ in range(15):
            file.write(np.zeros(8_000 * 60, np.float32))
    assert bomb.stat().st_size < 300_000
    answer = service.ask("predict", bomb.read_bytes())
    assert (answer.status, "lasts more than 600 s" in answer.json["detail"]) == (413, True)


@pytest.fixture(scope="module")
def strict(ears: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that takes next to nothing."""
    options = ("--max-mb", "0.01", "--max-scan-mb", "0.02", "--max-scan-hours", "0.0001")
    limits = (*options, "--patience", "0.3", "--max-requests", "1")
    with serving(ears, tmp_path_factory.mktemp("strict"), *limits) as started:
        yield started


@contextmanager
def half_sent(service: Service, head: bytes = b"Content-Length: 9999") -> Iterator[socket.socket]:
    """Open a connection on which the head of a request has been sent."""
    with socket.create_connection(("127.0.0.1", service.port)) as line:
        line.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n")
        yield line


def test_limits_of_size_hold_for_lengths_that_are_told_and_that_are_not(
    strict: Service, clip: Path
) -> None:
    assert strict.ask("predict", clip.read_bytes()).status == 413
    assert strict.ask("scan", 2 * clip.read_bytes()).status == 413
    state = strict.scanned(clip.read_bytes())
    assert (state["state"], "lasts more than" in state["error"]) == ("failed", True)
    with half_sent(strict, b"Transfer-Encoding: chunked") as line:
        for _ in range(3):
            line.sendall(b"1000\r\n" + bytes(4096) + b"\r\n")
        assert b" 413 " in line.recv(1_000)


def test_a_client_that_stops_is_told_and_forgotten(strict: Service) -> None:
    with half_sent(strict) as line:
        while strict.ask("healthz").json["requests"] == 0:
            pass
        busy = strict.ask("predict", b"x")
        assert (busy.status, busy.headers["retry-after"]) == (503, "1")
        assert b" 408 " in line.recv(1_000)
    assert strict.ask("healthz").json["requests"] == 0
    assert strict.ask("predict", b"x").status == 422


@pytest.mark.long
def test_more_scans_than_it_can_take_are_told_to_come_again(
    ears: Path, tmp_path: Path, night: Path
) -> None:
    long = tones(tmp_path / "long.flac", seconds=1_800)
    with serving(ears, tmp_path / "serving", "--max-scans", "2") as service:
        for _ in range(2):
            assert service.ask("scan", long.read_bytes()).status == 202
        third = service.ask("scan", night.read_bytes())
        assert (third.status, third.headers["retry-after"]) == (429, "30")


# ----------------------------------------------------------------------------------- who may ask


def test_every_answer_has_the_headers_that_bind_browsers(service: Service) -> None:
    for path in ("", "model", "page.js", "nowhere", "predict"):
        headers = {name.lower(): value for name, value in service.ask(path).headers.items()}
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def test_pages_elsewhere_cannot_use_a_service_on_loopback(service: Service, clip: Path) -> None:
    body = clip.read_bytes()
    assert service.ask("model", host="evil.example:80").status == 421
    assert service.ask("model", host=f"localhost:{service.port}").status == 200
    assert service.ask("predict", body, sec_fetch_site="cross-site").status == 403
    assert service.ask("predict", body, sec_fetch_site="same-origin").status == 200


@pytest.mark.long
def test_a_token_opens_what_it_should(ears: Path, tmp_path: Path, clip: Path) -> None:
    (tmp_path / "token").write_text("abcdefghijklmnopqrst\n")
    with serving(ears, tmp_path / "serving", "--token-file", str(tmp_path / "token")) as service:
        shown = {"authorization": "Bearer abcdefghijklmnopqrst"}
        for path in ("", "page.js", "healthz", "openapi.json"):
            assert service.ask(path).status == 200
        for path in ("model", "metrics", "scan/x"):
            refused = service.ask(path)
            assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert service.ask("predict", clip.read_bytes()).status == 401
        wrong = service.ask("predict", clip.read_bytes(), authorization="Bearer abc")
        assert wrong.status == 401
        assert service.ask("predict", clip.read_bytes(), **shown).status == 200
        assert service.ask("metrics", **shown).status == 200
        schemes = service.ask("openapi.json").json["components"]["securitySchemes"]
        assert schemes["HTTPBearer"]["scheme"] == "bearer"


def test_metrics_count_what_was_done(service: Service, clip: Path) -> None:
    def read() -> dict[tuple[str, tuple[str, ...]], float]:
        families = text_string_to_metric_families(service.ask("metrics").body.decode())
        samples = [sample for family in families for sample in family.samples]
        return {(one.name, tuple(one.labels.values())): one.value for one in samples}

    before = read()
    service.ask("predict", clip.read_bytes())
    service.ask("predict", b"x")
    after = read()
    seconds, done, bad = (
        ("spectro_audio_seconds_total", ()),
        ("spectro_requests_total", ("/predict", "200")),
        ("spectro_requests_total", ("/predict", "422")),
    )
    assert after[seconds] - before[seconds] == 1
    assert after[done] - before.get(done, 0) == 1
    assert after[bad] - before.get(bad, 0) == 1
    count = ("spectro_inference_duration_seconds_count", ())
    assert after[count] > before[count]
    told = service.ask("model").json
    assert ("spectro_build_info", (told["hash"], told["version"])) in after


# ---------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_a_signal_lets_requests_end_and_leaves_nothing(
    ears: Path, tmp_path: Path, clip: Path, night: Path, number: signal.Signals
) -> None:
    body = clip.read_bytes()
    with serving(ears, tmp_path / "serving") as service:
        service.scanned(night.read_bytes())
        assert list((tmp_path / "serving").glob(".spectro-*/*/fine"))
        with half_sent(service, b"Content-Length: %d" % len(body)) as line:
            line.sendall(body[:1_000])
            while service.ask("healthz").json["requests"] == 0:
                pass
            service.process.send_signal(number)
            time.sleep(0.3)
            line.sendall(body[1_000:])
            answered = b"".join(iter(lambda: line.recv(100_000), b""))
        assert b" 200 OK" in answered
        assert b'"label":"high"' in answered
        assert service.process.wait(30) == 0
        assert not list((tmp_path / "serving").glob(".spectro-*"))


@pytest.mark.long
def test_what_a_killed_service_left_goes_when_the_next_one_starts(
    ears: Path, tmp_path: Path, night: Path
) -> None:
    with serving(ears, tmp_path / "serving") as service:
        service.scanned(night.read_bytes())
        service.end(signal.SIGKILL)
    assert len(list((tmp_path / "serving").glob(".spectro-*"))) == 1
    with serving(ears, tmp_path / "serving") as service:
        assert len(list((tmp_path / "serving").glob(".spectro-*/*/fine"))) == 0


@pytest.mark.long
def test_wrong_starts_are_told_in_one_line(ears: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("short")
    (tmp_path / "events.toml").write_text('[events]\nignore = ["owl"]\n')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for options, told in (
            (["--port", port], "cannot be listened on"),
            (["--host", "198.51.100.1"], "cannot be listened on"),
            (["--token-file", str(tmp_path / "token")], "one word of 16"),
            (["--config", str(tmp_path / "events.toml")], "'owl', which the model does not know"),
        ):
            words = [sys.executable, "-m", "spectro", "serve", ears, "--backend", "onnx", *options]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.returncode == 1
            assert told in done.stderr
            assert done.stderr.count("\n") == 1


# --------------------------------------------------------------------------------------- crowds


@pytest.mark.long
def test_two_hundred_at_once_are_all_answered(service: Service, ears: Path, clip: Path) -> None:
    expected = predicted(ears, clip)
    barrier = threading.Barrier(200)

    def ask(_: int) -> bool:
        barrier.wait()
        answer = service.ask("predict", clip.read_bytes())
        return answer.status == 200 and answer.json["probabilities"] == expected

    with ThreadPoolExecutor(200) as pool:
        assert all(pool.map(ask, range(200)))
    assert service.ask("healthz").json == {"status": "ok", "requests": 0, "scans": 0}


@pytest.mark.long
def test_a_thousand_malformed_sounds_leave_it_serving(
    service: Service, ears: Path, tmp_path: Path, clip: Path
) -> None:
    rng = random.Random(0)
    whole = [
        tones(tmp_path / f"a.{kind}", (3000, 0, 1), seconds=1).read_bytes()
        for kind in ("wav", "flac", "ogg", "mp3", "aiff", "caf", "au", "w64")
    ]

    def mutant(_: int) -> bytes:
        body = bytearray(rng.choice(whole))
        for _ in range(rng.randint(0, 20)):
            body[rng.randrange(min(len(body), rng.choice((64, 10_000))))] = rng.randrange(256)
        return bytes(body[: rng.randrange(1, len(body) + 1)])

    bodies = list(map(mutant, range(1_000)))
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda body: service.ask("predict", body).status, bodies))
    assert set(statuses) <= {200, 413, 422}
    assert statuses.count(422) > 300
    assert service.ask("predict", clip.read_bytes()).json["probabilities"] == predicted(ears, clip)
    assert service.ask("healthz").json["requests"] == 0


@pytest.mark.long
def test_connections_that_say_nothing_are_closed(service: Service, clip: Path) -> None:
    lines = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(300)]
    for line in lines:
        line.sendall(b"POST /predict HTTP/1.1\r\nHos")
    assert service.ask("predict", clip.read_bytes()).status == 200
    for line in lines:
        line.settimeout(30)
        with line, suppress(ConnectionResetError):
            assert line.recv(1) == b""


def test_the_schema_states_every_route(service: Service) -> None:
    schema = json.loads(service.ask("openapi.json").body)
    assert set(schema["paths"]) == {
        "/predict", "/scan", "/scan/{number}", "/scan/{number}/events.csv",
        "/scan/{number}/picture", "/model", "/healthz", "/metrics",
    }  # fmt: skip
    assert "413" in schema["paths"]["/predict"]["post"]["responses"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("5B07C752.WAV", "5B07C752.WAV"),
        ("671629352.181204100002.wav", "671629352.181204100002.wav"),
        ("20260501_230000.wav", "20260501_230000.wav"),
        ("../../night.wav", "night.wav"),
        ("c:\\a\\night.wav", "night.wav"),
        (".hidden", "sound-.hidden"),
        ("..", "sound-"),
        ("", "sound-"),
        ("con.wav", "sound-con.wav"),
        ("-o.wav", "sound--o.wav"),
    ],
)
def test_an_upload_keeps_the_name_that_tells_its_time(tmp_path: Path, name: str, kept: str) -> None:
    upload = Upload(tmp_path, name, lambda size: None)
    assert upload.path.name == kept
    assert upload.path.parent.parent == upload.folder and upload.folder.parent == tmp_path
    upload.path.write_bytes(b"")
    assert beginning(upload.path).time == begin_in_name(name)
    upload.remove()
    assert not list(tmp_path.iterdir())


def test_what_is_drawn_counts_as_room_on_the_disk(tmp_path: Path) -> None:
    """A small FLAC of a day of silence draws into hundreds of megabytes."""
    uploads = Uploads(tmp_path, ServeSettings(disk_mb=1.0))
    upload = Upload(tmp_path, "night.flac", uploads._reserve)
    upload.claim(400_000)
    with pytest.raises(RefusedError, match="no room for more sounds"):
        upload.claim(n_bytes(24 * 3600))
    assert upload.size == 400_000
    upload.claim(n_bytes(30))
    upload.remove()
    assert uploads._bytes == 0
    assert n_bytes(24 * 3600) > 24 * 3600 * 128 * 43


def test_a_drawing_takes_no_more_than_was_claimed_for_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sf.write(tmp_path / "a.wav", 0.1 * rng.normal(size=30 * 8_000), 8_000)
    for hop in (64, 160, 512):
        config = SpectrogramConfig(sr=8_000, n_fft=256, hop_length=hop, n_mels=128)
        folder = tmp_path / str(hop)
        folder.mkdir()
        draw_overview(tmp_path / "a.wav", folder, config)
        drawn = sum(file.stat().st_size for file in folder.iterdir())
        assert 0 < drawn <= n_bytes(30) + 2 * 128
