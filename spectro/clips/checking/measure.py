"""What is measured of one clip: its format, its levels, what was cut off it, and what it sounds as.

A recording is measured block by block, so that an hour takes no more memory than a minute.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spectro.clips.checking.flat_tops import NEAR, STEP, FlatTops, Wraps
from spectro.clips.decode import Part, open_part
from spectro.clips.opening import NoSamplesError
from spectro.clips.waveform import LOUDEST, Waveform, to_mono
from spectro.errors import AudioError
from spectro.plumbing.paths import place

__all__ = ["Vitals", "examine", "fingerprint", "flat_tops", "is_empty", "offset", "wraps"]

_BLOCKS = 16  # a second: averages of longer than the slowest sound, shorter than a thump

_STEPS = {"PCM_U8": 2.0**-7, "PCM_S8": 2.0**-7, "ULAW": 2.0**-5, "ALAW": 2.0**-5}

Samples = npt.NDArray[np.float32]


class Vitals(NamedTuple):
    """What was measured of a clip; levels are linear, 1.0 being full scale.

    Attributes
    ----------
    sr : int
        Sampling rate in Hz.
    channels : int
        Number of channels.
    container, codec : str
        As libsndfile names them: ``WAV``, ``PCM_16``.
    seconds : float
        Length.
    peak : float
        The largest magnitude in any channel; NaN where `non_finite`, as all that follows.
    mono_peak : float
        The same once the channels are averaged, which is all that a picture shows.
    rms_db : float
        Level of that average in dBFS: 0 is a full-scale square wave, -inf is digital silence.
    dc : float
        What the average oscillates around; see :func:`offset`.
    clipped : float
        Share of samples on flat tops; see :func:`flat_tops`.
    wraps : int
        Jumps across the whole scale; see :func:`wraps`.
    non_finite : int
        Frames that are NaN, infinite, or absurdly loud.
    fingerprint : str
        The same for the same sound; see :func:`fingerprint`.
    file_seconds : float
        Length of the whole file, of which `seconds` were measured; NaN if it was not read so far.
    """

    sr: int
    channels: int
    container: str
    codec: str
    seconds: float
    peak: float
    mono_peak: float
    rms_db: float
    dc: float
    clipped: float
    wraps: int
    non_finite: int
    fingerprint: str
    file_seconds: float = math.nan

    @property
    def peak_db(self) -> float:
        """The peak in dBFS; -inf is digital silence."""
        return 20 * math.log10(self.peak) if self.peak != 0 else -math.inf


def examine(path: str | Path, start: float | None = None, end: float | None = None) -> Vitals:
    """Measure a clip.

    Parameters
    ----------
    path : str or Path
        As for :func:`spectro.clips.decode.decode`.
    start, end : float or None
        Part to measure, in seconds; None means from the start, to the end.

    Returns
    -------
    Vitals

    Raises
    ------
    AudioError
        If the file cannot be decoded in full (:func:`spectro.clips.decode.decode`).
    """
    levels, kept = None, list[Samples]()
    with open_part(place(path), start, end) as part:
        for block in part.blocks():
            levels = levels or _Levels(part)
            levels.feed(block)
            if levels.frames == len(block):  # a clip is one block
                kept = [block]
                continue
            for each in (*kept, block):
                levels.feed_channels(each)
            kept = []
        assert levels is not None
        whole = math.nan if part.file_seconds is None else part.file_seconds
    shape = levels.shape()
    if levels.non_finite:
        return Vitals(*shape, *(math.nan,) * 5, 0, levels.non_finite, "", whole)
    clipped, wrapped = 0.0, 0
    if levels.peak >= NEAR:
        for block in kept:
            levels.feed_channels(block)
        again = iter(kept) if kept else _blocks(path, start, end)
        clipped, wrapped = _damage(again, levels)
    return Vitals(
        *shape,
        peak=levels.peak,
        mono_peak=levels.mono_peak,
        rms_db=levels.rms_db(),
        dc=levels.offset.value(),
        clipped=clipped,
        wraps=wrapped,
        non_finite=0,
        fingerprint=levels.fingerprint.digest(),
        file_seconds=whole,
    )


def is_empty(path: str | Path) -> bool:
    """Tell whether a file that did not decode is one of no bytes, or a header without samples."""
    try:
        with open_part(place(path)) as part:
            next(part.blocks())
    except NoSamplesError:
        return True
    except AudioError:
        pass
    return False


def _blocks(path: str | Path, start: float | None, end: float | None) -> Iterator[Samples]:
    with open_part(place(path), start, end) as part:
        yield from part.blocks()


def _damage(blocks: Iterator[Samples], levels: _Levels) -> tuple[float, int]:
    """Return the share of clipped samples, and the number of jumps across the scale."""
    step = _STEPS.get(levels.codec, STEP)
    extremes = zip(levels.high, levels.low, strict=True)
    tops = [FlatTops(float(high), float(low), step) for high, low in extremes]
    jumps = [Wraps() for _ in tops]
    for block in blocks:
        for number, channel in enumerate(block.T):
            x = np.ascontiguousarray(channel)
            tops[number].feed(x)
            jumps[number].feed(x)
    return sum(top.share() for top in tops) / len(tops), sum(jump.number() for jump in jumps)


class _Levels:
    """Adds up what is measured in one pass over a sound."""

    def __init__(self, part: Part) -> None:
        self.sr, self.channels = part.sr, part.channels
        self.container, self.codec = part.container, part.codec
        self.high = np.full(part.channels, -np.inf, dtype=np.float32)
        self.low = np.full(part.channels, np.inf, dtype=np.float32)
        self.frames = self.non_finite = 0
        self.peak = self.mono_peak = self._power = 0.0
        self.offset, self.fingerprint = _Offset(part.sr), _Fingerprint(part.sr)

    def feed(self, samples: Samples) -> None:
        """Go on with the next frames."""
        self.frames += len(samples)
        with np.errstate(over="ignore", invalid="ignore"):
            y = to_mono(samples)
        loudness = np.abs(y)
        loudest = float(loudness.max())
        if not loudest < LOUDEST:  # nor is NaN
            self.non_finite += int(np.sum(~(loudness < LOUDEST)))
            return
        self.mono_peak = max(self.mono_peak, loudest)
        loudest = loudest if self.channels == 1 else max(samples.max(), -samples.min())
        self.peak = max(self.peak, float(loudest))
        self._power += float(np.square(y).sum(dtype=np.float64))
        self.offset.feed(y)
        self.fingerprint.feed(y)

    def feed_channels(self, samples: Samples) -> None:
        """Find the extremes of each channel, which only a loud sound needs."""
        for number, channel in enumerate(samples.T):
            x = np.ascontiguousarray(channel)
            self.high[number] = max(self.high[number], x.max())
            self.low[number] = min(self.low[number], x.min())

    def shape(self) -> tuple[int, int, str, str, float]:
        """Return what does not depend on the samples."""
        return self.sr, self.channels, self.container, self.codec, self.frames / self.sr

    def rms_db(self) -> float:
        """Level of the mean of the channels in dBFS."""
        power = self._power / self.frames
        return 10 * math.log10(power) if power > 0 else -math.inf


class _Offset:
    """What a sound oscillates around; see :func:`offset`."""

    def __init__(self, sr: int) -> None:
        self._block = max(sr // _BLOCKS, 1)
        self._means: list[npt.NDArray[np.float64]] = []
        self._rest = np.empty(0, dtype=np.float32)

    def feed(self, y: Waveform) -> None:
        y = np.concatenate([self._rest, y]) if len(self._rest) else y
        whole = len(y) // self._block
        behind = whole * self._block
        if whole:
            blocks = y[:behind].reshape(whole, self._block)
            self._means.append(blocks.mean(axis=1, dtype=np.float64))
        self._rest = y[behind:].copy()

    def value(self) -> float:
        if not self._means:
            return float(self._rest.mean(dtype=np.float64))
        return float(np.median(np.concatenate(self._means)))


class _Fingerprint:
    """Hashes a sound without the silence around it; see :func:`fingerprint`."""

    def __init__(self, sr: int) -> None:
        self._digest = hashlib.blake2b(str(sr).encode(), digest_size=16)
        self._silent, self._sounds = 0, False  # samples of silence that may be the last

    def feed(self, y: Waveform) -> None:
        levels = np.rint(np.clip(y * 32768, -32768, 32767)).astype("<i2")
        sounds = levels != 0
        first, last = int(sounds.argmax()), len(y) - int(sounds[::-1].argmax())
        if not sounds[first]:
            self._silent += len(y)
            return
        if self._sounds:
            self._silence(self._silent + first)
        self._digest.update(levels[first:last].data)
        self._sounds, self._silent = True, len(y) - last

    def _silence(self, n: int) -> None:
        while n > 0:
            self._digest.update(bytes(2 * min(n, 1 << 20)))
            n -= 1 << 20

    def digest(self) -> str:
        return self._digest.hexdigest() if self._sounds else ""


def offset(y: Waveform, sr: int) -> float:
    """Return what a sound oscillates around: the median of the means of sixteenths of a second.

    A microphone's offset is in all of them. A thump, or the wind, pulls the mean of the whole clip
    as far, but not that median.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)], float32
        At least one sample.
    sr : int
        Sampling rate in Hz.
    """
    found = _Offset(sr)
    found.feed(y)
    return found.value()


def flat_tops(x: Waveform, step: float = STEP) -> float:
    """Return the share of samples that lie on tops that were cut off.

    Parameters
    ----------
    x : np.ndarray [shape=(n,)], float32
        One channel.
    step : float
        Between neighbouring values near full scale: tops of a coarse codec are flat by nature.

    Returns
    -------
    share : float
        From 0 to 1. Exactly flat tops and, if they are more, tops with the ripple that resampling
        and lossy codecs leave; of either, only those at the extremes of the channel.
    """
    tops = FlatTops(x.max(), x.min(), step)
    tops.feed(x)
    return tops.share()


def wraps(x: Waveform) -> int:
    """Count the steps that a number too large for its integer type explains.

    A step across the scale, in a sound that is calm before and after it once the step is taken the
    short way round. A wave that is level beside the step is square or cut off, not wrapped.

    Parameters
    ----------
    x : np.ndarray [shape=(n,)], float32
        One channel.
    """
    jumps = Wraps()
    jumps.feed(x)
    return jumps.number()


def fingerprint(y: Waveform, sr: int) -> str:
    """Return 32 hexadecimal digits that two clips share if they are the same sound.

    The same sound is the same samples at the same rate, to 16 bits, whatever the file's name, tags
    and lossless container, with or without digital silence around it, and in one channel or in two
    equal ones. A copy at another level, rate or bit depth, or through a lossy codec, is another
    sound here, though not to the ear.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)], float32
        Mono, all finite.
    sr : int
        Sampling rate in Hz.

    Returns
    -------
    fingerprint : str
        Empty for digital silence, which is like no other sound.
    """
    found = _Fingerprint(sr)
    found.feed(y)
    return found.digest()
