"""Pictures back to sound: the pitch, the moment and the picture itself come out again."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from spectro.errors import ConfigError
from spectro.pictures.inversion import heard, sound_of
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import spectrogram_image

pytestmark = pytest.mark.slow

CONFIG = SpectrogramConfig(sr=8_000, duration=1.0, n_fft=512, hop_length=128, n_mels=48)


def tone(hz: float) -> np.ndarray:
    """A tone in the second half of a second, over a little noise."""
    time = np.arange(CONFIG.n_samples) / CONFIG.sr
    noise = 1e-3 * np.random.default_rng(0).standard_normal(len(time))
    return (0.5 * np.sin(2 * np.pi * hz * time) * (time > 0.5) + noise).astype(np.float32)


@pytest.mark.parametrize("hz", [440, 1_000, 2_500])
def test_a_tone_comes_back_with_its_pitch_and_its_moment(hz: int) -> None:
    y = sound_of(spectrogram_image(tone(hz), CONFIG), CONFIG)
    assert y.shape == (CONFIG.n_samples,)
    assert y.dtype == np.float32
    assert np.abs(y).max() == pytest.approx(0.9)
    loudest = np.abs(np.fft.rfft(y)).argmax()  # one second: a bin is a hertz
    assert loudest == pytest.approx(hz, rel=0.05)
    assert np.square(y[: CONFIG.n_samples * 2 // 5]).mean() < 1e-3 * np.square(y).mean()


def test_the_sound_of_a_picture_has_that_picture() -> None:
    before = spectrogram_image(tone(700), CONFIG)
    after = spectrogram_image(sound_of(before, CONFIG), CONFIG)
    apart = np.abs(np.asarray(before, dtype=float) - np.asarray(after, dtype=float))
    other = np.abs(np.asarray(before, dtype=float) - np.asarray(before, dtype=float)[:, ::-1])
    assert apart.mean() < 12  # of 255: 4 dB
    assert apart.mean() < other.mean() / 4


def test_a_black_picture_is_silent() -> None:
    black = Image.fromarray(np.zeros(CONFIG.shape, dtype=np.uint8))
    assert not sound_of(black, CONFIG).any()


def test_a_coarser_picture_keeps_less() -> None:
    """Two tones a band apart come back as two from fine bands, and as one from coarse ones."""
    time = np.arange(CONFIG.n_samples) / CONFIG.sr
    y = np.sin(2 * np.pi * 1_000 * time) + np.sin(2 * np.pi * 1_150 * time)
    y = y.astype(np.float32) / 2
    pictures = {n: (y, CONFIG.replace(n_fft=1024, n_mels=int(n))) for n in ("8", "96")}
    sounds = heard(pictures)

    def between(y: np.ndarray) -> float:
        spectrum = np.square(np.abs(np.fft.rfft(y)))
        return float(spectrum[1_050:1_100].mean() / spectrum[[*range(990, 1_011)]].mean())

    assert between(sounds["96"]) < between(sounds["8"]) / 3


def test_a_picture_of_unknown_decibels_is_refused() -> None:
    config = CONFIG.replace(db_range="auto")
    with pytest.raises(ConfigError, match="db_range is auto"):
        sound_of(spectrogram_image(tone(440), config), config)
