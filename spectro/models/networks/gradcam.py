"""Grad-CAM: which part of a picture speaks for a class.

References
----------
R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from spectro.models.card import IMAGENET_MEAN, IMAGENET_STD
from spectro.models.networks.build import Ensemble
from spectro.pictures.colors import palette

__all__ = ["gradcam", "overlay"]

_OPACITY = 0.75  # of the strongest evidence; the spectrogram shows through
_DARKEST, _BRIGHTEST = 90, 215  # of magma's colours: purple to orange, neither black nor white


def gradcam(
    network: nn.Module,
    pixels: torch.Tensor,
    classes: torch.Tensor | Sequence[int],
    *,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> torch.Tensor:
    """Map where in each picture the evidence for a class lies.

    The last feature maps, which the body gives out, weighted each by the mean gradient of the
    class's logit with respect to it, summed, and cut at zero. A map is as fine as they are, a cell
    to 32 pixels each way in most networks, and in between it is bilinear: it tells the region, not
    the pixel.

    The network is only looked at: its mode, its gradients and its hooks are left as they were.

    Parameters
    ----------
    network : torch.nn.Sequential or Ensemble
        Body and head of :func:`spectro.models.networks.build.build`, used in evaluation mode. Of an
        ensemble, the mean of its networks' maps.
    pixels : torch.Tensor [shape=(n, 3, height, width)], float32
        Between 0 and 1; see :func:`spectro.pictures.spectrogram.network_pixels`.
    classes : torch.Tensor or sequence of int [shape=(n,)]
        Position of the class to explain in each picture, such as the predicted one.
    mean, std : tuple of float
        Normalisation of the three channels, as the model card has it.

    Returns
    -------
    maps : torch.Tensor [shape=(n, height, width)], float32
        Each from 0 to 1 at its strongest place; 0 everywhere where nothing speaks for the class.

    References
    ----------
    Selvaraju et al. 2017, equations 1 and 2.
    """
    if isinstance(network, Ensemble):
        each = [gradcam(one, pixels, classes, mean=mean, std=std) for one in network.members]
        return _to_one(torch.stack(each).mean(dim=0))
    assert isinstance(network, nn.Sequential)
    modes = [module.training for module in network.modules()]
    try:
        with torch.inference_mode(False):
            shift, scale = (pixels.new_tensor(values).view(1, 3, 1, 1) for values in (mean, std))
            features, gradients = _slopes(network.eval(), (pixels - shift) / scale, classes)
            stride, *first = _cells(network[0], pixels)
    finally:
        for module, training in zip(network.modules(), modes, strict=True):
            module.training = training
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    evidence = (weights * features).sum(dim=1).relu()
    rows, columns = (
        _between(size, cells, stride, at).to(evidence)
        for size, cells, at in zip(pixels.shape[-2:], evidence.shape[-2:], first, strict=True)
    )
    return _to_one(rows @ evidence @ columns.T)


def _to_one(maps: torch.Tensor) -> torch.Tensor:
    """Scale each map to 1 at its strongest place; one of zeros stays."""
    strongest = maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(strongest > 0, maps / strongest, torch.zeros_like(maps))


def _slopes(
    network: nn.Sequential, x: torch.Tensor, classes: torch.Tensor | Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the last feature maps, and the gradient of each picture's logit with respect to them.

    The two halves are run one after the other, so that nothing need be hooked, and nothing be kept
    for a gradient through the body.
    """
    body, head = network
    with torch.no_grad():
        features = body(x)
    with torch.enable_grad():
        leaf = features.detach().requires_grad_()
        chosen = torch.as_tensor(classes, device=x.device).view(-1, 1)
        logits = head(leaf).gather(1, chosen)
        (gradients,) = torch.autograd.grad(logits.sum(), leaf)
    return features, gradients


def _cells(body: nn.Module, like: torch.Tensor) -> tuple[float, float, float]:
    """Give the distance of a body's cells in pixels, and which row and column the first looks at.

    Stretching the cells evenly over the picture, as is common, would put the maps of a ResNet half
    a cell too late and too low: its convolutions are padded so that the first cell is centred on
    pixel 0, and one pixel too many makes another cell. Where it does not, the cells tile the
    picture, as in a VGG or ConvNeXt.
    """
    with torch.no_grad():
        rows, columns = body(like.new_zeros(1, 3, 64, 65)).shape[2:]
    stride = 64 / rows
    same = [module for module in body.modules() if type(module).__name__ == "Conv2dSame"]
    if same:
        return stride, *(_first_of_same(same, size) for size in like.shape[2:])
    first = 0.0 if columns > rows else (stride - 1) / 2
    return stride, first, first


def _first_of_same(convolutions: Sequence[Any], size: int) -> float:
    """Give the pixel that the first cell is centred on, where padding is TensorFlow's.

    Networks brought from there (timm's ``tf_``) are padded as each size asks for: of an even one
    a convolution that halves it leaves out the first place, of an odd one it does not.
    """
    first, scale = 0.0, 1
    for convolution in convolutions:
        (side, _), (step, _) = convolution.kernel_size, convolution.stride
        if step == 1:
            continue
        after = -(-size // step)
        padding = max((after - 1) * step + side - size, 0)
        first += scale * ((side - 1) / 2 - padding // 2)
        scale, size = scale * step, after
    return first


def _between(size: int, cells: int, stride: float, first: float) -> torch.Tensor:
    """Say how much each pixel has of each cell, shape (size, cells); beyond the last, all of it."""
    place = ((torch.arange(size) - first) / stride).clamp(0, cells - 1)
    return (1 - (place[:, None] - torch.arange(cells)).abs()).clamp(min=0)


def overlay(image: Image.Image, heat: npt.ArrayLike | torch.Tensor) -> Image.Image:
    """Lay a map over its picture: the spectrogram in grey, the evidence from purple to orange.

    Parameters
    ----------
    image : PIL.Image.Image
        Picture of any mode.
    heat : array_like or torch.Tensor [shape=(height, width)]
        A map of :func:`gradcam`, 0 to 1; stretched to the picture if the two differ in size.

    Returns
    -------
    image : PIL.Image.Image [mode="RGB"]
        As large as the picture. Where there is no evidence, plain grey.
    """
    grey = np.asarray(image.convert("L"), dtype=np.float32)[:, :, np.newaxis]
    stretched = Image.fromarray(np.asarray(heat, dtype=np.float32)).resize(
        image.size, Image.Resampling.BILINEAR
    )
    share = np.clip(np.asarray(stretched), 0, 1)
    colors = np.frombuffer(palette("magma"), dtype=np.uint8).reshape(256, 3)
    colour = colors[np.rint(_DARKEST + share * (_BRIGHTEST - _DARKEST)).astype(int)]
    opacity = _OPACITY * share[:, :, np.newaxis]
    return Image.fromarray(np.rint(grey * (1 - opacity) + colour * opacity).astype(np.uint8))
