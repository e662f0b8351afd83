"""Long recordings: the same numbers block by block as at once, and memory that does not grow."""

from __future__ import annotations

import io
import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from spectro.clips import decode as decode_module
from spectro.clips import waveform as audio
from spectro.clips.checking import measure
from spectro.clips.checking.flat_tops import FlatTops, Wraps
from spectro.clips.checking.measure import examine
from spectro.pictures import plots
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import load_clip, load_extent

SR = 8_000


def recording(path: Path, seconds: float, *, channels: int = 2, peak: float = 0.9) -> Path:
    rng = np.random.default_rng(3)
    y = 0.2 * rng.standard_normal((round(seconds * SR), channels))
    y *= 1 + np.sin(np.arange(len(y)) / SR)[:, np.newaxis]
    sf.write(path, np.clip(y, -peak, peak), SR)
    return path


@pytest.fixture
def in_blocks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have files decoded in small blocks, and taken for long ones."""

    def begin() -> None:
        monkeypatch.setattr(decode_module, "_BLOCK", 777)
        monkeypatch.setattr(audio, "_AT_ONCE", 1_000)

    return begin


CASES = [
    (pad, channels, sr)
    for pad, channels, sr in itertools.product(
        ("zero", "loop", "center", "random"), ("mean", "first", "both"), (SR, 5_000, 11_025)
    )
]


@pytest.mark.slow
@pytest.mark.parametrize("duration", [1.5, 12.0])
def test_a_long_recording_is_fitted_as_a_short_one(
    duration: float, tmp_path: Path, in_blocks: Callable[[], None]
) -> None:
    path = recording(tmp_path / "a.wav", 9.7)

    def clips() -> list[Any]:
        configs = [
            SpectrogramConfig(sr=sr, duration=duration, pad=pad, channels=channels)  # type: ignore[arg-type]
            for pad, channels, sr in CASES
        ]
        fixed = [load_extent(path, config, start=0.3) for config in configs]
        drawn = [load_extent(path, config, rng=np.random.default_rng(5)) for config in configs[:9]]
        return fixed + drawn

    at_once = clips()
    in_blocks()
    for (y, extent), (expected, known) in zip(clips(), at_once, strict=True):
        np.testing.assert_array_equal(y, expected)
        assert extent == known
        assert known.used == pytest.approx(min(duration, known.available), abs=1e-4)
    assert {round(known.available, 3) for _, known in at_once} == {9.4, 9.7}


def test_center_and_random_are_parts_of_the_whole(
    tmp_path: Path, in_blocks: Callable[[], None]
) -> None:
    path = recording(tmp_path / "a.wav", 9.7)
    in_blocks()
    for pad in ("center", "random"):
        config = SpectrogramConfig(sr=5_000, duration=2, pad=pad)
        whole = audio.fit(audio.load(path, sr=5_000), config.n_samples, pad=pad)
        np.testing.assert_array_equal(load_clip(path, config), whole)


@pytest.mark.parametrize("peak", [0.5, 0.96, 1.0])
def test_a_long_recording_is_measured_as_a_short_one(
    peak: float, tmp_path: Path, in_blocks: Callable[[], None]
) -> None:
    y = 3 * np.sin(0.05 * np.arange(round(9.7 * SR)) ** 1.05) + 0.01
    path = tmp_path / "a.wav"
    sf.write(path, np.stack([y, y[::-1]], axis=1).clip(-peak, peak), SR)
    at_once = examine(path)
    in_blocks()
    found = examine(path)
    assert found._replace(rms_db=0) == at_once._replace(rms_db=0)
    assert found.rms_db == pytest.approx(at_once.rms_db, abs=1e-9)
    assert found.clipped > 0 or peak < 0.95
    assert examine(path, 1, 2.5).file_seconds == pytest.approx(9.7)


def test_a_long_recording_is_drawn_as_a_short_one(
    tmp_path: Path, in_blocks: Callable[[], None]
) -> None:
    path = recording(tmp_path / "a.wav", 9.7)

    def picture() -> bytes:
        png = io.BytesIO()
        figure = plots.clip(path, SpectrogramConfig(sr=SR), "waveform")
        figure.savefig(png, dpi=40, format="png", metadata={"Software": None})
        return png.getvalue()

    at_once = picture()
    in_blocks()
    assert picture() == at_once


@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 600), longest=st.integers(1, 60))
def test_runs_and_wraps_do_not_depend_on_blocks(seed: int, n: int, longest: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 3) * np.sin(np.cumsum(rng.uniform(0, 0.3, n)))
    x = (np.clip(x, -1, 1) if seed % 2 else (x + 1) % 2 - 1).astype(np.float32)
    x[: n // 5] = 0
    counters: list[Any] = [
        FlatTops(float(x.max()), float(x.min())),
        Wraps(),
        measure._Fingerprint(SR),
        measure._Offset(160),
    ]
    at = 0
    while at < n:
        step = int(rng.integers(1, longest + 1))
        for counter in counters:
            counter.feed(x[at : at + step])
        at += step
    tops, wraps, print_, offset = counters
    assert tops.share() == measure.flat_tops(x)
    assert wraps.number() == measure.wraps(x)
    assert print_.digest() == measure.fingerprint(x, SR)
    assert offset.value() == measure.offset(x, 160)


def peak_of(what: Callable[[], object]) -> int:
    tracemalloc.start()
    what()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.mark.long
def test_memory_does_not_grow_with_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_module, "_BLOCK", 1 << 14)
    monkeypatch.setattr(audio, "_AT_ONCE", 1 << 16)
    short, long = (recording(tmp_path / f"{s}.wav", s, peak=1) for s in (10, 300))
    configs = [SpectrogramConfig(sr=5_000, duration=1, pad=pad) for pad in ("center", "random")]
    plots.clip(short, configs[0], "waveform")  # what is loaded once

    def all_of_it(path: Path) -> Callable[[], object]:
        return lambda: (
            examine(path),
            plots._outline(path),
            [load_clip(path, config) for config in configs],
        )

    whole = 300 * SR * 2 * np.dtype(np.float32).itemsize
    assert peak_of(all_of_it(long)) < 1.3 * peak_of(all_of_it(short)) < whole / 4


def test_four_seconds_of_a_bomb_are_four_seconds(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"  # hours of silence in a few kilobytes
    with sf.SoundFile(path, "w", 8_000, 1, format="FLAC") as file:
        for _ in range(60):
            file.write(np.zeros(8_000 * 60))
    assert path.stat().st_size < 1 << 20
    most = peak_of(lambda: load_clip(path, SpectrogramConfig(sr=8_000, duration=4)))
    assert most < 1 << 20
    _, extent = load_extent(path, SpectrogramConfig(sr=8_000, duration=4))
    assert extent == (4, 3_600)
