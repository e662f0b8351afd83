"""A long recording in windows: the same sound as its parts one by one, and never all of it."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from spectro.clips import waveform as audio
from spectro.clips.waveform import Window
from spectro.crossval.run import Run
from spectro.errors import AudioError, ConfigError
from spectro.listening.classifier import Classifier
from spectro.pictures.spectrogram import clip_image, network_levels

SR = 8_000


def recording(path: Path, seconds: float, *, sr: int = SR, channels: int = 1) -> Path:
    """Noise that is nowhere the same, louder and quieter by turns."""
    rng = np.random.default_rng(3)
    y = 0.2 * rng.standard_normal((round(seconds * sr), channels)).astype(np.float32)
    y *= 1 + np.sin(np.arange(len(y)) / sr)[:, np.newaxis]
    sf.write(path, np.clip(y, -1, 1), sr)
    return path


def walked(path: Path, duration: float, hop: float | None = None, *, sr: int = SR) -> list[Window]:
    return list(audio.windows(path, sr=sr, duration=duration, hop=hop))


@pytest.mark.parametrize("container", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("duration", "hop"), [(1.0, 1.0), (1.0, 0.3), (0.7, 1.9), (50.0, 1.0)])
def test_a_window_is_what_load_gives_for_that_part(
    tmp_path: Path, container: str, channels: int, duration: float, hop: float
) -> None:
    path = recording(tmp_path / f"long.{container}", 7.3, sr=11_025, channels=channels)
    for start, end, y in walked(path, duration, hop):
        part = audio.load(path, sr=SR, start=start, end=end)
        np.testing.assert_array_equal(y, part)


def test_a_window_of_an_mp3_is_what_load_gives_but_for_rounding(tmp_path: Path) -> None:
    path = recording(tmp_path / "long.mp3", 7.3, sr=16_000)
    found = walked(path, 1.0, 0.7)
    assert len(found) == 10
    for start, end, y in found:
        part = audio.load(path, sr=SR, start=start, end=end)
        np.testing.assert_allclose(y, part, atol=1e-3)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 4_000),
    duration=st.integers(1, 1_500).map(lambda n: n / 1_000),
    hop=st.integers(1, 1_500).map(lambda n: n / 500),
)
def test_windows_step_by_hop_and_the_last_ends_with_the_recording(
    tmp_path_factory: pytest.TempPathFactory, n: int, duration: float, hop: float
) -> None:
    path = tmp_path_factory.mktemp("walk") / "long.wav"
    y = np.linspace(-1, 1, n, dtype=np.float32)
    sf.write(path, y, 1_000, subtype="FLOAT")
    found = walked(path, duration, hop, sr=1_000)
    length = round(1_000 * duration)
    assert len(found) == 1 + max(0, math.ceil((n - length) / round(1_000 * hop)))
    for number, (start, end, _) in enumerate(found[:-1]):
        assert start == pytest.approx(number * hop)
        assert end == pytest.approx(start + duration)
    assert found[-1].end == pytest.approx(n / 1_000)
    for start, _, part in found:
        first = round(1_000 * start)
        np.testing.assert_array_equal(part, y[first : first + length])


def test_a_recording_shorter_than_a_window_is_one_short_window(tmp_path: Path) -> None:
    path = recording(tmp_path / "short.wav", 0.5)
    ((start, end, y),) = walked(path, 4.0, 1.0)
    assert (start, end, len(y)) == (0, 0.5, SR // 2)


def peak(path: Path) -> int:
    """How many bytes walking a recording took at most."""
    tracemalloc.start()
    for _ in audio.windows(path, sr=SR, duration=1.0, hop=0.5):
        pass
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    short, long = (recording(tmp_path / f"{s}.wav", s, sr=16_000) for s in (5, 300))
    whole = 300 * 16_000 * np.dtype(np.float32).itemsize
    peak(short)  # what is loaded once
    assert peak(long) < 1.2 * peak(short) < whole / 10


@pytest.mark.parametrize("hop", [0.0, -1.0, math.nan, math.inf])
def test_a_step_that_goes_nowhere_is_refused(tmp_path: Path, hop: float) -> None:
    path = recording(tmp_path / "long.wav", 2)
    with pytest.raises(ConfigError, match=r"^hop is \S+ s: a window needs one above 0$"):
        walked(path, 1.0, hop)


def test_a_truncated_recording_is_refused_before_its_first_window(tmp_path: Path) -> None:
    path = recording(tmp_path / "long.wav", 5)
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(AudioError, match=r"long\.wav: truncated"):
        next(audio.windows(path, sr=SR, duration=1.0))


@pytest.mark.parametrize("hop", [0.5, 1.0, 3.0])
def test_damage_in_the_middle_is_told_when_it_is_reached(tmp_path: Path, hop: float) -> None:
    path = recording(tmp_path / "long.flac", 20)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    walk = audio.windows(path, sr=SR, duration=1.0, hop=hop)
    assert next(walk).end == 1
    with pytest.raises(AudioError, match=r"long\.flac: ") as error:
        list(walk)
    assert "-" not in str(error.value).removeprefix(str(path))  # no negative count


@pytest.fixture(scope="module")
def classifier(run: Run) -> Classifier:
    return Classifier.load(run.folder / "fold1" / "model")


def test_a_long_recording_is_predicted_as_its_parts_would_be(
    classifier: Classifier, tmp_path: Path
) -> None:
    path = recording(tmp_path / "long.wav", 41.5, sr=22_050)  # more windows than a batch
    heard = classifier.predict_long(path, hop=1.0)
    assert heard.columns[:4].tolist() == ["start", "end", "label", "probability"]
    frame = classifier.card.spectrogram.hop_length / classifier.card.spectrogram.sr
    grid = [frame * math.ceil(second / frame - 1e-6) for second in range(38)]
    assert heard["start"].tolist() == pytest.approx([*grid, 37.5])
    np.testing.assert_allclose(heard["end"] - heard["start"], 4)
    columns = [f"p_{label}" for label in classifier.labels]
    card = classifier.card
    for row in heard.iloc[[0, 20, 38]].to_dict("records"):
        image = clip_image(path, card.spectrogram, start=row["start"], end=row["end"])
        (alone,) = classifier._backend(network_levels(image, card.size)[np.newaxis]).probabilities
        np.testing.assert_allclose([row[name] for name in columns], alone, atol=1e-5)
        assert row["label"] == classifier.labels[int(alone.argmax())]
        assert row["probability"] == pytest.approx(alone.max(), abs=1e-5)


def test_a_clip_is_heard_alike_as_a_clip_and_as_a_recording(
    classifier: Classifier, run: Run
) -> None:
    path = run.predictions()["path"].iloc[0]
    clip, recorded = classifier.predict([path]), classifier.predict_long(path)
    assert len(recorded) == 1
    columns = [f"p_{label}" for label in classifier.labels]
    np.testing.assert_allclose(recorded[columns], clip[columns], atol=1e-5)
