"""Augmentation: random changes of training pictures that leave their labels true.

All work on levels from 0 to 1, not on colours: a change of a colour may be no colour that there is.
They take whole batches, on the batch's device, with a random draw for each picture. None flips or
rotates a picture: a spectrogram upside down is another sound.
"""

from __future__ import annotations

from spectro.errors import ConfigError
from spectro.pictures.settings import SpectrogramConfig
from spectro.training.augment.filters import Background, BandGain, MixStyle
from spectro.training.augment.geometry import Crop, Masks, Shift, Warp
from spectro.training.augment.transform import Transform
from spectro.training.settings import TrainConfig

__all__ = [
    "Background", "BandGain", "Crop", "Masks", "MixStyle", "Shift", "Transform", "Warp",
    "transforms",
]  # fmt: skip


def transforms(config: TrainConfig, spectrogram: SpectrogramConfig | None) -> list[Transform]:
    """List the changes of a training batch under these settings, in order.

    Parameters
    ----------
    config : TrainConfig
        Gives the changes.
    spectrogram : SpectrogramConfig or None
        Gives the range of the levels, which `background` needs.

    Raises
    ------
    ConfigError
        If `spectrogram` is needed and not given.
    """
    chosen: list[Transform] = []
    if config.crop:
        chosen.append(Crop(config.crop))  # first: all that follows has less to do
    if config.background:
        if spectrogram is None:
            raise ConfigError("background needs the settings that the pictures were drawn with")
        chosen.append(Background(config.background, spectrogram.top_db))
    if config.mixstyle:
        chosen.append(MixStyle(config.mixstyle))
    if config.band_gain:
        chosen.append(BandGain(config.band_gain))
    if config.stretch or config.pitch:
        chosen.append(Warp(config.stretch, config.pitch))
    if config.shift:
        chosen.append(Shift(config.shift))
    if config.time_masks or config.freq_masks:
        chosen.append(Masks(config.time_masks, config.freq_masks, config.mask_share))
    return chosen
