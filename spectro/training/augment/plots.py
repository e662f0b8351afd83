"""A figure that shows how augmentation changes pictures."""

from __future__ import annotations

import pandas as pd
import torch
from matplotlib.figure import Figure

from spectro.pictures.read import read_levels
from spectro.pictures.settings import SpectrogramConfig
from spectro.training import augment
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
    levels = read_levels([*clips["image"]], config.size)
    pixels = torch.from_numpy(levels).permute(0, 3, 1, 2) / 255
    none = config.replace(**dict.fromkeys(config.picture_changes, 0))
    rows = {"as they are": none}
    for name in config.picture_changes:
        rows[name] = none.replace(**{name: getattr(config, name)})
    rows["all together"] = config
    figure = Figure(figsize=(2.3 * len(clips) + 1.4, 1.3 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(clips), squeeze=False)
    for row, (name, one) in zip(axes, rows.items(), strict=True):
        changed = pixels
        for change in augment.transforms(one, spectrogram):
            changed = change(changed)
        for axis, picture in zip(row, changed.permute(0, 2, 3, 1).numpy(), strict=True):
            axis.imshow(picture.clip(0, 1), aspect="auto", interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for axis, label in zip(axes[0], clips["label"], strict=True):
        axis.set_title(label, fontsize="small")
    return figure
