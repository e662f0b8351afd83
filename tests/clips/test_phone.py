"""Phone recordings through ffmpeg: the same samples as ffmpeg's own, in full or not at all."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from spectro.clips import waveform as audio
from spectro.clips.checking.measure import examine, is_empty
from spectro.clips.containers import ffmpeg as ffmpeg_module
from spectro.clips.decode import decode, file_seconds
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import load_extent
from tests.clips.test_containers import (
    encoded,
    ffmpeg,
    heard_by_ffmpeg,
    needs_ffmpeg,
    refusal,
    tone,
)  # fmt: skip

pytestmark = pytest.mark.slow

SR = 22_050
KINDS = {
    "m4a": (), "aac": (), "3gp": ("-c:a", "aac"), "mp4": ("-c:a", "aac"), "wma": (), "mkv": (),
    "mka": ("-c:a", "flac"), "webm": (), "mp2": (), "mov": ("-c:a", "alac"), "ac3": (), "tta": (),
    "wv": (), "avi": ("-c:a", "mp3"), "caf": ("-c:a", "alac"), "spx": ("-c:a", "libspeex"),
}  # fmt: skip
IN_WAV = ("g722", "ac3", "wmav2", "mp2", "libmp3lame", "adpcm_swf")
STREAMED = {
    "webm": ("-f", "webm"), "mkv": ("-f", "matroska"), "flac": ("-f", "flac"), "caf": ("-f", "caf"),
    "mp4": ("-f", "mp4", "-movflags", "frag_keyframe+empty_moov"), "ogg": ("-f", "ogg"),
    "oga": ("-f", "ogg", "-c:a", "flac"), "au": ("-f", "au"), "w64": ("-f", "w64"),
    "rf64": ("-f", "wav", "-rf64", "always"), "wav": ("-f", "wav"), "aiff": ("-f", "aiff"),
}  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "a.wav"
    path.write_bytes(encoded("WAV", tone(1, channels=2)))
    return path


def made(source: Path, path: Path, *options: str) -> Path:
    """Encode with ffmpeg, or skip where it was built without that encoder."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(source), *options, str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this ffmpeg has no such encoder")
    return path


def check_as_ffmpeg(path: Path, *, parts: bool = False) -> None:
    samples, sr = decode(path)
    expected = heard_by_ffmpeg(path)
    assert samples.shape == expected.shape
    np.testing.assert_allclose(samples, expected, rtol=0, atol=1e-4)
    assert abs(len(samples) / sr - 1) < 0.15
    if not parts:
        return
    part, _ = decode(path, start=0.5, end=0.75)
    np.testing.assert_array_equal(part, samples[round(0.5 * sr) : round(0.75 * sr)])
    *_, last = audio.windows(path, sr=sr, duration=0.5)
    np.testing.assert_array_equal(last.y, audio.to_mono(samples)[-round(0.5 * sr) :])


@needs_ffmpeg
@pytest.mark.parametrize("suffix", KINDS)
def test_a_phone_recording_is_what_ffmpeg_makes_of_it(
    suffix: str, source: Path, tmp_path: Path
) -> None:
    path = made(source, tmp_path / f"a.{suffix}", *KINDS[suffix])
    check_as_ffmpeg(path, parts=suffix in ("m4a", "webm"))


@needs_ffmpeg
@pytest.mark.parametrize("codec", IN_WAV)
def test_codecs_in_wav_that_libsndfile_does_not_know(
    codec: str, source: Path, tmp_path: Path
) -> None:
    check_as_ffmpeg(made(source, tmp_path / "a.wav", "-c:a", codec))


@needs_ffmpeg
@pytest.mark.parametrize("suffix", STREAMED)
def test_what_was_written_to_a_pipe_is_read_to_its_end(
    suffix: str, source: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(ffmpeg("-i", str(source), *STREAMED[suffix], "-"))
    samples, sr = decode(path)
    assert 0 <= len(samples) / sr - 1 < 0.1
    assert np.abs(samples[-sr // 4 : -sr // 8]).max() > 0.1


@needs_ffmpeg
@pytest.mark.parametrize("suffix", ["m4a", "aac", "3gp", "webm", "mkv", "wma", "avi", "spx"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_phone_recording_that_was_cut_is_refused(
    suffix: str, share: float, source: Path, tmp_path: Path
) -> None:
    path = made(source, tmp_path / f"a.{suffix}", *KINDS[suffix])
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    assert refusal(path)
    assert not is_empty(path)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("head", "size", "rate"), [(b"#!AMR\n", 31, 8_000), (b"#!AMR-WB\n", 60, 16_000)]
)
def test_amr_is_read_frame_by_frame(head: bytes, size: int, rate: int, tmp_path: Path) -> None:
    path = tmp_path / "a.amr"
    kind = b"\x3c" if rate == 8_000 else b"\x44"
    rng = np.random.default_rng(0)
    frames = b"".join(kind + rng.bytes(size) for _ in range(50))
    path.write_bytes(head + frames)
    samples, sr = decode(path)
    assert (sr, len(samples)) == (rate, 50 * rate // 50)
    np.testing.assert_array_equal(samples, heard_by_ffmpeg(path))
    path.write_bytes((head + frames)[:-5])
    assert "truncated" in refusal(path)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["-i.m4a", "a:b.m4a", "concat:a|b.m4a", "größer %d.m4a"])
def test_a_name_is_a_name(
    name: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(source, tmp_path / "x.m4a").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(decode(Path(name))[0]) > SR / 2


@needs_ffmpeg
@pytest.mark.parametrize(
    "script",
    [
        "ffconcat version 1.0\nfile {}\n",
        "#EXTM3U\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n",
        "v=0\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        '<?xml version="1.0"?><MPD><Period/><BaseURL>{}</BaseURL></MPD>',
    ],
)
@pytest.mark.parametrize("suffix", ["m4a", "m3u8", "wav", "ffconcat"])
def test_a_list_of_other_files_opens_none(
    script: str, suffix: str, source: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text(script.format(source))
    assert "cannot be decoded (Format not recognised)" in refusal(path)


def test_without_ffmpeg_the_way_to_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0\0\0\0\x10mdat" + bytes(3_000))
    monkeypatch.setenv("PATH", str(tmp_path))
    reason = refusal(path)
    assert "install it" in reason
    assert "ffmpeg" in reason
    assert not is_empty(path)


@needs_ffmpeg
def test_a_file_that_only_begins_as_a_phones_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0" + bytes(3_000))
    assert "cannot be decoded in full (ffmpeg: " in refusal(path)


@needs_ffmpeg
def test_how_much_of_a_phone_recording_is_used(source: Path, tmp_path: Path) -> None:
    path = made(source, tmp_path / "a.m4a")
    assert file_seconds(path) is None  # only decoding tells
    assert examine(path).file_seconds == pytest.approx(1, abs=0.1)
    _, extent = load_extent(path, SpectrogramConfig(duration=4))
    assert extent.used == extent.available == pytest.approx(1, abs=0.1)
    _, extent = load_extent(path, SpectrogramConfig(duration=0.5))
    assert extent == (0.5, None)


@needs_ffmpeg
def test_the_process_ends_when_no_more_is_wanted(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def popen(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        begun.append(start(*arguments, **options))  # type: ignore[call-overload]
        return begun[-1]

    monkeypatch.setattr(ffmpeg_module.subprocess, "Popen", popen)
    path = made(source, tmp_path / "a.m4a")
    begun.clear()
    decode(path, end=0.1)
    next(audio.windows(path, sr=SR, duration=0.1))
    assert len(begun) == 2
    assert all(process.returncode is not None for process in begun)
    assert shutil.which("ffmpeg")
