"""The picture is librosa's, cell by cell, whichever way it is made or read back."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import librosa
import librosa.display
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
import scipy.fft
import scipy.sparse
import soundfile as sf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from spectro.clips import waveform as audio
from spectro.errors import AudioError
from spectro.pictures import spectrogram
from spectro.pictures.colors import palette
from spectro.pictures.mel import mel_bands, mel_filterbank
from spectro.pictures.settings import SpectrogramConfig

SR = 22_050
DEFAULT = SpectrogramConfig()
# A quarter of a second in 40 bands: quick where many pictures are drawn.
SMALL = SpectrogramConfig(duration=0.25, n_fft=512, hop_length=128, n_mels=40)

Samples = npt.NDArray[np.float32]
Array = npt.NDArray[Any]


def times(seconds: float, sr: int = SR) -> Array:
    return np.arange(round(seconds * sr)) / sr


def noise(seconds: float, *, seed: int = 0, level: float = 0.1, sr: int = SR) -> Samples:
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal(round(seconds * sr))).astype(np.float32)


def tone(seconds: float, hz: float, *, level: float = 0.5, sr: int = SR) -> Samples:
    return (level * np.sin(2 * np.pi * hz * times(seconds, sr))).astype(np.float32)


def sweep(seconds: float, *, sr: int = SR) -> Samples:
    """A tone that rises through the whole range."""
    phase = 2 * np.pi * np.cumsum(np.linspace(100, 0.45 * sr, round(seconds * sr))) / sr
    return (0.4 * np.sin(phase)).astype(np.float32)


def clicks(seconds: float) -> Samples:
    y = np.zeros(round(seconds * SR), dtype=np.float32)
    y[:: SR // 7] = 0.9
    return y


def varied() -> dict[str, Samples]:
    """Four-second clips of every kind: tonal, noisy, sparse, loud, quiet, short, rounded."""
    fading = noise(4, seed=1, level=1) * np.exp(-3 * times(4)).astype(np.float32)
    hum = sum(tone(4, 50 * k, level=0.2 / k) for k in (1, 2, 3, 5, 8))
    return {
        "noise": noise(4),
        "tone": tone(4, 440),
        "sweep": sweep(4),
        "clicks": clicks(4),
        "fading": fading,
        "hum in noise": hum + noise(4, seed=2, level=0.003),
        "clipped": np.clip(20 * sweep(4), -1, 1),
        "16 bits": np.round(32_768 * (0.01 * sweep(4) + noise(4, level=1e-4))) / np.float32(32_768),
        "very quiet": noise(4, level=1e-5),
        "very loud": 30_000 * noise(4, seed=3),
        "one click": np.eye(1, 88_200, 40_000, dtype=np.float32)[0],
        "very quiet, then silence": audio.fit(noise(1.3, level=1e-5), 88_200, pad="zero"),
        "short, then silence": audio.fit(noise(1.3), 88_200, pad="zero"),
        "offset": np.full(88_200, 0.25, dtype=np.float32) + noise(4, level=0.01),
    }


VARIED = varied()


def indices(image: Image.Image) -> Array:
    """Grey levels of a picture as whole numbers that may be subtracted."""
    return np.asarray(image).astype(int)


def draw(y: Samples, config: SpectrogramConfig = DEFAULT, **changes: Any) -> Array:
    return indices(spectrogram.spectrogram_image(y, config.replace(**changes)))


def librosa_mel(y: Array, config: SpectrogramConfig) -> Array:
    """What librosa makes of a waveform, in double precision."""
    return librosa.feature.melspectrogram(
        y=y.astype(np.float64),
        sr=config.sr,
        n_fft=config.n_fft,
        win_length=config.win_length,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
        fmin=config.fmin,
        fmax=config.fmax,
        dtype=np.float64,
    )


def librosa_db(y: Samples, config: SpectrogramConfig = DEFAULT) -> Array:
    """librosa's dB against the clip's maximum, at most `top_db` below it; lowest band first."""
    return librosa.power_to_db(librosa_mel(y, config), ref=np.max, top_db=config.top_db)


# The mel spectrogram

CONFIGS = {
    "default": DEFAULT,
    "small": SMALL,
    "window": SpectrogramConfig(win_length=1_024),
    "odd window": SpectrogramConfig(n_fft=1_024, win_length=801, hop_length=200, n_mels=64),
    "odd n_fft": SpectrogramConfig(n_fft=1_023, hop_length=300, n_mels=40, duration=0.7),
    "not a power of two": SpectrogramConfig(n_fft=1_000, hop_length=250, n_mels=40, duration=1),
    "band": SpectrogramConfig(fmin=500, fmax=4_000, n_mels=40),
    "high": SpectrogramConfig(sr=96_000, duration=0.5, fmin=8_000, n_mels=64),
    "low": SpectrogramConfig(sr=4_000, duration=2, n_fft=512, hop_length=64, n_mels=32),
    "few": SpectrogramConfig(n_mels=2, n_fft=256, duration=0.3),
    "hop above n_fft": SpectrogramConfig(n_fft=256, hop_length=1_000, n_mels=20),
    "shorter than n_fft": SpectrogramConfig(duration=0.03, hop_length=100),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.filterwarnings("ignore:n_fft=.* is too large")
def test_melspectrogram_is_librosas(config: SpectrogramConfig) -> None:
    y = noise(config.duration, sr=config.sr) + sweep(config.duration, sr=config.sr)
    S = spectrogram.melspectrogram(y, config)
    expected = librosa_mel(y, config)
    assert S.dtype == np.float32
    assert S.shape == expected.shape
    np.testing.assert_allclose(S, expected, rtol=2e-4, atol=1e-7 * expected.max())


@pytest.mark.parametrize("n_samples", [1, 2, 127, 128, 129, 5_000])
@pytest.mark.filterwarnings("ignore:n_fft=.* is too large")
def test_melspectrogram_takes_any_length(n_samples: int) -> None:
    y = noise(1)[:n_samples]
    expected = librosa_mel(y, SMALL)
    S = spectrogram.melspectrogram(y, SMALL)
    np.testing.assert_allclose(S, expected, rtol=2e-4, atol=1e-7 * expected.max())


def test_melspectrogram_leaves_its_input() -> None:
    y = noise(0.25)
    before = y.copy()
    spectrogram.melspectrogram(y, SMALL)
    np.testing.assert_array_equal(y, before)


@settings(max_examples=40, deadline=None)
@given(
    sr=st.sampled_from([4_000, 8_000, 22_050, 44_100, 96_000]),
    n_fft=st.integers(64, 4_096),
    n_mels=st.integers(2, 200),
    low=st.floats(0, 0.4),
    high=st.floats(0.5, 1),
)
@pytest.mark.filterwarnings("ignore:Empty filters detected")
def test_mel_filterbank_is_librosas(
    sr: int, n_fft: int, n_mels: int, low: float, high: float
) -> None:
    fmin, fmax = low * sr / 2, high * sr / 2
    config = SpectrogramConfig(sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax)
    mel = mel_filterbank(config)
    expected = librosa.filters.mel(
        sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, dtype=np.float64
    )
    assert mel.dtype == np.float32
    np.testing.assert_allclose(mel, expected, rtol=1e-5, atol=1e-9)


def test_mel_filterbank_without_fmax_reaches_half_the_rate() -> None:
    mel = mel_filterbank(DEFAULT)
    np.testing.assert_allclose(mel, librosa.filters.mel(sr=SR, n_fft=2_048), rtol=1e-5, atol=1e-9)
    assert np.flatnonzero(mel[-1])[-1] == 1_023  # the bin below 11,025 Hz, where it is zero again


def mel_of(hz: float) -> float:
    """Slaney's scale, as his Auditory Toolbox has it."""
    return hz * 3 / 200 if hz < 1_000 else 15 + 27 * np.log(hz / 1_000) / np.log(6.4)


def hz_of(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1_000 * 6.4 ** ((mel - 15) / 27)


def naive_frame(y: Samples, frame: int, config: SpectrogramConfig) -> list[float]:
    """One column from the formulas alone: Hann window, direct Fourier sum, triangles."""
    n_fft, win_length = config.n_fft, config.win_length or config.n_fft
    first = frame * config.hop_length - n_fft // 2
    before = (n_fft - win_length) // 2
    x = np.zeros(n_fft)
    for n in range(win_length):
        at = first + before + n
        if 0 <= at < len(y):
            x[before + n] = y[at] * (0.5 - 0.5 * np.cos(2 * np.pi * n / win_length))
    k, n = np.arange(n_fft // 2 + 1)[:, np.newaxis], np.arange(n_fft)
    power = np.abs((x * np.exp(-2j * np.pi * k * n / n_fft)).sum(axis=1)) ** 2
    low, high = mel_of(config.fmin), mel_of(config.fmax or config.sr / 2)
    corners = [
        hz_of(low + (high - low) * band / (config.n_mels + 1)) for band in range(config.n_mels + 2)
    ]
    column = []
    for lower, peak, upper in zip(corners, corners[1:], corners[2:], strict=False):
        total = 0.0
        for index, value in enumerate(power):
            hz = index * config.sr / n_fft
            if lower < hz < upper:
                slope = (
                    (hz - lower) / (peak - lower) if hz < peak else (upper - hz) / (upper - peak)
                )
                total += value * slope * 2 / (upper - lower)
        column.append(total)
    return column


@pytest.mark.parametrize(
    "config",
    [SMALL, SMALL.replace(win_length=300), SMALL.replace(fmin=300, fmax=5_000, n_fft=600)],
    ids=["default", "window", "band"],
)
@pytest.mark.parametrize("frame", [0, 1, 20, 43])
def test_melspectrogram_is_what_the_formulas_say(frame: int, config: SpectrogramConfig) -> None:
    y = noise(0.25) + tone(0.25, 1_500)
    S = spectrogram.melspectrogram(y, config)
    assert S.shape == (40, 44)
    expected = naive_frame(y, frame, config)
    np.testing.assert_allclose(S[:, frame], expected, rtol=1e-4, atol=1e-7 * max(expected))


@settings(max_examples=40, deadline=None)
@given(
    n_fft=st.sampled_from([64, 256, 1_024, 2_048, 4_096]),
    n_mels=st.integers(2, 200),
    low=st.floats(0, 0.4),
    high=st.floats(0.5, 1),
    n=st.integers(1, 300_000),
    loudness=st.sampled_from([1e-9, 1e-3, 1.0, 1e6]),
)
@example(n_fft=2_048, n_mels=128, low=0, high=1, n=192 * 512, loudness=1.0)  # a frame is left over
def test_melspectrogram_is_scipys_transform_and_sparse_product_to_the_bit(
    n_fft: int, n_mels: int, low: float, high: float, n: int, loudness: float
) -> None:
    config = SpectrogramConfig(
        n_fft=n_fft, hop_length=512, n_mels=n_mels, fmin=low * SR / 2, fmax=high * SR / 2
    )
    y = loudness * np.random.default_rng(n).standard_normal(n).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(y, n_fft // 2), n_fft)[::512]
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    D = scipy.fft.rfft(frames * window, axis=-1)
    power = np.square(D.real) + np.square(D.imag)
    expected = scipy.sparse.csr_matrix(mel_filterbank(config)) @ power.T
    S = spectrogram.melspectrogram(y, config)
    np.testing.assert_array_equal(S, expected)


@pytest.mark.parametrize("block", [1, 7, 44, 10_000])
@pytest.mark.parametrize("name", ["_BLOCK", "_TOGETHER"])
def test_the_size_of_a_block_does_not_matter(
    name: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    y = noise(0.25) + sweep(0.25)
    expected = spectrogram.melspectrogram(y, SMALL)
    monkeypatch.setattr(spectrogram, name, block)
    np.testing.assert_array_equal(spectrogram.melspectrogram(y, SMALL), expected)


def test_threads_compute_what_one_does() -> None:
    configs = [DEFAULT, SMALL, DEFAULT.replace(n_mels=64, fmax=8_000), SMALL.replace(pad="loop")]
    jobs = [(y, config) for config in configs for y in VARIED.values()]
    expected = [draw(y, config) for y, config in jobs]
    mel_bands.cache_clear()  # so that threads also meet there
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda job: draw(*job), jobs))
    for one, other in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(one, other)


# Decibels and grey levels


@pytest.mark.parametrize("ref", ["max", 1.0, 1e-3, 250.0])
def test_power_to_db_is_librosas(ref: Any) -> None:
    S = spectrogram.melspectrogram(noise(1) * np.linspace(0, 1, SR, dtype=np.float32), SMALL)
    before = S.copy()
    S_db = spectrogram.power_to_db(S, ref=ref)
    expected = librosa.power_to_db(S, ref=np.max if ref == "max" else ref, top_db=None)
    assert S_db.dtype == np.float32
    np.testing.assert_allclose(S_db, expected, atol=1e-4)
    np.testing.assert_array_equal(S, before)


def test_levels_are_the_nearest_of_256_steps() -> None:
    config = SMALL
    S_db = np.linspace(-100, 5, 3_000, dtype=np.float32).reshape(40, 75)
    exact = (np.clip(S_db.astype(np.float64), -80, 0) + 80) * 255 / 80
    levels = spectrogram.levels(S_db, config)
    assert levels.dtype == np.uint8
    assert np.abs(levels - exact).max() <= 0.5 + 1e-4
    assert (levels.min(), levels.max()) == (0, 255)


@pytest.mark.parametrize("top_db", [20.0, 60.0, 80.0, 120.0])
def test_top_db_is_the_range_of_the_picture(top_db: float) -> None:
    y = VARIED["fading"]
    levels = draw(y, top_db=top_db)
    exact = (librosa_db(y, DEFAULT.replace(top_db=top_db)) + top_db) * 255 / top_db
    assert np.abs(levels[::-1] - exact).max() < 1


@pytest.mark.parametrize("y", VARIED.values(), ids=VARIED)
def test_grey_levels_are_librosas_decibels(y: Samples) -> None:
    expected = np.round((librosa_db(y) + 80) * 255 / 80).astype(int)
    levels = draw(y)[::-1]  # a picture's first row is its highest band
    assert levels.shape == expected.shape == DEFAULT.shape
    difference = np.abs(levels - expected)
    assert np.mean(difference <= 1) >= 0.9999
    # Not more than rounding: float32 against float64 turns a level in a hundred at most.
    assert np.mean(difference > 0) < 0.01
    assert expected.max() == 255


@pytest.mark.parametrize("name", ["sweep", "fading", "short, then silence"])
def test_a_files_picture_is_librosas_from_file_to_pixel(name: str, tmp_path: Path) -> None:
    rate = 48_000
    y = librosa.resample(VARIED[name], orig_sr=SR, target_sr=rate)
    stereo = np.stack([y, 0.5 * y[::-1]], axis=1)
    path = tmp_path / "a.wav"
    sf.write(path, stereo, rate, subtype="PCM_16")
    loaded, _ = librosa.load(path, sr=SR, mono=True)
    expected = np.round((librosa_db(loaded[:88_200]) + 80) * 255 / 80).astype(int)
    levels = indices(spectrogram.clip_image(path, DEFAULT))[::-1]
    assert np.mean(np.abs(levels - expected) <= 1) >= 0.9999


SILENCE = np.zeros(88_200, dtype=np.float32)


@pytest.mark.parametrize("db_range", ["fixed", "auto"])
@pytest.mark.parametrize("ref", ["max", 1.0, 1e-6])
@pytest.mark.parametrize("y", [SILENCE, SILENCE + np.float32(1e-9)], ids=["zeros", "below-floor"])
def test_silence_is_black(y: Samples, ref: Any, db_range: str) -> None:
    # librosa would call its 0 dB the maximum and paint silence in the brightest colour.
    levels = draw(y, db_range=db_range, ref=ref)
    assert levels.shape == DEFAULT.shape
    assert levels.max() == 0


def test_on_the_fixed_scale_a_clip_that_is_never_quiet_is_never_black() -> None:
    y = noise(4)
    levels = draw(y)
    lowest = librosa_db(y).min()
    assert lowest > -60
    assert levels.min() == pytest.approx((lowest + 80) * 255 / 80, abs=1)
    assert levels.max() == 255


@pytest.mark.parametrize("name", ["noise", "sweep", "clipped", "short, then silence", "very quiet"])
def test_auto_stretches_as_specshow_does(name: str) -> None:
    y = VARIED[name]
    S_db = librosa_db(y)
    levels = draw(y, db_range="auto")[::-1]
    assert (levels.min(), levels.max()) == (0, 255)
    exact = (S_db - S_db.min()) / (S_db.max() - S_db.min()) * 255
    assert np.abs(levels - exact).max() < 1


def test_auto_stretches_a_clip_measured_against_a_fixed_power() -> None:
    y = noise(4)
    stretched = draw(y, db_range="auto", ref=1e-3)
    assert np.abs(stretched - draw(y, db_range="auto")).max() <= 1


def test_a_flat_picture_under_auto_is_no_division_by_zero() -> None:
    flat = np.full((40, 44), -12.5, dtype=np.float32)
    assert spectrogram.levels(flat, SMALL.replace(db_range="auto")).max() == 0


@pytest.mark.parametrize("decibels", [5, 10, 20])
def test_an_absolute_reference_keeps_loudness(decibels: int) -> None:
    config = DEFAULT.replace(ref=10.0, top_db=120.0)
    y = noise(4)
    loud, quiet = draw(y, config), draw(y * np.float32(10 ** (-decibels / 20)), config)
    assert loud.max() < 255
    assert quiet.min() > 0
    assert np.abs(loud - quiet - decibels * 255 / 120).max() <= 1


def test_an_absolute_reference_cuts_what_is_louder() -> None:
    levels = draw(noise(4), ref=1e-3)
    assert levels.min() == levels.max() == 255


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(0.5, 2_000))
@pytest.mark.parametrize("db_range", ["fixed", "auto"])
def test_gain_changes_nothing_but_rounding(db_range: str, gain: float) -> None:
    y = noise(0.25, level=0.5) * np.geomspace(1, 1e-3, 5_512, dtype=np.float32)
    config = SMALL.replace(db_range=db_range)
    before, after = draw(y, config), draw(np.float32(gain) * y, config)
    assert before.min() < 30  # the picture has a wide range to lose
    difference = np.abs(before - after)
    assert difference.max() <= 1
    assert np.mean(difference) < 0.01


# The picture


def test_the_picture_is_indexed_and_of_the_shape_that_the_settings_say() -> None:
    image = spectrogram.spectrogram_image(noise(4), DEFAULT)
    assert image.mode == "P"
    assert image.size == DEFAULT.shape[::-1] == (173, 128)
    wide = SpectrogramConfig(n_mels=64, hop_length=1_024, duration=2)
    assert spectrogram.spectrogram_image(noise(2), wide).size == wide.shape[::-1] == (44, 64)


def test_low_is_at_the_bottom_and_late_at_the_right() -> None:
    y = np.concatenate([tone(2, 150), tone(2, 8_000)])
    levels = draw(y)
    half = levels.shape[1] // 2
    first = levels[:, : half - 5].sum(axis=1).argmax()
    second = levels[:, half + 5 :].sum(axis=1).argmax()
    assert first > 120  # of 128 rows, counted from the top
    assert second < 30


def test_magma_is_matplotlibs() -> None:
    colours = np.frombuffer(palette("magma"), dtype=np.uint8).reshape(256, 3)
    expected = mpl.colormaps["magma"](np.arange(256), bytes=True)[:, :3]
    np.testing.assert_array_equal(colours, expected)


def test_gray_is_gray() -> None:
    colours = np.frombuffer(palette("gray"), dtype=np.uint8).reshape(256, 3)
    np.testing.assert_array_equal(colours, np.arange(256)[:, np.newaxis].repeat(3, axis=1))
    image = spectrogram.spectrogram_image(noise(0.25), SMALL.replace(cmap="gray"))
    np.testing.assert_array_equal(np.asarray(image.convert("L")), np.asarray(image))


@pytest.mark.parametrize("cmap", ["magma", "gray"])
def test_colours_are_the_palettes_at_each_level(cmap: Any) -> None:
    image = spectrogram.spectrogram_image(sweep(4), DEFAULT.replace(cmap=cmap))
    colours = np.frombuffer(palette(cmap), dtype=np.uint8).reshape(256, 3)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colours[np.asarray(image)])


def levels_of(colours: Array) -> Array:
    """Look up the level of each colour of magma, which Agg blurs by one step when it blends."""
    magma = mpl.colormaps["magma"](np.arange(256), bytes=True)[:, :3].astype(np.int16)
    distance = np.abs(colours.astype(np.int16)[..., np.newaxis, :] - magma).max(axis=-1)
    assert distance.min(axis=-1).max() <= 1, "not a colour of magma"
    return distance.argmin(axis=-1)


def drawn_by_specshow(
    S_db: Array, config: SpectrogramConfig, *, scale: int, **options: Any
) -> tuple[Array, Any]:
    """Draw a figure that is all axes, `scale` pixels a cell; return its RGB pixels and axes."""
    height, width = S_db.shape
    figure = Figure(figsize=(width * scale / 100, height * scale / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    librosa.display.specshow(
        S_db,
        sr=config.sr,
        hop_length=config.hop_length,
        n_fft=config.n_fft,
        fmin=config.fmin,
        fmax=config.fmax,
        cmap="magma",
        ax=axes,
        **options,
    )
    axes.set_axis_off()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3], axes


@pytest.mark.parametrize("name", ["sweep", "fading", "hum in noise"])
def test_the_picture_is_specshows_cell_by_cell(name: str) -> None:
    y = VARIED[name]
    drawn, _ = drawn_by_specshow(librosa_db(y), DEFAULT, scale=2, vmin=-80, vmax=0)
    cells = drawn[1::2, 1::2]  # a pixel within each cell
    image = spectrogram.spectrogram_image(y, DEFAULT)
    ours = np.asarray(image.convert("RGB"))
    assert cells.shape == ours.shape == (128, 173, 3)
    # matplotlib cuts to 256 colours where we round to them: up to one level apart.
    assert np.abs(levels_of(cells) - levels_of(ours)).max() <= 1
    assert np.abs(cells.astype(int) - ours).max() <= 5  # two neighbours in magma
    # Any other way round would show: no picture here is symmetric.
    for other in (ours[::-1], ours[:, ::-1], ours[::-1, ::-1]):
        assert np.mean(np.abs(cells.astype(int) - other)) > 5


def test_auto_has_specshows_own_colours() -> None:
    y = VARIED["noise"]
    drawn, _ = drawn_by_specshow(librosa_db(y), DEFAULT, scale=2)  # its scale is the data's
    ours = draw(y, db_range="auto")
    assert np.abs(levels_of(drawn[1::2, 1::2]) - ours).max() <= 1


@pytest.mark.parametrize("name", ["sweep", "fading"])
def test_the_picture_has_the_axes_of_specshow(name: str) -> None:
    y = VARIED[name]
    drawn, axes = drawn_by_specshow(
        librosa_db(y), DEFAULT, scale=4, vmin=-80, vmax=0, x_axis="time", y_axis="mel"
    )
    seconds = librosa.frames_to_time(np.arange(173), sr=SR, hop_length=512)
    hertz = librosa.mel_frequencies(128, fmin=0, fmax=SR / 2)
    x = axes.transData.transform([(second, 100) for second in seconds])[:, 0]
    up = axes.transData.transform([(1, hz) for hz in hertz])[:, 1]
    # The outermost cells reach half their width over the edge, or less.
    columns, rows = slice(1, -1), slice(2, -1)
    pixels = drawn[
        np.rint(len(drawn) - 1 - up[rows]).astype(int)[:, np.newaxis],
        np.rint(x[columns]).astype(int),
    ]
    ours = draw(y)[::-1][rows, columns]
    assert np.mean(np.abs(levels_of(pixels) - ours) <= 1) > 0.999


# Files


@pytest.mark.parametrize("cmap", ["magma", "gray"])
@pytest.mark.parametrize("as_type", [str, Path])
def test_a_png_gives_the_picture_back(cmap: Any, as_type: Any, tmp_path: Path) -> None:
    image = spectrogram.spectrogram_image(sweep(4), DEFAULT.replace(cmap=cmap))
    path = tmp_path / "größe 1.part"  # no suffix to tell the format by
    spectrogram.save_png(image, as_type(path))
    with Image.open(path) as opened:
        assert opened.format == "PNG"
        assert opened.mode == "P"
        assert opened.size == image.size
        assert bytes(opened.getpalette() or []) == palette(cmap)
        np.testing.assert_array_equal(np.asarray(opened), np.asarray(image))
        colours = np.frombuffer(palette(cmap), dtype=np.uint8).reshape(256, 3)
        np.testing.assert_array_equal(np.asarray(opened.convert("RGB")), colours[np.asarray(image)])


def test_a_png_says_what_it_was_drawn_from(tmp_path: Path) -> None:
    image = spectrogram.spectrogram_image(sweep(0.25), SMALL)
    for source in ("fold1/a.wav|0.0|4.0", "größer/выпь.wav||"):
        spectrogram.save_png(image, tmp_path / "a.png", source=source)
        with Image.open(tmp_path / "a.png") as opened:
            assert opened.info["Source"] == source
            np.testing.assert_array_equal(np.asarray(opened), np.asarray(image))


def test_a_png_is_smaller_than_its_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    spectrogram.save_png(spectrogram.spectrogram_image(sweep(4), DEFAULT), path)
    assert path.stat().st_size < 128 * 173


def write_clip(path: Path, y: Samples, *, sr: int = SR) -> Path:
    sf.write(path, y, sr, subtype="FLOAT")
    return path


def test_clip_image_is_the_picture_of_the_clip(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", noise(4))
    image = spectrogram.clip_image(path, DEFAULT)
    np.testing.assert_array_equal(indices(image), draw(noise(4)))
    assert image.getpalette() == spectrogram.spectrogram_image(noise(4), DEFAULT).getpalette()


@pytest.mark.parametrize("pad", ["zero", "loop", "center", "random"])
def test_a_short_clip_lies_in_the_picture_as_pad_says(pad: Any, tmp_path: Path) -> None:
    config = DEFAULT.replace(pad=pad)
    path = write_clip(tmp_path / "a.wav", noise(1))
    levels = indices(spectrogram.clip_image(path, config))
    assert levels.shape == config.shape
    sounding = levels.max(axis=0) > 0
    (columns,) = np.nonzero(sounding)
    if pad == "loop":
        assert sounding.all()
        # A second is 43.07 frames: the seam moves by little, and the noise looks alike.
        assert np.abs(np.diff(levels.mean(axis=0))).max() < 30
        return
    # One run of columns: 22,050 samples, and half a window before and behind.
    assert np.all(np.diff(columns) == 1)
    assert 43 <= len(columns) <= 48
    assert levels[:, ~sounding].max() == 0
    if pad == "zero":
        assert columns[0] == 0
    if pad == "center":
        assert abs(columns[0] - (172 - columns[-1])) <= 1
    if pad == "random":
        again = indices(spectrogram.clip_image(path, config))
        np.testing.assert_array_equal(again, levels)


@pytest.mark.parametrize("pad", ["zero", "loop", "center", "random"])
def test_load_clip_gives_the_length_of_the_settings(pad: Any, tmp_path: Path) -> None:
    for seconds in (0.1, 0.25, 1.0):
        path = write_clip(tmp_path / "a.wav", noise(seconds, sr=16_000), sr=16_000)
        y = spectrogram.load_clip(path, SMALL.replace(pad=pad))
        assert y.shape == (SMALL.n_samples,)
        assert y.dtype == np.float32


@pytest.mark.parametrize("pad", ["zero", "loop"])
def test_only_the_beginning_of_a_long_file_is_read(pad: Any, tmp_path: Path) -> None:
    y = noise(30)
    y[-1] = np.nan  # whoever reads so far stumbles
    path = write_clip(tmp_path / "a.wav", y)
    np.testing.assert_array_equal(
        spectrogram.load_clip(path, DEFAULT.replace(pad=pad)), y[: DEFAULT.n_samples]
    )


@pytest.mark.parametrize("pad", ["center", "random"])
def test_all_of_a_long_file_is_read_where_its_end_may_show(pad: Any, tmp_path: Path) -> None:
    y = noise(6)
    y[-1] = np.nan
    path = write_clip(tmp_path / "a.wav", y)
    with pytest.raises(AudioError, match="NaN"):
        spectrogram.load_clip(path, DEFAULT.replace(pad=pad))


@pytest.mark.parametrize("pad", ["zero", "loop"])
@pytest.mark.parametrize("rate", [8_000, SR, 44_100, 96_000])
@pytest.mark.parametrize("start", [None, 1.7])
def test_a_long_files_picture_is_that_of_the_whole_cut(
    start: float | None, rate: int, pad: Any, tmp_path: Path
) -> None:
    config = DEFAULT.replace(pad=pad, duration=2)
    path = write_clip(tmp_path / "a.wav", sweep(7, sr=rate) + noise(7, sr=rate), sr=rate)
    levels = indices(spectrogram.clip_image(path, config, start=start))
    whole = audio.load(path, sr=SR, start=start)
    expected = draw(audio.fit(whole, config.n_samples, pad=pad), config)
    assert np.abs(levels - expected).max() <= 1


def test_a_part_of_a_file_is_drawn_alone(tmp_path: Path) -> None:
    y = np.concatenate([noise(1, seed=1), noise(1, seed=2), noise(1, seed=3)])
    path = write_clip(tmp_path / "a.wav", y)
    levels = indices(spectrogram.clip_image(path, DEFAULT, start=1, end=2))
    alone = audio.fit(noise(1, seed=2), DEFAULT.n_samples, pad="zero")
    np.testing.assert_array_equal(levels, draw(alone))
    assert levels[:, 50:].max() == 0


def test_a_file_that_cannot_be_decoded_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "none.wav"
    with pytest.raises(AudioError, match=r"none\.wav: no such file"):
        spectrogram.clip_image(path, DEFAULT)


# What a network sees


def saved(image: Image.Image) -> Image.Image:
    """Return a picture as it comes back from its PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="png")
    buffer.seek(0)
    return Image.open(buffer)


def test_network_pixels_are_the_rgb_colours_scaled_to_one() -> None:
    image = spectrogram.spectrogram_image(sweep(4), DEFAULT)
    pixels = spectrogram.network_pixels(image, None)
    assert pixels.dtype == np.float32
    assert pixels.shape == (3, 128, 173)
    colours = np.frombuffer(palette("magma"), dtype=np.uint8).reshape(256, 3)[np.asarray(image)]
    np.testing.assert_allclose(pixels, colours.transpose(2, 0, 1) / 255, atol=1e-7)


def triangle_weights(n_in: int, n_out: int) -> Array:
    """Return the weights that average `n_in` pixels into `n_out`, by an antialiased triangle."""
    scale = n_in / n_out
    width = max(scale, 1)
    centres = (np.arange(n_out)[:, np.newaxis] + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(n_in) + 0.5 - centres) / width)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [32, 64, 224])
def test_network_pixels_are_squished_with_antialiasing(size: int) -> None:
    image = spectrogram.spectrogram_image(VARIED["fading"], DEFAULT)
    rgb = np.asarray(image.convert("RGB")).astype(float)
    expected = triangle_weights(128, size) @ rgb.transpose(2, 0, 1) @ triangle_weights(173, size).T
    pixels = spectrogram.network_pixels(image, size)
    assert pixels.shape == (3, size, size)
    assert np.abs(pixels * 255 - expected).max() <= 1.01  # Pillow rounds twice, to whole levels


@pytest.mark.parametrize("size", [None, 128])
@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA", "L"])
def test_network_pixels_take_a_picture_of_any_mode(mode: str, size: int | None) -> None:
    image = spectrogram.spectrogram_image(sweep(4), DEFAULT.replace(cmap="gray"))
    expected = spectrogram.network_pixels(image, size)
    np.testing.assert_array_equal(spectrogram.network_pixels(image.convert(mode), size), expected)


@pytest.mark.parametrize("size", [None, 224])
def test_network_pixels_of_a_picture_and_of_its_png_are_the_same(size: int | None) -> None:
    image = spectrogram.spectrogram_image(sweep(4), DEFAULT)
    np.testing.assert_array_equal(
        spectrogram.network_pixels(saved(image), size), spectrogram.network_pixels(image, size)
    )


@pytest.mark.long
@pytest.mark.parametrize("size", [None, 64, 224, 299])
@pytest.mark.parametrize("cmap", ["magma", "gray"])
def test_network_pixels_are_fastais(cmap: Any, size: int | None, tmp_path: Path) -> None:
    from fastai.data.transforms import IntToFloatTensor, ToTensor
    from fastai.vision.augment import Resize, ResizeMethod
    from fastai.vision.core import PILImage

    image = spectrogram.spectrogram_image(VARIED["fading"], DEFAULT.replace(cmap=cmap))
    path = tmp_path / "a.png"
    spectrogram.save_png(image, path)
    seen = PILImage.create(path)
    if size is not None:
        seen = Resize(size, method=ResizeMethod.Squish)(seen, split_idx=1)
    expected = IntToFloatTensor()(ToTensor()(seen)).numpy()
    pixels = spectrogram.network_pixels(image, size)
    assert pixels.shape == expected.shape
    np.testing.assert_allclose(pixels, expected, atol=1e-7)


# Weight


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, spectro.pictures.spectrogram;"
        "heavy = {'torch', 'torchvision', 'fastai', 'matplotlib', 'librosa', 'pandas', 'numba'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
