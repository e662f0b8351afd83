"""cnn4: four convolutions, the network of listeners with little power."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

__all__ = ["body", "head"]

_CHANNELS = (3, 8, 16, 32, 64)
_SLOPE = 0.1  # of the leaky ReLU that its usual Kaiming initialisation is computed for


def body() -> nn.Sequential:
    """Build the four blocks: convolution of stride 2 (5 x 5, then 3 x 3), ReLU, batch norm.

    Returns
    -------
    body : torch.nn.Sequential
        Maps (n, 3, height, width) to (n, 64, height / 16, width / 16).
    """
    sides = (5, 3, 3, 3)
    blocks = [_block(*ends, side) for ends, side in zip(pairwise(_CHANNELS), sides, strict=True)]
    return nn.Sequential(*blocks)


def _block(channels_in: int, channels_out: int, side: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, side, stride=2, padding=side // 2)
    nn.init.kaiming_normal_(convolution.weight, a=_SLOPE)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolution, nn.ReLU(), nn.BatchNorm2d(channels_out))


def head(n_classes: int) -> nn.Sequential:
    """Build the head: the mean over time and frequency, then one linear layer.

    Parameters
    ----------
    n_classes : int
        Classes to tell apart.

    Returns
    -------
    head : torch.nn.Sequential
        Maps (n, 64, height, width) to logits (n, n_classes).
    """
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(_CHANNELS[-1], n_classes))
