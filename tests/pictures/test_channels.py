"""Channels: their mean, the first, or both in one picture; in every format, and as in librosa."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf
from fastai.vision.core import PILImage
from PIL import Image

from spectro.clips import waveform as audio
from spectro.pictures import spectrogram
from spectro.pictures.settings import SpectrogramConfig

SR = 22_050
CONFIG = SpectrogramConfig(duration=0.5, n_fft=512, hop_length=128, n_mels=40, channels="both")
STEREO_FORMATS = [
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("AIFF", "PCM_16"),
    ("CAF", "ALAC_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip

Samples = npt.NDArray[np.float32]


def stereo(seconds: float = 0.5, *, sr: int = SR) -> Samples:
    """A rising tone left, another and a click right, 6 dB quieter; shape (n, 2)."""
    time = np.arange(round(seconds * sr)) / sr
    left = 0.6 * np.sin(2 * np.pi * (500 * time + 3_000 * time**2))
    right = 0.3 * np.sin(2 * np.pi * 1_700 * time) * (time > 0.1)
    return np.stack([left, right], axis=1).astype(np.float32)


def write(path: Path, y: Samples, sr: int = SR, **options: Any) -> Path:
    sf.write(path, y, sr, **{"subtype": "FLOAT", **options})
    return path


def librosa_levels(y: Samples, config: SpectrogramConfig) -> npt.NDArray[np.float64]:
    """Grey levels of all channels by librosa alone, before rounding; shape (..., n_mels, n)."""
    S = librosa.feature.melspectrogram(
        y=y, sr=config.sr, n_fft=config.n_fft, hop_length=config.hop_length, n_mels=config.n_mels,
        pad_mode="constant",
    )  # fmt: skip
    S_db = librosa.power_to_db(S, ref=np.max(S), top_db=None)
    levels: npt.NDArray[np.float64] = 255 * (np.maximum(S_db, -config.top_db) / config.top_db + 1)
    return levels


def test_both_is_red_green_and_their_mean_within_a_level_of_librosa(tmp_path: Path) -> None:
    image = spectrogram.clip_image(write(tmp_path / "a.wav", stereo()), CONFIG)
    assert (image.mode, image.size[::-1]) == ("RGB", CONFIG.shape)
    red, green, blue = np.asarray(image, dtype=int)[::-1].transpose(2, 0, 1)
    expected = librosa_levels(stereo().T, CONFIG)
    assert np.abs(red - expected[0]).max() <= 1
    assert np.abs(green - expected[1]).max() <= 1
    assert np.array_equal(blue, (red + green + 1) // 2)


def test_both_keeps_the_difference_in_level_between_channels(tmp_path: Path) -> None:
    y = stereo()[:, :1] * np.float32([1, 0.1])  # the same sound, 20 dB quieter
    red, green, _ = np.asarray(spectrogram.spectrogram_image(y.T, CONFIG)).transpose(2, 0, 1)
    loud = red > 150
    expected = red[loud] - 255 * 20 / CONFIG.top_db
    assert np.abs(green[loud] - expected).max() <= 1


def test_a_mono_clip_is_two_equal_channels(tmp_path: Path) -> None:
    mono = stereo()[:, 0]
    image = spectrogram.clip_image(write(tmp_path / "mono.wav", mono), CONFIG)
    twice = spectrogram.clip_image(
        write(tmp_path / "two.wav", np.stack([mono, mono], axis=1)), CONFIG
    )
    pixels = np.asarray(image)
    assert np.array_equal(pixels, np.asarray(twice))
    one = spectrogram.clip_image(tmp_path / "mono.wav", CONFIG.replace(channels="mean"))
    for channel in range(3):
        assert np.array_equal(pixels[..., channel], np.asarray(one))


def test_first_is_the_picture_of_the_first_channel_alone(tmp_path: Path) -> None:
    config = CONFIG.replace(channels="first")
    image = spectrogram.clip_image(write(tmp_path / "a.wav", stereo()), config)
    alone = spectrogram.clip_image(write(tmp_path / "left.wav", stereo()[:, 0]), config)
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), np.asarray(alone))
    mean = spectrogram.clip_image(tmp_path / "a.wav", config.replace(channels="mean"))
    assert not np.array_equal(np.asarray(image), np.asarray(mean))


@pytest.mark.parametrize(("container", "codec"), STEREO_FORMATS)
@pytest.mark.parametrize("channels", ["mean", "first", "both"])
def test_every_format_gives_the_channels_that_libsndfile_decodes(
    container: str, codec: str, channels: Any, tmp_path: Path
) -> None:
    sr = 24_000
    path = write(
        tmp_path / f"a.{container.lower()}", stereo(sr=sr), sr, format=container, subtype=codec
    )
    decoded, _ = sf.read(path, dtype="float32")
    y = audio.load(path, sr=sr, channels=channels)
    naive = {"mean": decoded.mean(axis=1), "first": decoded[:, 0], "both": decoded.T}[channels]
    np.testing.assert_allclose(y, naive, atol=1e-6)


def test_both_channels_are_resampled_as_librosa_does(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", stereo(sr=44_100), 44_100)
    expected, _ = librosa.load(path, sr=SR, mono=False)
    np.testing.assert_allclose(audio.load(path, sr=SR, channels="both"), expected, atol=1e-5)


def test_of_more_than_two_channels_both_are_the_first_two(tmp_path: Path) -> None:
    four = np.concatenate([stereo(), stereo()[::-1]], axis=1)
    y = audio.load(write(tmp_path / "a.wav", four), sr=SR, channels="both")
    assert np.array_equal(y, stereo().T)


@pytest.mark.parametrize("pad", ["zero", "loop", "center", "random"])
@pytest.mark.parametrize("n", [3_000, 30_000], ids=["cut", "padded"])
def test_channels_stay_together_however_they_are_fitted(pad: Any, n: int) -> None:
    y = audio.fit(stereo().T, n, pad=pad)
    marked = audio.fit(
        np.stack([stereo()[:, 0], np.arange(1, 11_026, dtype=np.float32)]), n, pad=pad
    )
    assert y.shape == marked.shape == (2, n)
    source = marked[1].astype(int) - 1  # which sample came to each place; -1 for silence
    sounding = source >= 0
    assert np.array_equal(marked[0][sounding], stereo()[source[sounding], 0])
    assert not marked[0][~sounding].any()


def test_a_generator_draws_another_place_each_time() -> None:
    y = np.ones(10, dtype=np.float32)
    places = {
        int(np.flatnonzero(audio.fit(y, 1_000, pad="random", rng=rng))[0])
        for rng in [np.random.default_rng(0)]
        for _ in range(20)
    }
    assert len(places) > 15


def test_the_png_gives_the_network_the_pixels_of_the_picture(tmp_path: Path) -> None:
    image = spectrogram.spectrogram_image(stereo().T, CONFIG)
    spectrogram.save_png(image, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        assert np.array_equal(np.asarray(opened), np.asarray(image))
        pixels = spectrogram.network_pixels(opened, None)
    seen = np.asarray(PILImage.create(tmp_path / "a.png"), dtype=np.float32).transpose(2, 0, 1)
    assert np.array_equal(pixels, seen / 255)


def test_silence_is_black_in_both(tmp_path: Path) -> None:
    image = spectrogram.spectrogram_image(np.zeros((2, 11_025), dtype=np.float32), CONFIG)
    assert not np.asarray(image).any()


def test_pictures_from_before_the_setting_keep_their_identity() -> None:
    assert SpectrogramConfig().identity == "d9405326611e1260"
    assert SpectrogramConfig(n_mels=64, hop_length=1024).identity == "e89153728fefd2bc"
    assert SpectrogramConfig(channels="both").identity != SpectrogramConfig().identity
