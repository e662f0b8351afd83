"""Arithmetic of training: sixteen bits where the hardware multiplies them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from spectro.errors import ConfigError

__all__ = ["autocast", "choose_precision", "without_tf32"]

_SIXTEEN = {"bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(asked: str, device: torch.device) -> tuple[str, str]:
    """Settle the precision of training.

    Parameters
    ----------
    asked : "auto", "fp32", "bf16" or "fp16"
        What the settings say. "bf16" is taken at its word, even where it is emulated and slow.
    device : torch.device
        Where training runs.

    Returns
    -------
    precision : "fp32", "bf16" or "fp16"
    reason : str
        Why, in a few words.

    Raises
    ------
    ConfigError
        If fp16 is asked for where it cannot train: its gradients need scaling, which is for CUDA.
    """
    if asked == "fp16" and device.type != "cuda":
        raise ConfigError(f"precision fp16 needs a CUDA GPU; on {device.type} take bf16 or fp32")
    if asked != "auto":
        return asked, "as asked"
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bf16", "the GPU has it") if native else ("fp16", "the GPU has no bf16")
    if device.type == "cpu":
        has = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        if has.get("avx512_bf16") or has.get("amx_bf16"):
            return "bf16", "the processor has it"
        return "fp32", "the processor has no bf16"
    return "fp32", f"{device.type} is not measured"


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Compute in sixteen bits, as torch.autocast, but depthwise convolutions of a processor.

    These stay in float32: in bf16 oneDNN is so slow at them that EfficientNet-Lite0 trains slower
    than in float32 alone, and of very small pictures their gradient was not always finite.

    Parameters
    ----------
    device : torch.device
        Where the network is.
    precision : "fp32", "bf16" or "fp16"
        Of :func:`choose_precision`; "fp32" changes nothing.
    """
    if precision == "fp32":
        yield
        return
    with torch.autocast(device.type, _SIXTEEN[precision]):
        if device.type == "cpu":
            with _DepthwiseInFloat32():
                yield
        else:
            yield


class _DepthwiseInFloat32(TorchFunctionMode):
    """Leaves autocast on a processor for each convolution whose groups have one channel."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is not torch.conv2d or not _is_depthwise(*args, **kwargs):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            if args:
                return func(args[0].float(), *args[1:], **kwargs)
            return func(**{**kwargs, "input": kwargs["input"].float()})


def _is_depthwise(input: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any) -> bool:
    return weight.shape[1] == 1 < input.shape[-3]


def without_tf32() -> AbstractContextManager[None]:
    """Have fp32 mean fp32 on CUDA too, where convolutions are TF32 otherwise."""
    context: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, allow_tf32=False
    )
    return context
