"""Sound files to arrays: decode, mix to mono, resample, fit to a length.

What cannot be decoded in full is an :class:`~spectro.errors.AudioError` naming the file: a clip
that lost its second half would otherwise train as a clip that ends in silence.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr

from spectro.config import PadPolicy
from spectro.errors import AudioError

__all__ = ["Waveform", "fit", "load", "to_mono"]

Waveform = npt.NDArray[np.float32]

# libsndfile logs "data : 80000 (should be 39978)" where a header promises more than the file holds.
_SHORT_CHUNK = re.compile(r"^\s*(data|SSND|riff|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", re.M)
# Recorders that stream cannot go back to fill in the length, and leave a huge one instead.
_LENGTH_UNKNOWN = 0x7FFF_0000


def load(
    path: str | Path, *, sr: int, start: float | None = None, end: float | None = None
) -> Waveform:
    """Read a sound file as mono at the sampling rate `sr`.

    Equal to ``librosa.load(path, sr=sr)`` to within float32 rounding: channels are averaged, then
    resampled by soxr's high-quality filter.

    Parameters
    ----------
    path : str or Path
        A file in any container and codec that libsndfile reads: WAV, FLAC, OGG, MP3, AIFF, CAF...
    sr : int
        Target sampling rate in Hz.
    start, end : float or None
        Part to read, in seconds from the start of the file; None means from the start, to the end.
        An `end` behind the file's end means the file's end.

    Returns
    -------
    y : np.ndarray [shape=(n,)], float32
        Samples, 1.0 being full scale. At least one, all finite.

    Raises
    ------
    AudioError
        If the file is missing, empty, not sound, truncated, without samples, holds NaN or infinity,
        or ends before `start`.
    """
    path = Path(path)
    try:
        with sf.SoundFile(path) as sound:
            native = sound.samplerate
            y = to_mono(_read_part(sound, path, start, end))
    except (sf.SoundFileError, OSError) as error:
        _explain(path, error)
    if not np.isfinite(y).all():
        raise AudioError(f"{path}: holds NaN or infinite samples; export it again")
    return y if native == sr else _resample(y, native, sr)


def _read_part(
    sound: sf.SoundFile, path: Path, start: float | None, end: float | None
) -> npt.NDArray[np.float32]:
    """Decode the part from `start` to `end` seconds, shape (n, channels)."""
    _check_complete(sound, path)
    first = round((start or 0.0) * sound.samplerate)
    last = sound.frames if end is None else min(sound.frames, round(end * sound.samplerate))
    if sound.frames == 0:
        raise AudioError(f"{path}: has no samples")
    if not 0 <= first < last:
        raise AudioError(
            f"{path}: no sound between {start or 0:g} s and "
            f"{'its end' if end is None else f'{end:g} s'}; "
            f"the file lasts {sound.frames / sound.samplerate:.3f} s"
        )
    sound.seek(first)
    samples: npt.NDArray[np.float32] = sound.read(last - first, dtype="float32", always_2d=True)
    if len(samples) < last - first:
        raise AudioError(f"{path}: truncated, {len(samples)} of {last - first} frames decode")
    return samples


def _check_complete(sound: sf.SoundFile, path: Path) -> None:
    """Compare what the header promises with what the file holds."""
    for _, promised, present in _SHORT_CHUNK.findall(sound.extra_info):
        if int(present) + 1 < int(promised) < _LENGTH_UNKNOWN:  # one pad byte is often left out
            raise AudioError(
                f"{path}: truncated, its header promises {promised} bytes and {present} are there"
            )


def _explain(path: Path, error: Exception) -> NoReturn:
    """Say in the user's terms why a file did not open."""
    if path.is_dir():
        reason = "is a folder, not a sound file"
    elif not path.exists():
        reason = "no such file"
    elif path.stat().st_size == 0:
        reason = "is empty (0 bytes)"
    else:
        detail = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
        reason = f"cannot be decoded ({str(detail).strip().rstrip('.')})"
    raise AudioError(f"{path}: {reason}") from None


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
    y = samples[:, 0].copy()
    for channel in range(1, samples.shape[1]):
        y += samples[:, channel]
    if samples.shape[1] > 1:
        y /= samples.shape[1]
    return y


def _resample(y: Waveform, native: int, sr: int) -> Waveform:
    """Bring `y` from `native` to `sr` Hz; the length is rounded up, as librosa does."""
    resampled: Any = soxr.resample(y, native, sr, quality="HQ")
    return _place(resampled, -(-len(y) * sr // native), 0)


def fit(y: Waveform, n_samples: int, *, pad: PadPolicy) -> Waveform:
    """Bring a waveform to exactly `n_samples`, by silence, repetition or cutting.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)], float32
        At least one sample.
    n_samples : int
        Wanted length in samples.
    pad : "zero", "loop", "center" or "random"
        See :class:`~spectro.config.SpectrogramConfig`.

    Returns
    -------
    y : np.ndarray [shape=(n_samples,)], float32

    Examples
    --------
    >>> fit(np.array([1, 2, 3], dtype=np.float32), 5, pad="center")
    array([0., 1., 2., 3., 0.], dtype=float32)
    """
    if len(y) == n_samples:
        return y
    if pad == "loop":
        return np.resize(y, n_samples)
    return _place(y, n_samples, _offset(y, n_samples - len(y), pad))


def _offset(y: Waveform, room: int, pad: PadPolicy) -> int:
    """Where `y` starts in the result: below zero when it is too long and its start is cut."""
    if pad == "zero":
        return 0
    if pad == "center":
        return room // 2 if room > 0 else -(-room // 2)
    # Drawn from the sound, not from its name or a clock: a prediction sees what training saw.
    draw = int(np.random.default_rng(zlib.crc32(y.tobytes())).integers(abs(room) + 1))
    return draw if room > 0 else -draw


def _place(y: Waveform, n_samples: int, offset: int) -> Waveform:
    """Lay `y` into silence of `n_samples`, starting at `offset`; what sticks out is cut."""
    out = np.zeros(n_samples, dtype=np.float32)
    part = y[max(-offset, 0) :][: n_samples - max(offset, 0)]
    out[max(offset, 0) :][: len(part)] = part
    return out
