"""Backgrounds: heard once, whatever interrupts, and one bad file costs itself."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from spectro.errors import ModelError
from spectro.listening.backends import Answer
from spectro.listening.scan import score_windows
from spectro.listening.thresholds import Background
from spectro.listening.thresholds import background as room
from spectro.listening.thresholds.background import Hearing, Scoring, hear
from spectro.models.card import ModelCard
from spectro.pictures.settings import SpectrogramConfig

CARD = ModelCard(
    arch="cnn4", labels=("hum", "hiss"), spectrogram=SpectrogramConfig(n_mels=32, duration=1.0)
)


class Bands:
    """Calls it hum where the lower half of the picture is the brighter one."""

    card = CARD

    def __call__(self, levels: np.ndarray) -> Answer:
        half = levels.shape[1] // 2
        top, foot = (
            part.mean(axis=(1, 2, 3)) / 255 for part in (levels[:, :half], levels[:, half:])
        )
        hum = (1 + foot - top) / 2
        return Answer(np.stack([hum, 1 - hum], axis=1).astype(np.float32), hum > 0.1)


loads: list[int] = []


def load(_: str) -> Bands:
    loads.append(1)
    return Bands()


@pytest.fixture
def loader(tmp_path: Path) -> functools.partial[Bands]:
    loads.clear()
    return functools.partial(load, str(tmp_path))  # another for each test: listeners are kept


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    rng, t = np.random.default_rng(0), np.arange(8000 * 5) / 8000
    sounds = [0.1 * np.sin(2 * np.pi * 120 * t), 0.01 * rng.normal(size=8000 * 3), np.zeros(8000)]
    paths = [tmp_path / "rec" / f"{k}.wav" for k in range(3)]
    paths[0].parent.mkdir()
    for path, y in zip(paths, sounds, strict=True):
        sf.write(path, y, 8000)
    return [str(path) for path in paths]


def scoring(tmp_path: Path, **changes: object) -> Scoring:
    values = {
        "folder": str(tmp_path / "model"),
        "site": "here",
        "model": "m",
        "backend": "torch",
        "hop": 0.5,
    }
    return Scoring(**{**values, **changes})  # type: ignore[arg-type]


def same(one: Background | None, recording: str) -> bool:
    expected = list(score_windows(recording, Bands(), 0.5))
    assert one is not None
    return len(one.windows) == len(expected) and all(
        a[:2] == b[:2] and a[3:] == b[3:] and (a.probabilities == b.probabilities).all()
        for a, b in zip(one.windows, expected, strict=True)
    )


@pytest.mark.parametrize("threads", [0, 2])
def test_windows_are_those_of_a_scan_and_are_heard_once(
    tmp_path: Path, recordings: list[str], loader: functools.partial[Bands], threads: int
) -> None:
    executor = ThreadPoolExecutor(threads) if threads else None
    first = dict(hear(recordings, loader, scoring(tmp_path), executor))
    assert {told.recording: told.seconds for told in first} == dict(
        zip(recordings, (5.0, 3.0, 1.0), strict=True)
    )
    for told, one in first.items():
        assert same(one, told.recording)
        assert one is not None
        assert one.hours == told.seconds / 3600
    assert len(loads) == 1
    again = dict(hear(recordings, loader, scoring(tmp_path)))
    assert again.keys() == first.keys()
    assert all(same(one, told.recording) for told, one in again.items())
    assert len(loads) == 1


@pytest.mark.parametrize(
    ("name", "night"),
    [
        ("20260501_235900.wav", "2026-05-01"),
        ("20260502_113000.wav", "2026-05-01"),
        ("20260502_120000.wav", "2026-05-02"),
        ("wind.wav", ""),
    ],
)
def test_a_recording_is_of_the_night_that_its_name_says(
    recordings: list[str], loader: functools.partial[Bands], tmp_path: Path, name: str, night: str
) -> None:
    path = Path(recordings[0]).with_name(name)
    Path(recordings[0]).rename(path)
    scoring = Scoring(str(tmp_path / "model"), "here", "m", "auto", None)
    ((_, background),) = hear([str(path)], loader, scoring)
    assert background is not None and background.night == night


def test_what_changed_is_heard_again(
    tmp_path: Path, recordings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []

    def count(path: str, *rest: object) -> object:
        heard.append(Path(path).name)
        return score_windows(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(room, "score_windows", count)
    take = functools.partial(load, "changed")
    for changes in ({}, {}, {"hop": 1.0}, {"model": "n"}, {"backend": "int8"}, {"site": "there"}):
        list(hear(recordings, take, scoring(tmp_path, **changes)))
    assert heard == ["0.wav", "1.wav", "2.wav"] * 5
    heard.clear()
    place = scoring(tmp_path, site="there")
    os.utime(recordings[1], ns=(1, 1))
    list(hear(recordings, take, place))
    assert heard == ["1.wav"]
    heard.clear()
    kept = sorted(place.windows.iterdir())
    kept[0].write_bytes(kept[0].read_bytes()[:-8])
    kept[1].write_bytes(b"[" * 100_000)
    header, rest = kept[2].read_bytes().split(b"\n", 1)
    kept[2].write_bytes(header + b"\n" + b"\xff" * len(rest))  # NaN
    found = dict(hear(recordings, take, place))
    assert sorted(heard) == ["0.wav", "1.wav", "2.wav"]
    assert all(one is not None for one in found.values())


def test_a_bad_recording_costs_itself(
    tmp_path: Path, recordings: list[str], loader: functools.partial[Bands]
) -> None:
    Path(recordings[1]).write_bytes(b"RIFF no sound")
    gone = str(tmp_path / "gone.wav")
    told = {
        t.recording: (t, one) for t, one in hear([*recordings, gone], loader, scoring(tmp_path))
    }
    assert len(told) == 4
    for bad in (recordings[1], gone):
        hearing, one = told[bad]
        assert one is None
        assert hearing.error.startswith(f"{bad}: ")
        assert "\n" not in hearing.error
    assert told[recordings[0]][0] == Hearing(recordings[0], 5.0)


def test_windows_go_through_no_link(
    tmp_path: Path, recordings: list[str], loader: functools.partial[Bands]
) -> None:
    place = scoring(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    place.windows.parent.mkdir(parents=True)
    place.windows.symlink_to(outside)
    with pytest.raises(ModelError, match="symbolic link"):
        list(hear(recordings, loader, place))
    assert list(outside.iterdir()) == []
