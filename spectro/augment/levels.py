"""From a picture's colours to the levels that they stand for, and back."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from spectro.augment.transform import Transform
from spectro.colors import palette

__all__ = ["OnLevels", "to_colours", "to_levels"]

# Of red, green and blue: in whole steps of 8 bits, no two colours of magma are as bright.
_BRIGHTNESS = (2.0, 3.0, 1.0)


class OnLevels(Transform):
    """Changes of levels, from 0 to 1, made to pictures in colours.

    Parameters
    ----------
    changes : sequence of Transform
        Made in turn, to levels of shape (n, 1, height, width).
    cmap : "magma" or "gray"
        Colours of the pictures: what tells a level from a pixel. Where each channel holds levels
        of its own, "gray" as well.
    """

    def __init__(self, changes: Sequence[Transform], cmap: str) -> None:
        self.changes, self.cmap = list(changes), cmap

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Change them; `x` holds what the picture does, from 0 to 1, not yet normalised."""
        levels = x if self.cmap == "gray" else to_levels(x, self.cmap)
        for change in self.changes:
            levels = change(levels)
        return levels if self.cmap == "gray" else to_colours(levels, self.cmap)


@functools.cache
def _palette(cmap: str, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Give the colours of all levels from 0 to 1, shape (256, 3)."""
    table = torch.frombuffer(bytearray(palette(cmap)), dtype=torch.uint8).view(256, 3)
    return table.to(device, dtype) / 255


def to_levels(x: torch.Tensor, cmap: str) -> torch.Tensor:
    """Find the level of each pixel, shape (n, 1, height, width).

    Of a pixel that is no colour of the palette, as resizing makes them, one about as bright.
    """
    weights = torch.tensor(_BRIGHTNESS).to(x)
    steps = _palette(cmap, x.dtype, x.device) @ weights
    brightness = torch.einsum("nchw,c->nhw", x, weights)[:, None]
    return torch.bucketize(brightness, (steps[1:] + steps[:-1]) / 2).to(x) / 255


def to_colours(levels: torch.Tensor, cmap: str) -> torch.Tensor:
    """Colour levels, shape (n, 1, height, width), as pictures are, shape (n, 3, height, width)."""
    colours = _palette(cmap, levels.dtype, levels.device)
    return colours[(levels[:, 0] * 255).round().long()].permute(0, 3, 1, 2)
