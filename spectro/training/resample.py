"""Pillow's bilinear resizing of bytes, on any device and to the bit.

Pictures are kept as levels and become colours a batch at a time, so that is when they are resized;
prediction resizes the one picture that it has with Pillow.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from PIL import Image

__all__ = ["resized"]

_BITS = 22  # of a weight's fraction: Pillow computes in whole numbers of 32 bits


def resized(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Squish pictures, antialiased.

    Parameters
    ----------
    pixels : torch.Tensor [shape=(n, height before, width before, channels)], uint8
    height, width : int
        In pixels.

    Returns
    -------
    pixels : torch.Tensor [shape=(n, height, width, channels)], uint8
        The bytes that ``Image.resize((width, height), Image.Resampling.BILINEAR)`` gives.
    """
    sides = {1: height, 2: width}
    first, second = (2, 1) if _widths_first(*pixels.shape[1:3], height, width) else (1, 2)
    return _along(_along(pixels, first, sides[first]), second, sides[second])


@functools.cache
def _widths_first(before: int, wide: int, height: int, width: int) -> bool:
    """Ask Pillow which side it resizes first: that depends on shape and version, and shows."""
    noise = np.random.default_rng(0).integers(0, 256, (before, wide, 3), dtype=np.uint8)
    theirs = Image.fromarray(noise).resize((width, height), Image.Resampling.BILINEAR)
    ours = _along(_along(torch.from_numpy(noise)[None], 2, width), 1, height)[0]
    return np.array_equal(ours.numpy(), np.asarray(theirs))


def _along(pixels: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    """Resize one side."""
    places, weights = (table.to(pixels.device) for table in _taps(pixels.shape[dim], size))
    shape = [1] * pixels.ndim
    shape[dim] = size
    total = torch.full((), 1 << (_BITS - 1), dtype=torch.int32, device=pixels.device)
    for place, weight in zip(places, weights, strict=True):
        total = total + pixels.index_select(dim, place).int() * weight.view(shape)
    return (total >> _BITS).clamp(0, 255).byte()


@functools.cache
def _taps(before: int, after: int) -> tuple[torch.Tensor, torch.Tensor]:
    """List the pixels that each new one is a mean of, and their weights, both (taps, after)."""
    scale = before / after
    support = max(scale, 1.0)
    centres = (torch.arange(after, dtype=torch.float64) + 0.5) * scale
    first = (centres - support + 0.5).long().clamp(min=0)
    last = (centres + support + 0.5).long().clamp(max=before)
    places = first + torch.arange(int((last - first).max()))[:, None]
    weights = 1 - ((places - centres + 0.5) * (1 / support)).abs()
    weights = torch.where(places < last, weights.clamp(min=0), 0.0)
    weights /= weights.sum(dim=0)
    return places.clamp(max=before - 1), (weights * (1 << _BITS) + 0.5).int()
