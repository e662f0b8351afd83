"""What is measured of one clip: its format, its levels, what was cut off it, and what it sounds as.

Clipping is looked for in the waveform, not in the peak. A top that was cut off is flat for three
samples or more and is met at a slope; a round top of that length is met gently. So a loud sine at
full scale is not clipped, at 8 bits neither. A square wave is indistinguishable from a sine that
was cut off all over; one that knows nothing but its two extremes and silence is let be.

Numbers that were too large for their integer type wrap around instead: a peak just above full scale
becomes one at the opposite end. Careless resampling and scaling do that, and each time is a loud
click. (A sawtooth at full scale is the same as a ramp that wraps, and is taken for one.)
"""

from __future__ import annotations

import hashlib
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile as sf

from spectro.clips.decode import decode

CUT_OGG = ""
from spectro.clips.waveform import LOUDEST, Waveform, to_mono
from spectro.plumbing.paths import is_url, place

__all__ = ["Vitals", "examine", "fingerprint", "flat_tops", "is_empty", "offset", "wraps"]

_BLOCKS = 16  # a second: averages of longer than the slowest sound, shorter than a thump

_NEAR = 0.95  # of full scale: tops below were cut off by nobody, or long ago
_SHORTEST_TOP = 3  # samples: two equal ones at the top are common in any sound
_RIPPLE = 0.03  # of the top: how far resampling and lossy codecs unsettle a flat one
_STEEP = 3.0  # times the slope at which a round top of that length is met
_STEPS = {"PCM_U8": 2.0**-7, "PCM_S8": 2.0**-7, "ULAW": 2.0**-5, "ALAW": 2.0**-5}
_STEP = 2.0**-15  # between neighbouring values at full scale, in every other codec

_ACROSS = 1.8  # a step this large leads from one end of the scale to the other
_CALM = 0.5  # steps before and after it, where it is a number that wrapped around
_WILD = 0.1  # share of steps above 1 from which a sound is too high or noisy to tell


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

    @property
    def peak_db(self) -> float:
        """The peak in dBFS; -inf is digital silence."""
        return 20 * math.log10(self.peak) if self.peak != 0 else -math.inf


def examine(path: str | Path, start: float | None = None, end: float | None = None) -> Vitals:
    """Measure a clip.

    Parameters
    ----------
    path : str or Path
        A file that libsndfile reads.
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
    samples, sr = decode(place(path), start=start, end=end)
    header = _header(path)
    shape = (sr, samples.shape[1], str(header.format), str(header.subtype), len(samples) / sr)
    with np.errstate(over="ignore", invalid="ignore"):
        y = to_mono(samples)
    loudness = np.abs(y)
    mono_peak = float(loudness.max())
    if not mono_peak < LOUDEST:  # nor is NaN
        unknown = (math.nan,) * 5
        return Vitals(*shape, *unknown, 0, int(np.sum(~(loudness < LOUDEST))), "")
    peak = mono_peak if samples.shape[1] == 1 else float(max(samples.max(), -samples.min()))
    step = _STEPS.get(header.subtype, _STEP)
    channels = [np.ascontiguousarray(channel) for channel in samples.T] if peak >= _NEAR else []
    return Vitals(
        *shape,
        peak=peak,
        mono_peak=mono_peak,
        rms_db=_decibels(y),
        dc=offset(y, sr),
        clipped=sum(flat_tops(x, step) for x in channels) / samples.shape[1],
        wraps=sum(wraps(x) for x in channels),
        non_finite=0,
        fingerprint=fingerprint(y, sr),
    )


def is_empty(path: str | Path) -> bool:
    """Tell whether a file that did not decode is one of no bytes, or a header without samples."""
    try:
        if place(path).stat().st_size == 0:
            return True
        header = _header(path)
        return bool(header.frames == 0 and CUT_OGG not in header.extra_info)
    except (sf.SoundFileError, OSError, TypeError):
        return False


def _header(path: str | Path) -> Any:
    """Read what a file says of itself; `format`, `subtype` and `frames`, as soundfile has them."""
    with place(path).open("rb") if is_url(path) else nullcontext(path) as file:
        return sf.info(file)


def _decibels(y: Waveform) -> float:
    power = float(np.square(y).mean(dtype=np.float64))
    return 10 * math.log10(power) if power > 0 else -math.inf


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
    block = max(sr // _BLOCKS, 1)
    whole = len(y) // block
    if whole == 0:
        return float(y.mean(dtype=np.float64))
    means = y[: whole * block].reshape(whole, block).mean(axis=1, dtype=np.float64)
    return float(np.median(means))


def flat_tops(x: Waveform, step: float = _STEP) -> float:
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
    high, low = x.max(), x.min()
    if max(high, -low) < _NEAR or ((x == high) | (x == low) | (x == 0)).all():
        return 0.0
    sides = [z for z, top in ((x, high), (-x, -low)) if top >= _NEAR]
    bands = (step / 2, _RIPPLE)
    return sum(max(_cut_off(z, band, step) for band in bands) for z in sides) / len(x)


def _cut_off(x: Waveform, band: float, step: float) -> int:
    """Count the samples in long runs within `band` of the highest that are met at a slope.

    A parabola that stays within `band` of its top for ``n`` samples leaves it at ``4 * band / n`` a
    sample.
    """
    near = np.flatnonzero(x >= x.max() - band)
    gaps = np.flatnonzero(np.diff(near) > 1)
    first, last = near[np.r_[0, gaps + 1]], near[np.r_[gaps, len(near) - 1]]
    n = last - first + 1
    rise = x[first] - x[np.maximum(first - 1, 0)]
    fall = x[last] - x[np.minimum(last + 1, len(x) - 1)]
    slope = np.maximum(_STEEP * 4 * band / n, 2 * step)
    cut: npt.NDArray[np.bool_] = (n >= _SHORTEST_TOP) & (np.minimum(rise, fall) > slope)
    return int(n[cut].sum())


def wraps(x: Waveform) -> int:
    """Count the steps that a number too large for its integer type explains.

    A step across the scale, in a sound that is calm before and after it once the step is taken the
    short way round. A wave that is level beside the step is square or cut off, not wrapped.

    Parameters
    ----------
    x : np.ndarray [shape=(n,)], float32
        One channel.
    """
    steps = np.diff(x)
    sizes = np.abs(steps)
    across = sizes > _ACROSS
    if not across.any() or (sizes > 1).mean() > _WILD:
        return 0
    around = np.where(across, 2 - sizes, sizes)
    calm = np.pad((around < _CALM) & (steps != 0), 1, constant_values=True)
    return int((across & calm[:-2] & calm[2:]).sum())


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
    levels = np.rint(np.clip(y * 32768, -32768, 32767)).astype("<i2")
    sounds = levels != 0
    first, behind = int(sounds.argmax()), len(y) - int(sounds[::-1].argmax())
    if not sounds[first]:
        return ""
    digest = hashlib.blake2b(str(sr).encode(), digest_size=16)
    digest.update(levels[first:behind].data)
    return digest.hexdigest()
