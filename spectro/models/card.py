"""The model card: what to build, what to show it, what it is worth. Needs no torch."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.settings import Settings

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "ModelCard"]

# Channel statistics of ImageNet, which torchvision's weights were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ModelCard(Settings):
    """What a model is: enough to rebuild it, to feed it, and to judge it.

    Parameters
    ----------
    arch : str
        torchvision's name of the body.
    members : int
        Networks whose probabilities are averaged.
    labels : tuple of str
        Classes, in the order of the probabilities.
    spectrogram : SpectrogramConfig
        How a clip becomes the picture that the network knows.
    size : int or None
        Side that pictures are resized to; None for as they are.
    mean, std : tuple of float
        Normalisation of the three channels.
    training : dict
        Settings, weights, dataset and fold it was trained with.
    scores : dict
        What it reached, and on which clips.
    licence : str
        Licence of the sounds it was trained on.
    """

    table: ClassVar[str] = "model"

    format: int = Field(1, ge=1, le=1)
    arch: str
    members: int = Field(1, ge=1)
    labels: tuple[str, ...] = Field(min_length=2)
    spectrogram: SpectrogramConfig
    size: int | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    training: dict[str, Any] = Field(default_factory=dict)
    scores: dict[str, Any] = Field(default_factory=dict)
    licence: str = ""
