"""Where training starts: ImageNet weights, a file, or chance. Never by executing a pickle."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torchvision

from spectro.errors import ConfigError, ModelError

__all__ = ["Weights", "resolve"]

_TIMEOUT = 30  # s without a byte before a download counts as failed


@dataclass(frozen=True)
class Weights:
    """Tensors to start from, and what to write into the run about them.

    Attributes
    ----------
    source : str
        "imagenet", "file" or "random".
    detail : str
        torchvision's name of the weights, or the file with its SHA-256, or why they are random.
    state : dict of str to torch.Tensor, or None
        torchvision state dict; None for random weights.
    """

    source: str
    detail: str
    state: dict[str, torch.Tensor] | None = field(repr=False, default=None)


def resolve(spec: str, arch: str) -> Weights:
    """Find the weights that a :class:`~spectro.training.settings.TrainConfig` asks for.

    Parameters
    ----------
    spec : str
        "imagenet", "auto", "none", or a file with a torchvision state dict (``.pth`` or
        ``.safetensors``).
    arch : str
        torchvision's name of the network, or "cnn4".

    Returns
    -------
    Weights
        With "auto", random ones if ImageNet's cannot be had; `detail` says why.

    Raises
    ------
    ConfigError
        If torchvision has no network of that name, or no weights for it.
    ModelError
        If the weights cannot be had or do not fit the network.
    """
    if spec == "none":
        return Weights("random", "random weights, as asked")
    if arch == "cnn4":
        return _none_for(spec, arch)
    if spec == "imagenet":
        return _imagenet(arch)
    if spec == "auto":
        try:
            return _imagenet(arch)
        except ModelError as error:
            reason = str(error).split(". ")[0]
            return Weights("random", f"random weights, since {reason}")
    return _from_file(Path(spec), arch)


def _none_for(spec: str, arch: str) -> Weights:
    """Answer for a network that nobody has published weights of."""
    if spec == "auto":
        return Weights("random", f"random weights, since there are no others for {arch}")
    raise ConfigError(f"{arch} starts from random weights only; use --weights none, not {spec}")


def _imagenet(arch: str) -> Weights:
    """Load torchvision's weights from its cache, downloading them there if need be."""
    try:
        weights = torchvision.models.get_model_weights(arch).DEFAULT
    except ValueError:
        raise ConfigError(f"torchvision has no ImageNet weights for {arch!r}") from None
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    file_name = Path(weights.url).name
    try:
        with _impatient():
            state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:  # network, disk, a damaged cache: all end in the same three ways
        raise ModelError(
            f"ImageNet weights of {arch} cannot be had ({_reason(error)}). "
            f"Three ways on: connect to the network and run again; put a good {file_name} into "
            f"{cache}; or start from elsewhere with --weights FILE or --weights none"
        ) from None
    return Weights("imagenet", str(weights), _checked(state, arch, str(cache / file_name)))


@contextmanager
def _impatient() -> Iterator[None]:
    """Give up on a silent network: torch's download has no time limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: Exception) -> str:
    """Say in one line why reading failed."""
    told = str(getattr(error, "reason", None) or error).strip()
    return told.splitlines()[0] if told else type(error).__name__


def _from_file(path: Path, arch: str) -> Weights:
    if not path.is_file():
        raise ModelError(
            f"{path}: no such weights file; --weights takes imagenet, auto, none or a file"
        )
    try:
        if path.suffix == ".safetensors":
            state: Any = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the readers raise anything, KeyError too
        raise ModelError(f"{path}: cannot be read as a state dict ({_reason(error)})") from None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Weights("file", f"{path.name}, sha256 {digest}", _checked(state, arch, str(path)))


def _checked(state: Any, arch: str, origin: str) -> dict[str, torch.Tensor]:
    """Return the body's tensors in float32, having compared every name and shape.

    The classifier's tensors may be there or not: they are replaced anyway.
    """
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise ModelError(f"{origin}: holds no plain state dict of tensors")
    try:
        expected = torchvision.models.get_model(arch, weights=None).state_dict()
    except ValueError:
        raise ConfigError(f"unknown arch {arch!r}; use a name of torchvision") from None
    tops = ("fc.", "classifier.", "heads.", "head.")
    needed = {name for name in expected if not name.startswith(tops)}
    optional = {name for name in needed if name.endswith("num_batches_tracked")}
    wrong = sorted(needed - optional - set(state))  # absent
    wrong += sorted(name for name in state if name not in expected and not name.startswith(tops))
    wrong += sorted(
        name for name in needed & set(state) if state[name].shape != expected[name].shape
    )
    if wrong:
        raise ModelError(
            f"{origin}: does not fit {arch}: {len(wrong)} tensors are missing, foreign or of "
            f"another shape, as {wrong[0]}"
        )
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
        if name in needed
    }
