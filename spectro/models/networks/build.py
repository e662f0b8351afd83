"""Networks: a body of torchvision or timm under fastai's head, or cnn4, as plain torch modules.

Both training and prediction build the network here, so a trained model needs no fastai to run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torchvision
from torch import nn
from torch.overrides import TorchFunctionMode

from spectro.errors import ConfigError
from spectro.models.card import IMAGENET_MEAN, IMAGENET_STD, shortened
from spectro.models.networks import cnn4, timm_bodies

__all__ = [
    "Answer",
    "Ensemble",
    "Expected",
    "answer",
    "blank",
    "body",
    "build",
    "check_name",
    "check_takes",
    "expected",
    "full_name",
    "head",
    "is_timms",
    "layer_groups",
    "library_state",
    "member_logits",
    "n_features",
    "statistics",
    "synchronise_norms",
    "top",
    "without_memory",
]


class Ensemble(nn.Module):
    """The mean of what several networks hold likely, in the form of one network.

    Its softmax is the mean of theirs. Networks that learned the same clips from other seeds agree
    where they know and differ where they guess, so that the mean is right more often than any.

    Parameters
    ----------
    members : iterable of torch.nn.Module
        Each maps pictures to logits (n, n_classes) of the same classes.

    References
    ----------
    B. Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep
    Ensembles", NIPS 2017.

    Examples
    --------
    >>> one, other = nn.Linear(4, 3), nn.Linear(4, 3)
    >>> x = torch.rand(5, 4)
    >>> mean = (one(x).softmax(1) + other(x).softmax(1)) / 2
    >>> torch.allclose(Ensemble([one, other])(x).softmax(1), mean)
    True
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give the logarithm of the mean probability, shape (n, n_classes)."""
        return _combined(member_logits(self, x))


class Answer(NamedTuple):
    """What a network makes of pictures.

    Attributes
    ----------
    probabilities : torch.Tensor [shape=(n, classes)]
        Each row sums to one.
    energy : torch.Tensor [shape=(n,)]
        Logarithm of the sum of the exponentials of the logits; of several networks, the mean.
        Higher where the picture is like those that were trained on
        (:class:`spectro.models.calibrated.Unknown`).
    """

    probabilities: torch.Tensor
    energy: torch.Tensor


def answer(network: nn.Module, x: torch.Tensor, temperature: float = 1.0) -> Answer:
    """Ask a network, or several, about normalised pictures, shape (n, 3, height, width)."""
    each = member_logits(network, x)
    logits = _combined(each)
    return Answer((logits / temperature).softmax(dim=1), each.logsumexp(dim=2).mean(dim=0))


def member_logits(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Give the logits of each network, shape (members, n, classes)."""
    members = network.members if isinstance(network, Ensemble) else [network]
    return torch.stack([member(x) for member in members])


def _combined(each: torch.Tensor) -> torch.Tensor:
    """Give one network's logits as they are, of several the logarithm of the mean probability."""
    if len(each) == 1:
        return each[0]
    return each.log_softmax(dim=2).logsumexp(dim=0) - math.log(len(each))


def body(arch: str, state: Mapping[str, torch.Tensor] | None = None) -> nn.Sequential:
    """Build a network up to its global pooling.

    Parameters
    ----------
    arch : str
        "cnn4", or torchvision's name, for example "resnet18", "resnet50" or "convnext_tiny", or
        timm's, for example "tf_efficientnet_lite0". A name that both have is torchvision's, and
        "timm/" before it makes it timm's.
    state : mapping of str to torch.Tensor, or None
        State dict of that library to start from, the classifier's tensors apart; None starts from
        random weights.

    Returns
    -------
    body : torch.nn.Sequential
        Maps (n, 3, height, width) to (n, features, height / 32, width / 32); of cnn4, / 16.

    Raises
    ------
    ConfigError
        If there is no such network, or it has no feature maps to pool.
    MissingExtraError
        If it is timm's, which is not installed.
    """
    if arch == "cnn4":
        own = cnn4.body()
        if state is not None:
            own.load_state_dict(state, strict=False)  # weights.resolve has checked every name
        return own
    check_name(arch)
    if is_timms(arch):
        return timm_bodies.body(arch, state)
    model = torchvision.models.get_model(arch, weights=None)
    names = [name for name, _ in model.named_children()]
    if "avgpool" not in names or hasattr(model, "aux_logits"):  # heads between its blocks
        raise ConfigError(
            f"{arch} has no global pooling to cut at; use a ResNet, a ConvNeXt, or timm's, "
            f"--arch timm/{arch} --weights FILE"
        )
    if state is not None:
        model.load_state_dict(state, strict=False)  # weights.resolve has checked every name
    return nn.Sequential(*list(model.children())[: names.index("avgpool")])


def library_state(arch: str, built: nn.Sequential) -> dict[str, torch.Tensor]:
    """Return the state dict of a body in the names of the library that its network is of, or ours.

    The other way round from :func:`body`: what it returns can be its `state`.

    Parameters
    ----------
    arch : str
        Of :func:`body`.
    built : torch.nn.Sequential
        Of :func:`body`.
    """
    if arch == "cnn4":
        return built.state_dict()
    if is_timms(arch):
        return {name.removeprefix("0.net."): t for name, t in built.state_dict().items()}
    with without_memory(arch):
        names = [name for name, _ in torchvision.models.get_model(arch).named_children()]
    state = {}
    for name, tensor in built.state_dict().items():
        number, _, rest = name.partition(".")
        state[f"{names[int(number)]}.{rest}"] = tensor
    return state


def is_timms(arch: str) -> bool:
    """Tell whether a name would be timm's: torchvision has the first say.

    Examples
    --------
    >>> is_timms("resnet18"), is_timms("timm/resnet18"), is_timms("tf_efficientnet_lite0")
    (False, True, True)
    """
    return arch != "cnn4" and arch.lower() not in _torchvisions()


def full_name(arch: str) -> str:
    """Write a network's name so that no later version of torchvision can take it for its own.

    Examples
    --------
    >>> full_name("resnet18"), full_name("tf_efficientnet_lite0")
    ('resnet18', 'timm/tf_efficientnet_lite0')
    """
    return timm_bodies.PREFIX + arch.removeprefix(timm_bodies.PREFIX) if is_timms(arch) else arch


def check_name(arch: str) -> None:
    """Refuse a name that is not one of torchvision's classification networks, nor one of timm's.

    Those of torchvision's other kinds (detection, segmentation, video, quantized) have no place
    here, and some of them download weights for their parts even when told ``weights=None``.

    Raises
    ------
    ConfigError
        If neither lists such a network.
    MissingExtraError
        If the name begins with "timm/", and timm is not installed.
    """
    if is_timms(arch):
        timm_bodies.check_name(arch)


def _torchvisions() -> list[str]:
    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def statistics(arch: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Give the mean and deviation of red, green and blue that a network expects.

    Returns
    -------
    mean, std : tuple of float
        Of values between 0 and 1: what the registry of torchvision or timm has, or ImageNet's.
    """
    if is_timms(arch):
        return timm_bodies.statistics(arch)
    try:
        about = torchvision.models.get_model_weights(arch).DEFAULT.transforms()
        return tuple(about.mean), tuple(about.std)
    except ValueError:  # cnn4, and what torchvision has no weights of
        return IMAGENET_MEAN, IMAGENET_STD


class _RealNumbers(TorchFunctionMode):
    """Keep on the CPU what some networks compute their shapes from: they need its values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`, on the CPU if it makes a row of numbers."""
        where = {"device": "cpu"} if func in (torch.arange, torch.tensor, torch.linspace) else {}
        return func(*args, **{**where, **(kwargs or {})})


def synchronise_norms(network: nn.Module) -> None:
    """Make batch norm count the pictures of all processes that share a batch, a GPU each.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place; its tensors keep their names.
    """
    if any(type(module).__module__.startswith("timm.") for module in network.modules()):
        timm_bodies.synchronise_norms(network)
    else:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)


@contextmanager
def without_memory(arch: str) -> Iterator[None]:
    """Build networks in this block with shapes and types but without numbers, on torch's meta."""
    with torch.device("meta"):
        if arch.lower().startswith("regnet") or is_timms(arch):
            with _RealNumbers():
                yield
        else:
            yield


class Expected(NamedTuple):
    """What a tensor of a network must be."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def expected(arch: str, n_classes: int, members: int = 1) -> dict[str, Expected]:
    """List the tensors of :func:`build`, without building anything that takes memory.

    Returns
    -------
    tensors : dict of str to Expected
        By name, in the order of the state dict.
    """
    with without_memory(arch):
        one = build(arch, n_classes).state_dict()
    tensors = {name: Expected(tuple(t.shape), t.dtype) for name, t in one.items()}
    if members == 1:
        return tensors
    prefixes = [f"members.{number}." for number in range(members)]
    return {prefix + name: about for prefix in prefixes for name, about in tensors.items()}


def n_features(
    backbone: nn.Module, shape: tuple[int, int] = (64, 64), name: str = "the network"
) -> int:
    """Count the channels that a body makes of pictures of a height and width, by asking it.

    Raises
    ------
    ConfigError
        If it cannot take such pictures: its kernels or windows are larger.
    """
    was_training, device = backbone.training, next(backbone.parameters()).device
    try:
        with torch.no_grad():
            features = backbone.eval()(torch.zeros(1, 3, *shape, device=device))
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"{name} cannot take pictures of {shape[0]} x {shape[1]} ({shortened(error)}); give "
            "it larger ones, or take another network"
        ) from None
    finally:
        backbone.train(was_training)
    return int(features.shape[1])


def check_takes(arch: str, shape: tuple[int, int]) -> None:
    """Refuse pictures that are too small for a network, without building it.

    Raises
    ------
    ConfigError
        If it cannot take pictures of this height and width, or there is no such network.
    """
    with without_memory(arch):
        n_features(body(arch), shape, arch)


class ConcatPool(nn.Module):
    """Maximum and mean over time and frequency, one after the other, as fastai pools."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, features, height, width) to (n, 2 * features)."""
        return torch.cat([x.amax(dim=(2, 3)), x.mean(dim=(2, 3))], dim=1)


def head(features: int, n_classes: int) -> nn.Sequential:
    """Build fastai's head: pool, then two linear layers with batch norm and dropout.

    Parameters
    ----------
    features : int
        Channels of the body.
    n_classes : int
        Classes to tell apart.

    Returns
    -------
    head : torch.nn.Sequential
        Maps (n, features, height, width) to logits (n, n_classes).
    """
    return nn.Sequential(
        ConcatPool(),
        nn.BatchNorm1d(2 * features),
        nn.Dropout(0.25),
        nn.Linear(2 * features, 512, bias=False),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(512),
        nn.Dropout(0.5),
        nn.Linear(512, n_classes, bias=False),
    )


def top(arch: str, features: int, n_classes: int) -> nn.Sequential:
    """Build the head that goes with a network: cnn4's own, or fastai's (:func:`head`)."""
    return cnn4.head(n_classes) if arch == "cnn4" else head(features, n_classes)


def build(arch: str, n_classes: int, members: int = 1) -> nn.Module:
    """Build body and head with random weights, ready for a state dict.

    Parameters
    ----------
    arch : str
        Of :func:`body`.
    n_classes : int
        Classes to tell apart.
    members : int
        How many of them, to judge together.

    Returns
    -------
    network : torch.nn.Sequential, or Ensemble of them
        Maps (n, 3, height, width) to logits (n, n_classes).
    """
    if members > 1:
        return Ensemble(build(arch, n_classes) for _ in range(members))
    backbone = body(arch)
    return nn.Sequential(backbone, top(arch, n_features(backbone), n_classes))


def blank(arch: str, n_classes: int, members: int = 1) -> nn.Module:
    """Build a network, as :func:`build`, for a state dict that replaces every number in it.

    The numbers of timm's are made for all that: some of its networks keep tables that no state
    dict has.
    """
    if is_timms(arch):
        return build(arch, n_classes, members)
    with without_memory(arch):
        model = build(arch, n_classes, members)
    return model.to_empty(device="cpu")


def layer_groups(model: nn.Sequential) -> list[list[nn.Parameter]]:
    """Split parameters for discriminative learning rates: early body, late body, head.

    fastai's own split of a ResNet (stem to layer2; layer3 and layer4; head), and of timm's the same
    by stages (:meth:`spectro.models.networks.timm_bodies.Maps.halves`); bodies of one module are
    one group.
    """
    backbone, top = model
    assert isinstance(backbone, nn.Sequential)
    if isinstance(backbone[0], timm_bodies.Maps):
        groups = [*backbone[0].halves(), list(top.parameters())]
        return [group for group in groups if group]
    early, late = backbone[:6], backbone[6:]
    parts: list[Any] = [early, late, top] if len(late) else [backbone, top]
    return [list(part.parameters()) for part in parts]
