"""Networks of timm, which the extra ``timm`` brings; imported where one of them is asked for.

timm's registry says what each is: its layers, its classifier, the mean and deviation of the
pictures that it learned from. Nothing here downloads: networks are built without weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import nn

from spectro.errors import ConfigError, MissingExtraError

__all__ = [
    "PREFIX",
    "Maps",
    "body",
    "check_name",
    "expected_state",
    "statistics",
    "synchronise_norms",
    "tops",
]

PREFIX = "timm/"  # before a name, where torchvision has a network of the same name

_Triple = tuple[float, float, float]


class Maps(nn.Module):
    """A network of timm up to its feature maps, without pooling and classifier.

    Parameters
    ----------
    net : torch.nn.Module
        As ``timm.create_model(name, num_classes=0)`` makes it.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"  # as a Swin gives them

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, 3, height, width) to feature maps (n, features, rows, columns)."""
        maps: torch.Tensor = self.net.forward_features(x)  # type: ignore[operator]
        return maps.permute(0, 3, 1, 2) if self.channels_last else maps

    def halves(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Split the parameters into those of early and of late stages.

        Stages are those of timm's registry (``group_matcher(coarse=True)``), the first half of
        them early, as fastai splits a ResNet; of a network without, all are late.
        """
        named = dict(self.net.named_parameters())
        try:
            groups = _timm().models.group_parameters(
                self.net,
                self.net.group_matcher(coarse=True),  # type: ignore[operator]
            )
        except AttributeError:
            return [], list(named.values())
        stages = [names for _, names in sorted(groups.items())]
        middle = (len(stages) + 1) // 2
        early, late = (
            [named[name] for names in half for name in names]
            for half in (stages[:middle], stages[middle:])
        )
        return early, late


def check_name(arch: str) -> None:
    """Refuse what is no network of timm by its plain name, as "tf_efficientnet_lite0".

    Names with a tag of weights, and those that would be fetched from a hub, are none.

    Raises
    ------
    MissingExtraError
        If timm is not installed, and `arch` is timm's by its prefix.
    ConfigError
        If there is no such network.
    """
    known = "cnn4 or a name of torchvision, as resnet18"
    try:
        names = _timm().list_models()
    except MissingExtraError:
        if arch.startswith(PREFIX):
            raise
        raise ConfigError(
            f"unknown arch {arch[:100]!r}; use {known}, or, after pip install 'spectro[timm]', "
            "one of timm, as tf_efficientnet_lite0"
        ) from None
    if arch.removeprefix(PREFIX) not in names:
        raise ConfigError(
            f"unknown arch {arch[:100]!r}; use {known}, or of timm, as tf_efficientnet_lite0"
        )


def body(arch: str, state: Mapping[str, torch.Tensor] | None = None) -> nn.Sequential:
    """Build a network of timm up to its feature maps.

    Parameters
    ----------
    arch : str
        timm's name, with or without "timm/" before it.
    state : mapping of str to torch.Tensor, or None
        timm's state dict, the classifier's tensors apart; None starts from random weights.

    Returns
    -------
    body : torch.nn.Sequential
        Of one module, :class:`Maps`.

    Raises
    ------
    ConfigError
        If there is no such network, or it does not make maps of pictures of any size.
    """
    check_name(arch)
    net = _create(arch, num_classes=0)
    if state is not None:
        net.load_state_dict(state, strict=False)  # weights.resolve has checked every name
    built = nn.Sequential(Maps(net))
    _check_maps(arch, built)
    return built


def _check_maps(arch: str, built: nn.Sequential) -> None:
    """Try a network on a picture of an odd shape: many transformers take one shape alone."""
    like = next(built.parameters())
    try:
        with torch.no_grad():
            maps = built.eval()(torch.zeros(1, 3, 64, 96, device=like.device))
        fits = maps.ndim == 4 and maps.shape[2] < maps.shape[3]
    except (AssertionError, RuntimeError, ValueError, AttributeError):
        fits = False
    built.train()
    if not fits:
        raise ConfigError(
            f"{arch} makes no feature maps of pictures of any size; use a convolutional network, "
            "as tf_efficientnet_lite0, resnet18 or convnext_tiny"
        )


def expected_state(arch: str) -> dict[str, torch.Tensor]:
    """Build the whole network, its classifier too, and give its state dict."""
    check_name(arch)
    state: dict[str, torch.Tensor] = _create(arch).state_dict()
    return state


def tops(arch: str) -> tuple[str, ...]:
    """Name what the tensors of the classifier begin with."""
    named = _about(arch).get("classifier") or ()
    return tuple(f"{name}." for name in ((named,) if isinstance(named, str) else named))


def statistics(arch: str) -> tuple[_Triple, _Triple]:
    """Give the mean and deviation of red, green and blue that a network of timm expects."""
    check_name(arch)
    about = _about(arch)
    mean, std = ((*map(float, about[name]),) for name in ("mean", "std"))
    if not len(mean) == len(std) == 3:
        raise ConfigError(f"{arch} takes {len(mean)} channels, and pictures have three")
    return mean, std  # three each


def synchronise_norms(network: torch.nn.Module) -> None:
    """Convert batch norm as torch does, but keep the activations that timm's norms have."""
    _timm().layers.convert_sync_batchnorm(network)


def _about(arch: str) -> dict[str, Any]:
    found: dict[str, Any] = _timm().models.get_pretrained_cfg(arch.removeprefix(PREFIX)).to_dict()
    return found


def _create(arch: str, **how: Any) -> Any:
    return _timm().create_model(arch.removeprefix(PREFIX), pretrained=False, **how)


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError:
        raise MissingExtraError("timm", "a network of timm") from None
    return timm
