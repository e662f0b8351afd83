"""Which runtime hears a recording, and what the model is called: before it is loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import cast, get_args

from spectro.errors import ConfigError
from spectro.listening.averaging import remark_of, run_card, run_folds
from spectro.listening.backends import FILES, BackendName, is_run
from spectro.models.card import ModelCard, read_card
from spectro.models.identity import model_hash
from spectro.plumbing.extras import is_installed

__all__ = ["card_of", "choose_backend", "name_of", "remark_on"]


def choose_backend(folder: str | Path, asked: str) -> BackendName:
    """Choose what runs a model for hours: its export where there is one, as it is faster.

    Parameters
    ----------
    folder : str or Path
        Model folder, or run.
    asked : str
        "torch", "onnx", "int8", or "auto".

    Raises
    ------
    ConfigError
        If `asked` is none of these.
    """
    if asked not in get_args(BackendName):
        raise ConfigError(f"--backend {asked!r} is none of {', '.join(get_args(BackendName))}")
    if asked != "auto":
        return cast(BackendName, asked)
    exported = _is_exported(folder) and is_installed("onnxruntime")
    return "torch" if is_installed("torch") and not exported else "onnx"


def _is_exported(folder: str | Path) -> bool:
    folders = run_folds(folder).values() if is_run(folder) else [Path(folder)]
    return all((each / FILES["onnx"]).is_file() for each in folders)


def card_of(folder: str | Path) -> ModelCard:
    """Read what a model, or a run, says of itself; no network is loaded."""
    return run_card(folder) if is_run(folder) else read_card(folder)


def remark_on(folder: str | Path) -> str:
    """Say what must be known of a run that is used as a model; "" of a model."""
    return remark_of(folder) if is_run(folder) else ""


def name_of(folder: str | Path) -> str:
    """Return the hash of a model; of a run, that of its folds' models."""
    if not is_run(folder):
        return model_hash(folder)
    names = ",".join(model_hash(fold) for fold in sorted(run_folds(folder).values()))
    return hashlib.sha256(names.encode()).hexdigest()[:16]
