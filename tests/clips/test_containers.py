"""What a container says of its sound, held against what is there; ffmpeg is the oracle."""

from __future__ import annotations

import io
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf

from spectro.clips import waveform as audio
from spectro.clips.checking.measure import examine, is_empty
from spectro.clips.containers import flac
from spectro.clips.decode import decode, file_seconds
from spectro.errors import AudioError

SR = 22_050
Samples = npt.NDArray[Any]
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def tone(seconds: float = 0.5, *, sr: int = SR, channels: int = 1) -> Samples:
    """A rising tone over a little noise, of full scale 0.6; in 16-bit steps."""
    rng = np.random.default_rng(5)
    t = np.arange(round(seconds * sr))
    y = 0.5 * np.sin(0.02 * t + 0.1 * t**2 / len(t)) + 0.02 * rng.standard_normal(len(t))
    columns = np.stack([y * 0.8**n for n in range(channels)], axis=1)
    return np.rint(columns * 32768) / 32768


def encoded(container: str, y: Samples, *, sr: int = SR, **options: Any) -> bytes:
    file = io.BytesIO()
    sf.write(file, y, sr, format=container, **options)
    return file.getvalue()


def ffmpeg(*arguments: str, given: bytes = b"") -> bytes:
    """Run ffmpeg, and return what it writes to a pipe."""
    command = ["ffmpeg", "-v", "error", *arguments]
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout


def heard_by_ffmpeg(path: Path) -> Samples:
    channels = decode(path, end=0.01)[0].shape[1]
    raw = ffmpeg("-nostdin", "-i", str(path), "-map", "0:a:0", "-f", "f32le", "-")
    return np.frombuffer(raw, "<f4").reshape(-1, channels)


def refusal(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        decode(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def check_same(path: Path, y: Samples, atol: float = 1e-7) -> None:
    """The whole sound comes out: whole, in a part, measured, and in windows."""
    samples, sr = decode(path)
    np.testing.assert_allclose(samples, y, rtol=0, atol=atol)
    part, _ = decode(path, start=0.1, end=0.2)
    np.testing.assert_array_equal(part, samples[round(0.1 * sr) : round(0.2 * sr)])
    found = examine(path)
    assert round(found.seconds * sr) == len(y)
    assert found.file_seconds == pytest.approx(len(y) / sr)
    last = list(audio.windows(path, sr=sr, duration=0.2))[-1]
    assert last.end == pytest.approx(len(y) / sr)
    np.testing.assert_array_equal(last.y, audio.to_mono(samples)[-round(0.2 * sr) :])


def wav(
    fmt: bytes, data: bytes, *, size: int | None = None, riff: int | None = None, more: bytes = b""
) -> bytes:
    """A WAV file, with sizes that may be wrong."""
    size = len(data) if size is None else size
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", size)
    body += data + more
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


def pcm(bits: int = 16, align: int = 2, *, channels: int = 1, rate: int | None = None) -> bytes:
    rate = SR * align if rate is None else rate
    return struct.pack("<HHIIHH", 1, channels, SR, rate, align, bits)


# Sizes that are wrong

Y16 = tone()
RAW = (Y16 * 32768).astype("<i2").tobytes()
LIST = b"LIST" + struct.pack("<I", 4) + b"INFO"
HUGE = 0xFFFF_FFFF


@pytest.mark.parametrize(
    "content",
    [
        *(wav(pcm(), RAW, size=len(RAW) + n) for n in (1, 4, 8, 36, 44, 50_000)),
        *(wav(pcm(), RAW, size=len(RAW) + n, riff=len(RAW) + 36 + n) for n in (4, 8, 44)),
        *(wav(pcm(), RAW, size=n, riff=m) for n in (0, HUGE, 0x7FFF_FFFF) for m in (0, 36, HUGE)),
        *(wav(pcm(), RAW, riff=n) for n in (0, 4, 10_000, HUGE)),
        wav(pcm(), RAW, size=len(RAW) - 44),
        wav(pcm(), RAW, more=LIST),
        wav(pcm(), RAW, more=LIST, riff=0),
    ],
)  # fmt: skip
def test_a_wav_with_wrong_sizes_is_read_to_its_end(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    check_same(path, Y16)
    assert file_seconds(path) == pytest.approx(0.5)


@pytest.mark.parametrize("lost", [2, 100, 2_000, len(RAW) - 10])
def test_a_wav_that_lost_its_end_is_still_named_truncated(lost: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(pcm(), RAW)[:-lost])
    assert "truncated" in refusal(path)


def test_a_wav_of_size_0_with_chunks_behind_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(pcm(), b"", more=LIST))
    assert "no samples" in refusal(path)
    assert is_empty(path)


def patched(container: str, at: Callable[[bytes], int], number: bytes) -> bytes:
    content = bytearray(encoded(container, Y16, subtype="PCM_16"))
    start = at(bytes(content))
    content[start : start + len(number)] = number
    return bytes(content)


def flac_of_unknown_length(y: Samples = Y16) -> bytes:
    content = bytearray(encoded("FLAC", y, subtype="PCM_16"))
    content[21] &= 0xF0
    content[22:42] = bytes(20)  # number of samples, MD5
    return bytes(content)


def ds64(sizes: bytes) -> bytes:
    """An RF64 file whose sizes were never filled in, or are those."""
    content = encoded("RF64", Y16, subtype="PCM_16")
    at = content.index(b"ds64") + 8
    return content[:at] + sizes + content[at + len(sizes) :]


UNKNOWN = {
    "au-unknown": patched("AU", lambda _: 8, b"\xff" * 4),
    "au-0": patched("AU", lambda _: 8, bytes(4)),
    "caf-unknown": patched("CAF", lambda c: c.index(b"data") + 4, b"\xff" * 8),
    "caf-0": patched("CAF", lambda c: c.index(b"data") + 4, bytes(8)),
    "aiff-0": patched("AIFF", lambda c: c.index(b"SSND") + 4, bytes(4)),
    "aiff-unknown": patched("AIFF", lambda c: c.index(b"SSND") + 4, b"\xff" * 4),
    "aiff-no-frames": patched("AIFF", lambda c: c.index(b"COMM") + 10, bytes(4)),
    "rf64-0": ds64(bytes(24)),
    "rf64-unknown": ds64(b"\xff" * 24),
    "rf64-as-bw64": b"BW64" + encoded("RF64", Y16, subtype="PCM_16")[4:],
    "rf64-as-bw64-0": b"BW64" + ds64(bytes(24))[4:],
    "w64-0": patched("W64", lambda c: c.index(b"data\xf3") + 16, bytes(8)),
    "w64-unknown": patched("W64", lambda c: c.index(b"data\xf3") + 16, b"\xff" * 7 + b"\x7f"),
    "flac-unknown": flac_of_unknown_length(),
    "flac-chain": encoded("FLAC", Y16[:5_000]) + encoded("FLAC", Y16[5_000:]),
    "flac-chain-unknown": encoded("FLAC", Y16[:5_000]) + flac_of_unknown_length(Y16[5_000:]),
    "flac-tagged": flac_of_unknown_length() + b"TAG" + bytes(125),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_length_that_was_never_filled_in_is_found_out(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{name.split('-', maxsplit=1)[0]}"
    path.write_bytes(UNKNOWN[name])
    check_same(path, Y16)


def test_a_flac_of_frame_headers_alone_is_refused_after_a_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would be a last frame, were it not for the checksum of all that comes after it."""
    head = bytes([0xFF, 0xF8, 0x19, 0x18, 0x00])
    head += bytes([flac._crc8(head)])
    summed: list[int] = []
    real = flac._crc16
    monkeypatch.setattr(flac, "_crc16", lambda data: summed.append(len(data)) or real(data))
    path = tmp_path / "a.flac"
    path.write_bytes(flac_of_unknown_length() + head * 20_000 + b"x")
    assert "truncated" in refusal(path)
    assert 0 < len(summed) <= 3 * 32


def test_a_flac_of_many_streams_is_looked_through_once_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stream was looked for to the end of the file, once for either mark."""

    class Counted(bytes):
        looked = 0

        def find(self, *where: Any) -> int:
            found = super().find(*where)
            Counted.looked += (len(self) if found < 0 else found) - where[1]
            return found

    one = b"fLaC\x80\x00\x00\x22" + bytes(35)
    data = Counted(one * 2_000)
    assert list(flac._starts(data, 0)) == list(range(0, len(data), len(one)))
    assert Counted.looked <= 2 * len(data)
    monkeypatch.setattr(flac, "_MOST_STREAMS", 1_000)
    with pytest.raises(AudioError, match=r"a\.flac: is made of more than 1,000 FLAC streams"):
        flac.split(tmp_path / "a.flac", data)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_flac_of_unknown_length_that_was_cut_is_truncated(share: float, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    content = flac_of_unknown_length()
    path.write_bytes(content[: round(share * len(content))])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_streams_one_after_the_other_are_all_read(subtype: str, tmp_path: Path) -> None:
    sr = 24_000
    first, second = tone(sr=sr), 0.5 * tone(0.4, sr=sr)[::-1]
    parts = [encoded("OGG", y, sr=sr, subtype=subtype) for y in (first, second)]
    alone = []
    for part in parts:
        (tmp_path / "one.ogg").write_bytes(part)
        alone.append(decode(tmp_path / "one.ogg")[0])
    path = tmp_path / "a.ogg"
    path.write_bytes(b"".join(parts))
    check_same(path, np.concatenate(alone))
    path.write_bytes(b"".join(parts)[:-300])
    assert "truncated" in refusal(path)


def test_sounds_of_different_rates_in_one_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    path.write_bytes(encoded("OGG", tone()) + encoded("OGG", tone(sr=16_000), sr=16_000))
    assert "different rates" in refusal(path)


# Widths that contradict each other


def in_four_bytes(y: Samples, *, high: bool = False, signed: bool = True) -> bytes:
    steps = np.rint(y * 2**23).astype("<i4")
    if high:
        return (steps << 8).astype("<i4").tobytes()
    return (steps if signed else steps & 0xFF_FFFF).astype("<i4").tobytes()


@pytest.mark.parametrize("level", [0.9, 0.01, 0.0005])
@pytest.mark.parametrize("channels", [1, 2])
def test_24_bits_in_the_low_bytes_of_32_are_what_they_are(
    level: float, channels: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    y = np.rint(level * rng.uniform(-1, 1, (8_000, channels)) * 2**23) / 2**23
    right = tmp_path / "right.wav"
    sf.write(right, y, SR, subtype="PCM_24")
    path = tmp_path / "a.wav"
    fmt = pcm(24, 4 * channels, channels=channels)
    for options in ({}, {"signed": False}, *([{"high": True}] if level > 2**-8 else [])):
        for said in (fmt, pcm(24, 4 * channels, channels=channels, rate=SR * 3 * channels)):
            path.write_bytes(wav(said, in_four_bytes(y, **options)))
            check_same(path, decode(right)[0], atol=0)
            assert examine(path).codec == "PCM_24"


def test_widths_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    noise = np.random.default_rng(0).integers(0, 256, 8_000, dtype=np.uint8).tobytes()
    for bits, align in ((24, 4), (16, 4), (8, 2), (16, 3)):
        path.write_bytes(wav(pcm(bits, align), noise))
        assert "contradict" in refusal(path)


def test_widths_that_no_header_can_hold_are_refused(tmp_path: Path) -> None:
    """One such clip must not end the examination of all others."""
    path = tmp_path / "a.wav"
    path.write_bytes(wav(pcm(16, 14_464, channels=40_000, rate=80_000 * SR), RAW))
    assert "contradict" in refusal(path)
    fmt = bytearray(pcm(24, 4))
    fmt[4:8] = struct.pack("<I", 1 << 30)  # Hz
    path.write_bytes(wav(bytes(fmt), bytes(8_000)))
    assert "contradict" in refusal(path)


@pytest.mark.parametrize("align", [0, 1, 4, 7])
def test_of_three_numbers_two_count(align: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(pcm(16, align, rate=2 * SR), RAW))
    check_same(path, Y16)


def test_bytes_a_second_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for rate in (0, 1, 7 * SR, HUGE):
        path.write_bytes(wav(pcm(rate=rate), RAW))
        check_same(path, Y16)


@needs_ffmpeg
@pytest.mark.parametrize(("bits", "valid"), [(24, 20), (32, 24), (32, 20), (16, 12), (24, 24)])
def test_valid_bits_of_an_extensible_header_are_ffmpegs(
    bits: int, valid: int, tmp_path: Path
) -> None:
    guid = bytes.fromhex("0100000000001000800000aa00389b71")
    fmt = struct.pack("<HHIIHHHHI", 0xFFFE, 1, SR, SR * bits // 8, bits // 8, bits, 22, valid, 4)
    steps = np.rint(tone() * 2 ** (valid - 1)).astype("<i8") << (bits - valid)
    raw = steps.astype("<i4").view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()
    path = tmp_path / "a.wav"
    path.write_bytes(wav(fmt + guid, raw))
    if bits < 32:  # of which ffmpeg 5 makes floats that are none
        check_same(path, heard_by_ffmpeg(path), atol=1e-6)
    np.testing.assert_allclose(decode(path)[0], tone(), atol=2.0**-11)


# MPEG audio in a WAV file


def mpeg_frames(mode: str, y: Samples, sr: int) -> bytes:
    """Frames of layer III, without the first one, which says how long the sound is."""
    options = {"bitrate_mode": mode, "compression_level": 0.2 if mode == "VARIABLE" else 0.7}
    content = encoded("MP3", y, sr=sr, **options)
    assert b"Xing" in content[:200] or b"Info" in content[:200]
    return content[content.index(content[:2], 4) :]


def mp3_in_wav(frames: bytes, sr: int, fact: int) -> bytes:
    fmt = struct.pack("<HHIIHHHHIHHH", 0x55, 1, sr, 8_000, 1152, 0, 12, 1, 0, 1152, 1, 0)
    content = wav(fmt, frames)
    at = content.index(b"data")
    content = content[:at] + b"fact" + struct.pack("<II", 4, fact) + content[at:]
    return b"RIFF" + struct.pack("<I", len(content) - 8) + content[8:]


def stating(content: bytes, number: int, flags: int = 1) -> bytes:
    """Write another number of frames into the frame that states it."""
    at = max(content.find(b"Xing", 0, 200), content.find(b"Info", 0, 200))
    return content[: at + 4] + struct.pack(">II", flags, number) + content[at + 12 :]


TAG = b"ID3\3\0\0\0\0\0\x0a" + bytes(10)
JUNK = np.random.default_rng(1).integers(0, 256, 1_000, dtype=np.uint8).tobytes()
# What becomes of a file that says its length, and of frames alone; how often the sound is in it.
SPOILT: dict[str, tuple[Callable[[bytes, bytes], bytes], int]] = {
    "two files joined": (lambda whole, _: whole + whole, 2),
    "joined behind a tag": (lambda whole, _: whole + TAG + whole, 2),
    "zeros in front": (lambda _, frames: bytes(700) + frames, 1),
    "two tags in front": (lambda _, frames: TAG + TAG + frames, 1),
    "padding behind a tag": (lambda _, frames: TAG + bytes(500) + frames, 1),
    "cut out of a stream": (lambda _, frames: frames[1_000:], 1),
    "junk in the middle": (
        lambda _, frames: frames[: len(frames) // 2] + JUNK + frames[len(frames) // 2 :], 1
    ),
    "junk behind": (lambda whole, _: whole + JUNK, 1),
    "no number stated": (lambda whole, _: stating(whole, 0, flags=0), 1),
    "0 frames stated": (lambda whole, _: stating(whole, 0), 1),
    "too few stated": (lambda whole, _: stating(whole, 20), 1),
}  # fmt: skip


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT.keys())
def test_mp3_is_read_whole_whatever_lies_between_its_frames(
    spoilt: tuple[Callable[[bytes, bytes], bytes], int], tmp_path: Path
) -> None:
    sr = 22_050
    y = np.random.default_rng(0).normal(0, 0.1, 4 * sr).astype(np.float32)
    y[sr:] *= 0.01  # few bits a frame, where a guess by the first frames goes wrong
    whole = encoded("MP3", y, sr=sr, bitrate_mode="VARIABLE", compression_level=0.2)
    path, (spoil, times) = tmp_path / "a.mp3", spoilt
    path.write_bytes(spoil(whole, mpeg_frames("VARIABLE", y, sr)))
    heard, rate = decode(path)
    assert rate == sr
    assert abs(len(heard) - times * len(y)) < 0.25 * sr


def test_mp3_of_two_rates_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    parts = [encoded("MP3", tone(), sr=sr, bitrate_mode="VARIABLE") for sr in (22_050, 44_100)]
    path.write_bytes(b"".join(parts))
    with pytest.raises(AudioError, match="different rates or kinds, one after the other"):
        decode(path)


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize("sr", [44_100, 22_050])
@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_mpeg_audio_without_a_length_is_read_whole(
    mode: str, sr: int, suffix: str, tmp_path: Path
) -> None:
    noise = 0.3 * np.random.default_rng(0).uniform(-1, 1, (sr, 1))
    y = np.concatenate([noise, np.zeros((3 * sr, 1)), noise])
    frames = mpeg_frames(mode, y, sr)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(mp3_in_wav(frames, sr, len(y)) if suffix == "wav" else frames)
    samples, _ = decode(path)
    assert 0 <= len(samples) - len(y) < 3 * 1152
    assert np.square(samples).sum() == pytest.approx(np.square(y).sum(), rel=0.25)
    assert np.abs(samples[-sr // 2 :]).max() > 0.1  # its end sounds
    if shutil.which("ffmpeg"):
        expected = heard_by_ffmpeg(path)
        shift = len(expected) - len(samples)
        assert shift in (0, 529)  # the decoder's own delay
        np.testing.assert_allclose(samples, expected[shift:], atol=1e-3)


def test_mp3_in_wav_that_was_cut_is_truncated(tmp_path: Path) -> None:
    y = tone(3, sr=44_100)
    frames = mpeg_frames("CONSTANT", y, 44_100)
    path = tmp_path / "a.wav"
    path.write_bytes(mp3_in_wav(frames, 44_100, len(y))[: -len(frames) // 2])
    assert "truncated" in refusal(path)
    path.write_bytes(mp3_in_wav(frames[: len(frames) // 2], 44_100, len(y)))
    assert "truncated" in refusal(path)


# What is no regular file


def no_file(kind: str, path: Path) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path.symlink_to(os.devnull)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFO on this system")
@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
@pytest.mark.parametrize("link", [False, True])
def test_only_regular_files_are_opened(
    kind: str, link: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    path = Path("x.wav")
    no_file(kind, Path("there.wav") if link else path)
    if link:
        path.symlink_to("there.wav")
    assert "is not a regular file" in refusal(path)
    assert not is_empty(path)
    with pytest.raises(AudioError, match="is not a regular file"):
        next(audio.windows(path, sr=SR, duration=1))


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory was used")
def test_a_long_file_is_looked_through_without_staying_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "day.flac"
    sf.write(path, np.zeros(1_000), 8_000)
    with path.open("r+b") as file:
        file.truncate(400 << 20)  # zeros that take no room, in which another stream is looked for
    code = (
        "import sys; from pathlib import Path; from spectro.clips.containers import flac\n"
        "flac.plan(Path(sys.argv[1]))\n"
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    assert int(done.stdout) < 150 << 10  # kB
