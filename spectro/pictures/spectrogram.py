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
from typing import IO

import numpy as np
import numpy.typing as npt
import scipy.fft
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from spectro.clips import waveform as audio
from spectro.pictures.colors import palette
from spectro.pictures.mel import mel_filterbank
from spectro.pictures.settings import SpectrogramConfig

__all__ = [
    "clip_image",
    "db_limits",
    "levels",
    "load_clip",
    "load_extent",
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
_BLOCK = (
    32  # frames transformed at a time: buffers stay in cache, and are not mapped anew each time
)


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
    """Turn a clip's file into its picture: :func:`load_clip`, then :func:`spectrogram_image`."""
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
    grey = levels(power_to_db(S, ref=config.ref), config)[..., ::-1, :]
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
    frames = np.lib.stride_tricks.sliding_window_view(y, config.n_fft)[:: config.hop_length]
    window = _window(config.win_length or config.n_fft, config.n_fft)
    mel = mel_filterbank(config)
    S = np.empty((config.n_mels, len(frames)), dtype=np.float32)
    for first in range(0, len(frames), _BLOCK):
        block = frames[first : first + _BLOCK] * window  # (frames, n_fft)
        D = scipy.fft.rfft(block, axis=-1, overwrite_x=True)  # (frames, 1 + n_fft // 2)
        power = np.square(D.real)
        power += np.square(D.imag)
        S[:, first : first + _BLOCK] = mel @ power.T
    return S


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
    loudest = S.max() if ref == "max" else float(ref)
    if S.max() <= _AMIN:
        return np.full_like(S, -np.inf)
    S_db: Spectrogram = np.log10(np.maximum(S, _AMIN))
    S_db -= np.log10(np.float32(loudest))
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
