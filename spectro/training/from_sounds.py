"""Pictures computed from the sounds while training, through the functions that draw the PNGs.

A training clip may then lie elsewhere, or be louder, each time it is heard: what a finished picture
no longer allows. Clips to watch and to score are never changed.
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
    """Turns an item of a DataBlock into its picture, changed if it is trained on.

    Attributes
    ----------
    spectrogram : SpectrogramConfig
        How to draw it.
    config : TrainConfig
        How to change it.
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
    """Draw a clip as its PNG has it, in the three channels that a network sees."""
    return clip_image(path, config, start=start, end=end).convert("RGB")


def augmented_image(
    path: str,
    config: SpectrogramConfig,
    train: TrainConfig,
    start: float | None = None,
    end: float | None = None,
) -> Image.Image:
    """Draw a training clip, changed as `train` says.

    Draws come from Python's own generator, which fastai seeds in each of its workers: the same
    seed and number of workers make the same pictures.

    Parameters
    ----------
    path : str
        Sound file.
    config : SpectrogramConfig
        How to draw it.
    train : TrainConfig
        Gives ``place``, ``wave_shift`` and ``gain``.
    start, end : float or None
        Part of the file in seconds; nothing beyond it is heard.

    Returns
    -------
    image : PIL.Image.Image [mode="RGB"]

    Raises
    ------
    AudioError
        If the file cannot be decoded.
    """
    # Of torch, whose generator none but a training draws from, unlike Python's.
    rng = np.random.default_rng(int(torch.randint(2**62, ())))
    y = load_clip(path, config, start=start, end=end, rng=rng if train.place else None)
    y = change(y, rng, shift=train.wave_shift, gain=train.gain)
    return spectrogram_image(y, config).convert("RGB")


def change(
    y: Waveform, rng: np.random.Generator, *, shift: float = 0.0, gain: float = 0.0
) -> Waveform:
    """Roll a waveform in time and make it louder or quieter.

    Parameters
    ----------
    y : np.ndarray [shape=(..., n)], float32
        Left as it is.
    rng : np.random.Generator
        Draws how far and how much, evenly either way; for all channels alike.
    shift : float
        The farthest, as a share of the length: what leaves at one end comes in at the other.
    gain : float
        The most, in dB.

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
    """Refuse what would fail in the middle of training, or do nothing.

    Raises
    ------
    AudioError
        If a sound file is not there: pictures outlive the sounds that they were drawn from.
    ConfigError
        If gain is asked for where it cannot be seen.
    """
    if train.gain and config.ref == "max":
        raise ConfigError(
            "gain changes nothing in pictures whose 0 dB is the clip's own maximum; render with a "
            "fixed power, as --ref 1.0, or leave it out"
        )
    for path in paths:
        if not is_url(path) and not Path(path).is_file():
            raise AudioError(
                f'{path}: no such file, and source = "sounds" trains on the sounds; bring it '
                "back, or train on the pictures"
            )
