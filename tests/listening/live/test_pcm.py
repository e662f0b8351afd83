"""Samples through a pipe are what libsndfile reads from the file."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from spectro.errors import AudioError, ConfigError
from spectro.listening.live.settings import SourceSettings
from spectro.listening.live.sources.pcm import Format, as_bytes, decode, read_header
from spectro.listening.live.sources.pipe import StandardInput

NOISE = np.random.default_rng(1).uniform(-1, 1, (500, 2))


@pytest.mark.parametrize(
    ("subtype", "encoding"),
    [
        ("PCM_U8", "u8"), ("PCM_16", "s16le"), ("PCM_24", "s24le"), ("PCM_32", "s32le"),
        ("FLOAT", "f32le"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_as_libsndfile_reads_it(subtype: str, encoding: str, container: str) -> None:
    file = io.BytesIO()
    sf.write(file, NOISE, 44_100, format=container, subtype=subtype)
    file.seek(0)
    truth = sf.read(file, dtype="float32")[0]
    file.seek(0)
    form = read_header(file.read, "here")
    assert form == Format(encoding, 44_100, 2)
    data = file.read()[: len(NOISE) * form.frame]
    assert np.array_equal(decode(data, form), truth)


def test_sixteen_bits_there_and_back() -> None:
    every = np.arange(-32_768, 32_768, dtype="<i2").tobytes()
    form = Format("s16le", 8_000, 1)
    assert as_bytes(decode(every, form)) == every


def test_a_float_that_is_no_number_does_not_stop_a_listener() -> None:
    y = decode(np.float32([np.nan, np.inf, -np.inf, 0.5]).tobytes(), Format("f32le", 8_000, 1))
    assert y.ravel().tolist() == [0, 0, 0, 0.5]


def header(code: int = 1, channels: int = 1, sr: int = 8_000, bits: int = 16) -> bytes:
    about = struct.pack("<HHIIHH", code, channels, sr, sr * 2, 2, bits)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", 16) + about + b"data\0\0\0\0"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"OggS" + bytes(60), "--format s16le"),
        (b"", "--format s16le"),
        (header()[:30], "damaged WAV header"),
        (header()[:38], "ends within"),
        (header(code=85), "kind 85"),
        (header(channels=0), "0 channels"),
        (header(sr=7), "at 7 Hz"),
        (header().replace(b"fmt ", b"LIST"), "does not say of what kind"),
        (b"RIFF....WAVELIST\xff\xff\xff\x7f", "over 1 MiB"),
    ],
)
def test_what_is_no_wav_is_told(data: bytes, told: str) -> None:
    with pytest.raises(AudioError, match=told):
        read_header(io.BytesIO(data).read, "here")


def test_standard_input_gives_what_comes_and_then_ends() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", 0) as stream, os.fdopen(writing, "wb", 0) as out:
        own = SourceSettings(name="in", input="-", format="S16_LE", rate=8_000)
        source = StandardInput(own, stream)  # type: ignore[arg-type]
        assert source.open() == Format("s16le", 8_000, 1)
        assert len(source.read(0.01)) == 0  # type: ignore[arg-type]
        out.write(b"\0\x40\0")  # a sample and a half
        assert source.read(5).tolist() == [[0.5]]  # type: ignore[union-attr]
        out.write(b"\x80")
        assert source.read(5).tolist() == [[-1]]  # type: ignore[union-attr]
        out.close()
        assert source.read(5) is None


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"input": "-", "format": "s16le"}, "need a rate"),
        ({"name": "../x"}, "up to 64 letters"),
        ({"rate": 5}, "rate is 5"),
        ({"start_time": "soon"}, "soon"),
        ({"channel": 2}, "unknown setting channel"),
    ],
)
def test_bad_settings_of_a_source(values: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        SourceSettings(**values)


def test_names_of_arecord(tmp_path: Path) -> None:
    words = {
        "S16_LE": "s16le",
        "S24_3LE": "s24le",
        "S32_LE": "s32le",
        "FLOAT_LE": "f32le",
    }
    for word, meant in words.items():
        assert SourceSettings(format=word, rate=8_000).format == meant
