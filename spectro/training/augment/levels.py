"""From a picture's colours to the levels that they stand for, and back."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch

from spectro.pictures.colors import palette
from spectro.training.augment.transform import Transform

__all__ = ["OnLevels", "to_colours", "to_levels"]

# Of red, green and blue: in whole steps of 8 bits, no two colours of magma are as bright.
_BRIGHTNESS = (2.0, 3.0, 1.0)


class OnLevels(Transform):
    """Changes of levels, from 0 to 1, made to pictures in colours.

    Pixels whose level they leave keep their colour, whether the palette has it or not.

    Parameters
    ----------
    changes : sequence of Transform
        Made in turn, to levels of shape (n, channels, height, width).
    drawn : "magma", "gray" or "both"
        What tells a level from a pixel: the colours of one channel of sound, or the levels of two
        in red and green and their mean in blue.
    """

    def __init__(self, changes: Sequence[Transform], drawn: str) -> None:
        self.changes, self.drawn = list(changes), drawn

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Change them; `x` holds what the picture does, from 0 to 1, not yet normalised."""
        levels = to_levels(x, self.drawn)
        changed = levels
        for change in self.changes:
            changed = change(changed)
        return torch.where(
            (changed == levels).all(1, keepdim=True), x, to_colours(changed, self.drawn)
        )


@functools.cache
def _palette(cmap: str, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Give the colours of all levels from 0 to 1, shape (256, 3)."""
    table = torch.frombuffer(bytearray(palette(cmap)), dtype=torch.uint8).view(256, 3)
    return table.to(device, dtype) / 255


def to_levels(x: torch.Tensor, drawn: str) -> torch.Tensor:
    """Find the level of each pixel, shape (n, channels, height, width) of one or two channels.

    Of a pixel that is no colour of the palette, as resizing makes them, one about as bright.
    """
    if drawn != "magma":
        return x[:, : 2 if drawn == "both" else 1]
    weights = torch.tensor(_BRIGHTNESS).to(x)
    steps = _palette(drawn, x.dtype, x.device) @ weights
    brightness = torch.einsum("nchw,c->nhw", x, weights)[:, None]
    return torch.bucketize(brightness, (steps[1:] + steps[:-1]) / 2).to(x) / 255


def to_colours(levels: torch.Tensor, drawn: str) -> torch.Tensor:
    """Colour levels as pictures are, shape (n, 3, height, width)."""
    if drawn == "gray":
        return levels.expand(-1, 3, -1, -1)
    if drawn == "both":
        return torch.cat([levels, levels.mean(dim=1, keepdim=True)], dim=1)
    colours = _palette(drawn, levels.dtype, levels.device)
    return colours[(levels[:, 0] * 255).round().long()].permute(0, 3, 1, 2)
