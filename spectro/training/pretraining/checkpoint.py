"""Where a pretraining stands, in one file that is replaced whole: a kill loses what came since.

::

    log.csv                sounds, errors, seconds and scores, a row every so often
    state.safetensors      networks and optimizer; settings, version and steps in its header
    weights.safetensors    the network alone, as ``--weights`` takes it
    README.md              what it is
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import safetensors
import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor, nn

from spectro import __version__
from spectro.errors import ConfigError, ModelError
from spectro.models import tensors
from spectro.models.card import shortened
from spectro.models.networks.build import Expected
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.files import replacing, write_text
from spectro.plumbing.settings import Record
from spectro.training.pretraining.settings import PretrainConfig

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

__all__ = ["LOG", "STATE", "Checkpoint", "LogRow", "read", "restore", "write", "write_log"]

LOG, STATE = "log.csv", "state.safetensors"
_KEY = "spectro"
_LONGEST_HEADER, _LONGEST_LOG = 1 << 20, 1 << 24  # bytes
_LONGEST_NAME = 4_096  # bytes of the settings in the header
_KEPT = ("exp_avg", "exp_avg_sq")  # what AdamW keeps of each parameter
_UNREADABLE = "cannot be read as a pretraining's; name another folder"


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
    scored_on : str or None
        On what, in words.
    """

    sounds: int
    loss: float
    present: float | None = None
    places: float | None = None
    pairs: float | None = None
    seconds: float
    score: float | None = None
    scored_on: str | None = None


class Checkpoint(Record):
    """What the header of the state says.

    Parameters
    ----------
    version : str
        Of spectro.
    config : PretrainConfig
    spectrogram : SpectrogramConfig
    generator : int
        Version of :mod:`spectro.training.pretraining.sounds`.
    precision : str
    start : str
        Which weights it started from, in words.
    steps : int
        Done.
    seconds : float
        Of training so far, without scoring.
    gpus : int
        Processes that share each step, a GPU each.
    averages : int
        Number of weights that the optimizer keeps averages of: not of those that no loss reaches.
    """

    version: str
    config: PretrainConfig
    spectrogram: SpectrogramConfig
    generator: int
    precision: Literal["fp32", "bf16"]
    start: str
    steps: int = Field(ge=0)
    seconds: float = Field(0.0, ge=0)
    gpus: int = Field(1, ge=1)
    averages: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        if self.steps > self.config.steps:
            raise ValueError(f"steps is {self.steps}, of {self.config.steps}")
        return self


Parts = Mapping[str, nn.Module]


def write_log(folder: Path, log: Sequence[LogRow]) -> None:
    """Replace the log; rows newer than the state are ignored on reading.

    Parameters
    ----------
    folder : Path
        Of the pretraining.
    log : sequence of LogRow
        From the first on.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, list(LogRow.model_fields), lineterminator="\n")
    table.writeheader()
    table.writerows(row.to_dict() for row in log)
    write_text(folder / LOG, text.getvalue())


def write(
    folder: Path,
    about: Checkpoint,
    modules: Parts,
    optimizer: torch.optim.AdamW,
) -> None:
    """Replace the state.

    Parameters
    ----------
    folder : Path
        Of the pretraining.
    about : Checkpoint
        Goes into the header.
    modules : mapping of str to torch.nn.Module
        Network and heads, by the names that their tensors begin with.
    optimizer : torch.optim.AdamW
        Its averages are kept.
    """
    state = {name: t.detach().cpu().contiguous() for name, t in _named(modules, optimizer)}
    about = about.replace(averages=len(optimizer.state_dict()["state"]))
    with replacing(folder / STATE) as path:
        tensors.write_tensors(state, path, {_KEY: about.model_dump_json()})


def _named(modules: Parts, optimizer: torch.optim.AdamW) -> Iterator[tuple[str, Tensor]]:
    for part, module in modules.items():
        for name, tensor in module.state_dict().items():
            yield f"{part}.{name}", tensor
    for number, kept in optimizer.state_dict()["state"].items():
        for name in _KEPT:
            yield f"optimizer.{number}.{name}", kept[name]


def read(folder: Path) -> tuple[Checkpoint, list[LogRow]]:
    """Read how far a pretraining is, and its log.

    Parameters
    ----------
    folder : Path
        Of the pretraining.

    Returns
    -------
    about : Checkpoint
    log : list of LogRow
        Up to the state.

    Raises
    ------
    ModelError
        If either cannot be read, or is none of ours.
    """
    path, text = folder / STATE, ""
    try:
        tensors.check_header_length(path, _LONGEST_HEADER)
        with safetensors.safe_open(path, framework="pt") as opened:
            text = (opened.metadata() or {}).get(_KEY, "")
        about = Checkpoint.model_validate_json(text)
    except (ModelError, OSError, safetensors.SafetensorError):
        raise ModelError(f"{path}: {_UNREADABLE}") from None
    except (ValidationError, ValueError, RecursionError):
        raise ModelError(f"{path}: {_why_not(text)}") from None
    heard = about.steps * about.config.batch_size
    return about, [row for row in _rows(folder / LOG) if row.sounds <= heard]


def _why_not(text: str) -> str:
    """Say why settings cannot be read: another version's may be in order."""
    try:
        version = json.loads(text)["version"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return _UNREADABLE
    if not isinstance(version, str) or version == __version__:
        return _UNREADABLE
    return (
        f"was written by spectro {shortened(version, 20)}, and this is {__version__}; go on with "
        "that version, or name another folder"
    )


def _rows(path: Path) -> list[LogRow]:
    if not path.is_file():
        return []
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_LOG + 1)
        if len(data) > _LONGEST_LOG:
            raise ConfigError(f"is larger than {_LONGEST_LOG >> 20} MiB")
        text = data.decode()
        cells = csv.DictReader(io.StringIO(text))
        return [LogRow(**{k: v for k, v in row.items() if v}) for row in cells]
    except (OSError, UnicodeDecodeError, csv.Error, ConfigError, TypeError) as error:
        raise ModelError(
            f"{path}: cannot be read as a log ({shortened(error)}); move it away to go on without"
        ) from None


def restore(path: Path, about: Checkpoint, modules: Parts, optimizer: torch.optim.AdamW) -> None:
    """Put a state into networks and their optimizer, if all of it fits.

    Parameters
    ----------
    path : Path
        The state.
    about : Checkpoint
        Of :func:`read`.
    modules : mapping of str to torch.nn.Module
        As they were written; changed in place.
    optimizer : torch.optim.AdamW
        Of the same parameters; changed in place.

    Raises
    ------
    ModelError
        If it does not fit them.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    expected = {
        f"{part}.{name}": Expected(tuple(t.shape), t.dtype)
        for part, module in modules.items()
        for name, t in module.state_dict().items()
    }
    averages = {
        f"optimizer.{number}.{name}": Expected(tuple(p.shape), p.dtype)
        for number, p in enumerate(parameters)
        for name in _KEPT
    }
    known = {**expected, **averages}
    found = tensors.read_shapes(path, [*known, "x" * _LONGEST_NAME])
    whole = len(found) == len(expected) + len(_KEPT) * about.averages
    if not (whole and expected.keys() <= found.keys()) or any(
        known.get(name) != shape for name, shape in found.items()
    ):
        raise ModelError(f"{path}: does not fit its own settings; name another folder")
    state = tensors.read_tensors(path, found)
    tensors.check_finite(state, path)
    for part, module in modules.items():
        module.load_state_dict({name: state[f"{part}.{name}"] for name in module.state_dict()})
    kept = _averages(state, parameters, about.steps)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": kept})


def _averages(
    state: Mapping[str, Tensor], parameters: Sequence[Tensor], steps: int
) -> dict[int, dict[str, Tensor]]:
    """Give what the optimizer keeps of each parameter, laid out in memory as the parameter is.

    Its fused step goes through memory, whatever the strides.
    """
    kept = {}
    for number, parameter in enumerate(parameters):
        each = {name: state.get(f"optimizer.{number}.{name}") for name in _KEPT}
        laid = {n: torch.empty_like(parameter).copy_(t) for n, t in each.items() if t is not None}
        if len(laid) == len(_KEPT):
            kept[number] = {"step": torch.tensor(float(steps)), **laid}
    return kept
