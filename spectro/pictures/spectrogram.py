"""The spectrogram: waveform -> mel dB -> grey levels -> picture. Nothing else computes one.

What trains is what predicts: rendering, training and prediction all come through here, with one
`SpectrogramConfig`. The arithmetic is librosa's (its picture differs by at most one grey level),
done in float32 over a mel matrix that is 98.5 % zeros. Heavy calls release the GIL, so threads
scale.
"""

from __future__ import annotations

import functools
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from spectro.clips import waveform as audio
from spectro.pictures.colors import palette
from spectro.pictures.mel import mel_product
from spectro.pictures.settings import SpectrogramConfig

__all__ = [
    "clip_image",
    "db_limits",
    "frame_power",
    "levels",
    "load_clip",
    "load_extent",
    "log_image",
    "log_power",
    "mel_frames",
    "melspectrogram",
    "network_levels",
    "network_pixels",
    "power_image",
    "power_to_db",
    "save_png",
    "spectrogram_image",
]

Levels = npt.NDArray[np.uint8]
Spectrogram = npt.NDArray[np.float32]

_AMIN = 1e-10  # powers below count as silence; librosa.power_to_db's own floor
_BLOCK = 32  # frames transformed at a time: buffers stay in cache
_TOGETHER = 192  # frames whose bands are summed at a time: a picture of the default's


def load_clip(
    path: str | Path,
    config: SpectrogramConfig,
    *,
    start: float | None = None,
    end: float | None = None,
    rng: np.random.Generator | None = None,
) -> audio.Waveform:
    """Read a clip as the waveform that its picture shows.

    Parameters
    ----------
    path : str or Path
        Sound file.
    config : SpectrogramConfig
        Gives rate, length and padding.
    start, end : float or None
        Part of the file in seconds; see :func:`spectro.clips.waveform.load`.
    rng : np.random.Generator or None
        Draws a place for the clip, or a part of a longer one, whatever ``config.pad`` says.

    Returns
    -------
    y : np.ndarray [shape=(config.n_samples,)], float32
        With ``channels="both"``, shape (2, config.n_samples).

    Raises
    ------
    AudioError
        If the file cannot be decoded.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, soundfile
    >>> from spectro import SpectrogramConfig, load_clip
    >>> clip = f"{tempfile.mkdtemp()}/tone.wav"
    >>> soundfile.write(clip, np.sin(2 * np.pi * 440 * np.arange(16000) / 16000), 16000)
    >>> load_clip(clip, SpectrogramConfig(sr=8000, fmax=4000, duration=2)).shape
    (16000,)
    """
    return load_extent(path, config, start=start, end=end, rng=rng)[0]


def load_extent(
    path: str | Path,
    config: SpectrogramConfig,
    *,
    start: float | None = None,
    end: float | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[audio.Waveform, audio.Extent]:
    """Do as :func:`load_clip`, and say how many seconds of how many the picture shows."""
    return audio.load_fitted(
        path,
        config.n_samples,
        sr=config.sr,
        pad="random" if rng else config.pad,
        start=start,
        end=end,
        channels=config.channels,
        rng=rng,
    )


def clip_image(
    path: str | Path,
    config: SpectrogramConfig,
    *,
    start: float | None = None,
    end: float | None = None,
) -> Image.Image:
    """Turn a clip's file into its picture: :func:`load_clip`, then :func:`spectrogram_image`.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, soundfile
    >>> from spectro import SpectrogramConfig, clip_image
    >>> clip = f"{tempfile.mkdtemp()}/tone.wav"
    >>> soundfile.write(clip, np.sin(2 * np.pi * 440 * np.arange(22050) / 22050), 22050)
    >>> clip_image(clip, SpectrogramConfig()).size  # 4 s of frames, 128 bands
    (173, 128)
    """
    return spectrogram_image(load_clip(path, config, start=start, end=end), config)


def spectrogram_image(y: audio.Waveform, config: SpectrogramConfig) -> Image.Image:
    """Draw the mel-spectrogram of a waveform, one pixel a band and frame.

    Parameters
    ----------
    y : np.ndarray [shape=(n,) or (2, n)], float32
        Waveform at ``config.sr``; two channels if ``config.channels`` is "both".
    config : SpectrogramConfig
        Settings.

    Returns
    -------
    image : PIL.Image.Image [mode="P" or "RGB"]
        Low frequencies at the bottom, time from left to right. The palette index is the grey level,
        so the picture holds the values and their colours at a third of an RGB picture's size. Of
        two channels red is the first, green the second, and blue their mean.
    """
    return power_image(melspectrogram(y, config), config)


def power_image(S: Spectrogram, config: SpectrogramConfig) -> Image.Image:
    """Draw mel power, shape ([2,] n_mels, n_frames); see :func:`spectrogram_image`."""
    return log_image(log_power(S), float(S.max()), config)


def log_image(log_S: Spectrogram, loudest: float, config: SpectrogramConfig) -> Image.Image:
    """Draw the logarithm of mel power of which `loudest` is the maximum.

    Of windows that overlap, the logarithm is computed once.
    """
    S_db = _decibels(log_S, loudest, config.ref)
    grey = levels(S_db, config)[..., ::-1, :]
    if grey.ndim == 3:
        return _two_channels(*grey)
    image = Image.fromarray(grey)
    image.putpalette(palette(config.cmap))
    return image


def _two_channels(first: Levels, second: Levels) -> Image.Image:
    """Lay two grey pictures over each other: a network gets three channels, a person a picture."""
    mean = (first.astype(np.uint16) + second + 1) // 2  # a half goes up
    return Image.fromarray(np.stack([first, second, mean.astype(np.uint8)], axis=-1))


def melspectrogram(y: audio.Waveform, config: SpectrogramConfig) -> Spectrogram:
    """Compute the mel power spectrogram of a waveform.

    ``librosa.feature.melspectrogram(y=y, center=True, pad_mode="constant", power=2.0)``.

    Parameters
    ----------
    y : np.ndarray [shape=(..., n)], float32
        Waveform at ``config.sr``.
    config : SpectrogramConfig
        Settings.

    Returns
    -------
    S : np.ndarray [shape=(..., n_mels, 1 + n // hop_length)], float32
        Power in each mel band, lowest band first.
    """
    if y.ndim > 1:
        if len(y) == 2 and np.array_equal(y[0], y[1]):  # a mono clip
            return np.stack([melspectrogram(y[0], config)] * 2)
        return np.stack([melspectrogram(channel, config) for channel in y])
    return mel_frames(np.pad(y, config.n_fft // 2), config)


def mel_frames(y: audio.Waveform, config: SpectrogramConfig) -> Spectrogram:
    """Compute the mel power of the frames that lie in a waveform whole.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)], float32
        At least ``config.n_fft`` samples; frames start at every ``config.hop_length`` of them.
    config : SpectrogramConfig
        Settings.

    Returns
    -------
    S : np.ndarray [shape=(n_mels, 1 + (n - n_fft) // hop_length)], float32
        Power in each mel band, lowest band first. No frame's numbers depend on other frames.
    """
    count = 1 + (len(y) - config.n_fft) // config.hop_length
    step = y.strides[0]
    frames = np.lib.stride_tricks.as_strided(  # sliding_window_view takes longer than the transform
        y, (count, config.n_fft), (config.hop_length * step, step), writeable=False
    )
    return frame_power(frames, config)


def frame_power(frames: npt.NDArray[np.float32], config: SpectrogramConfig) -> Spectrogram:
    """Compute the mel power of frames, shape (n, n_fft); see :func:`mel_frames`."""
    S = np.empty((config.n_mels, len(frames)), dtype=np.float32)
    power = np.zeros((1 + config.n_fft // 2, max(2, min(_TOGETHER, len(frames)))), dtype=np.float32)
    sums = np.empty((config.n_mels, power.shape[1]), dtype=np.float32)
    for first in range(0, len(frames), _TOGETHER):
        some = frames[first : first + _TOGETHER]
        _spectra(some, config, power)
        n = max(2, len(some))  # of one frame, einsum would add up in another order
        mel_product(power[:, :n], config, sums[:, :n])
        S[:, first : first + n] = sums[:, : len(some)]
    return S


def _spectra(
    frames: npt.NDArray[np.float32], config: SpectrogramConfig, power: Spectrogram
) -> None:
    """Fill the first columns of `power` with the squared spectra of frames over ``n_fft ** 2``."""
    window = _window(config.win_length or config.n_fft, config.n_fft)
    block = np.empty((min(_BLOCK, len(frames)), config.n_fft), dtype=np.float32)
    D: Any = np.empty((len(block), len(power)), dtype=np.complex64)
    for first in range(0, len(frames), _BLOCK):
        n = min(_BLOCK, len(frames) - first)
        np.multiply(frames[first : first + n], window, out=block[:n])
        # Without norm="forward", numpy computes in float64, at twice the price and other bits.
        np.fft.rfft(block[:n], axis=-1, norm="forward", out=D[:n])
        squared = np.square(D.real[:n])
        squared += np.square(D.imag[:n])
        power[:, first : first + n] = squared.T


@functools.lru_cache(maxsize=16)
def _window(win_length: int, n_fft: int) -> npt.NDArray[np.float32]:
    """Return a periodic Hann window in the middle of `n_fft` samples."""
    window = np.hanning(win_length + 1)[:-1]  # scipy.signal has it too, and takes 0.3 s to import
    before = (n_fft - win_length) // 2
    return np.pad(window, (before, n_fft - win_length - before)).astype(np.float32)


def power_to_db(S: Spectrogram, *, ref: str | float = "max") -> Spectrogram:
    """Turn power into decibels.

    Parameters
    ----------
    S : np.ndarray [shape=(..., n_mels, n_frames)], float32
        Power.
    ref : "max" or float
        The power that becomes 0 dB: the clip's own maximum, or a fixed one.

    Returns
    -------
    S_db : np.ndarray [shape=(..., n_mels, n_frames)], float32
        Decibels. Where nothing reaches 1e-10, all is minus infinity: silence has no loudest part,
        and librosa's 0 dB would paint it in the brightest colour.
    """
    return _decibels(log_power(S), float(S.max()), ref)


def log_power(S: Spectrogram) -> Spectrogram:
    """Return the common logarithm of power, of at least 1e-10."""
    log_S: Spectrogram = np.log10(np.maximum(S, _AMIN))
    return log_S


def _decibels(log_S: Spectrogram, loudest: float, ref: str | float) -> Spectrogram:
    """Bring the logarithm of power to decibels below `ref`; `loudest` is the highest power."""
    if loudest <= _AMIN:
        return np.full_like(log_S, -np.inf)
    S_db: Spectrogram = log_S - np.log10(np.float32(loudest if ref == "max" else ref))
    S_db *= 10
    return S_db


def db_limits(S_db: Spectrogram, config: SpectrogramConfig) -> tuple[float, float]:
    """Say which decibels are the darkest and the brightest level; see :func:`levels`."""
    if config.db_range == "auto" and np.isfinite(S_db).any():
        top = float(S_db.max())
        return max(float(S_db.min()), top - config.top_db), top
    return -config.top_db, 0.0


def levels(S_db: Spectrogram, config: SpectrogramConfig) -> Levels:
    """Turn decibels into grey levels: 0 is the bottom of the range, 255 its top.

    Parameters
    ----------
    S_db : np.ndarray [shape=(..., n_mels, n_frames)], float32
        Decibels.
    config : SpectrogramConfig
        With ``db_range="fixed"`` the levels 0 to 255 stand for -top_db to 0 dB, whatever the clip;
        with "auto" for the clip's own lowest to highest value, after cutting at `top_db`.

    Returns
    -------
    levels : np.ndarray [shape=(..., n_mels, n_frames)], uint8
        Lowest band first.
    """
    bottom, top = db_limits(S_db, config)
    scaled = np.clip(S_db, bottom, top)
    scaled -= bottom
    scaled *= 255 / (top - bottom) if top > bottom else 0
    return np.rint(scaled, out=scaled).astype(np.uint8)


def save_png(image: Image.Image, path: str | Path | IO[bytes], *, source: str = "") -> None:
    """Write a picture as PNG, to a path or a file, with `source` as a text within.

    Runs and Huffman codes alone: searching for longer matches takes twice the time and gains 3 % on
    spectrograms.
    """
    about = PngInfo()
    about.add_text("Source", source)
    image.save(path, format="png", compress_level=1, compress_type=zlib.Z_RLE, pnginfo=about)


def network_pixels(image: Image.Image, size: int | None) -> npt.NDArray[np.float32]:
    """Turn a picture into what a network sees before normalisation.

    Exactly what fastai makes of the PNG: RGB, squished to a square by Pillow's antialiased
    bilinear filter if a `size` is set, scaled to one.

    Parameters
    ----------
    image : PIL.Image.Image
        Picture of any mode.
    size : int or None
        Side of the square in pixels; None keeps the picture's shape.

    Returns
    -------
    pixels : np.ndarray [shape=(3, height, width)], float32
        Between 0 and 1.
    """
    levels = network_levels(image, size)
    return levels.astype(np.float32).transpose(2, 0, 1) / np.float32(255)


def network_levels(image: Image.Image, size: int | None) -> Levels:
    """Do as :func:`network_pixels`, but keep 8 bits and the order of a file.

    Returns
    -------
    levels : np.ndarray [shape=(height, width, 3)], uint8
    """
    rgb = image.convert("RGB")
    if size is not None:
        rgb = rgb.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(rgb)
