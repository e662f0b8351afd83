"""Levels of a picture from its colours, and colours from levels."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from spectro.pictures.colors import palette
from spectro.training.augment.transform import Transform

__all__ = ["OnLevels", "to_colours", "to_levels"]

# Weights of red, green and blue under which all 256 colours of magma differ in brightness.
_BRIGHTNESS = (2.0, 3.0, 1.0)


class OnLevels(Transform):
    """Apply changes of levels, from 0 to 1, to pictures in colours.

    Pixels whose level stays the same keep their exact colour, even one that the palette lacks.

    Parameters
    ----------
    changes : sequence of Transform
        Applied in this order, to levels of shape (n, channels, height, width).
    drawn : "magma", "gray" or "both"
        How pixels stand for levels: by the palette, for one channel of sound; or "both" channels,
        with levels in red and green and their mean in blue.
    """

    def __init__(self, changes: Sequence[Transform], drawn: str) -> None:
        self.changes, self.drawn = list(changes), drawn

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Change a batch; values of `x` are those of the picture, from 0 to 1, not normalised."""
        levels = to_levels(x, self.drawn)
        changed = levels
        for change in self.changes:
            changed = change(changed)
        return torch.where(
            (changed == levels).all(1, keepdim=True), x, to_colours(changed, self.drawn)
        )


@functools.cache
def _palette(cmap: str, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the colours of all levels from 0 to 1, shape (256, 3)."""
    table = torch.frombuffer(bytearray(palette(cmap)), dtype=torch.uint8).view(256, 3)
    return table.to(device, dtype) / 255


def to_levels(x: torch.Tensor, drawn: str) -> torch.Tensor:
    """Find the level of each pixel, shape (n, channels, height, width) of one or two channels.

    Resizing blends colours; such a pixel gets the level of similar brightness.
    """
    if drawn != "magma":
        return x[:, : 2 if drawn == "both" else 1]
    weights = torch.tensor(_BRIGHTNESS).to(x)
    steps = _palette(drawn, x.dtype, x.device) @ weights
    brightness = torch.einsum("nchw,c->nhw", x, weights)[:, None]
    return torch.bucketize(brightness, (steps[1:] + steps[:-1]) / 2).to(x) / 255


def to_colours(levels: torch.Tensor, drawn: str) -> torch.Tensor:
    """Return the colours of levels, shape (n, 3, height, width)."""
    if drawn == "gray":
        return levels.expand(-1, 3, -1, -1)
    if drawn == "both":
        return torch.cat([levels, levels.mean(dim=1, keepdim=True)], dim=1)
    colours = _palette(drawn, levels.dtype, levels.device)
    return colours[(levels[:, 0] * 255).round().long()].permute(0, 3, 1, 2)
