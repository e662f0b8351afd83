"""Sound files to samples, in full or not at all: whole, in parts, in blocks, or in windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spectro.clips.opening import NoSamplesError, Source, open_sound
from spectro.errors import AudioError

__all__ = ["Part", "Samples", "decode", "decode_windows", "file_seconds", "joined", "open_part"]

_MILLISECONDS = 100  # a clip is hardly longer in seconds, or shorter in milliseconds
_BLOCK = 1 << 20  # frames decoded at a time: a header that lies costs no more memory than this
_FEW = 8  # channels; of more, fewer frames are decoded at a time

Samples = npt.NDArray[np.float32]


def decode(
    path: Path, *, start: float | None = None, end: float | None = None
) -> tuple[Samples, int]:
    """Decode a sound file, or a part of it.

    Parameters
    ----------
    path : Path
        A file in any container and codec that libsndfile reads; or ffmpeg, where it is installed.
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
        If the file is missing, no regular file, empty, not sound, truncated, without samples, or
        ends before `start`.
    """
    with open_part(path, start, end) as part:
        blocks = list(part.blocks())
        return joined(blocks), part.sr


def joined(blocks: list[Samples]) -> Samples:
    """Join blocks of frames; a clip is one block, and not copied."""
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def file_seconds(path: Path) -> float | None:
    """Return how long a sound file lasts, in seconds, without decoding it.

    Returns
    -------
    seconds : float or None
        None where only decoding tells: of what ffmpeg decodes.

    Raises
    ------
    AudioError
        As :func:`decode` does, but for damage that no header shows.
    """
    with open_sound(path) as source:
        return None if source.frames is None else source.frames / source.samplerate


@contextmanager
def open_part(path: Path, start: float | None = None, end: float | None = None) -> Iterator[Part]:
    """Open a sound file to decode it, or a part of it, block by block; see :func:`decode`."""
    with open_sound(path) as source:
        yield Part(source, path, start, end)


class Part:
    """A part of a sound file that is open.

    Attributes
    ----------
    sr, channels : int
        Sampling rate in Hz, and number of channels.
    container, codec : str
        As libsndfile names them.
    """

    def __init__(self, source: Source, path: Path, start: float | None, end: float | None) -> None:
        self.sr, self.channels = source.samplerate, source.channels
        self.container, self.codec = source.container, source.codec
        self._path, self._reader = path, _Reader(source, path)
        self._start, self._end = start, end
        self._frames = source.frames
        self._first, self._last = self._span()

    @property
    def frames(self) -> int | None:
        """How many frames there are in the part; None if only decoding tells."""
        return None if self._last is None else self._last - self._first

    @property
    def file_seconds(self) -> float | None:
        """How long the whole file lasts, in seconds; None if that is not known (yet)."""
        frames = self._reader.total
        return None if frames is None else frames / self.sr

    def blocks(self, longest: int = _BLOCK) -> Iterator[Samples]:
        """Decode the frames of the part, once; every block has one at least, `longest` at most."""
        self._reader.go_to(self._first, self._last)
        step = min(longest, _step(self.channels))
        while self._last is None or self._reader.at < self._last:
            left = step if self._last is None else self._last - self._reader.at
            block = self._reader.read(min(left, step))
            if len(block) == 0:
                break
            yield block
        if self._reader.at <= self._first:
            self._refuse(self._reader.at / self.sr)

    def _span(self) -> tuple[int, int | None]:
        """Turn seconds into the first frame and the one behind the last; None is not known."""
        lasts = math.inf if self._frames is None else self._frames / self.sr
        begin, finish = self._start or 0.0, math.inf if self._end is None else self._end
        if 0 <= begin < lasts and begin < finish:
            first = round(begin * self.sr)
            last = self._frames if finish >= lasts else round(finish * self.sr)
            if last is None or first < last:
                return first, last
        self._refuse(None if self._frames is None else lasts)
        raise AssertionError

    def _refuse(self, lasts: float | None) -> None:
        until = "its end" if self._end is None else f"{self._end:g} s"
        known = "" if lasts is None else f"; the file lasts {lasts:.3f} s"
        length = (self._end or 0.0) - (self._start or 0.0)
        if lasts and self._end and self._end / 1000 <= lasts and length >= _MILLISECONDS:
            known += "; if these are milliseconds, write seconds"
        raise AudioError(
            f"{self._path}: no sound between {self._start or 0.0:g} s and {until}{known}"
        )


class _Reader:
    """Reads a source forwards, and refuses one that holds less than it promised."""

    def __init__(self, source: Source, path: Path) -> None:
        self.at = 0
        self.total = source.frames  # frames; None until the end is reached
        self._source, self._path, self._ended = source, path, False
        self._span = (0, source.frames)

    def go_to(self, first: int, last: int | None) -> None:
        """Go to the first frame of a part; `last` is for the message."""
        self._span = (first, last)
        self.at = self._source.seek(first)
        step = _step(self._source.channels)
        while self.at < first and len(self.read(min(first - self.at, step))):
            pass  # seeking would not notice damage, or the codec needs those before

    def read(self, n: int) -> Samples:
        """Decode the next `n` frames; fewer only at the end."""
        frames = self._source.frames
        n = n if frames is None else min(n, frames - self.at)
        if n <= 0 or self._ended:
            return np.empty((0, self._source.channels), dtype=np.float32)
        block = self._source.read(n)
        self.at += len(block)
        if len(block) < n:
            self._end()
        return block

    def _end(self) -> None:
        self._ended = True
        frames = self._source.frames
        if frames is not None and self.at + self._source.slack < frames:
            first, last = self._span
            there, wanted = max(0, self.at - first), (frames if last is None else last) - first
            raise AudioError(f"{self._path}: truncated, {there} of {wanted} frames decode")
        self.total = self.at
        if self.total == 0:
            raise NoSamplesError(f"{self._path}: has no samples")


def _step(channels: int) -> int:
    """Say how many frames to decode at a time."""
    return max(1, _BLOCK * _FEW // max(channels, _FEW))


def decode_windows(
    path: Path, *, duration: float, hop: float
) -> Iterator[tuple[float, float, Samples, int]]:
    """Decode a sound file in windows, in one pass, holding one window at a time.

    Parameters
    ----------
    path : Path
        As for :func:`decode`.
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
    with open_sound(path) as source:
        sr = source.samplerate
        n = round(duration * sr)
        tape = _Tape(_Reader(source, path), source.channels, n + 2)
        for number in itertools.count():
            start = number * hop
            first = round(start * sr)
            if not tape.reaches(first + n + 1):  # the last one
                first = max(0, tape.end - n)
                yield first / sr, tape.end / sr, tape.between(first, tape.end), sr
                return
            yield start, start + duration, tape.between(first, round((start + duration) * sr)), sr


class _Tape:
    """The last `keep` frames that were read, or more."""

    def __init__(self, reader: _Reader, channels: int, keep: int) -> None:
        self._reader, self._keep, self._channels = reader, keep, channels
        self._held = np.empty((0, channels), dtype=np.float32)

    @property
    def end(self) -> int:
        """The number of frames that were read."""
        return self._reader.at

    def reaches(self, upto: int) -> bool:
        """Read up to a frame, if there are so many."""
        while self.end < upto:
            block = self._reader.read(min(upto - self.end, _step(self._channels)))
            if len(block) == 0:
                return False
            self._held = np.concatenate([self._held[-self._keep :], block])
        return True

    def between(self, first: int, last: int) -> Samples:
        """Return the frames from `first` to before `last`, which were read not long ago."""
        at = self.end - len(self._held)
        return self._held[first - at : last - at]
