"""Networks of the user's own: kept as weights, and as a model folder where they are one of ours.

A model folder says what to build by a name, since no code is read from it. A network that fastai's
``vision_learner`` makes of a torchvision body is the very network that we build, under other names
of tensors: it is found out by what it answers. Any other is kept as its tensors.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from spectro.errors import ConfigError, ModelError
from spectro.models import tensors
from spectro.models.card import OWN
from spectro.models.networks import build as networks
from spectro.plumbing.files import replacing

__all__ = ["as_ours", "load_weights", "save_weights"]

_TRIED = ("resnet18", "resnet34", "resnet50", "cnn4")
_SIDE = 64  # pixels of the pictures by which networks are compared


def as_ours(
    model: nn.Module, n_classes: int, names: Iterable[str] = ()
) -> tuple[str, nn.Module] | None:
    """Find the network of ours that a network is, and return it with the same weights.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation or training mode; left as it is.
    n_classes : int
        Classes that it tells apart.
    names : iterable of str
        Names to try first.

    Returns
    -------
    found : tuple of str and torch.nn.Module, or None
        Name for :func:`spectro.models.networks.build.build`, and the network; None if it is none of
        ours.
    """
    state = {name: t.detach().cpu() for name, t in model.state_dict().items()}
    shapes = [(tuple(t.shape), t.dtype) for t in state.values()]
    for name in dict.fromkeys((*names, *_TRIED)):
        try:
            expected = networks.expected(name, n_classes)
        except ConfigError:
            continue
        if [tuple(wanted) for wanted in expected.values()] != shapes:
            continue
        ours = networks.build(name, n_classes)
        ours.load_state_dict(dict(zip(expected, state.values(), strict=True)))
        if _alike(model, ours):
            return name, ours
    return None


def _alike(model: nn.Module, ours: nn.Module) -> bool:
    """Tell whether two networks answer alike."""
    was_training = model.training
    device = next(model.parameters()).device
    x = torch.rand(2, 3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            theirs = model.eval()(x.to(device)).float().cpu()
            return torch.allclose(theirs, ours.eval()(x), rtol=1e-3, atol=1e-4)
    except (RuntimeError, TypeError, AttributeError):  # one that takes other pictures
        return False
    finally:
        model.train(was_training)


def save_weights(folder: str | Path, model: nn.Module) -> Path:
    """Write the tensors of a network as ``network.safetensors``.

    Parameters
    ----------
    folder : str or Path
        Created if missing.
    model : torch.nn.Module
        Any network.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: t.detach().cpu().clone().contiguous() for name, t in model.state_dict().items()}
    with replacing(folder / OWN) as temporary:
        temporary.write_bytes(safetensors.torch.save(state))
    return folder / OWN


def load_weights(folder: str | Path, model: nn.Module) -> nn.Module:
    """Read what :func:`save_weights` wrote into a network that is built already.

    Parameters
    ----------
    folder : str or Path
        Where it lies.
    model : torch.nn.Module
        The same network, as the code that made it builds it.

    Returns
    -------
    model : torch.nn.Module
        In evaluation mode.

    Raises
    ------
    ModelError
        If the file is missing or not this network's.
    """
    file = Path(folder) / OWN
    expected: dict[str, Any] = {
        name: networks.Expected(tuple(t.shape), t.dtype) for name, t in model.state_dict().items()
    }
    if not file.is_file():
        raise ModelError(f"{folder}: has no {OWN}")
    found = tensors.read_shapes(file, expected)
    if found != expected:
        raise ModelError(
            f"{file}: holds another network's tensors; build the one it was saved from"
        )
    model.load_state_dict(tensors.read_tensors(file, expected))
    return model.eval()
