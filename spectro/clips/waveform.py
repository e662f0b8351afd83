"""Sound files to waveforms: decode, make channels equal, resample, fit; or walk in windows."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

from spectro.clips import streaming
from spectro.clips.choices import Channels, PadPolicy
from spectro.clips.decode import Part, Samples, decode_windows, joined, open_part
from spectro.errors import AudioError, ConfigError
from spectro.plumbing.paths import place

__all__ = [
    "LOUDEST",
    "Channels",
    "Extent",
    "PadPolicy",
    "Waveform",
    "Window",
    "check_rate",
    "fit",
    "load",
    "load_fitted",
    "mix",
    "mixed",
    "to_mono",
    "windows",
]

Waveform = npt.NDArray[np.float32]

# Beyond any scaling of sound, and far enough below float32's limit that its power is finite.
LOUDEST = 1e12
# A damaged header may state a rate of 1 Hz, at which a clip lasts for days and fills any memory.
_STEEPEST = 32  # times that the rate may go up, whatever the length
_LONGEST = 1 << 26  # samples that may come of going up more: 256 MiB, 50 minutes at 22,050 Hz
_MARGIN = 0.1  # s read behind the end of a picture, so that resampling does not see an edge there
_AT_ONCE = 1 << 24  # samples of a file, in all channels, from which on it is not held in memory

_HEARD = 0.05  # seconds that may be left out without a word: encoders pad by less


def load(
    path: str | Path,
    *,
    sr: int,
    start: float | None = None,
    end: float | None = None,
    channels: Channels = "mean",
) -> Waveform:
    """Read a sound file at the sampling rate `sr`.

    Equal to ``librosa.load(path, sr=sr)`` to within float32 rounding: channels are averaged, then
    resampled by soxr's high-quality filter.

    Parameters
    ----------
    path : str or Path
        A file in any container and codec that libsndfile reads: WAV, FLAC, OGG, MP3, AIFF, CAF...
        And, where ffmpeg is installed, that ffmpeg reads: M4A, AAC, 3GP, WebM, AMR, WMA...
    sr : int
        Target sampling rate in Hz.
    start, end : float or None
        Part to read, in seconds from the start of the file; None means from the start, to the end.
        An `end` behind the file's end means the file's end.
    channels : "mean", "first" or "both"
        See :func:`mix`.

    Returns
    -------
    y : np.ndarray [shape=(n,)], float32
        Samples, 1.0 being full scale. At least one, all finite. Of "both", shape (2, n).

    Raises
    ------
    AudioError
        If the file cannot be decoded in full (:func:`spectro.clips.decode.decode`), holds NaN or
        infinity, or states a sampling rate so low that resampling would fill the memory.
    """
    with open_part(place(path), start, end) as part:
        return _waveform(joined(list(part.blocks())), part.sr, sr, channels, path)


class Extent(NamedTuple):
    """How much of a recording is used: `used` of `available` seconds, those of the part asked for.

    `available` is None where only decoding all of it would tell.
    """

    used: float
    available: float | None

    @property
    def cut(self) -> float:
        """Length in seconds of a sound of which a part is not used, else 0."""
        longer = self.available is not None and self.available > self.used + _HEARD
        return float(self.available or 0) if longer else 0.0


def load_fitted(
    path: str | Path,
    n_samples: int,
    *,
    sr: int,
    pad: PadPolicy,
    start: float | None = None,
    end: float | None = None,
    channels: Channels = "mean",
    rng: np.random.Generator | None = None,
) -> tuple[Waveform, Extent]:
    """Read a sound file and bring it to a length, in memory that does not grow with the file's.

    Parameters
    ----------
    path, sr, start, end, channels
        As for :func:`load`.
    n_samples, pad, rng
        As for :func:`fit`.

    Returns
    -------
    y : np.ndarray [shape=(n_samples,) or (2, n_samples)], float32
        What :func:`fit` makes of what :func:`load` gives, but for the end of a long recording of
        which only the start shows: that is not decoded.
    extent : Extent
        How much of the sound this is.

    Raises
    ------
    AudioError
        As :func:`load` does.
    """
    asked = end
    if pad in ("zero", "loop"):  # only the start shows: do not decode hours behind it
        shown = (start or 0.0) + n_samples / sr + _MARGIN
        end = shown if end is None else min(end, shown)
    with open_part(place(path), start, end) as part:
        blocks = _few_blocks(part)
        if blocks is not None:
            y = _waveform(joined(blocks), part.sr, sr, channels, path)
            length, fitted = y.shape[-1], fit(y, n_samples, pad=pad, rng=rng)
        available = _available(part, start, asked)
    if blocks is None:
        length, fitted = _fit_streamed(path, n_samples, (start, end), (sr, channels, pad), rng)
    if available is None and (end is None or end == asked or length < n_samples):
        available = length / sr
    used = min(length, n_samples) / sr
    return fitted, Extent(used if available is None else min(used, available), available)


def _few_blocks(part: Part) -> list[Samples] | None:
    """Decode a part if it is not long; None if it is."""
    if (part.frames or 0) * part.channels > _AT_ONCE:
        return None
    blocks, frames = list[Samples](), 0
    for block in part.blocks():
        blocks.append(block)
        frames += len(block)
        if frames * part.channels > _AT_ONCE and part.frames is None:
            return None
    return blocks


def _available(part: Part, start: float | None, end: float | None) -> float | None:
    """Return how many seconds were asked for, or None if the file does not say how long it is."""
    if part.file_seconds is None:
        return None
    return min(part.file_seconds, math.inf if end is None else end) - (start or 0.0)


def _fit_streamed(
    path: str | Path,
    n_samples: int,
    span: tuple[float | None, float | None],
    how: tuple[int, Channels, PadPolicy],
    rng: np.random.Generator | None,
) -> tuple[int, Waveform]:
    """Do as :func:`fit` of a recording that is gone through, twice or more, and never held."""
    sr, channels, pad = how

    def blocks() -> Iterator[Waveform]:
        with open_part(place(path), *span) as part:
            check_rate(part.sr, sr, part.frames or _AT_ONCE, path, many=True)
            sounds = (mixed(block, channels, path) for block in part.blocks())
            yield from streaming.resampled(sounds, part.sr, sr)

    if pad in ("zero", "loop"):
        y = np.concatenate(list(blocks()), axis=-1)  # no longer than the picture
        return y.shape[-1], fit(y, n_samples, pad=pad)
    heard = streaming.survey(blocks)
    draw = rng or np.random.default_rng(heard.checksum)
    offset = _offset(n_samples - heard.length, pad, draw) if heard.length != n_samples else 0
    return heard.length, streaming.window(blocks(), n_samples, offset)


class Window(NamedTuple):
    """A part of a recording: from `start` to `end` in seconds, and its samples."""

    start: float
    end: float
    y: Waveform


def windows(
    path: str | Path,
    *,
    sr: int,
    duration: float,
    hop: float | None = None,
    channels: Channels = "mean",
) -> Iterator[Window]:
    """Walk a recording in windows, in one pass, without loading it whole.

    Parameters
    ----------
    path : str or Path
        As for :func:`load`.
    sr : int
        Target sampling rate in Hz.
    duration : float
        Length of a window in seconds.
    hop : float or None
        Step from one start to the next in seconds; None means `duration`, so that no two overlap.
    channels : "mean", "first" or "both"
        See :func:`mix`.

    Yields
    ------
    window : Window
        ``y`` is what :func:`load` gives of that part. The last window ends with
        the recording: it is as long as the others, and overlaps the one before by as much as that
        takes. Only a recording shorter than `duration` gives a shorter window, its only one.

    Raises
    ------
    ConfigError
        If `duration` or `hop` is not above 0.
    AudioError
        As :func:`load` does; for damage that no header shows, where it is reached.
    """
    hop = duration if hop is None else hop
    for name, seconds in (("duration", duration), ("hop", hop)):
        if not 0 < seconds < math.inf:
            raise ConfigError(f"{name} is {seconds:g} s: a window needs one above 0")
    for start, end, samples, native in decode_windows(place(path), duration=duration, hop=hop):
        yield Window(start, end, _waveform(samples, native, sr, channels, path))


def _waveform(
    samples: npt.NDArray[np.float32], native: int, sr: int, channels: Channels, path: str | Path
) -> Waveform:
    """Bring what was decoded of `path` to `sr` Hz, or say why that cannot be."""
    y = mixed(samples, channels, path)
    check_rate(native, sr, y.shape[-1], path)
    return y if native == sr else _resample(y, native, sr)


def mixed(samples: Samples, channels: Channels, path: str | Path) -> Waveform:
    """Make channels equal, and refuse what is no number."""
    with np.errstate(over="ignore", invalid="ignore"):  # told below, in words
        y = mix(samples, channels)
    if not (y.max() < LOUDEST and y.min() > -LOUDEST):  # nor is NaN
        raise AudioError(
            f"{path}: holds NaN or infinite samples, or absurdly loud ones; export it again"
        )
    return y


def check_rate(native: int, sr: int, n: int, path: str | Path, *, many: bool = False) -> None:
    """Refuse a rate at which `n` frames last so long that resampling would not end."""
    if sr > _STEEPEST * native and (many or n * sr > _LONGEST * native):
        raise AudioError(
            f"{path}: states a sampling rate of {native} Hz, at which it lasts "
            f"{n / native:.0f} s; if so, choose a lower one than {sr} Hz to bring it to"
        )


def mix(samples: npt.NDArray[np.float32], channels: Channels) -> Waveform:
    """Make the channels of any recording equal in number.

    Parameters
    ----------
    samples : np.ndarray [shape=(n, channels)], float32
        Interleaved channels, as soundfile returns them.
    channels : "mean", "first" or "both"
        Their mean, the first alone, or the first two; a mono recording is both of its channels.

    Returns
    -------
    y : np.ndarray [shape=(n,)], float32
        Of "both", shape (2, n), as librosa has channels.

    Examples
    --------
    >>> stereo = np.array([[1, 3], [2, 6]], dtype=np.float32)
    >>> mix(stereo, "mean"), mix(stereo, "first")
    (array([2., 4.], dtype=float32), array([1., 2.], dtype=float32))
    >>> mix(stereo[:, :1], "both")
    array([[1., 2.],
           [1., 2.]], dtype=float32)
    """
    if channels == "mean":
        return to_mono(samples)
    if channels == "first":
        return samples[:, 0].copy()
    second = min(1, samples.shape[1] - 1)
    return np.ascontiguousarray(samples[:, [0, second]].T)


def to_mono(samples: npt.NDArray[np.float32]) -> Waveform:
    """Average the channels.

    Adding columns is over ten times faster than ``samples.mean(axis=1)`` on interleaved channels.

    Parameters
    ----------
    samples : np.ndarray [shape=(n, channels)], float32
        Interleaved channels, as soundfile returns them.

    Returns
    -------
    y : np.ndarray [shape=(n,)], float32
    """
    if samples.shape[1] == 1:
        return samples[:, 0].copy()  # the caller's array stays its own
    y = samples[:, 0] + samples[:, 1]
    for channel in range(2, samples.shape[1]):
        y += samples[:, channel]
    y /= samples.shape[1]
    return y


def _resample(y: Waveform, native: int, sr: int) -> Waveform:
    """Bring `y` from `native` to `sr` Hz; the length is rounded up, as librosa does."""
    if y.ndim == 2:
        return np.stack([_resample(channel, native, sr) for channel in y])
    resampled: Any = soxr.resample(y, native, sr, quality="HQ")
    return _place(resampled, -(-len(y) * sr // native), 0)


def fit(
    y: Waveform,
    n_samples: int,
    *,
    pad: PadPolicy,
    rng: np.random.Generator | None = None,
) -> Waveform:
    """Bring a waveform to exactly `n_samples`, by silence, repetition or cutting.

    Parameters
    ----------
    y : np.ndarray [shape=(..., n)], float32
        At least one sample.
    n_samples : int
        Wanted length in samples.
    pad : "zero", "loop", "center" or "random"
        See :class:`~spectro.pictures.settings.SpectrogramConfig`.
    rng : np.random.Generator or None
        Draws the place of "random" anew each time; None draws it from the sound.

    Returns
    -------
    y : np.ndarray [shape=(..., n_samples)], float32

    Examples
    --------
    >>> fit(np.array([1, 2, 3], dtype=np.float32), 5, pad="center")
    array([0., 1., 2., 3., 0.], dtype=float32)
    """
    length = y.shape[-1]
    if length == n_samples:
        return y
    if pad == "loop":
        return np.take(y, np.arange(n_samples), axis=-1, mode="wrap")
    # Drawn from the sound, not from its name or a clock: a prediction sees what training saw.
    if pad == "random" and rng is None:
        rng = np.random.default_rng(zlib.crc32(y.tobytes()))
    return _place(y, n_samples, _offset(n_samples - length, pad, rng))


def _offset(room: int, pad: PadPolicy, rng: np.random.Generator | None) -> int:
    """Where `y` starts in the result: below zero when it is too long and its start is cut."""
    if pad == "zero":
        return 0
    if pad == "center":
        return room // 2 if room > 0 else -(-room // 2)
    assert rng is not None
    draw = int(rng.integers(abs(room) + 1))
    return draw if room > 0 else -draw


def _place(y: Waveform, n_samples: int, offset: int) -> Waveform:
    """Lay `y` into silence of `n_samples`, starting at `offset`; what sticks out is cut."""
    if y.shape[-1] == n_samples and offset == 0:
        return y
    out = np.zeros((*y.shape[:-1], n_samples), dtype=np.float32)
    part = y[..., max(-offset, 0) :][..., : n_samples - max(offset, 0)]
    out[..., max(offset, 0) :][..., : part.shape[-1]] = part
    return out
