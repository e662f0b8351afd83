"""Datasets and pictures elsewhere: a real S3 server on loopback, and fsspec's memory."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from spectro.clips import datasets
from spectro.errors import MissingExtraError, RenderError
from spectro.pictures.render import RenderSummary, render
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.paths import absolute, below, is_url, place

pytestmark = pytest.mark.slow

SR = 8_000
CONFIG = SpectrogramConfig(sr=SR, duration=0.25, n_fft=256, hop_length=64, n_mels=16)


def tone(hz: float, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    y = 0.5 * np.sin(2 * np.pi * hz * np.arange(SR // 4) / SR)
    sf.write(file, y, SR, format=kind)
    return file.getvalue()


def write_set(root: Path) -> None:
    """Six clips of two classes, as a folder a class with a table of folds."""
    rows = ["path,label,fold,group"]
    for label in ("low", "high"):
        for number in range(3):
            kind = "FLAC" if number == 2 else "WAV"
            name = f"{label}/{label}{number}.{kind.lower()}"
            (root / label).mkdir(parents=True, exist_ok=True)
            data = tone((1_200 if label == "high" else 300) + number, kind)
            (root / name).write_bytes(data)
            rows.append(f"{name},{label},{1 + number % 2},{label}{number}")
    (root / "clips.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    """An S3 server on loopback, which s3fs finds through the environment as it would a real one."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as env:
        env.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        env.setenv("AWS_ACCESS_KEY_ID", "someone")
        env.setenv("AWS_SECRET_ACCESS_KEY", "something")
        env.setenv("AWS_DEFAULT_REGION", "us-east-1")
        place("s3://sounds").fs.mkdir("sounds")  # type: ignore[attr-defined]
        yield
    server.stop()


def counts(summary: RenderSummary) -> tuple[int, int, int, int]:
    return (
        summary.rendered, summary.already_there, summary.dropped, len(summary.failures),
    )  # fmt: skip


def pixels(image: str) -> np.ndarray:
    with place(image).open("rb") as file, Image.open(file) as picture:
        return np.asarray(picture)


def assert_same_pictures(one: RenderedSet, other: RenderedSet) -> None:
    for image, twin in zip(one.clips["image"], other.clips["image"], strict=True):
        assert Path(image).name == Path(twin).name
        assert np.array_equal(pixels(image), pixels(twin))


@pytest.mark.parametrize(
    ("source", "target"),
    [("s3://sounds/a", "s3://sounds/pictures-a"), ("s3://sounds/b", None),
     (None, "s3://sounds/pictures-c"), ("memory://sounds/d", "memory://pictures/d")],
)  # fmt: skip
def test_same_pictures_wherever_they_lie(
    s3: None, tmp_path: Path, source: str | None, target: str | None
) -> None:
    write_set(tmp_path / "local")
    render(datasets.load(tmp_path / "local"), tmp_path / "pictures", CONFIG)
    root = place(source) if source else tmp_path / "local"
    out = target or str(tmp_path / "other")
    if source:
        write_set(root)
    assert counts(render(datasets.load(str(root)), out, CONFIG)) == (6, 0, 0, 0)
    there = RenderedSet.load(out)
    assert_same_pictures(there, RenderedSet.load(tmp_path / "pictures"))
    assert there.n_failed == 0
    assert counts(render(datasets.load(str(root)), out, CONFIG)) == (0, 6, 0, 0)


def test_changed_added_and_removed_clips_elsewhere(s3: None) -> None:
    root, out = place("s3://sounds/changing"), "s3://sounds/pictures-changing"
    write_set(root)
    render(datasets.load(str(root)), out, CONFIG)
    low_before = pixels(f"{out}/fold1/low0.png")
    time.sleep(1.1)  # an object store counts seconds
    (root / "low" / "low0.wav").write_bytes(tone(2_000))
    (root / "low" / "low9.wav").write_bytes(tone(1_000))
    (root / "high" / "high2.flac").write_bytes(b"no sound")
    table = (root / "clips.csv").read_text().replace("low/low1.wav,low,2,low1\n", "")
    (root / "clips.csv").write_text(table + "low/low9.wav,low,1,low9\n")
    summary = render(datasets.load(str(root)), out, CONFIG)
    assert counts(summary) == (2, 3, 2, 1)  # the broken one's picture counts as dropped
    there = RenderedSet.load(out)
    names = [Path(image).name for image in there.clips["image"]]
    assert names == ["high0.png", "high1.png", "low0.png", "low2.png", "low9.png"]
    assert not np.array_equal(pixels(there.clips["image"][2]), low_before)
    assert there.n_failed == 1


@pytest.mark.long
def test_command_line_from_and_to_a_store(s3: None, tmp_path: Path) -> None:
    write_set(place("s3://sounds/cli"))
    code = "from spectro.cli.app import main; main()"

    def spectro(source: str, out: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, "render", source, "--out", out, "--n-mels", "16"]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    done = spectro("s3://sounds/cli", "s3://sounds/cli-pictures")
    assert done.returncode == 0, done.stderr
    assert "rendered 6" in done.stdout
    assert "s3://sounds/cli-pictures/examples.png" in done.stdout
    assert pixels("s3://sounds/cli-pictures/examples.png").size
    nowhere = spectro("s3://nobody/there", str(tmp_path / "pictures"))
    assert nowhere.returncode == 1
    assert nowhere.stderr.count("\n") == 1
    assert "s3://nobody/there" in nowhere.stderr


def test_other_settings_never_mix_elsewhere(s3: None) -> None:
    write_set(place("s3://sounds/mixed"))
    dataset = datasets.load("s3://sounds/mixed")
    render(dataset, "s3://sounds/mixed-pictures", CONFIG)
    with pytest.raises(RenderError, match=r"n_mels 16 there, 32 asked"):
        render(dataset, "s3://sounds/mixed-pictures", CONFIG.replace(n_mels=32))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("foo://bucket/sounds", "no URL that can be read .*'foo'"),
        ("s3://no-such-bucket-of-ours/sounds", "the store cannot be asked .*credentials"),
    ],
)
def test_a_store_that_cannot_be_asked_is_one_line(
    url: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No moto here: nobody answers, and nobody has the keys."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    nowhere = str(tmp_path / "none")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    write_set(tmp_path / "sounds")
    sounds = str(tmp_path / "sounds")
    for words in (("render", url, "--out", nowhere), ("render", sounds, "--out", url)):
        done = subprocess.run(
            [sys.executable, "-c", "from spectro.cli.app import main; main()", *words],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert re.match(f"spectro: {url}: {told}", line), line


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(MissingExtraError, match=r"s3://a/b needs .*spectro\[cloud\]"):
        place("s3://a/b")
    assert place("a/b") == Path("a/b")


def test_paths_and_urls() -> None:
    assert is_url("s3://bucket/clips")
    assert not is_url("C:/clips")
    assert absolute("s3://bucket/clips") == "s3://bucket/clips"
    assert Path(absolute("clips")) == Path.cwd() / "clips"
    assert below("memory://a/b/c.wav", place("memory://a/b")) == "c.wav"
    assert below("memory://a/b/c.wav", place("memory://x")) == "memory://a/b/c.wav"
