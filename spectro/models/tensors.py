"""Tensors from files that may come from a stranger: compared with what is expected, then loaded."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from spectro.errors import ModelError
from spectro.models.card import shortened
from spectro.models.networks.build import Expected
from spectro.plumbing.memory import installed

__all__ = [
    "check_finite",
    "check_header_length",
    "check_memory",
    "is_plain",
    "read_shapes",
    "read_tensors",
    "write_tensors",
]

# safetensors' words for the types that networks are built and kept in.
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
}
_NAME_AND_NUMBERS = 300  # bytes of the header for a tensor, its name apart; some 100 are needed


def read_shapes(path: Path, names: Collection[str]) -> dict[str, Expected]:
    """Read a safetensors file's header: which tensors it says it holds.

    Parameters
    ----------
    path : Path
        A regular file.
    names : collection of str
        Names that are expected; they bound how long the header may be.

    Returns
    -------
    shapes : dict of str to Expected

    Raises
    ------
    ModelError
        If it is no such file, or holds a tensor of a type that no network here has.
    """
    check_header_length(path, sum(map(len, names)) + _NAME_AND_NUMBERS * (100 + len(names)))
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            shapes = {
                name: (tuple(part.get_shape()), part.get_dtype()) for name, part in parts.items()
            }
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read ({shortened(error)})") from None
    for name, (_, dtype) in shapes.items():
        if dtype not in _DTYPES:
            raise ModelError(f"{path}: {shortened(name, 60)} is of type {dtype}, not a float")
    return {name: Expected(shape, _DTYPES[dtype]) for name, (shape, dtype) in shapes.items()}


def check_header_length(path: Path, most: int) -> None:
    """Refuse a safetensors file whose header is longer than `most` bytes, before it is read.

    Raises
    ------
    ModelError
        If it says so.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > most:
        raise ModelError(f"{path}: cannot be read (its header says {length:,} bytes)")


def read_tensors(path: Path, names: Collection[str]) -> dict[str, torch.Tensor]:
    """Read tensors of a safetensors file whose header was found good.

    Raises
    ------
    ModelError
        If they cannot be read.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in names}
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read ({shortened(error)})") from None


def write_tensors(
    state: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file that others may read, as they may what is written otherwise."""
    path.touch()
    mode = path.stat().st_mode  # with the umask; safetensors makes a file for its owner alone
    try:
        safetensors.torch.save_file(state, path, metadata)
    except safetensors.SafetensorError as error:
        found = re.search(r"os error (\d+)", str(error))
        number = int(found[1]) if found else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from None
    path.chmod(mode)


def check_finite(tensors: Mapping[str, torch.Tensor], origin: str | Path) -> None:
    """Refuse weights that are NaN or infinite: they would name a class all the same.

    Raises
    ------
    ModelError
        If there are any; the message names the first tensor.
    """
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ModelError(
                f"{origin}: holds weights that are not numbers, in {shortened(name, 60)}; "
                "take another copy, or train it anew"
            )


def check_memory(n_bytes: int, origin: str | Path) -> None:
    """Refuse what this machine has no memory for.

    Raises
    ------
    ModelError
        If `n_bytes` are more than all of it.
    """
    memory = installed()
    if memory is not None and n_bytes > memory:
        raise ModelError(
            f"{origin}: needs {n_bytes / 1e9:.1f} GB of memory, this machine has "
            f"{memory / 1e9:.1f}; use a machine with more"
        )


def is_plain(value: Any) -> bool:
    """Tell whether a value is a dense tensor of ordinary numbers, in memory."""
    return (
        type(value) in (torch.Tensor, torch.nn.Parameter)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.dtype in _DTYPES.values()
    )
