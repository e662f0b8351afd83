"""Steady noise is told from sounds by its picture, whatever the network says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import soxr

from spectro.errors import ConfigError
from spectro.models.card import ModelCard
from spectro.models.exports.probes import hum_pictures, noise_pictures
from spectro.models.steady import Steady, texture
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import network_levels, spectrogram_image

CONFIGS = {
    "4 s at 22,050 Hz": (SpectrogramConfig(), None),
    "1 s": (SpectrogramConfig(duration=1.0), None),
    "48 kHz, resized": (SpectrogramConfig(sr=48_000, n_fft=2_048), 224),
    "two channels": (SpectrogramConfig(channels="both"), None),
}
RNG = np.random.default_rng(7)


def coloured(config: SpectrogramConfig, power: float, end: float = 1) -> np.ndarray:
    """Noise whose power goes with a power of the frequency, up to a share of the band."""
    hz = np.fft.rfftfreq(config.n_samples, 1 / config.sr)
    white = np.fft.rfft(RNG.standard_normal(config.n_samples))
    shape = np.maximum(hz, 20) ** (power / 2) * (hz <= end * config.sr / 2)
    y = np.fft.irfft(white * shape, config.n_samples)
    return y / y.std()


def tone(config: SpectrogramConfig) -> np.ndarray:
    return np.sin(2 * np.pi * 1_000 * np.arange(config.n_samples) / config.sr)


def hum(config: SpectrogramConfig) -> np.ndarray:
    t = np.arange(config.n_samples) / config.sr
    return sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 9))


def clicks(config: SpectrogramConfig) -> np.ndarray:
    y = np.zeros(config.n_samples)
    y[:: config.sr // 3] = 1
    return y


def bursts(config: SpectrogramConfig) -> np.ndarray:
    t = np.arange(config.n_samples) / config.sr
    return coloured(config, 0) * (np.sin(2 * np.pi * 2 * t) > 0)


def chirp_in_noise(config: SpectrogramConfig) -> np.ndarray:
    """A chirp 12 dB above the noise."""
    t = np.arange(config.n_samples) / config.sr
    return coloured(config, 0) + 4 * np.sqrt(2) * np.sin(2 * np.pi * (800 + 600 * t) * t)


def pictures(config: SpectrogramConfig, size: int | None, *sounds: np.ndarray) -> np.ndarray:
    made = [y.astype(np.float32) for y in sounds]
    both = config.channels == "both"
    images = [spectrogram_image(np.stack([y, y]) if both else y, config) for y in made]
    return np.stack([network_levels(image, size) for image in images])


def fitted(config: SpectrogramConfig, size: int | None) -> Steady:
    """The gate with the room that a final model gives it."""
    return Steady.fitted(noise_pictures(config, size), hum_pictures(config, size))


@pytest.fixture(params=CONFIGS, scope="module")
def drawn(request: pytest.FixtureRequest) -> tuple[SpectrogramConfig, int | None, Steady]:
    config, size = CONFIGS[request.param]
    return config, size, fitted(config, size)


@pytest.mark.parametrize(
    ("power", "end", "gain"),
    [*((power, 1, gain) for power in (-1, -0.5, 0, 1) for gain in (1e-3, 0.1)),
     (0, 0.75, 0.1), (0, 0.73, 0.1)],
)  # fmt: skip
def test_noise_is_steady_at_any_level_and_where_it_was_cut_off(
    drawn: tuple[SpectrogramConfig, int | None, Steady], power: float, end: float, gain: float
) -> None:
    config, size, steady = drawn
    sounds = [gain * coloured(config, power, end) for _ in range(6)]
    covered = steady.covers(pictures(config, size, *sounds))
    assert covered.mean() >= (1 if end == 1 else 0.8)  # where it is cut off, nearly always


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_noise_is_steady_whatever_rate_it_was_recorded_at(
    drawn: tuple[SpectrogramConfig, int | None, Steady], rate: int
) -> None:
    """The resampler's slope dims bands; of a low rate few are loud."""
    config, size, steady = drawn
    n = round(config.duration * rate) + rate // 4
    noise = [resample(RNG.standard_normal(n).astype(np.float32), rate, config) for _ in range(12)]
    assert steady.covers(pictures(config, size, *noise)).mean() > 0.9


def test_where_a_picture_is_too_short_hum_is_not_told() -> None:
    """The windows' cuts fill it, and what does not change much would be told for hum."""
    config = SpectrogramConfig(duration=0.25)
    assert fitted(config, None).still == 0


def test_a_card_of_before_tells_noise_alone() -> None:
    config = CONFIGS["1 s"][0]
    band = np.zeros((1, 128, 44, 3), np.uint8)
    band[:, 40:44] = 200
    assert not Steady(change=12, relief=9).covers(band).any()
    assert Steady(change=12, relief=9, still=1).covers(band).all()
    assert not Steady(change=12, relief=9).covers(pictures(config, None, hum(config))).any()


def resample(y: np.ndarray, rate: int, config: SpectrogramConfig) -> np.ndarray:
    return 0.1 * soxr.resample(y, rate, config.sr, quality="HQ")[-config.n_samples :]


@pytest.mark.parametrize("level", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("sound", [tone, hum])
def test_what_does_not_change_at_all_is_hum(
    drawn: tuple[SpectrogramConfig, int | None, Steady],
    sound: Callable[[SpectrogramConfig], np.ndarray],
    level: float,
) -> None:
    """With the noise of a microphone, and whatever the windows cut through."""
    config, size, steady = drawn
    y = level * sound(config)
    noisy = y + 1e-4 * RNG.standard_normal(len(y))
    swelling = y * np.linspace(0.5, 1, len(y))
    short = np.where(np.arange(len(y)) < len(y) // 25, y, 0)
    covered = steady.covers(pictures(config, size, y, noisy, swelling, short))
    assert covered.tolist() == [True, True, False, False]


@pytest.mark.parametrize("sound", [clicks, bursts, chirp_in_noise])
def test_what_changes_or_stands_out_is_not(
    drawn: tuple[SpectrogramConfig, int | None, Steady],
    sound: Callable[[SpectrogramConfig], np.ndarray],
) -> None:
    config, size, steady = drawn
    assert not steady.covers(pictures(config, size, 0.1 * sound(config))).any()


def test_texture_is_the_naive_one() -> None:
    levels = RNG.integers(0, 256, (3, 16, 20, 3), dtype=np.uint8)
    levels[:, 3:9] //= 5  # bands that are not loud
    usual = RNG.uniform(1, 9, 16)
    relative = texture(levels, usual).change
    for picture, change, relief, inner, part in zip(
        levels, *texture(levels), relative, strict=True
    ):
        bright = [[sum(map(int, pixel)) / 3 for pixel in row] for row in picture]
        means = [sum(row) / len(row) for row in bright]
        loud = [mean >= max(means) / 2 for mean in means]
        assert 0 < sum(loud) < 16
        spreads = [np.std(row) for row, counts in zip(bright, loud, strict=True) if counts]
        assert change == pytest.approx(np.mean(spreads), rel=1e-5)
        parts = np.array(spreads) / usual[loud]
        assert part == pytest.approx(np.mean(parts), rel=1e-5)
        around = [2 <= k < 14 and all(loud[k - 2 : k + 3]) for k in range(16)]
        steps = [abs(means[k + 1] - means[k]) for k in range(15) if around[k] and around[k + 1]]
        assert steps
        assert relief == pytest.approx(np.mean(steps), rel=1e-5)
        middles = [row[1:19] for row in bright]
        levels_in = [np.mean(row) for row in middles]
        own = [np.std(row) for row, m in zip(middles, levels_in, strict=True)
               if m >= max(levels_in) / 2]  # fmt: skip
        dark = max(levels_in) < max(map(max, bright)) / 2
        assert inner == pytest.approx(255 if dark else np.mean(own), rel=1e-5)


def card(**about: object) -> ModelCard:
    steady = fitted(*CONFIGS["1 s"])
    given = {**steady.to_dict(), **about}
    config = CONFIGS["1 s"][0]
    return ModelCard(arch="cnn4", labels=("dog", "rain"), spectrogram=config, steady=given)


def test_only_what_is_heard_as_a_spared_class_passes() -> None:
    config = CONFIGS["1 s"][0]
    levels = pictures(config, None, coloured(config, 0), coloured(config, 0), clicks(config))
    sure = np.array([[0.99, 0.01], [0.01, 0.99], [0.99, 0.01]], np.float32)
    assert card().known(levels, sure).tolist() == [False, False, True]
    assert card(spared=("rain",)).known(levels, sure).tolist() == [False, True, True]
    without = card().model_copy(update={"steady": None})
    assert without.known(levels, sure).tolist() == [True, True, True]


def test_a_class_that_is_none_cannot_be_spared() -> None:
    with pytest.raises(ConfigError, match="steady spares 'hail', which is no label"):
        card(spared=("hail",))
    with pytest.raises(ConfigError, match="change"):
        card(change=-1)
