"""Damaged sound files of every kind: a picture or a refusal, no crash, no hang, no full memory.

Mutant 4711 is the same bytes every time. To keep it and see what becomes of it::

    python tests/whole/test_fuzz.py 4711
"""

from __future__ import annotations

import faulthandler
import functools
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf

import spectro
from spectro.clips import waveform as audio
from spectro.clips.waveform import PadPolicy
from spectro.errors import AudioError
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import clip_image

MEMORY = 1 << 30  # bytes that a worker may ever have used
HANG = 120  # s for one small file, on a machine however busy
WORKERS = 2

# libsndfile's containers, each with those codecs that a reader of its own decodes.
KINDS = [
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("WAV", "G721_32"), ("WAV", "NMS_ADPCM_24"),
    ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("W64", "MS_ADPCM"),
    ("AIFF", "PCM_16"), ("AIFF", "IMA_ADPCM"), ("AIFF", "DWVW_16"), ("AU", "PCM_16"),
    ("AU", "G723_40"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("CAF", "ALAC_24"),
    ("CAF", "ALAC_32"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"), ("NIST", "PCM_16"), ("SVX", "PCM_16"), ("SVX", "PCM_S8"),
    ("VOC", "PCM_16"), ("VOC", "PCM_U8"), ("IRCAM", "FLOAT"), ("PAF", "PCM_16"), ("PAF", "PCM_24"),
    ("MAT4", "DOUBLE"), ("MAT5", "PCM_16"), ("PVF", "PCM_16"), ("XI", "DPCM_16"), ("XI", "DPCM_8"),
    ("HTK", "PCM_16"), ("SDS", "PCM_16"), ("AVR", "PCM_16"), ("MPC2K", "PCM_16"), ("WVE", "ALAW"),
    # Made here of others, and read by what their containers hold.
    ("WAV", "S24_LE"), ("WAV", "MPEG"), ("FLAC", "STREAMED"), ("FLAC", "CHAIN"), ("OGG", "CHAIN"),
]  # fmt: skip
# A suffix decides what is tried where the content does not tell.
SUFFIXES = [*dict.fromkeys(kind.lower() for kind, _ in KINDS), "vox", "gsm", "snd", "raw", "sd2"]

Samples = npt.NDArray[np.float32]

SMALL = SpectrogramConfig(duration=0.5, n_fft=512, n_mels=32)
CONFIGS = [SMALL.replace(pad=pad) for pad in ("zero", "loop", "center", "random")]


# Mutants


def made_s24(_: str, path: Path, y: Samples) -> bytes:
    """What arecord writes: 24 bits in the low bytes of 32."""
    sf.write(path, y, 24_000, format="WAV", subtype="PCM_32")
    content = path.read_bytes()
    at = content.index(b"data") + 8
    low = (np.frombuffer(content[at:], "<i4") >> 8).tobytes()
    bits = content.index(b"fmt ") + 22
    return content[:bits] + (24).to_bytes(2, "little") + content[bits + 2 : at] + low


def made_mpeg(_: str, path: Path, y: Samples) -> bytes:
    """Frames of MPEG audio in a WAV file."""
    sf.write(path, y, 24_000, format="MP3")
    frames = path.read_bytes()
    fmt = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 24_000, 8_000, 576, 0, 12, 1, 0, 576, 1, 0)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt
    body += b"data" + struct.pack("<I", len(frames)) + frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


def made_streamed(container: str, path: Path, y: Samples) -> bytes:
    """FLAC that was written to a pipe: of unknown length."""
    sf.write(path, y, 24_000, format=container)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:42] = bytes(20)
    return bytes(content)


def made_chain(container: str, path: Path, y: Samples) -> bytes:
    """Two sounds, one after the other."""
    sf.write(path, y[:1_200], 24_000, format=container)
    return path.read_bytes() * 2


MADE: dict[str, Callable[[str, Path, Samples], bytes]] = {
    "S24_LE": made_s24, "MPEG": made_mpeg, "STREAMED": made_streamed, "CHAIN": made_chain,
}  # fmt: skip


@functools.cache
def healthy() -> tuple[bytes, ...]:
    """Return one small file of each kind, the same bytes in every process."""
    long = (0.3 * np.sin(np.arange(96_000) ** 1.2 / 50)).astype(np.float32)  # 4 s, as clips are
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for i, (container, subtype) in enumerate(KINDS):
            path = Path(folder, "a")
            if subtype in MADE:
                found.append(timeless(MADE[subtype](container, path, long)))
                continue
            y = long[:2_400] if container == "OGG" else long  # checksums here take their time
            columns = np.stack([y, y[::-1]], axis=1)
            for samples in (columns, y) if i % 2 else (y,):  # some take only one channel
                with suppress(sf.LibsndfileError):
                    sf.write(path, samples, 24_000, format=container, subtype=subtype)
                    break
            found.append(timeless(path.read_bytes()))
            path.unlink()
    return tuple(found)


def timeless(content: bytes) -> bytes:
    """Take out what libsndfile writes of the clock: dates, and random numbers made from it."""
    data = bytearray(re.sub(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", bytes(23), content))
    if (peak := content.find(b"PEAK")) > 0:
        data[peak + 12 : peak + 16] = bytes(4)
    for page in re.finditer(b"OggS", content):
        data[page.start() + 14 : page.start() + 18] = b"spec"
    return checked(data)


@functools.cache
def crc_table() -> list[int]:
    """Table of the checksum of Ogg pages (RFC 3533): 32 bits, polynomial 0x04c11db7."""
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFF_FFFF
        table.append(crc)
    return table


def checked(data: bytearray) -> bytes:
    """Give Ogg pages the checksum of what they hold, or no decoder would look at it."""
    for page in re.finditer(b"OggS", bytes(data)):
        at = page.start()
        if len(data) < at + 27:
            break
        segments = data[at + 27 : at + 27 + data[at + 26]]
        end = at + 27 + len(segments) + sum(segments)
        data[at + 22 : at + 26] = bytes(4)
        crc = 0
        for byte in data[at:end]:
            crc = (crc << 8 & 0xFFFF_FFFF) ^ crc_table()[crc >> 24 ^ byte]
        data[at + 22 : at + 26] = crc.to_bytes(4, "little")
    return bytes(data)


def header_place(data: bytearray, rng: random.Random) -> int:
    """Choose a byte, most often one that means more than a sample does."""
    ids = [found.end() for found in re.finditer(rb"[A-Za-z][A-Za-z0-9 ]{3}", bytes(data[:4_096]))]
    if ids and rng.random() < 0.5:  # behind a chunk's name: its size, then its fields
        return min(rng.choice(ids) + rng.choice((0, 0, 0, 2, 4, 6, 8, 12, 16)), len(data))
    if rng.random() < 0.7:
        return rng.randrange(min(len(data), 128))
    return rng.randrange(len(data))


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[header_place(data, rng) - 1] ^= 1 << rng.randrange(8)


def overwrite_a_run(data: bytearray, rng: random.Random) -> None:
    at, length = header_place(data, rng), rng.choice((1, 2, 4, 16, 300))
    fill = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    data[at : at + length] = fill[: len(data) - at]


POWERS = [2**n + d for n in (15, 16, 24, 31, 32, 63) for d in (-1, 0)]
EXTREMES = [0, 1, 2, 3, 255, 256, 1024, *POWERS]


def set_a_field(data: bytearray, rng: random.Random) -> None:
    """Write the largest or smallest number there is: a size, channels, a rate, frames."""
    at, width = header_place(data, rng), rng.choice((1, 2, 2, 4, 4, 4, 8))
    if rng.random() < 0.8:
        at -= at % 2
    number = rng.choice(EXTREMES) % 256**width
    data[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))


def set_a_number_in_text(data: bytearray, rng: random.Random) -> None:
    numbers = list(re.finditer(rb"-?\d+", bytes(data[:1_024])))
    if not numbers:
        return set_a_field(data, rng)
    start, end = rng.choice(numbers).span()
    data[start:end] = str(rng.choice([-1, 10**20, *EXTREMES])).encode()
    return None


def cut(data: bytearray, rng: random.Random) -> None:
    del data[header_place(data, rng) :]


def drop_a_run(data: bytearray, rng: random.Random) -> None:
    at = header_place(data, rng)
    del data[at : at + rng.choice((1, 2, 4, 8, 100))]


def insert_a_run(data: bytearray, rng: random.Random) -> None:
    at, length = header_place(data, rng), rng.choice((1, 2, 4, 8, 100, 5_000))
    data[at:at] = rng.choice((bytes(length), rng.randbytes(length), bytes(data[:length])))


def copy_a_run(data: bytearray, rng: random.Random) -> None:
    at, to, length = header_place(data, rng), header_place(data, rng), rng.choice((4, 8, 40, 400))
    data[to : to + length] = data[at : at + length]


def splice(data: bytearray, rng: random.Random) -> None:
    """Go on as another file does."""
    other = rng.choice(healthy())
    data[header_place(data, rng) :] = other[header_place(bytearray(other), rng) :]


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [
    flip_bits, overwrite_a_run, set_a_field, set_a_field, set_a_number_in_text, cut, drop_a_run,
    insert_a_run, copy_a_run, splice,
]  # fmt: skip


def mutant(number: int) -> tuple[str, bytes]:
    """Return the name and the bytes of a damaged file."""
    rng = random.Random(number)
    kind = number % len(KINDS)
    data = bytearray(healthy()[kind])
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        if data:
            rng.choice(MUTATIONS)(data, rng)
    suffix = KINDS[kind][0].lower() if rng.random() < 0.8 else rng.choice(SUFFIXES)
    content = checked(data) if rng.random() < 0.8 else bytes(data)
    return f"{number}.{suffix}", content


# What becomes of them, in processes that may die


def peak() -> int:
    """Return the most memory that this process ever held, in bytes; 0 where no /proc tells."""
    status = Path("/proc/self/status")  # not ru_maxrss, which starts from the parent's
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) << 10 if found else 0


def become(number: int, folder: Path) -> str:
    """Draw a mutant; return what is wrong with the outcome, or nothing."""
    name, content = mutant(number)
    path, config = folder / name, CONFIGS[number % len(CONFIGS)]
    path.write_bytes(content)
    faulthandler.dump_traceback_later(HANG, exit=True)
    try:
        image = clip_image(path, config)
    except AudioError as error:
        told = str(error)
        return "" if told.startswith(f"{path}: ") and "\n" not in told else f"is told as {told!r}"
    except BaseException as error:
        return f"raises {error!r}"
    finally:
        faulthandler.cancel_dump_traceback_later()
        path.unlink()
    if image.size != (config.n_frames, config.n_mels):
        return f"becomes a picture of {image.size}"
    return ""


def work(first: int, last: int, folder: Path) -> None:
    """Draw the mutants of a range; note the number of each before, and what is wrong after it."""
    if sys.platform == "linux":
        import resource  # what must not happen here must not stop the whole machine either

        resource.setrlimit(resource.RLIMIT_AS, (6 * MEMORY, 6 * MEMORY))
    faulthandler.enable()
    with (folder / f"{first}.txt").open("w", buffering=1, encoding="utf-8") as notes:
        for number in range(first, last):
            print(number, file=notes)
            if wrong := become(number, folder):
                print(f"{number} {wrong}", file=notes)
            if peak() > MEMORY:  # of a refusal too
                print(f"{number} took {peak() >> 20} MB", file=notes)
                return


def environment() -> dict[str, str]:
    """Make another process import this very package."""
    return {**os.environ, "PYTHONPATH": str(Path(spectro.__file__).parents[1])}


def watch(first: int, last: int, folder: Path) -> list[str]:
    """Run workers over a range, a new one behind each mutant that one died of."""
    findings = []
    while first < last:
        command = [sys.executable, __file__, str(first), str(last), str(folder)]
        done = subprocess.run(command, capture_output=True, env=environment(), check=False)
        trace = done.stderr.decode(errors="replace")[-1_500:]
        notes = folder / f"{first}.txt"  # libsndfile itself writes to the standard output
        assert notes.exists(), trace  # not a mutant's doing: nothing ran
        lines = notes.read_text(encoding="utf-8").split("\n")[:-1]
        findings += [line for line in lines if not line.isdigit()]
        first = int(lines[-1].split()[0]) + 1
        if done.returncode:
            findings.append(f"{first - 1} ends the process ({done.returncode}): {trace}")
    return findings


def hunt(first: int, last: int, folder: Path) -> list[str]:
    """Try the mutants of a range in parallel; return what went wrong."""
    edges = [first + (last - first) * i // WORKERS for i in range(WORKERS + 1)]
    with ThreadPoolExecutor(WORKERS) as pool:
        parts = pool.map(watch, edges[:-1], edges[1:], [folder] * WORKERS)
        return [finding for part in parts for finding in part]


# The tests


@pytest.mark.slow
def test_mutants_are_the_same_in_every_process_and_differ() -> None:
    here = [zlib.crc32(mutant(number)[1]) for number in range(90)]
    code = "import test_fuzz, zlib; print([zlib.crc32(test_fuzz.mutant(n)[1]) for n in range(90)])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parent, env=environment(),
    )  # fmt: skip
    assert done.stdout.strip() == str(here)
    assert len(set(here)) > 80


def test_the_healthy_files_are_drawn(tmp_path: Path) -> None:
    drawn = 0
    for (container, subtype), content in zip(KINDS, healthy(), strict=True):
        path = tmp_path / f"a.{container.lower()}"
        path.write_bytes(content)
        try:
            drawn += clip_image(path, SMALL).size == (SMALL.n_frames, SMALL.n_mels)
        except AudioError:
            assert subtype == "DWVW_16", path  # libsndfile writes it, and cannot read it back
    assert drawn == len(KINDS) - 1


@pytest.mark.slow
def test_damaged_files_give_a_picture_or_a_refusal(tmp_path: Path) -> None:
    assert hunt(0, 250, tmp_path) == []


@pytest.mark.parametrize("rate", [1, 2, 7])
@pytest.mark.parametrize("pad", ["center", "random"])
def test_a_clip_that_seems_to_last_for_a_day_is_refused(
    rate: int, pad: PadPolicy, tmp_path: Path
) -> None:
    # Four seconds with a damaged rate: at 22,050 Hz they would fill 8 GB.
    path = tmp_path / "a.wav"
    sf.write(path, np.full(96_000, 0.1), rate)
    with pytest.raises(AudioError, match=f"sampling rate of {rate} Hz"):
        clip_image(path, SMALL.replace(pad=pad))
    clip_image(path, SMALL)  # its first half second can be drawn


def test_a_low_rate_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "whale.wav"
    sf.write(path, 0.3 * np.sin(np.arange(60_000) * 0.3), 250)
    assert len(audio.load(path, sr=22_050)) == 240 * 22_050


@pytest.mark.long
def test_ten_thousand_damaged_files_give_a_picture_or_a_refusal(tmp_path: Path) -> None:
    assert hunt(10_000, 20_000, tmp_path) == []


if __name__ == "__main__":
    if len(sys.argv) == 4:
        work(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    else:
        chosen = int(sys.argv[1])
        name, content = mutant(chosen)
        Path(name).write_bytes(content)
        print(f"{name}: kept, made from {'-'.join(KINDS[chosen % len(KINDS)])}")
        print(become(chosen, Path(tempfile.mkdtemp())) or "as it should be")
