"""Sound files opened for reading, by libsndfile or ffmpeg, with what they state held against them.

libsndfile decodes what is left of a damaged file without a word. Here that is an
:class:`~spectro.errors.AudioError` naming the file: a clip that lost its second half would
otherwise train as a clip that ends in silence.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn, Protocol

import numpy as np
import numpy.typing as npt
import soundfile as sf

from spectro.clips.containers import chunks, flac, mp3, ogg, phone, riff
from spectro.clips.containers.ffmpeg import Ffmpeg
from spectro.clips.containers.sizes import UNKNOWN_FROM
from spectro.clips.containers.views import Plan, View
from spectro.clips.contents import no_sound
from spectro.errors import AudioError
from spectro.plumbing.paths import is_url

__all__ = ["NoSamplesError", "Sound", "Source", "begins_as_sound", "open_sound"]

# libsndfile logs "data : 80000 (should be 39978)" where a header promises more than the file holds.
_SHORT_CHUNK = re.compile(
    r"^\s*(data|SSND|BODY|riff|Riff size|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE
)
_CUT_OGG = "Junk after the last page"  # in libsndfile's log
# The same of MAT4, VOC and WVE files.
_CUT = re.compile(
    r"^(\*\*\* File seems to be truncated|Seems to be a truncated file|Data length \d+ should be)",
    re.MULTILINE,
)
# Lengths that a header states and libsndfile does not hold the file to.
_FRAMES = re.compile(r"^\s*(?:Rows : \d+\s+Cols|Frames\s*) : (\d+)", re.MULTILINE)  # in its log
_FRAMES_LOGGED = ("AVR", "MAT5", "MPC2K")
_NIST_FRAMES = re.compile(rb"^sample_count -i (\d{1,18})$", re.MULTILINE)  # in the file itself
_NIST_HEADER = 1024  # bytes
_LOOK = 1 << 20  # bytes of a file that did not open
# What libsndfile says of a file that ends in .mp3 and is none, or ends before its header says.
_MEANT = {
    "File does not exist or is not a regular file": "Format not recognised",
    "psf_fseek": "it ends before the sound that its header promises",
}
_WAY_ON = "where another program plays it, export WAV or FLAC from there; else leave it out"
_PREROLL = 10 * mp3.FRAME  # an MP3 frame needs those before it to sound right
_PLANS: dict[bytes, Callable[[Path], Plan | None]] = {
    b"RIFF": riff.plan,
    b"RIFX": riff.plan,
    b"RF64": riff.plan,
    b"BW64": riff.plan,
    b"riff": riff.plan,
    b"FORM": chunks.plan_aiff,
    b"caff": chunks.plan_caf,
    b".snd": chunks.plan_au,
    flac.MARK: flac.plan,
    b"ID3\2": flac.plan,
    b"ID3\3": flac.plan,
    b"ID3\4": flac.plan,
    ogg.MARK: ogg.plan,
}

Samples = npt.NDArray[np.float32]


class NoSamplesError(AudioError):
    """A file holds no sound: no bytes, or a header alone."""


class Source(Protocol):
    """A sound file that is open.

    Attributes
    ----------
    samplerate, channels : int
        Sampling rate in Hz, and number of channels.
    frames : int or None
        How many there are; None if only decoding tells.
    slack : int
        Frames that may be missing from these at the end without damage.
    container, codec : str
        As libsndfile names them: ``WAV``, ``PCM_16``.
    """

    samplerate: int
    channels: int
    frames: int | None
    slack: int
    container: str
    codec: str

    def read(self, n: int) -> Samples:
        """Decode the next `n` frames; fewer only at the end."""

    def seek(self, first: int) -> int:
        """Go to a frame, or as far before it as the codec needs, and return where."""

    def close(self) -> None:
        """Close the file."""


class _Forwards(sf.SoundFile):  # type: ignore[misc]
    """Read on and on: soundfile seeks behind each read, upon which MP3, Vorbis and Opus begin anew.

    Elsewhere that seeking shows damage: libsndfile fills in silence for GSM and SDS that is cut.
    """

    def seekable(self) -> bool:
        """Say no of these, or soundfile would."""
        return self.format not in ("MP3", "OGG") and self.can_seek()

    def can_seek(self) -> bool:
        """Tell whether libsndfile can."""
        return bool(super().seekable())


class Sound:
    """A sound file, or a plan of one, that libsndfile reads.

    Parameters
    ----------
    path : Path
        The file, for messages.
    file : Path or file-like
        What libsndfile opens.
    plan : Plan or None
        What is known of it that libsndfile does not know.
    """

    def __init__(self, path: Path, file: Path | IO[bytes] | View, plan: Plan | None = None) -> None:
        self._file = file
        try:
            self._sound = _Forwards(_name(file) if isinstance(file, Path) else file)
        except BaseException:
            self._close_file()
            raise
        sound = self._sound
        self.samplerate, self.channels = int(sound.samplerate), int(sound.channels)
        self.container = (plan and plan.container) or str(sound.format)
        self.codec = (plan and plan.codec) or str(sound.subtype)
        self._low_bits = plan.low_bits if plan else 0
        self.frames: int | None = int(sound.frames)
        self.slack = 0
        try:
            _check_complete(sound, path)
        except BaseException:
            self.close()
            raise

    @property
    def is_mpeg(self) -> bool:
        """Whether libsndfile decodes MPEG audio, whose length may be a guess."""
        return str(self._sound.format) == "MP3"

    def read(self, n: int) -> Samples:
        """Decode the next `n` frames; fewer only at the end."""
        if self._low_bits:
            steps = self._sound.read(n, dtype="int32", always_2d=True)
            steps <<= 32 - self._low_bits
            scaled: Samples = steps.astype(np.float32) * np.float32(2.0**-31)
            return scaled
        samples: Samples = self._sound.read(n, dtype="float32", always_2d=True)
        return samples

    def seek(self, first: int) -> int:
        """Go to a frame, or as far before it as the codec needs, and return where."""
        if first == 0 or not self._sound.can_seek():
            return 0
        return int(self._sound.seek(max(0, first - _PREROLL) if self.is_mpeg else first))

    def close(self) -> None:
        """Close the file."""
        self._sound.close()
        self._close_file()

    def _close_file(self) -> None:
        if not isinstance(self._file, Path):
            self._file.close()


class _Chain:
    """Sounds that follow each other in one file, as one."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self._path, self._plan, self._number = path, plan, 0
        frames = 0
        for number in reversed(range(len(plan.streams))):  # the first one stays open
            self._sound = self._open(number)
            frames += self._sound.frames or 0
            if number:
                self._sound.close()
        first = self._sound
        self.samplerate, self.channels = first.samplerate, first.channels
        self.container, self.codec = first.container, first.codec
        self.frames: int | None = plan.frames or frames
        self.slack = 0

    def _open(self, number: int) -> Sound:
        sound = Sound(self._path, View(self._path, self._plan.streams[number]), self._plan)
        kind = (sound.samplerate, sound.channels)
        if number == len(self._plan.streams) - 1:
            self._kind = kind
        if kind != self._kind:
            sound.close()
            raise AudioError(
                f"{self._path}: holds sounds of different rates or channels, one after the other; "
                "convert it to WAV"
            )
        return sound

    def read(self, n: int) -> Samples:
        """Decode the next `n` frames; fewer only at the end."""
        parts = [self._sound.read(n)]
        while sum(map(len, parts)) < n and self._number + 1 < len(self._plan.streams):
            self._sound.close()
            self._number += 1
            self._sound = self._open(self._number)
            parts.append(self._sound.read(n - sum(map(len, parts))))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def seek(self, first: int) -> int:
        """Stay at the start; return 0."""
        return 0

    def close(self) -> None:
        """Close the file."""
        self._sound.close()


@contextmanager
def open_sound(path: Path) -> Iterator[Source]:
    """Open a sound file that holds what its header promises, and say what is wrong with others.

    Parameters
    ----------
    path : Path
        A file in any container and codec that libsndfile reads, or ffmpeg where it is installed.

    Yields
    ------
    source : Source

    Raises
    ------
    AudioError
        If it is no regular file, empty, not sound, truncated, or without samples.
    """
    try:
        _check_regular(path)
        source = _open(path)
    except (sf.SoundFileError, OSError, TypeError) as error:
        _explain(path, error)
    try:
        yield source
    except (sf.SoundFileError, OSError) as error:
        _explain(path, error)
    finally:
        source.close()


def _check_regular(path: Path) -> None:
    """Refuse what would wait for a writer, or never end: a FIFO, a socket, a device."""
    if is_url(path):
        return
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise AudioError(f"{path}: is not a regular file; put the sound itself there")


def begins_as_sound(path: Path) -> bool:
    """Tell by its first bytes whether a file on a disk may be sound, whatever it is called."""
    try:
        _check_regular(path)
        with path.open("rb") as file:
            head = file.read(phone.HEAD)
    except (AudioError, OSError):
        return False
    is_mpeg = head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE6 == 0xE2  # layer III
    known = head[:4] in _PLANS or bool(phone.demuxer(head))
    return is_mpeg or (known and b"\0" in head)  # a text may begin with these letters


def _open(path: Path) -> Source:
    with path.open("rb") as file:
        head = file.read(phone.HEAD)
        plain = not is_url(path) and riff.is_plain(head, os.fstat(file.fileno()).st_size)
    if words := no_sound(head):
        raise AudioError(f"{path}: cannot be decoded (Format not recognised): it {words}")
    find = None if plain else _PLANS.get(head[:4])
    try:
        plan = find(path) if find else None
        return _planned(path, plan) if plan else _as_it_is(path, head)
    except (sf.SoundFileError, TypeError, _NoHeaderError):  # TypeError: a headerless .raw
        name = phone.demuxer(head)
        if not name or (name in ("wav", "w64") and not riff.is_foreign(path)):
            raise
        return _foreign(path, name)


def _foreign(path: Path, name: str) -> Source:
    """Have ffmpeg decode a file; of a WAV file that it cannot decode, name the codec."""
    try:
        return Ffmpeg(path, name)
    except AudioError as error:
        wave = riff.read(path) if name in ("wav", "w64") else None
        if wave is None or "ffmpeg: " not in str(error):
            raise
        raise AudioError(
            f"{error}; its header names the codec {wave.tag:#06x}, which nothing here decodes; "
            f"{_WAY_ON}"
        ) from None


def _planned(path: Path, plan: Plan) -> Source:
    if len(plan.streams) > 1:
        return _Chain(path, plan)
    sound = Sound(path, View(path, plan.streams[0]), plan)
    if sound.is_mpeg:
        return _of_counted_length(path, sound, plan)
    sound.frames = plan.frames or sound.frames
    return sound


def _of_counted_length(path: Path, sound: Sound, plan: Plan) -> Sound:
    """Tell libsndfile how long MPEG audio is if it guesses that it is shorter than that."""
    counted = plan.frames or 0
    if (sound.frames or 0) < counted and plan.told:
        sound.close()
        sound = Sound(path, View(path, plan.told), plan)
    sound.slack = mp3.DECODER_DELAY
    if (sound.frames or 0) + sound.slack < counted:
        sound.close()
        raise AudioError(f"{path}: does not say how long it is; encode it again")
    sound.frames = min(sound.frames or 0, counted)
    return sound


def _as_it_is(path: Path, head: bytes) -> Source:
    """Leave a file on a disk to libsndfile to open; of MPEG audio, nothing but its frames."""
    counted = mp3.count(path) if _may_be_mpeg(path, head) else None
    if counted is None and path.suffix.lower() == ".mp3" and not _is_known(head):
        raise AudioError(f"{path}: cannot be decoded (there is no frame of MP3 in it); {_WAY_ON}")
    if counted is None:
        sound = Sound(path, path.open("rb") if is_url(path) else path)
        counted = mp3.count(path) if sound.is_mpeg else None
        if counted is None:
            return sound
        sound.close()
    view = View(path, counted.sound)
    if counted.says_itself:
        return Sound(path, view)
    plan = Plan((counted.sound,), counted.samples, told=counted.told)
    return _of_counted_length(path, Sound(path, view, plan), plan)


def _may_be_mpeg(path: Path, head: bytes) -> bool:
    """Tell whether a file may be MPEG audio: libmpg123 says aloud what else it finds in one."""
    begins = head[:3] == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE6 > 0xE0)
    return begins or (path.suffix.lower() == ".mp3" and not _is_known(head))


def _is_known(head: bytes) -> bool:
    """Tell whether a file begins as a container that is no MPEG audio."""
    return (head[:4] in _PLANS and head[:3] != b"ID3") or bool(phone.demuxer(head))


def _name(path: Path) -> Path | bytes:
    """Name a file so that soundfile takes it, Unicode or not; on Windows every name is Unicode."""
    return path if os.name == "nt" else os.fsencode(path)


class _NoHeaderError(AudioError):
    pass


def _check_complete(sound: sf.SoundFile, path: Path) -> None:
    """Compare what the header promises with what the file holds."""
    if sound.format == "RAW":
        raise _NoHeaderError(f"{path}: cannot be decoded (no header says what it holds)")
    if _CUT_OGG in sound.extra_info:  # there may be no whole page, and so no samples
        raise AudioError(f"{path}: truncated in the middle of an Ogg page")
    if sound.frames == 0:
        raise NoSamplesError(f"{path}: has no samples")
    for _, promised, present in _SHORT_CHUNK.findall(sound.extra_info):
        if int(present) + 1 < int(promised) < UNKNOWN_FROM:  # one pad byte is often left out
            raise AudioError(
                f"{path}: truncated, its header promises {promised} bytes and {present} are there"
            )
    stated = _stated_frames(sound, path)
    if stated > sound.frames:
        raise AudioError(
            f"{path}: truncated, its header promises {stated} frames and {sound.frames} are there"
        )
    if _CUT.search(sound.extra_info):
        raise AudioError(f"{path}: truncated, its header promises more than is there")


def _stated_frames(sound: sf.SoundFile, path: Path) -> int:
    """Return how many frames the header states, where libsndfile takes what there is; else 0."""
    stated: list[str] | list[bytes] = []
    if sound.format == "NIST":
        with path.open("rb") as file:
            stated = _NIST_FRAMES.findall(file.read(_NIST_HEADER))
    elif sound.format in _FRAMES_LOGGED:
        stated = _FRAMES.findall(sound.extra_info)
    return max(map(int, stated), default=0)


def _explain(path: Path, error: Exception) -> NoReturn:
    """Say in the user's terms why a file did not open."""
    if path.is_dir():
        reason = "is a folder, not a sound file"
    elif not path.exists():
        reason = "no such file"
    elif not is_url(path) and not os.access(path, os.R_OK):
        reason = "cannot be read (permission denied)"
    elif path.stat().st_size == 0:
        raise NoSamplesError(f"{path}: is empty (0 bytes)") from None
    else:
        detail = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
        detail = str(detail).strip().rstrip(".")
        detail = _MEANT.get(next((said for said in _MEANT if said in detail), ""), detail)
        detail = _seen(path) or detail
        reason = f"cannot be decoded ({detail}); {_WAY_ON}"
    raise AudioError(f"{path}: {reason}") from None


def _seen(path: Path) -> str:
    """Say what a look at a file that did not open tells; empty where it tells nothing."""
    if is_url(path):
        return ""
    with path.open("rb") as file:
        head = file.read(_LOOK)
    if not head.strip(b"\0"):
        return "it holds nothing but zeros, as after a copy that failed; copy it again"
    return riff.fault(path) if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff") else ""
