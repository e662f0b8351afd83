"""A figure that shows how augmentation changes pictures."""

from __future__ import annotations

import pandas as pd
import torch
from matplotlib.figure import Figure

from spectro.pictures.read import read_grey
from spectro.pictures.settings import SpectrogramConfig
from spectro.training import augment
from spectro.training.pixels import Colour
from spectro.training.settings import TrainConfig

__all__ = ["augmented"]


def augmented(clips: pd.DataFrame, config: TrainConfig, spectrogram: SpectrogramConfig) -> Figure:
    """Draw pictures under each augmentation alone, a row each, and then under all together.

    Not `mixup`, nor the changes of sounds.

    Parameters
    ----------
    clips : pandas.DataFrame
        A few rendered clips with ``image`` and ``label``; one column each. A background comes from
        the neighbour.
    config : TrainConfig
        Gives the augmentations, which are random in each row, as in each epoch.
    spectrogram : SpectrogramConfig
        How the pictures were drawn.
    """
    drawn = spectrogram.drawn
    levels = torch.from_numpy(read_grey([*clips["image"]], drawn)) / 255
    colour = Colour(drawn, config.size, frames=levels.shape[3])
    none = config.replace(**dict.fromkeys(config.picture_changes, 0))
    rows = {"as they are": none}
    for name in config.picture_changes:
        rows[name] = none.replace(**{name: getattr(config, name)})
    rows["all together"] = config
    figure = Figure(figsize=(2.3 * len(clips) + 1.4, 1.3 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(clips), squeeze=False)
    for row, (name, one) in zip(axes, rows.items(), strict=True):
        changed = levels
        for change in augment.transforms(one, spectrogram):
            changed = change(changed)
        pictures = colour.colours((changed * 255).round().clamp(0, 255).byte()).numpy()
        for axis, picture in zip(row, pictures, strict=True):
            axis.imshow(picture, aspect="auto", interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for axis, label in zip(axes[0], clips["label"], strict=True):
        axis.set_title(label, fontsize="small")
    return figure
