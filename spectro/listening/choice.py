"""Which runtime hears a recording, and what the model is called: before it is loaded."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import cast, get_args

from spectro.errors import ConfigError
from spectro.listening.backends import FILES, BackendName, open_backend
from spectro.models.card import CARD, ModelCard, read_card
from spectro.models.identity import model_hash

__all__ = ["card_of", "choose_backend", "name_of"]


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
    exported = _is_exported(folder) and _is_installed("onnxruntime")
    return "torch" if _is_installed("torch") and not exported else "onnx"


def _is_exported(folder: str | Path) -> bool:
    folders = [Path(folder)] if (Path(folder) / CARD).is_file() else _folds(folder)
    return bool(folders) and all((each / FILES["onnx"]).is_file() for each in folders)


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


def card_of(folder: str | Path, backend: BackendName) -> ModelCard:
    """Read what a model says of itself; of a run, its networks are loaded for that."""
    if (Path(folder) / CARD).is_file() or not _folds(folder):
        return read_card(folder)
    return open_backend(folder, backend).card


def name_of(folder: str | Path) -> str:
    """Return the hash of a model; of a run, that of its folds' models."""
    if (Path(folder) / CARD).is_file() or not _folds(folder):
        return model_hash(folder)
    names = ",".join(model_hash(fold) for fold in _folds(folder))
    return hashlib.sha256(names.encode()).hexdigest()[:16]


def _folds(folder: str | Path) -> list[Path]:
    return sorted(path.parent for path in Path(folder).glob(f"fold*/model/{CARD}"))
