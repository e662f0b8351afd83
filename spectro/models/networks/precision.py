"""Which arithmetic to train in: sixteen bits where the hardware multiplies them."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from spectro.errors import ConfigError

__all__ = ["choose_precision", "without_tf32"]


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


def without_tf32() -> AbstractContextManager[None]:
    """Have fp32 mean fp32 on CUDA too, where convolutions are TF32 otherwise."""
    context: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, allow_tf32=False
    )
    return context
