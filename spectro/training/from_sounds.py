"""Pictures computed from sounds while training, by the functions that draw the PNGs.

So a training clip can be moved in time or made louder anew in each epoch, before it becomes a
picture. Clips that are watched or scored are never changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from spectro.clips.waveform import Waveform
from spectro.errors import AudioError, ConfigError
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import clip_image, load_clip, spectrogram_image
from spectro.plumbing.paths import is_url
from spectro.training.settings import TrainConfig

__all__ = ["Hear", "augmented_image", "change", "check", "plain_image"]


@dataclass(frozen=True)
class Hear:
    """Turns an item of a DataBlock into its picture; training clips are changed.

    Attributes
    ----------
    spectrogram : SpectrogramConfig
        How to draw the picture.
    config : TrainConfig
        How to change the sound.
    """

    spectrogram: SpectrogramConfig
    config: TrainConfig

    def __call__(self, item: Any) -> Image.Image:
        """Draw an item with the attributes ``clip`` and ``held_out``."""
        path, start, end = item.clip
        if item.held_out or not self.config.sound_changes:
            return plain_image(path, self.spectrogram, start, end)
        return augmented_image(path, self.spectrogram, self.config, start, end)


def plain_image(
    path: str, config: SpectrogramConfig, start: float | None = None, end: float | None = None
) -> Image.Image:
    """Draw a clip as in its PNG."""
    return clip_image(path, config, start=start, end=end)


def augmented_image(
    path: str,
    config: SpectrogramConfig,
    train: TrainConfig,
    start: float | None = None,
    end: float | None = None,
) -> Image.Image:
    """Draw a training clip after the random changes that `train` asks for.

    They are drawn from torch's generator, which is seeded in each loading process: the same seed
    and number of processes make the same pictures.

    Parameters
    ----------
    path : str
        Sound file.
    config : SpectrogramConfig
        How to draw it.
    train : TrainConfig
        Gives ``place``, ``wave_shift`` and ``gain``.
    start, end : float or None
        Part of the file in seconds; nothing beyond it is used.

    Returns
    -------
    image : PIL.Image.Image [mode="P" or "RGB"]
        Of :func:`spectro.pictures.spectrogram.spectrogram_image`.

    Raises
    ------
    AudioError
        If the file cannot be decoded.
    """
    # From torch's generator: unlike Python's, nothing but training draws from it.
    rng = np.random.default_rng(int(torch.randint(2**62, ())))
    y = load_clip(path, config, start=start, end=end, rng=rng if train.place else None)
    y = change(y, rng, shift=train.wave_shift, gain=train.gain)
    return spectrogram_image(y, config)


def change(
    y: Waveform, rng: np.random.Generator, *, shift: float = 0.0, gain: float = 0.0
) -> Waveform:
    """Roll a waveform in time and make it louder or quieter.

    Parameters
    ----------
    y : np.ndarray [shape=(..., n)], float32
        Not changed in place.
    rng : np.random.Generator
        Draws shift and gain, uniform in both directions; all channels get the same.
    shift : float
        The largest shift, as a share of the length; what leaves at one end enters at the other.
    gain : float
        The largest change, in dB.

    Returns
    -------
    y : np.ndarray [shape=(..., n)], float32

    Examples
    --------
    >>> y = np.arange(5, dtype=np.float32)
    >>> sorted(change(y, np.random.default_rng(), shift=1.0)) == sorted(y)
    True
    """
    farthest = round(shift * y.shape[-1])
    by = int(rng.integers(-farthest, farthest + 1))
    factor = np.float32(10 ** (rng.uniform(-gain, gain) / 20))
    rolled: Waveform = np.roll(y, by, axis=-1) * factor
    return rolled


def check(paths: Iterable[str], config: SpectrogramConfig, train: TrainConfig) -> None:
    """Refuse before training what would fail during it, or have no effect.

    Raises
    ------
    AudioError
        If a sound file is missing: it may have been removed after the pictures were drawn. Or if it
        is at a URL: the table of clips may be a stranger's, and each epoch would fetch it again.
    ConfigError
        If `gain` is set for pictures in which it changes nothing.
    """
    if train.gain and (config.ref == "max" or config.db_range == "auto"):
        raise ConfigError(
            "gain changes nothing in pictures that each have a scale of their own; render with a "
            "fixed power and range, as --ref 1.0 --db-range fixed, or leave it out"
        )
    for path in paths:
        if is_url(path):
            raise AudioError(
                f'{path}: source = "sounds" trains on files, not on URLs; copy the sounds here and '
                "render the copy, or train on the pictures"
            )
        if not Path(path).is_file():
            raise AudioError(
                f'{path}: no such file, and source = "sounds" trains on the sounds; bring it '
                "back, or train on the pictures"
            )
