"""Whatever the container and codec, the same sound comes out, or a refusal that names the file."""

from __future__ import annotations

import os
import struct
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spectro.clips import waveform as audio
from spectro.clips.checking.measure import is_empty
from spectro.errors import AudioError

SR = 24_000  # a rate that every codec here takes, Opus too
POLICIES = ("zero", "loop", "center", "random")

Samples = npt.NDArray[np.float32]


def sound(seconds: float = 1.0, *, sr: int = SR, channels: int | None = None) -> Samples:
    """Tones that fade over a little noise, other ones in each channel; like nothing shifted."""
    rng = np.random.default_rng(7)
    time = np.arange(round(seconds * sr)) / sr
    columns = [
        0.3 * np.sin(2 * np.pi * (330 + 70 * channel) * time) * np.exp(-time)
        + 0.2 * np.sin(2 * np.pi * 700 * time + 20 * np.sin(2 * np.pi * 1.3 * time))
        + 0.01 * rng.standard_normal(len(time))
        for channel in range(channels or 1)
    ]
    y = np.stack(columns, axis=1).astype(np.float32)
    return y[:, 0] if channels is None else y


def write(path: Path, y: Samples, *, sr: int = SR, **options: Any) -> Path:
    sf.write(path, y, sr, **options)
    return path


def snr(reference: Samples, y: Samples) -> float:
    """How far the difference lies below the reference, in dB, where both have samples."""
    n = min(len(reference), len(y))
    noise = np.square(reference[:n].astype(float) - y[:n]).mean()
    return float(10 * np.log10(np.square(reference[:n]).mean() / max(noise, 1e-30)))


def refusal(path: str | Path, **options: Any) -> str:
    """Return why a file is refused: one line that starts with its name."""
    with pytest.raises(AudioError) as caught:
        audio.load(path, **{"sr": SR, **options})
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


# Against librosa


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("rate", [4_000, 22_050, 44_100, 192_000])
def test_load_is_librosas_load(rate: int, channels: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sound(0.4, sr=rate, channels=channels), sr=rate)
    y = audio.load(path, sr=22_050)
    expected, _ = librosa.load(path, sr=22_050, mono=True)
    assert y.dtype == np.float32
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("rate", "sr"),
    [
        (5_512, 8_000), (8_000, 44_100), (11_025, 8_000), (16_000, 22_050), (32_000, 22_050),
        (44_100, 48_000), (48_000, 16_000), (88_200, 22_050), (96_000, 22_050),
    ],
)  # fmt: skip
def test_resampling_is_librosas(rate: int, sr: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", sound(0.333, sr=rate, channels=2), sr=rate)
    y = audio.load(path, sr=sr)
    expected, _ = librosa.load(path, sr=sr)
    assert len(y) == len(expected)
    np.testing.assert_allclose(y, expected, atol=1e-6)


def test_resampling_keeps_what_fits_and_drops_what_does_not(tmp_path: Path) -> None:
    time = np.arange(48_000) / 48_000
    low, high = 0.4 * np.sin(2 * np.pi * 1_000 * time), 0.4 * np.sin(2 * np.pi * 15_000 * time)
    path = write(tmp_path / "a.wav", (low + high).astype(np.float32), sr=48_000, subtype="FLOAT")
    y = audio.load(path, sr=16_000)  # 15 kHz lies above the new Nyquist frequency
    expected = 0.4 * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(y[500:-500], expected[500:-500], atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 20_000),
    rates=st.tuples(*[st.sampled_from([4_000, 7_333, 11_025, 22_050, 44_100, 48_000, 96_000])] * 2),
)
def test_resampled_length_is_the_exact_one_rounded_up(n: int, rates: tuple[int, int]) -> None:
    # In whole numbers: librosa's own product of floats is now and then one sample too long.
    native, sr = rates
    y = audio._resample(np.ones(n, dtype=np.float32), native, sr)
    assert len(y) == (n * sr + native - 1) // native
    assert y.dtype == np.float32


def test_the_native_rate_is_read_sample_by_sample(tmp_path: Path) -> None:
    y = sound()
    path = write(tmp_path / "a.wav", y, subtype="FLOAT")
    np.testing.assert_array_equal(audio.load(path, sr=SR), y)


def test_levels_beyond_full_scale_are_kept(tmp_path: Path) -> None:
    y = 20_000 * sound()  # some tools write float files in units of 16-bit steps
    path = write(tmp_path / "a.wav", y, subtype="FLOAT")
    np.testing.assert_array_equal(audio.load(path, sr=SR), y)


@settings(max_examples=50, deadline=None)
@given(
    samples=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 30), st.integers(1, 8)),
        elements=st.floats(-1, 1, width=32),
    )
)
def test_to_mono_is_the_mean(samples: Samples) -> None:
    before = samples.copy()
    y = audio.to_mono(samples)
    assert y.shape == (len(samples),)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, samples.astype(np.float64).mean(axis=1), atol=1e-6)
    np.testing.assert_array_equal(samples, before)
    y += 1  # the caller's own array, even of one channel
    np.testing.assert_array_equal(samples, before)


# Every container and codec


class Codec(NamedTuple):
    """A way to store sound, and how close the sound comes back."""

    container: str
    subtype: str
    snr: float  # dB; a shift by one sample alone leaves less than 25
    extra: int = 0  # frames that its last block may add
    channels: int = 2

    def __str__(self) -> str:
        return f"{self.container}-{self.subtype}"


PCM = {"PCM_U8": 30, "PCM_S8": 30, "PCM_16": 75, "PCM_24": 120, "PCM_32": 130}
FLOATS = {"FLOAT": 130, "DOUBLE": 130}
TELEPHONY = {"ULAW": 30, "ALAW": 30}


def codecs(container: str, **snrs: float) -> list[Codec]:
    return [Codec(container, subtype, floor) for subtype, floor in snrs.items()]


WAV_CODECS = {name: PCM[name] for name in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32")}
CODECS = [
    *codecs("WAV", **WAV_CODECS, **FLOATS, **TELEPHONY),
    Codec("WAV", "IMA_ADPCM", 25, extra=2_048),
    Codec("WAV", "MS_ADPCM", 20, extra=2_048),
    *codecs("WAVEX", **WAV_CODECS, **FLOATS, **TELEPHONY),
    *codecs("RF64", **WAV_CODECS, **FLOATS, **TELEPHONY),
    *codecs("W64", **WAV_CODECS, **FLOATS, **TELEPHONY),
    Codec("W64", "IMA_ADPCM", 25, extra=2_048),
    Codec("W64", "MS_ADPCM", 20, extra=2_048),
    *codecs("AIFF", **PCM, **FLOATS, **TELEPHONY),
    Codec("AIFF", "IMA_ADPCM", 25, extra=2_048, channels=1),
    *codecs("AU", PCM_S8=30, PCM_16=75, PCM_24=120, PCM_32=130, **FLOATS, **TELEPHONY),
    *codecs("CAF", PCM_S8=30, PCM_16=75, PCM_24=120, PCM_32=130, **FLOATS, **TELEPHONY),
    *codecs("CAF", ALAC_16=75, ALAC_20=90, ALAC_24=120, ALAC_32=130),
    *codecs("FLAC", PCM_S8=30, PCM_16=75, PCM_24=120),
    *codecs("OGG", VORBIS=15, OPUS=12),
    *codecs("MP3", MPEG_LAYER_III=15),
    *codecs("NIST", PCM_16=75, ULAW=30),
    *codecs("IRCAM", PCM_16=75, FLOAT=130),
    Codec("SVX", "PCM_16", 75, channels=1),
    # Telephone recorders' codecs, which libsndfile decodes but cannot seek in.
    Codec("WAV", "GSM610", 5, extra=320, channels=1),
    Codec("W64", "GSM610", 5, extra=320, channels=1),
    Codec("AIFF", "GSM610", 5, extra=320, channels=1),
    Codec("WAV", "G721_32", 15, extra=320, channels=1),
    Codec("AU", "G721_32", 15, extra=320, channels=1),
]


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_every_codec_gives_the_same_sound(codec: Codec, tmp_path: Path) -> None:
    y = sound(channels=codec.channels)
    path = tmp_path / f"a.{codec.container.lower()}"
    write(path, y, format=codec.container, subtype=codec.subtype)
    decoded = audio.load(path, sr=SR)
    mono = y.mean(axis=1)
    assert 0 <= len(decoded) - len(mono) <= codec.extra
    assert snr(mono, decoded) > codec.snr


@pytest.mark.parametrize("codec", [c for c in CODECS if c.snr > 60 and not c.extra], ids=str)
def test_every_lossless_codec_keeps_a_single_channel(codec: Codec, tmp_path: Path) -> None:
    path = tmp_path / "no suffix tells"  # what it is must come from the file, not from its name
    write(path, sound(0.2), format=codec.container, subtype=codec.subtype)
    decoded = audio.load(path, sr=SR)
    assert len(decoded) == round(0.2 * SR)
    assert snr(sound(0.2), decoded) > codec.snr


def test_a_codec_is_known_by_content_not_by_suffix(tmp_path: Path) -> None:
    path = write(tmp_path / "really-flac.wav", sound(), format="FLAC")
    assert snr(sound(), audio.load(path, sr=SR)) > 75


@pytest.mark.parametrize(
    "name", ["a b c.wav", "Waldkauz, größer.wav", "鳥のさえずり.wav", "выпь.WAV", "it's 100%.wav"]
)
@pytest.mark.parametrize("as_type", [str, Path])
def test_paths_may_be_text_with_spaces_and_any_letters(
    name: str, as_type: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "my sounds ♪"
    folder.mkdir()
    path = write(folder / name, sound(0.1), format="WAV", subtype="FLOAT")
    np.testing.assert_array_equal(audio.load(as_type(path), sr=SR), sound(0.1))


# Parts

SEEKABLE = [
    Codec("WAV", "PCM_16", 75), Codec("WAV", "IMA_ADPCM", 25), Codec("W64", "ULAW", 30),
    Codec("AIFF", "PCM_24", 120), Codec("FLAC", "PCM_16", 75), Codec("CAF", "ALAC_16", 75),
    Codec("OGG", "VORBIS", 15), Codec("OGG", "OPUS", 12), Codec("MP3", "MPEG_LAYER_III", 15),
]  # fmt: skip


@pytest.mark.parametrize("codec", SEEKABLE, ids=str)
def test_a_part_is_that_slice_of_the_whole(codec: Codec, tmp_path: Path) -> None:
    path = tmp_path / f"a.{codec.container.lower()}"
    write(path, sound(8), format=codec.container, subtype=codec.subtype)
    whole = audio.load(path, sr=SR)
    starts = np.linspace(0, 7.5, 40)  # a lossy codec starts well at most places, not at all
    for start in starts:
        first = round(start * SR)
        part = audio.load(path, sr=SR, start=start, end=start + 0.25)
        expected = whole[first : round((start + 0.25) * SR)]
        assert part.shape == expected.shape
        # Opus needs a while to settle after a seek: 60 dB below full scale.
        np.testing.assert_allclose(part, expected, atol=1e-3, err_msg=f"from {start:.3f} s")


def test_a_part_without_start_or_end_reaches_the_files_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sound(2), subtype="FLOAT")
    whole = sound(2)
    np.testing.assert_array_equal(audio.load(path, sr=SR, start=1.5), whole[36_000:])
    np.testing.assert_array_equal(audio.load(path, sr=SR, end=0.5), whole[:12_000])
    np.testing.assert_array_equal(audio.load(path, sr=SR, start=0, end=2), whole)


@pytest.mark.parametrize("end", [2.5, 1e9, float("inf")])
def test_an_end_behind_the_files_end_means_its_end(end: float, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sound(2), subtype="FLOAT")
    np.testing.assert_array_equal(audio.load(path, sr=SR, end=end), sound(2))


def test_a_resampled_part_is_cut_before_it_is_resampled(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sound(2), subtype="FLOAT")
    whole = audio.load(path, sr=8_000)
    part = audio.load(path, sr=8_000, start=0.5, end=1.5)
    assert len(part) == 8_000
    # Only within the filter's reach of a cut can they differ.
    np.testing.assert_allclose(part[400:-400], whole[4_400:11_600], atol=1e-4)


@pytest.mark.parametrize(
    ("start", "end"),
    [(2, None), (7, None), (-0.5, None), (None, 0), (None, -1), (1, 1), (1.5, 0.5),
     (float("nan"), None), (None, float("nan")), (float("inf"), None)],
)  # fmt: skip
def test_a_part_without_sound_is_refused(
    start: float | None, end: float | None, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.wav", sound(2))
    assert "2.000 s" in refusal(path, start=start, end=end)


# Damage


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.wav")
    assert "no such file" in refusal(str(tmp_path / "no folder" / "none.wav"))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.touch()
    assert "empty" in refusal(path)


def test_a_folder_called_like_a_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.mkdir()
    assert "folder" in refusal(path)


# libsndfile takes any bytes in a file called .au, .snd, .vox or .gsm for a telephone recording.
NAMES = ["wav", "flac", "mp3", "ogg", "aiff", "caf", "txt", "raw", "au", "snd", "vox", "gsm"]


@pytest.mark.parametrize("suffix", NAMES)
@pytest.mark.parametrize(
    "content",
    [b"<html>404 Not Found</html>\n" * 50, bytes(5_000), b"RIFF", b"fLaC", b"OggS", b"\n"],
    ids=["html", "zeros", "riff", "flac", "ogg", "newline"],
)
def test_a_file_that_is_no_sound_is_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    assert "cannot be decoded" in refusal(path)


def test_a_file_that_may_not_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sound(0.1))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    assert "permission" in refusal(path).lower()


@pytest.mark.parametrize("container", ["WAV", "AIFF", "OGG", "CAF", "W64", "AU", "RF64"])
def test_a_file_without_samples_is_refused(container: str, tmp_path: Path) -> None:
    path = write(
        tmp_path / f"a.{container.lower()}", np.zeros((0, 2), dtype=np.float32), format=container
    )
    assert "no samples" in refusal(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("rate", [SR, 16_000])
def test_samples_that_are_no_numbers_are_refused(
    bad: float, subtype: str, rate: int, tmp_path: Path
) -> None:
    y = sound(0.1, channels=2)
    y[1_000, 1] = bad
    path = write(tmp_path / "a.wav", y, sr=rate, subtype=subtype)
    assert "NaN or infinite" in refusal(path)


@pytest.mark.parametrize(
    ("left", "right"), [(np.inf, -np.inf), (3e38, 3e38), (-3e38, -3e38)], ids=str
)
def test_channels_that_do_not_add_up_are_refused(left: float, right: float, tmp_path: Path) -> None:
    # Refused, and without numpy's own warning about the sum.
    y = sound(0.1, channels=2)
    y[1_000] = left, right
    refusal(write(tmp_path / "a.wav", y, subtype="FLOAT"))


def test_doubles_beyond_float32_are_refused(tmp_path: Path) -> None:
    y = sound(0.1).astype(np.float64)
    y[1_000] = 1e300
    refusal(write(tmp_path / "a.wav", y, subtype="DOUBLE"))


@pytest.mark.parametrize("level", [3.4e38, 1e20])
def test_samples_whose_power_is_no_number_are_refused(level: float, tmp_path: Path) -> None:
    # Resampling overshoots, and a spectrogram squares: both leave float32 for infinity.
    square = np.where(np.arange(4_000) % 8 < 4, level, -level).astype(np.float32)
    refusal(write(tmp_path / "a.wav", square, sr=16_000, subtype="FLOAT"))


TRUNCATED = [
    Codec("WAV", "PCM_16", 75), Codec("WAV", "PCM_24", 75), Codec("WAV", "MS_ADPCM", 20),
    Codec("AIFF", "PCM_16", 75), Codec("FLAC", "PCM_16", 75), Codec("MP3", "MPEG_LAYER_III", 15),
    Codec("W64", "PCM_16", 75), Codec("CAF", "PCM_16", 75), Codec("CAF", "ALAC_16", 75),
    Codec("AU", "PCM_16", 75), Codec("RF64", "PCM_16", 75), Codec("SVX", "PCM_16", 75),
    Codec("OGG", "VORBIS", 15), Codec("OGG", "OPUS", 12),
]  # fmt: skip


@pytest.mark.parametrize("share", [0.5, 0.02, 0.1, 0.25, 0.33, 0.67, 0.75, 0.9, 0.98])
@pytest.mark.parametrize("codec", TRUNCATED, ids=str)
def test_a_truncated_file_is_refused_wherever_it_is_cut(
    codec: Codec, share: float, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{codec.container.lower()}"
    write(path, sound(5), format=codec.container, subtype=codec.subtype)
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    refusal(path)


@pytest.mark.parametrize("container", ["WAV", "AIFF", "FLAC", "MP3", "W64", "CAF", "OGG", "AU"])
def test_a_file_cut_within_its_header_is_refused(container: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.{container.lower()}", sound(0.5), format=container)
    content = path.read_bytes()
    for length in range(1, 60):
        path.write_bytes(content[:length])
        assert refusal(path), length


def test_a_truncated_file_is_refused_even_for_its_first_part(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sound(2))
    path.write_bytes(path.read_bytes()[: SR * 3])
    assert "truncated" in refusal(path, end=0.5)


def test_a_truncated_file_says_how_much_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sound(1), subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: 44 + SR])
    reason = refusal(path)
    assert "truncated" in reason
    assert "48000" in reason
    assert "24000" in reason


@pytest.mark.parametrize("length", [0xFFFF_FFFF, 0xFFFF_FFFE, 0x8000_0000, 0x7FFF_FFFF])
def test_a_streamed_wav_of_unknown_length_is_read_to_its_end(length: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sound(), subtype="PCM_16")
    content = bytearray(path.read_bytes())
    data = content.index(b"data")
    content[4:8] = content[data + 4 : data + 8] = struct.pack("<I", length)
    path.write_bytes(content)
    decoded = audio.load(path, sr=SR)
    assert len(decoded) == SR
    assert snr(sound(), decoded) > 75


def test_a_streamed_au_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.au", sound(), subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[8:12] = b"\xff" * 4
    path.write_bytes(content)
    decoded = audio.load(path, sr=SR)
    assert len(decoded) == SR
    assert snr(sound(), decoded) > 75


def with_flac_length(path: Path, n_samples: int) -> None:
    """Write another number of samples into a FLAC file's header: its lowest 36 bits of eight."""
    content = bytearray(path.read_bytes())
    fields = int.from_bytes(content[18:26], "big") >> 36 << 36
    content[18:26] = (fields | n_samples).to_bytes(8, "big")
    path.write_bytes(content)


@pytest.mark.parametrize("end", [None, 0.5, 9.0])
def test_a_flac_of_unknown_length_is_read_to_its_end_or_refused(
    end: float | None, tmp_path: Path
) -> None:
    # What an encoder that writes to a pipe leaves: 0 samples for "unknown".
    path = write(tmp_path / "a.flac", sound(), subtype="PCM_16")
    expected = audio.load(path, sr=SR, end=end)
    with_flac_length(path, 0)
    try:
        decoded = audio.load(path, sr=SR, end=end)
    except AudioError:
        refusal(path, end=end)
    else:
        np.testing.assert_array_equal(decoded, expected)


def test_a_flac_that_promises_more_than_memory_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", sound(), subtype="PCM_16")
    with_flac_length(path, 2**36 - 1)
    refusal(path)


def test_an_mp3_that_promises_more_than_memory_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", sound(2))
    content = bytearray(path.read_bytes())
    tag = max(content.find(b"Xing"), content.find(b"Info"))
    content[tag + 8 : tag + 12] = b"\x7f\xff\xff\xff"  # its number of MPEG frames
    path.write_bytes(content)
    refusal(path)


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAVEX", "PCM_24"), ("RF64", "PCM_24"),
        ("AIFF", "PCM_24"),
    ],
)  # fmt: skip
def test_a_missing_pad_byte_is_no_damage(container: str, subtype: str, tmp_path: Path) -> None:
    # Chunks are padded to an even length; many writers leave that last byte out.
    path = tmp_path / f"a.{container.lower()}"
    write(path, sound()[:1_001], format=container, subtype=subtype)
    whole, content = audio.load(path, sr=SR), path.read_bytes()
    assert len(content) % 2 == 0
    path.write_bytes(content[:-1])
    np.testing.assert_array_equal(audio.load(path, sr=SR), whole)
    assert len(whole) == 1_001


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU"])
def test_bytes_behind_the_sound_are_no_damage(container: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.{container.lower()}", sound(), format=container, subtype="PCM_16")
    whole = audio.load(path, sr=SR)
    path.write_bytes(path.read_bytes() + bytes(1_000))
    np.testing.assert_array_equal(audio.load(path, sr=SR)[: len(whole)], whole)


# MP3 files without the header frame that says how long they are


def without_length(content: bytes) -> bytes:
    """Drop the first MPEG frame (version 1, layer III), where encoders since 2000 put it."""
    assert b"Xing" in content[:200] or b"Info" in content[:200]
    assert content[:2] == b"\xff\xfb"
    return content[content.index(content[:2], 4) :]


def id3(size: int) -> bytes:
    """Return an ID3v2 tag that holds a cover picture of `size` bytes."""
    length = size + 10
    digits = [length >> shift & 0x7F for shift in (21, 14, 7, 0)]
    return b"ID3\x03\x00\x00" + bytes(digits) + b"APIC" + struct.pack(">IH", size, 0) + bytes(size)


@pytest.mark.parametrize("before", [b"", id3(100_000)], ids=["", "cover"])
@pytest.mark.parametrize("after", [b"", b"TAG" + bytes(125)], ids=["", "id3v1"])
@pytest.mark.parametrize("header", [True, False], ids=["header", "no-header"])
def test_an_mp3_is_read_with_and_without_header_and_tags(
    before: bytes, after: bytes, header: bool, tmp_path: Path
) -> None:
    rate = 44_100
    y = sound(3, sr=rate)
    path = write(tmp_path / "a.mp3", y, sr=rate, bitrate_mode="CONSTANT", compression_level=0.5)
    content = path.read_bytes()
    path.write_bytes(before + (content if header else without_length(content)) + after)
    decoded = audio.load(path, sr=rate)
    # Without it nothing says how much silence the encoder added.
    assert 0 <= len(decoded) - len(y) <= (0 if header else 4_000)
    assert float(np.square(decoded).mean()) == pytest.approx(float(np.square(y).mean()), rel=0.2)


@pytest.mark.parametrize("loud", ["start", "end"])
def test_an_mp3_of_variable_bit_rate_without_header_is_not_cut_unnoticed(
    loud: str, tmp_path: Path
) -> None:
    # Its length is then a guess from its first frame: four times too long here, or too short.
    rate = 44_100
    y = np.zeros(4 * rate, dtype=np.float32)
    half = slice(0, 2 * rate) if loud == "start" else slice(2 * rate, None)
    y[half] = 0.3 * np.random.default_rng(0).standard_normal(2 * rate).clip(-3, 3)
    path = write(tmp_path / "a.mp3", y, sr=rate, bitrate_mode="VARIABLE", compression_level=0.5)
    path.write_bytes(without_length(path.read_bytes()))
    try:
        decoded = audio.load(path, sr=rate)
    except AudioError:
        refusal(path)  # better than half a clip
    else:
        assert len(decoded) >= len(y)


# Bringing to a length

WAVEFORMS = hnp.arrays(
    np.float32,
    st.integers(1, 60),
    elements=st.floats(2**-8, 1, width=32) | st.floats(-1, -(2**-8), width=32),
)  # never zero, so that silence can be told from sound


@settings(max_examples=100, deadline=None)
@given(y=WAVEFORMS, n=st.integers(1, 90), pad=st.sampled_from(POLICIES))
def test_fit_gives_the_length_and_leaves_its_input(y: Samples, n: int, pad: Any) -> None:
    before = y.copy()
    out = audio.fit(y, n, pad=pad)
    assert out.shape == (n,)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(y, before)


@given(y=WAVEFORMS, pad=st.sampled_from(POLICIES))
def test_fit_leaves_a_waveform_of_the_right_length(y: Samples, pad: Any) -> None:
    np.testing.assert_array_equal(audio.fit(y, len(y), pad=pad), y)


@given(y=WAVEFORMS, room=st.integers(1, 60), pad=st.sampled_from(["zero", "center", "random"]))
def test_a_short_clip_lies_whole_in_silence(y: Samples, room: int, pad: Any) -> None:
    out = audio.fit(y, len(y) + room, pad=pad)
    (sounding,) = np.nonzero(out)
    first = int(sounding[0])
    np.testing.assert_array_equal(out[first : first + len(y)], y)
    assert len(sounding) == len(y)  # and so silence everywhere else
    if pad == "zero":
        assert first == 0
    if pad == "center":
        assert abs(first - (room - first)) <= 1


@given(y=WAVEFORMS, n=st.integers(1, 200))
def test_loop_repeats_from_the_start(y: Samples, n: int) -> None:
    out = audio.fit(y, n, pad="loop")
    np.testing.assert_array_equal(out, y[np.arange(n) % len(y)])


@given(
    n=st.integers(2, 80),
    share=st.floats(0.01, 0.99),
    pad=st.sampled_from(POLICIES),
    scale=st.floats(0.125, 1, width=32),
)
def test_a_long_clip_is_cut_by_the_same_rule(n: int, share: float, pad: Any, scale: float) -> None:
    y = np.arange(1, n + 1, dtype=np.float32) * np.float32(scale)  # no two samples alike
    wanted = max(1, int(share * n))
    out = audio.fit(y, wanted, pad=pad)
    first = int(np.flatnonzero(y == out[0])[0])
    np.testing.assert_array_equal(out, y[first : first + wanted])
    if pad in ("zero", "loop"):
        assert first == 0
    if pad == "center":
        behind = n - wanted - first
        assert abs(first - behind) <= 1


@given(y=WAVEFORMS, n=st.integers(1, 90))
def test_random_is_the_same_for_the_same_sound(y: Samples, n: int) -> None:
    first = audio.fit(y, n, pad="random")
    np.random.default_rng().random()
    np.testing.assert_array_equal(audio.fit(y.copy(), n, pad="random"), first)


@pytest.mark.parametrize("n", [4, 8], ids=["cut", "padded"])
def test_random_reaches_every_place_about_equally_often(n: int) -> None:
    rng = np.random.default_rng(3)
    places: Counter[int] = Counter()
    for _ in range(500):
        y = rng.uniform(0.1, 1, 6).astype(np.float32)
        out = audio.fit(y, n, pad="random")
        places[int(np.flatnonzero(y == out[0])[0] if n < 6 else np.flatnonzero(out)[0])] += 1
    # Two samples of room: three places, 167 times each and some 10 either way.
    assert set(places) == {0, 1, 2}
    assert min(places.values()) > 110


def test_random_is_drawn_from_all_of_the_sound() -> None:
    y = sound(0.01)
    (place, *_) = np.flatnonzero(audio.fit(y, 10_000, pad="random"))
    last = y.copy()
    last[-1] += 0.25
    for other in (-y, y[::-1], y / 2, last):
        (elsewhere, *_) = np.flatnonzero(audio.fit(other, 10_000, pad="random"))
        assert elsewhere != place


@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "flac"])
def test_a_web_page_is_told_as_no_sound_whatever_its_suffix(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"page.{suffix}"  # what a download of a dead link leaves
    path.write_text("<html>404</html>")
    with pytest.raises(AudioError, match=r"cannot be decoded \(Format not recognised\)"):
        audio.load(path, sr=22_050)


def test_an_ogg_file_of_which_no_page_is_whole_is_truncated_not_empty(tmp_path: Path) -> None:
    path = tmp_path / "cut.ogg"
    sf.write(path, 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000, format="OGG")
    path.write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(AudioError, match="truncated in the middle of an Ogg page"):
        audio.load(path, sr=22_050)
    assert not is_empty(path)
