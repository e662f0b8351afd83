"""Silence, blank files and sounds that are none of the classes, heard by a trained network."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from spectro.crossval.run import Run
from spectro.errors import AudioError
from spectro.listening.backends import Answer, Backend, open_backend
from spectro.listening.events.finding import Event, Origin, ScoredWindow, find_events
from spectro.listening.events.settings import EventSettings
from spectro.listening.scan import score_windows
from spectro.models.card import read_card
from spectro.models.exports.probes import hum_pictures, noise_pictures
from spectro.models.steady import Steady

SR, SECONDS = 16_000, 13
T = np.arange(SR * SECONDS) / SR
NOISE = np.random.default_rng(0).normal(size=len(T))
HUM = np.sin(2 * np.pi * 50 * T) + 0.3 * np.sin(2 * np.pi * 100 * T)


@pytest.fixture(scope="module")
def listener(run: Run) -> Backend:
    return open_backend(run.folder / "fold1" / "model")


class NeverKnown:
    """The same network, which says of every sound that it is none of its classes."""

    def __init__(self, listener: Backend) -> None:
        self.listener, self.card = listener, listener.card

    def __call__(self, levels: np.ndarray) -> Answer:
        answer = self.listener(levels)
        return answer._replace(known=np.zeros(len(levels), dtype=bool))


def at(level: float, y: np.ndarray) -> np.ndarray:
    """Bring a sound to a level in dBFS."""
    return y / np.sqrt(np.mean(y**2)) * 10 ** (level / 20)


def heard(
    tmp_path: Path, y: np.ndarray, listener: Backend, settings: EventSettings | None = None
) -> tuple[list[ScoredWindow], list[Event]]:
    sf.write(tmp_path / "x.wav", y, SR, subtype="FLOAT")
    windows = list(score_windows(tmp_path / "x.wav", listener, 1.0))
    assert len(windows) == 10
    labels, chosen = listener.card.labels, settings or EventSettings()
    return windows, list(find_events(windows, labels, chosen, Origin("x")))


DITHER = np.round(NOISE * 0.5) / 2**15  # the last bit of 16


@pytest.mark.parametrize(
    "y",
    [
        np.zeros(len(T)),
        np.full(len(T), 0.01),  # a converter's offset
        DITHER,
        at(-82, NOISE),
        at(-82, HUM),
    ],
    ids=["digital silence", "offset", "dither", "faint noise", "faint hum"],
)
def test_silence_raises_nothing_whatever_the_network_says(
    tmp_path: Path, listener: Backend, y: np.ndarray
) -> None:
    windows, events = heard(tmp_path, y, listener)
    assert events == []
    # Pictures are drawn relative to their loudest cell: without the gate, silence is a sound.
    assert all(window.level < -80 for window in windows)
    _, ungated = heard(
        tmp_path, y, listener, EventSettings().model_copy(update={"level_gate": None})
    )
    best = max(float(np.max(window.probabilities)) for window in windows)
    assert bool(ungated) == (best >= 0.5)


@pytest.mark.parametrize("y", [at(-60, NOISE), at(-40, NOISE), at(-20, NOISE), at(-20, HUM)])
def test_what_the_model_does_not_know_raises_nothing_at_any_level(
    tmp_path: Path, listener: Backend, y: np.ndarray
) -> None:
    windows, events = heard(tmp_path, y, NeverKnown(listener))
    assert events == []
    assert all(window.level > -80 for window in windows)  # the gate lets it pass


@pytest.mark.parametrize("gain", [-60, -20])
@pytest.mark.parametrize("told", [True, False])
def test_steady_noise_raises_nothing_however_sure_the_network_is(
    tmp_path: Path, run: Run, gain: float, told: bool
) -> None:
    """A network at temperature 0.05 is sure of whatever it hears."""
    folder = shutil.copytree(run.folder / "fold1" / "model", tmp_path / "model")
    card = read_card(folder).replace(temperature=0.05)
    drawn = (draw(card.spectrogram, card.size) for draw in (noise_pictures, hum_pictures))
    sure = card.replace(steady=Steady.fitted(*drawn)) if told else card
    (folder / "model.json").write_text(sure.to_json())
    windows, events = heard(tmp_path, at(gain, NOISE), open_backend(folder))
    assert max(float(np.max(window.probabilities)) for window in windows) > 0.9
    assert bool(events) != told


def test_the_gate_is_a_level_and_nothing_else(tmp_path: Path, listener: Backend) -> None:
    """Noise above it is for the network, and a gate above the site's own noise is a choice."""
    windows, events = heard(tmp_path, at(-40, NOISE), listener, EventSettings(level_gate=-35))
    assert events == []
    assert all(-41 < window.level < -39 for window in windows)
    _, passed = heard(tmp_path, at(-40, NOISE), listener, EventSettings(on=0.34, off=0.3))
    assert len(passed) >= 1  # of three classes, one has a third


def test_a_sound_beside_silence_is_heard(tmp_path: Path, listener: Backend) -> None:
    y = np.concatenate([np.zeros(SR * 4), at(-20, NOISE[: SR * 5]), np.zeros(SR * 4)])
    windows, events = heard(tmp_path, y, listener, EventSettings(on=0.34, off=0.3, extent=0.3))
    assert [window.level > -80 for window in windows] == [False, *[True] * 8, False]
    assert all(event.end <= 11.5 for event in events)
    assert events


@pytest.mark.parametrize("content", [b"", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80\x3e\0\0"
                                     b"\0\x7d\0\0\2\0\x10\0data\0\0\0\0"])  # fmt: skip
def test_blank_files_are_named(tmp_path: Path, listener: Backend, content: bytes) -> None:
    (tmp_path / "blank.wav").write_bytes(content)
    with pytest.raises(AudioError, match=r"blank\.wav"):
        list(score_windows(tmp_path / "blank.wav", listener, 1.0))
