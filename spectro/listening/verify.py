"""Whether this machine gets the answers that a model gave where it was exported, stage by stage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from spectro.errors import MissingExtraError
from spectro.listening.backends import FILES, open_backend
from spectro.models.card import TENSORS, read_card
from spectro.models.exports.vectors import (
    Vectors,
    compare_pictures,
    compare_resampling,
    read_vectors,
)
from spectro.plumbing.extras import is_installed

__all__ = ["Stage", "verify"]

_RESAMPLED = 1e-4  # of full scale: 80 dB below it, the bottom of the default picture
_LEVELS = 1.0  # another FFT rounds to the next grey level here and there
_PROBABILITY = {"torch": 1e-3, "onnx": 1e-3, "int8": 0.05}


class Stage(NamedTuple):
    """How one stage of a model compares with where it was exported.

    Attributes
    ----------
    name : str
        "resampler", "picture", or "network in" torch, onnx or int8.
    difference, allowed : float
        The largest difference, and the most there may be: a share of full scale, grey levels, or
        probability.
    said : str
        Both in words, with what differs most.
    """

    name: str
    difference: float
    allowed: float
    said: str

    @property
    def is_same(self) -> bool:
        """Whether the difference is within what is allowed; NaN is not."""
        return self.difference <= self.allowed


def verify(folder: str | Path) -> list[Stage]:
    """Repeat what ``verify.json`` of a model folder keeps, with every backend that is there.

    Each stage starts from what is kept, so that a difference in one does not show in the next.

    Parameters
    ----------
    folder : str or Path
        Model folder with ``verify.json``, which ``spectro export`` writes.

    Returns
    -------
    stages : list of Stage
        In order.

    Raises
    ------
    ModelError
        If the folder holds no such model, or a damaged one.
    MissingExtraError
        If neither torch nor ONNX Runtime can run it here.
    """
    card, kept = read_card(folder), read_vectors(folder)
    resampled = compare_resampling(kept, card.spectrogram.sr)
    by_rate = {f"a sound at {rate:,} Hz": found for rate, found in resampled.items()}
    drawn = compare_pictures(kept, card.spectrogram)
    return [
        *([_stage("resampler", by_rate, _RESAMPLED, "of full scale")] if by_rate else []),
        _stage("picture", drawn, _LEVELS, "grey levels"),
        *_networks(folder, kept),
    ]


def _networks(folder: str | Path, kept: Vectors) -> list[Stage]:
    names = _backends(Path(folder))
    if not names:
        raise MissingExtraError("onnx", f"{folder}: running a network without torch")
    return [_network(folder, kept, name) for name in names]


def _network(folder: str | Path, kept: Vectors, name: Literal["torch", "onnx", "int8"]) -> Stage:
    """Ask one backend about the pictures that are kept."""
    expected = kept.answers.get("int8" if name == "int8" else "float32")
    title, allowed = f"network in {name}", _PROBABILITY[name]
    if expected is None:
        said = "nothing is kept to compare with; export the model again with --int8"
        return Stage(title, math.nan, allowed, said)
    backend = open_backend(folder, name)
    levels = kept.levels(backend.card)
    found = np.concatenate([backend(one[np.newaxis]).probabilities for one in levels])
    away: Any = np.abs(found - np.asarray(expected.values(), dtype=np.float32)).max(axis=1)
    return _stage(
        title, dict(zip(kept.names, map(float, away), strict=True)), allowed, "in probability"
    )


def _stage(name: str, found: Mapping[str, float], allowed: float, unit: str) -> Stage:
    """Name what differs most."""
    worst = max(found, key=lambda key: math.inf if math.isnan(found[key]) else found[key])
    said = f"{worst} differs by {found[worst]:.2g} {unit}; {allowed:g} is allowed"
    return Stage(name, found[worst], allowed, said)


def _backends(folder: Path) -> list[Literal["torch", "onnx", "int8"]]:
    """List what can run the model here."""
    runs = {"torch": (TENSORS, "torch"), **{name: (FILES[name], "onnxruntime") for name in FILES}}
    return [
        name  # type: ignore[misc]
        for name, (file, package) in runs.items()
        if (folder / file).is_file() and is_installed(package)
    ]
