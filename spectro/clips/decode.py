"""Sound files to samples, in full or not at all.

libsndfile decodes what is left of a damaged file without a word. Here that is an
:class:`~spectro.errors.AudioError` naming the file: a clip that lost its second half would
otherwise train as a clip that ends in silence.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, NoReturn

import numpy as np
import numpy.typing as npt
import soundfile as sf

from spectro.clips import mp3
from spectro.errors import AudioError
from spectro.plumbing.paths import is_url

__all__ = ["CUT_OGG", "decode", "decode_windows"]

# libsndfile logs "data : 80000 (should be 39978)" where a header promises more than the file holds.
_SHORT_CHUNK = re.compile(
    r"^\s*(data|SSND|BODY|riff|Riff size|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE
)
CUT_OGG = "Junk after the last page"  # in libsndfile's log
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
# Recorders that stream cannot go back to fill in the length, and leave a huge one instead.
_LENGTH_UNKNOWN = 0x7FFF_0000
# What libsndfile says of a file that is in none of its formats, and what of one that ends in .mp3.
_NO_FORMAT, _NO_SUCH = "Format not recognised", "File does not exist or is not a regular file"
_BLOCK = 1 << 20  # frames decoded at a time: a header that lies costs no more memory than this
_PREROLL = 10 * mp3.FRAME  # an MP3 frame needs those before it to sound right


def decode(
    path: Path, *, start: float | None = None, end: float | None = None
) -> tuple[npt.NDArray[np.float32], int]:
    """Decode a sound file, or a part of it.

    Parameters
    ----------
    path : Path
        A file in any container and codec that libsndfile reads.
    start, end : float or None
        Part to read, in seconds; None means from the start, to the end.

    Returns
    -------
    samples : np.ndarray [shape=(n, channels)], float32
        At least one frame; full scale is 1.0.
    sr : int
        Sampling rate in Hz.

    Raises
    ------
    AudioError
        If the file is missing, empty, not sound, truncated, without samples, or ends before
        `start`.
    """
    with _sound(path) as sound:
        first, last = _span(sound, path, start, end)
        samples = _read(sound, first, last)
        _check_read(sound, path, first, last, first + len(samples))
        return samples, int(sound.samplerate)


def decode_windows(
    path: Path, *, duration: float, hop: float
) -> Iterator[tuple[float, float, npt.NDArray[np.float32], int]]:
    """Decode a sound file in windows, in one pass, holding one window at a time.

    Parameters
    ----------
    path : Path
        A file in any container and codec that libsndfile reads.
    duration, hop : float
        Length of a window and step between two starts, in seconds.

    Yields
    ------
    start, end : float
        Where the window lies, in seconds. The last one ends where the file does, and starts less
        than `hop` after the one before.
    samples : np.ndarray [shape=(n, channels)], float32
        The frames that :func:`decode` gives for `start` to `end`.
    sr : int
        Sampling rate in Hz.

    Raises
    ------
    AudioError
        As :func:`decode` does; for damage that no header shows, where it is reached.
    """
    with _sound(path) as sound:
        held, at = np.empty((0, sound.channels), dtype=np.float32), 0  # frames from `at` on
        for start in _starts(sound, duration, hop):
            first, last = _span(sound, path, start, start + duration)
            held, at = held[first - at :], at + min(first - at, len(held))
            at += _skip(sound, first - at)
            held = np.concatenate([held, _next(sound, last - at - len(held))])
            _check_read(sound, path, first, last, at + len(held))
            reached, sr = at + len(held), int(sound.samplerate)
            end = start + duration if reached == last < sound.frames else reached / sr
            if len(held):
                yield start, end, held, sr
            if reached < last:  # an MP3 that promised more: see _check_read
                return


@contextmanager
def _sound(path: Path) -> Iterator[sf.SoundFile]:
    """Open a sound file that holds what its header promises, and say what is wrong with others."""
    try:
        with _opened(path) as file, sf.SoundFile(file) as sound:
            _check_complete(sound, path)
            yield sound
    except (sf.SoundFileError, OSError, TypeError) as error:  # TypeError: a headerless .raw
        _explain(path, error)


def _opened(path: Path) -> AbstractContextManager[Path | IO[bytes]]:
    """Leave a file on a disk to libsndfile to open."""
    return path.open("rb") if is_url(path) else nullcontext(path)


def _check_complete(sound: sf.SoundFile, path: Path) -> None:
    """Compare what the header promises with what the file holds."""
    if sound.format == "RAW":
        raise AudioError(f"{path}: cannot be decoded (no header says what it holds)")
    if CUT_OGG in sound.extra_info:  # there may be no whole page, and so no samples
        raise AudioError(f"{path}: truncated in the middle of an Ogg page")
    if sound.frames == 0:
        raise AudioError(f"{path}: has no samples")
    for _, promised, present in _SHORT_CHUNK.findall(sound.extra_info):
        if int(present) + 1 < int(promised) < _LENGTH_UNKNOWN:  # one pad byte is often left out
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
    if sound.format == "MP3":
        counted = mp3.counted_samples(path)
        if counted is not None and counted > sound.frames + mp3.DECODER_DELAY:
            raise AudioError(f"{path}: does not say how long it is; encode it again")


def _stated_frames(sound: sf.SoundFile, path: Path) -> int:
    """Return how many frames the header states, where libsndfile takes what there is; else 0."""
    stated: list[str] | list[bytes] = []
    if sound.format == "NIST":
        with path.open("rb") as file:
            stated = _NIST_FRAMES.findall(file.read(_NIST_HEADER))
    elif sound.format in _FRAMES_LOGGED:
        stated = _FRAMES.findall(sound.extra_info)
    return max(map(int, stated), default=0)


def _span(
    sound: sf.SoundFile, path: Path, start: float | None, end: float | None
) -> tuple[int, int]:
    """Turn seconds into the first frame and the one behind the last."""
    lasts = sound.frames / sound.samplerate
    begin, finish = start or 0.0, math.inf if end is None else end
    if 0 <= begin < lasts and begin < finish:
        first = round(begin * sound.samplerate)
        last = sound.frames if finish >= lasts else round(finish * sound.samplerate)
        if first < last:
            return first, last
    until = "its end" if end is None else f"{end:g} s"
    raise AudioError(
        f"{path}: no sound between {begin:g} s and {until}; the file lasts {lasts:.3f} s"
    )


def _starts(sound: sf.SoundFile, duration: float, hop: float) -> Iterator[float]:
    """Say where windows start, in seconds."""
    sr, n = sound.samplerate, round(duration * sound.samplerate)
    for number in itertools.count():
        if round(number * hop * sr) + n >= sound.frames:
            yield max(0, sound.frames - n) / sr
            return
        yield number * hop


def _skip(sound: sf.SoundFile, n: int) -> int:
    """Decode `n` frames and forget them: seeking would not notice damage; return how many."""
    left = n
    while left > 0 and (read := len(_next(sound, min(left, _BLOCK)))):
        left -= read
    return n - left


def _read(sound: sf.SoundFile, first: int, last: int) -> npt.NDArray[np.float32]:
    """Decode the frames from `first` to before `last`, or as many of them as there are."""
    at = _seek(sound, first)
    return _next(sound, last - at)[first - at :]


def _next(sound: sf.SoundFile, n: int) -> npt.NDArray[np.float32]:
    """Decode the next `n` frames, or as many as there are."""
    blocks: list[npt.NDArray[np.float32]] = []
    left = n
    while left > 0:
        block = sound.read(min(left, _BLOCK), dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        blocks.append(block)
        left -= len(block)
    if len(blocks) != 1:  # a clip is one block: not copied
        blocks = [np.concatenate([np.empty((0, sound.channels), dtype=np.float32), *blocks])]
    return blocks[0]


def _seek(sound: sf.SoundFile, first: int) -> int:
    """Go to `first`, or as far before it as the codec needs; return where."""
    if first == 0 or not sound.seekable():
        return 0
    at = max(0, first - _PREROLL) if sound.format == "MP3" else first
    return int(sound.seek(at))


def _check_read(sound: sf.SoundFile, path: Path, first: int, last: int, reached: int) -> None:
    """Refuse a file that decodes to less than it promised."""
    if reached >= last:
        return
    if sound.format == "MP3":
        counted = mp3.counted_samples(path)  # libsndfile's promise may be a guess
        if counted is not None and reached >= counted - mp3.DECODER_DELAY:
            return
    there = max(0, reached - first)
    raise AudioError(f"{path}: truncated, {there} of {last - first} frames decode")


def _explain(path: Path, error: Exception) -> NoReturn:
    """Say in the user's terms why a file did not open."""
    if path.is_dir():
        reason = "is a folder, not a sound file"
    elif not path.exists():
        reason = "no such file"
    elif not is_url(path) and not os.access(path, os.R_OK):
        reason = "cannot be read (permission denied)"
    elif path.stat().st_size == 0:
        reason = "is empty (0 bytes)"
    else:
        detail = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
        detail = _NO_FORMAT if _NO_SUCH in str(detail) else str(detail).strip().rstrip(".")
        reason = f"cannot be decoded ({detail})"
    raise AudioError(f"{path}: {reason}") from None
