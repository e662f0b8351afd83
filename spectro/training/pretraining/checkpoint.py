"""Where a pretraining stands, in one file that is replaced whole: a kill loses what came since.

::

    state.safetensors      networks and optimizer; settings, log and version in its header
    log.csv                sounds, errors, seconds and scores, a row every so often
    weights.safetensors    the network alone, half precision, as ``--weights`` takes it
    README.md              what it is
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from spectro.errors import ModelError
from spectro.models import tensors
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.files import replacing
from spectro.plumbing.settings import Record
from spectro.training.pretraining.settings import PretrainConfig

__all__ = ["STATE", "Checkpoint", "LogRow", "read", "restore", "write"]

STATE = "state.safetensors"
_KEY = "spectro"
_FLOAT = ("exp_avg", "exp_avg_sq")  # what AdamW keeps of each parameter


class LogRow(Record):
    """What is known after so many sounds.

    Parameters
    ----------
    sounds : int
        Heard by then.
    loss : float
        Mean since the row before.
    present, places, pairs : float or None
        Its parts (:mod:`spectro.training.pretraining.objectives`).
    seconds : float
        Of training by then, without scoring.
    score : float or None
        Of the network as it was then, by what was asked for.
    """

    sounds: int
    loss: float
    present: float | None = None
    places: float | None = None
    pairs: float | None = None
    seconds: float
    score: float | None = None


class Checkpoint(Record):
    """What the header of the state says.

    Parameters
    ----------
    version : str
        Of spectro.
    config : PretrainConfig
    spectrogram : SpectrogramConfig
    precision : str
    start : str
        Which weights it started from, in words.
    steps : int
        Done.
    log : tuple of LogRow
    """

    version: str
    config: PretrainConfig
    spectrogram: SpectrogramConfig
    precision: str
    start: str
    steps: int
    log: tuple[LogRow, ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self.log[-1].seconds if self.log else 0.0


def write(
    folder: Path, about: Checkpoint, modules: Mapping[str, nn.Module], optimizer: torch.optim.AdamW
) -> None:
    """Replace the state in a folder."""
    state = {
        f"{part}.{name}": tensor
        for part, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    for number, kept in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{number}.{name}": kept[name] for name in _FLOAT}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with replacing(folder / STATE) as path:
        tensors.write_tensors(plain, path, {_KEY: about.model_dump_json()})


def read(folder: Path) -> tuple[Checkpoint, dict[str, Tensor]]:
    """Read the state in a folder.

    Raises
    ------
    ModelError
        If it cannot be read, or its header is none of ours.
    """
    path = folder / STATE
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY, "")
            about = Checkpoint.model_validate_json(text)
            names = list(file.keys())
        state = tensors.read_tensors(path, names)
    except (OSError, safetensors.SafetensorError, ValidationError, ValueError):
        raise ModelError(
            f"{path}: cannot be read as a pretraining's; remove the folder, or name another"
        ) from None
    tensors.check_finite(state, path)
    return about, state


def restore(
    path: Path,
    state: Mapping[str, Tensor],
    steps: int,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.AdamW,
) -> None:
    """Put a state into networks and their optimizer.

    Raises
    ------
    ModelError
        If it does not fit them.
    """
    try:
        for part, module in modules.items():
            own = {
                name.removeprefix(f"{part}."): tensor
                for name, tensor in state.items()
                if name.startswith(f"{part}.")
            }
            module.load_state_dict(own)
        kept: dict[int, Any] = {}
        for number, parameter in enumerate(p for g in optimizer.param_groups for p in g["params"]):
            if f"optimizer.{number}.exp_avg" not in state:
                continue
            kept[number] = {"step": torch.tensor(float(steps))}
            for name in _FLOAT:
                kept[number][name] = _like(parameter, state[f"optimizer.{number}.{name}"])
        optimizer.load_state_dict({**optimizer.state_dict(), "state": kept})
    except (RuntimeError, KeyError, ValueError):
        raise ModelError(f"{path}: does not fit its own settings; name another folder") from None


def _like(parameter: Tensor, kept: Tensor) -> Tensor:
    if parameter.shape != kept.shape:
        raise ValueError("another shape")
    return kept
