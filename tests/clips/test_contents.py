"""Files that bear a suffix of sound and are none, and what lies behind the end of a sound."""

from __future__ import annotations

import codecs
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from spectro.clips.decode import decode
from spectro.errors import AudioError

NONE = {
    "LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
        "is a Git LFS pointer, not the sound itself: run git lfs pull",
    ),
    "annex": (b"/annex/objects/MD5E-s1--a.wav\n", "is a git-annex pointer.*: run git annex get"),
    "annex link": (b"../.git/annex/objects/x/y/MD5E-s1--a.wav", "is a git-annex pointer"),
    "HTML": (b"<!DOCTYPE html>\n<html><title>404</title>", r"is a web page \(HTML\), not sound"),
    "HTML in capitals": (b"\r\n <HTML LANG=en><HEAD>" + b"x" * 900, r"is a web page \(HTML\)"),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is XML, not sound"),
    "JSON": (b'{"message": "Not Found"}', "is JSON, not sound: perhaps a host's answer"),
    "text": ("Datei fehlt: übel\n".encode() * 90, "is text, .* begins with 'Datei fehlt: übel"),
    "path": (b"../audio/1-100032-A-0.wav", "is text, .* begins with '../audio/1-100032-A-0.wav'"),
    "UTF-16": (codecs.BOM_UTF16_LE + "none".encode("utf-16-le"), "is text, .* begins with 'none'"),
    "zip": (b"PK\x03\x04" + bytes(90), "is a zip archive, not sound; unpack it"),
    "gzip": (b"\x1f\x8b\x08" + bytes(90), "is compressed by gzip, not sound; unpack it"),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(90), "is a PNG picture, not sound"),
    "NumPy": (b"\x93NUMPY\x01\0" + bytes(90), "is an array of NumPy"),
    "Mac": (b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(90), "is what a Mac keeps beside a file"),
    "zeros": (bytes(5_000), "holds nothing but zeros, as after a copy that failed"),
}


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "ogg", "m4a", "au"])
@pytest.mark.parametrize(("content", "told"), NONE.values(), ids=NONE.keys())
def test_what_is_no_sound_is_told_as_what_it_is(
    tmp_path: Path, content: bytes, told: str, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    if content.strip(b"\0"):
        with pytest.raises(AudioError, match=told) as caught:
            decode(path)
    else:
        with pytest.raises(AudioError) as caught:
            decode(path)
    assert str(caught.value).startswith(f"{path}: cannot be decoded (")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", ""), "libmpg123 speaks aloud"


def wav(form: bytes = b"RIFF", *, tag: int = 1, channels: int = 1, bits: int = 16) -> bytes:
    """Write 800 samples under a header as asked."""
    order = ">" if form == b"RIFX" else "<"
    data = (20_000 * np.sin(np.arange(800) / 9)).astype(f"{order}i2").tobytes()
    align = channels * bits // 8
    fmt = struct.pack(f"{order}HHIIHH", tag, channels, 8_000, 8_000 * align, align, bits)
    size, n = (struct.pack(f"{order}I", value) for value in (36 + len(data), len(data)))
    chunk = b"fmt " + struct.pack(f"{order}I", 16) + fmt + b"data" + n + data
    return form + size + b"WAVE" + chunk


ODD = {
    "no channels": (wav(channels=0), "its header says 0 channels"),
    "no bits": (wav(bits=0), "its header says 0 bits a sample"),
    "half floats": (wav(tag=3), "its header says 16 bits a sample, of floating point"),
    "64-bit numbers": (wav(bits=64), "its header says 64 bits a sample, of whole numbers"),
    "no sound": (wav()[:36], "its 36 bytes hold the header of a WAV file without its sound"),
    "no format": (
        wav()[:12] + wav()[36:],
        "its 1,620 bytes hold the header of a WAV file without its format",
    ),
    "another RIFF": (b"RIFF\x10\0\0\0ACON" + bytes(8), "it is RIFF, but no WAV: 'ACON'"),
}


@pytest.mark.parametrize(("content", "told"), ODD.values(), ids=ODD.keys())
def test_odd_headers_of_wav_are_told(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match=rf"a\.wav: cannot be decoded \({told}"):
        decode(tmp_path / "a.wav")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_a_codec_that_nothing_decodes_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(tag=0x1234))
    told = r"its header names the codec 0x1234, which nothing here decodes; where another program"
    with pytest.raises(AudioError, match=told):
        decode(tmp_path / "a.wav")


def test_big_endian_wav_is_read(tmp_path: Path) -> None:
    for form in (b"RIFF", b"RIFX"):
        (tmp_path / form.decode()).with_suffix(".wav").write_bytes(wav(form))
    ours, theirs = (decode(tmp_path / f"{name}.wav")[0] for name in ("RIFF", "RIFX"))
    np.testing.assert_array_equal(ours, theirs)


# --------------------------------------------------------------------------- behind the sound's end

PAGE = b"<html><head><title>x</title></head><body>" + b"<p>gone</p>" * 900 + b"</body></html>"
BEHIND = {
    "a block of zeros": bytes(4_096),
    "zeros": bytes(100_000),
    "a page": PAGE,
    "text": b"x" * 100,
    "a tag": b"TAG" + bytes(125),
    "noise": np.random.default_rng(0).bytes(3_000),
}
FORMATS = {
    "vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"), "wav": ("WAV", "PCM_16"), "adpcm": ("WAV", "IMA_ADPCM"),
    "aiff": ("AIFF", "PCM_16"), "caf": ("CAF", "PCM_16"), "w64": ("W64", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
}  # fmt: skip


@pytest.mark.parametrize(("container", "codec"), FORMATS.values(), ids=FORMATS.keys())
@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND.keys())
def test_what_lies_behind_a_sound_is_no_part_of_it(
    tmp_path: Path, container: str, codec: str, behind: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a.{'mp3' if container == 'MP3' else 'snd1'}"
    y = 0.5 * np.sin(np.arange(24_000) / 20)
    sf.write(path, y, 24_000, format=container, subtype=codec)
    expected, _ = decode(path)
    with path.open("ab") as file:
        file.write(behind)
    found, _ = decode(path)
    np.testing.assert_array_equal(found, expected)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize("behind", [PAGE, bytes(4_096)])
@pytest.mark.parametrize("options", [["-q:a", "4"], ["-write_xing", "0"], ["-id3v2_version", "3"]])
def test_mp3_of_lame_is_as_long_with_a_page_behind_it(
    tmp_path: Path, behind: bytes, options: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    sf.write(tmp_path / "a.wav", 0.5 * np.sin(np.arange(30_000) / 20), 22_050)
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-metadata", "title=x", *options]
    subprocess.run([*command, tmp_path / "a.mp3"], check=True)
    expected, _ = decode(tmp_path / "a.mp3")
    with (tmp_path / "a.mp3").open("ab") as file:
        file.write(behind)
    found, _ = decode(tmp_path / "a.mp3")
    np.testing.assert_array_equal(found, expected)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_a_page_behind_a_phone_recording_is_no_box(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", 0.5 * np.sin(np.arange(30_000) / 20), 22_050)
    path = tmp_path / "a.m4a"
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", path], check=True)
    expected, _ = decode(path)
    whole = path.read_bytes()
    path.write_bytes(whole + PAGE)
    np.testing.assert_array_equal(decode(path)[0], expected)
    path.write_bytes(whole[:-400])
    with pytest.raises(AudioError, match="truncated"):
        decode(path)


def ogg(path: Path) -> bytes:
    sf.write(path, 0.1 * np.random.default_rng(0).normal(size=60_000), 16_000, format="OGG")
    return path.read_bytes()


def test_an_ogg_file_that_is_cut_stays_truncated_whatever_fills_it_up(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    whole = ogg(path)
    for content in (whole[:9_000], whole[:9_000] + bytes(4_096)):
        path.write_bytes(content)
        with pytest.raises(AudioError):
            decode(path)


def test_an_ogg_file_with_a_hole_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    whole = ogg(path)
    pages = [at for at in range(len(whole)) if whole.startswith(b"OggS", at)]
    assert len(pages) > 4
    path.write_bytes(whole[: pages[3]] + bytes(pages[4] - pages[3]) + whole[pages[4] :])
    with pytest.raises(AudioError, match=r"damaged, what follows from byte .* is no page of Ogg"):
        decode(path)
    path.write_bytes(whole[: pages[3]] + b"junk" * 100)
    with pytest.raises(AudioError, match="followed by 400 bytes that are no Ogg, and does not say"):
        decode(path)
    path.write_bytes(whole[: pages[3]] + bytes(400))  # a recorder that was switched off
    assert 0 < len(decode(path)[0]) < 60_000
