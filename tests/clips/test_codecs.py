"""Everything that libsndfile can write is read: the samples, the picture, and what a cut leaves.

`test_audio.py` looks closely at a few codecs; here each one is taken through rates and channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf

from spectro.clips import waveform as audio
from spectro.errors import AudioError
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import clip_image, spectrogram_image

RATES = (4_000, 8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000)
CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8)  # fewer than rates: a codec that takes all meets all
FRAMES = 9_600  # whole blocks of the codecs that lose a last one (SDS: 30, 40 or 60 frames)

# Listed, but libsndfile does not write them, or does not know what it wrote (RAW).
UNWRITTEN = {
    ("AIFF", "DWVW_12"), ("MP3", "MPEG_LAYER_I"), ("MP3", "MPEG_LAYER_II"),
    ("WAV", "MPEG_LAYER_III"),
}  # fmt: skip
CODECS = [
    (container, subtype)
    for container in sf.available_formats()
    for subtype in sf.available_subtypes(container)
    if container != "RAW" and (container, subtype) not in UNWRITTEN
]
codecs = pytest.mark.parametrize(("container", "subtype"), CODECS)

PROMISED = {
    *(("WAV", f"PCM_{bits}") for bits in ("U8", "16", "24", "32")),
    *(("WAV", name) for name in ("FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM")),
    ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"), ("CAF", "PCM_16"), ("W64", "PCM_16"),
}  # fmt: skip

# Bits that come back as they were written.
EXACT = {
    "PCM_S8": 8, "PCM_U8": 8, "DPCM_8": 8, "PCM_16": 16, "DPCM_16": 16, "ALAC_16": 16,
    "ALAC_20": 20, "PCM_24": 24, "ALAC_24": 24, "FLOAT": 24, "PCM_32": 32, "ALAC_32": 32,
    "DOUBLE": 32,
}  # fmt: skip
# How far below the sound the others' error lies, in dB, at worst over all rates and channels. (Of
# six channels Vorbis keeps one for low notes alone.)
SNR = {
    "ULAW": 30, "ALAW": 30, "IMA_ADPCM": 20, "MS_ADPCM": 20, "GSM610": 8, "G721_32": 18,
    "G723_24": 14, "G723_40": 20, "NMS_ADPCM_16": 12, "NMS_ADPCM_24": 16, "NMS_ADPCM_32": 20,
    "VORBIS": 12, "OPUS": 8, "MPEG_LAYER_III": 15,
}  # fmt: skip

# These hold a sampling rate as a period, in few bits, or not at all.
INEXACT_RATE = {"HTK", "SDS", "VOC", "SVX", "MPC2K", "WVE", "XI"}
ANY_RATE_AND_CHANNELS = {
    "WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "NIST", "IRCAM", "PAF", "PVF",
    "MAT4", "MAT5", "SD2",
}  # fmt: skip
# What libsndfile 1.2 writes of these, it does not read as it was; more channels are left out.
MOST_CHANNELS = {("PAF", "PCM_24"): 2, ("CAF", "ALAC_20"): 1}

Samples = npt.NDArray[Any]


def sound(channels: int, n: int = FRAMES) -> Samples:
    """Tones of a slow and a rising pitch in each channel, between -0.6 and 0.6."""
    time = np.arange(n)
    columns = [
        0.3 * np.sin(time * (0.05 + 0.007 * channel)) * np.exp(-2 * time / n)
        + 0.3 * np.sin(0.03 * time + 0.1 * time**2 / n)
        for channel in range(channels)
    ]
    return np.stack(columns, axis=1)


def exact(subtype: str, y: Samples) -> Samples:
    """Round to what a lossless codec holds: full scale is 2**31, unused low bits are zero."""
    unused = 32 - EXACT[subtype]
    steps = np.rint(y * 2.0 ** (31 - unused)).astype(np.int32) << np.int32(unused)
    return steps / 2.0**31 if subtype in ("FLOAT", "DOUBLE") else steps


def mono(samples: Samples) -> Samples:
    """Average the channels, of floats or of 32-bit steps."""
    scale = 2.0**31 if samples.dtype == np.int32 else 1.0
    return samples.mean(axis=1) / scale


def write(
    folder: Path, container: str, subtype: str, *, channels: int = 1, rate: int = 16_000
) -> tuple[Path, Samples]:
    """Write as many of these channels as the codec takes; return the file and what is in it."""
    path = folder / f"a.{container.lower()}"
    rate = {"WVE": 8_000, "XI": 44_100}.get(container, rate)
    channels = min(channels, MOST_CHANNELS.get((container, subtype), channels))
    for fewer in (channels, 2, 1):
        samples = sound(fewer)
        samples = exact(subtype, samples) if subtype in EXACT else samples
        try:
            sf.write(path, samples, rate, format=container, subtype=subtype)
        except sf.LibsndfileError:
            if fewer == 1:
                raise
        else:
            break
    return path, samples


def snr(expected: Samples, y: Samples) -> float:
    error = np.square(expected - y[: len(expected)]).mean()
    return float(10 * np.log10(np.square(expected).mean() / max(error, 1e-30)))


def test_this_libsndfile_has_all_that_is_promised() -> None:
    assert set(CODECS) >= PROMISED


@codecs
def test_the_samples_that_were_written_come_back(
    container: str, subtype: str, tmp_path: Path
) -> None:
    if subtype.startswith("DWVW"):
        pytest.skip("libsndfile writes it, but cannot seek in it, which soundfile does to read")
    tried = set()
    turn = CODECS.index((container, subtype))  # other pairs of rate and channels for each codec
    for i, rate in enumerate(RATES):
        channels = CHANNELS[(i + turn) % len(CHANNELS)]
        try:
            path, samples = write(tmp_path, container, subtype, channels=channels, rate=rate)
        except sf.LibsndfileError:  # a rate that the codec does not have
            continue
        stated = sf.info(path).samplerate
        assert stated == rate or container in INEXACT_RATE
        tried.add((stated, samples.shape[1]))
        y, expected = audio.load(path, sr=stated), mono(samples)
        # Block codecs fill their last block; a pad byte may pass for a sample.
        assert 0 <= len(y) - len(expected) <= (1 if subtype in EXACT else 8_192)
        if subtype in EXACT:
            atol = 0 if samples.shape[1] == 1 and EXACT[subtype] <= 24 else 1e-6
            np.testing.assert_allclose(y[: len(expected)], expected, rtol=0, atol=atol)
        else:
            assert snr(expected, y) > SNR[subtype], (rate, samples.shape[1])
    if container in ANY_RATE_AND_CHANNELS and subtype in EXACT:
        assert len(tried) == len(RATES)
        if (container, subtype) not in MOST_CHANNELS:
            assert {channels for _, channels in tried} == set(CHANNELS)
    assert tried


@pytest.mark.parametrize("rate", [8_000, 48_000])
@pytest.mark.parametrize("container", sorted({container for container, _ in CODECS} - {"XI"}))
def test_mixed_and_resampled_it_is_librosas(container: str, rate: int, tmp_path: Path) -> None:
    # But for XI, in which libsndfile cannot seek and librosa wants to.
    subtype = sf.default_subtype(container)
    path, _ = write(tmp_path, container, subtype, channels=2, rate=rate)
    expected, _ = librosa.load(path, sr=22_050)
    y = audio.load(path, sr=22_050)
    assert abs(len(y) - len(expected)) <= 1  # librosa's product of floats is now and then too long
    np.testing.assert_allclose(y[: len(expected)], expected[: len(y)], atol=1e-6)


@codecs
def test_the_picture_is_that_of_the_sound(container: str, subtype: str, tmp_path: Path) -> None:
    path, samples = write(tmp_path, container, subtype, channels=2)
    rate = sf.info(path).samplerate
    config = SpectrogramConfig(sr=rate, duration=0.9 * FRAMES / rate, n_fft=512, n_mels=32)
    if subtype.startswith("DWVW"):
        with pytest.raises(AudioError, match="cannot be decoded"):
            clip_image(path, config)
        return
    y = audio.fit(mono(samples).astype(np.float32), config.n_samples, pad="zero")
    expected = np.asarray(spectrogram_image(y, config)).astype(int)
    levels = np.asarray(clip_image(path, config)).astype(int)
    assert levels.shape == expected.shape
    if subtype in EXACT:
        assert np.abs(levels - expected)[:, :-8].max() <= 1
    else:
        loud = expected > 192  # within 20 dB of the loudest
        assert loud.mean() > 0.02
        assert np.abs(levels - expected)[loud].mean() < 8  # 2.5 dB


# Containers that do not say how much sound they hold: nobody can tell that some is missing.
WITHOUT_LENGTH = {"IRCAM", "PAF", "PVF", "SD2", "XI"}


@codecs
def test_half_a_file_is_refused_wherever_its_length_is_stated(
    container: str, subtype: str, tmp_path: Path
) -> None:
    path, samples = write(tmp_path, container, subtype, channels=2)
    content, rate = path.read_bytes(), sf.info(path).samplerate
    for share in (0.3, 0.5, 0.8, 0.97):
        path.write_bytes(content[: round(share * len(content))])
        if container in WITHOUT_LENGTH:
            y, expected = audio.load(path, sr=rate), mono(samples)
            assert 0.9 * share - 0.2 < len(y) / len(expected) < share + 0.01
        else:
            with pytest.raises(AudioError) as caught:
                audio.load(path, sr=rate)
            assert str(caught.value).startswith(f"{path}: ")
            assert "\n" not in str(caught.value)
