"""Autocast of ours: which layers compute in sixteen bits, and that training stays in order."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from spectro.models.networks.precision import autocast

CPU = torch.device("cpu")


def outputs(precision: str, **layers: nn.Module) -> dict[str, torch.dtype]:
    x = torch.rand(2, 8, 6, 6)
    with autocast(CPU, precision):
        return {name: layer(x).dtype for name, layer in layers.items()}


def test_all_but_depthwise_convolutions_of_a_processor_are_in_sixteen_bits() -> None:
    layers = {
        "pointwise": nn.Conv2d(8, 16, 1),
        "groups": nn.Conv2d(8, 8, 3, groups=2),
        "depthwise": nn.Conv2d(8, 8, 3, groups=8),
        "two of each": nn.Conv2d(8, 16, 3, groups=8, bias=False),
    }
    half, single = torch.bfloat16, torch.float32
    assert outputs("fp32", **layers) == dict.fromkeys(layers, single)
    assert outputs("bf16", **layers) == dict(zip(layers, (half, half, single, single), strict=True))
    x, weight = torch.rand(2, 8, 6, 6), torch.rand(8, 1, 3, 3)
    with autocast(CPU, "bf16"):
        assert functional.conv2d(input=x, weight=weight, groups=8).dtype == single
        assert functional.conv2d(x, weight=weight, groups=8).dtype == single
        assert functional.conv2d(input=x, weight=torch.rand(4, 8, 1, 1)).dtype == half
    one = nn.Conv2d(1, 4, 3)  # a convolution of one channel alone is none
    with autocast(CPU, "bf16"):
        assert one(torch.rand(2, 1, 6, 6)).dtype == half
        assert one(torch.rand(1, 6, 6)).dtype == half


def test_autocast_is_left_with_the_block_and_by_errors() -> None:
    layer, x = nn.Conv2d(8, 8, 3, groups=8), torch.rand(2, 8, 6, 6).bfloat16()
    with pytest.raises(RuntimeError, match="stop"), autocast(CPU, "bf16"):
        raise RuntimeError("stop")
    assert not torch.is_autocast_enabled("cpu")
    with pytest.raises(RuntimeError):  # nothing converts sixteen bits for it any more
        layer(x)


def test_depthwise_gradients_are_those_of_float32() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 5, groups=8, padding=2)
    x = torch.rand(4, 8, 16, 4)
    layer(x).square().mean().backward()
    assert layer.weight.grad is not None
    expected = layer.weight.grad.clone()
    layer.zero_grad()
    with autocast(CPU, "bf16"):
        y = layer(x)
    y.square().mean().backward()
    torch.testing.assert_close(layer.weight.grad, expected)
