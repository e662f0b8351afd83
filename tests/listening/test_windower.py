"""Windows drawn from a stream: what drawing each cut of the recording gives, to the byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from spectro.clips.streaming import resampled
from spectro.clips.waveform import fit, load, mix
from spectro.errors import AudioError, ConfigError
from spectro.listening.events.finding import level_dbfs
from spectro.listening.windower import Picture, Windower, file_pictures
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import clip_image, network_levels, spectrogram_image

SR = 8_000
SMALL = SpectrogramConfig(sr=SR, duration=0.5, n_fft=256, hop_length=100, n_mels=16)
DEFAULT = SpectrogramConfig()
CONFIGS = {
    "small": SMALL,
    "default": DEFAULT,
    "odd": SMALL.replace(n_fft=255, win_length=200, hop_length=77, pad="loop"),
    "steep": SMALL.replace(n_fft=128, hop_length=300, db_range="auto", pad="center"),
    "long frames": SMALL.replace(n_fft=8_192, hop_length=64, ref=1.0),
    "both": SMALL.replace(channels="both"),
    "first": SMALL.replace(channels="first", cmap="gray", pad="random"),
}


def noise(seconds: float, sr: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise that is nowhere the same, with silence within."""
    rng = np.random.default_rng(seed)
    y = 0.1 * rng.standard_normal((round(seconds * sr), channels)).astype(np.float32)
    y *= (1 + np.sin(np.arange(len(y)) * 7 / sr))[:, np.newaxis].astype(np.float32)
    y[len(y) // 3 : len(y) // 2] = 0
    return y


def heard(y: np.ndarray, sr: int, config: SpectrogramConfig, cuts: list[int], **given) -> list:
    windower = Windower(config, sr, **given)
    pictures = [one for part in np.split(y, cuts) for one in windower.push(part)]
    assert windower.seconds == len(y) / sr
    return [*pictures, *windower.finish()]


def stream(y: np.ndarray, sr: int, config: SpectrogramConfig) -> np.ndarray:
    """The whole recording as the model's rate and channels have it."""
    blocks = [mix(part, config.channels) for part in np.array_split(y, 3)]
    return np.concatenate(list(resampled(iter(blocks), sr, config.sr)), axis=-1)


def check_cuts(pictures: list[Picture], y: np.ndarray, config: SpectrogramConfig) -> None:
    """Compare each picture with that of its cut."""
    for one in pictures:
        first = round(one.start * config.sr)
        cut = y[..., first : first + config.n_samples]
        image = spectrogram_image(fit(cut, config.n_samples, pad=config.pad), config)
        np.testing.assert_array_equal(one.levels, network_levels(image, None))
        assert one.level == pytest.approx(level_dbfs(cut), abs=1e-5)


@pytest.mark.parametrize("hop", [None, 0.1, 0.23, 0.7])
@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {"default"}))
@pytest.mark.parametrize(("sr", "channels"), [(8_000, 1), (11_025, 2)])
def test_every_window_is_the_picture_of_its_cut(
    name: str, hop: float | None, sr: int, channels: int
) -> None:
    config, y = CONFIGS[name], noise(2.3, sr, channels)
    pictures = heard(y, sr, config, [1, 5_000, 5_001, 9_000], hop=hop)
    check_cuts(pictures, stream(y, sr, config), config)
    step = hop or config.duration
    n = max(1, 1 + int(np.ceil(round((2.3 - config.duration) / step, 6))))
    assert n - 1 <= len(pictures) <= n
    for number, one in enumerate(pictures[:-1]):
        assert -1 / sr < one.start - number * step < config.hop_length / config.sr
        assert one.end - one.start == pytest.approx(config.duration)
    assert 0 <= len(y) / sr - pictures[-1].end < 1 / SR


@pytest.mark.parametrize("hop", [1.0, 0.37])
@pytest.mark.parametrize(("sr", "channels"), [(22_050, 1), (44_100, 2), (192_000, 8)])
def test_with_the_default_settings_too(hop: float, sr: int, channels: int) -> None:
    y = noise(6, sr, channels)
    pictures = heard(y, sr, DEFAULT, list(range(65_536, len(y), 65_536)), hop=hop)
    check_cuts(pictures, stream(y, sr, DEFAULT), DEFAULT)


@settings(deadline=None, max_examples=40)
@given(
    cuts=st.lists(st.integers(0, 12_000), max_size=12).map(sorted),
    sr=st.sampled_from([8_000, 11_025, 24_000]),
    hop=st.sampled_from([None, 0.1, 0.6]),
    n=st.integers(1, 12_000),
)
def test_how_the_sound_is_cut_into_pieces_does_not_matter(
    cuts: list[int], sr: int, hop: float | None, n: int
) -> None:
    y = noise(2, sr)[:n]
    expected = heard(y, sr, SMALL, [], hop=hop)
    found = heard(y, sr, SMALL, cuts, hop=hop)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one[:2] == other[:2]
        assert one.level == other.level
        np.testing.assert_array_equal(one.levels, other.levels)


def test_a_window_comes_soon_after_its_last_sample() -> None:
    windower = Windower(SMALL, 16_000, hop=0.1)
    y = noise(1, 16_000)
    came = {}
    for at in range(0, len(y), 160):
        for one in windower.push(y[at : at + 160]):
            came[one.end] = (at + 160) / 16_000
    assert len(came) >= 5
    assert all(0 <= at - end < 0.08 for end, at in came.items())


@pytest.mark.parametrize("seconds", [0.2, 4.0])
@pytest.mark.parametrize("sr", [22_050, 44_100])
def test_a_file_of_one_window_is_what_prediction_sees(
    tmp_path: Path, seconds: float, sr: int
) -> None:
    sf.write(tmp_path / "a.flac", noise(seconds, sr, 2), sr)
    [one] = file_pictures(tmp_path / "a.flac", DEFAULT, hop=1)
    image = clip_image(tmp_path / "a.flac", DEFAULT)
    np.testing.assert_array_equal(one.levels, network_levels(image, None))
    assert (one.start, one.end) == (0, seconds)


def test_where_nothing_is_resampled_a_window_is_the_clip_of_that_part(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", noise(9, 22_050), 22_050)
    for one in file_pictures(tmp_path / "a.wav", DEFAULT, hop=1.5, size=64):
        image = clip_image(tmp_path / "a.wav", DEFAULT, start=one.start, end=one.end)
        np.testing.assert_array_equal(one.levels, network_levels(image, 64))
        y = load(tmp_path / "a.wav", sr=22_050, start=one.start, end=one.end)
        assert one.level == level_dbfs(y)


def test_what_cannot_be_is_refused() -> None:
    for hop in (0, -1, float("nan"), float("inf"), 1e-9):
        with pytest.raises(ConfigError, match=r"hop is \S+ s: choose more than 0"):
            Windower(SMALL, SR, hop=hop)
    with pytest.raises(AudioError, match="porch: states a sampling rate of 1 Hz"):
        Windower(SMALL, 1, name="porch")
    with pytest.raises(AudioError, match="porch: holds NaN"):
        Windower(SMALL, SR, name="porch").push(np.full((9, 1), np.nan, np.float32))
    assert Windower(SMALL, SR).push(np.empty((0, 2), np.float32)) == []
    assert Windower(SMALL, SR).finish() == []
