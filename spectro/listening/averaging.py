"""A run as a model: its folds' networks, whose calibrated probabilities are averaged."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spectro.errors import ModelError
from spectro.listening.backends import FILES, Answer, Backend, BackendName, is_run, open_backend
from spectro.models.calibrated import RunCalibration, tempered
from spectro.models.card import CARD, OWN, OWN_NETWORK, TENSORS, ModelCard, read_card
from spectro.models.trained_on import read_marks
from spectro.plumbing.memory import installed
from spectro.plumbing.paths import check_no_link

if TYPE_CHECKING:
    from spectro.listening.backends import Levels

__all__ = ["MOST_FOLDS", "RunBackend", "run_card", "run_folds", "trained_on"]

MOST_FOLDS = 100
_FOLD = re.compile(r"fold(-?\d{1,9})")


class RunBackend:
    """The networks of a run's finished folds as one: the mean of their probabilities.

    The probabilities of each are first scaled by the run's temperature, which was fitted to such
    networks one by one; their mean is a little less sure than any of them. A sound is known if at
    least half of the networks know it.

    Parameters
    ----------
    folder : str or Path
        Of the run. No link in it is followed.
    name : "torch", "onnx" or "int8"
        What runs the networks; the last two need each fold's model exported.

    Attributes
    ----------
    card : ModelCard
        That of the first fold, with the run's temperature.
    remark : str
        What this is, in a line.

    Raises
    ------
    ModelError
        If there is no fold with a model, there are more than 100, or they do not fit each other or
        this machine's memory.
    """

    def __init__(self, folder: str | Path, name: BackendName) -> None:
        folder = Path(folder)
        folds, kept = run_folds(folder), RunCalibration.of(folder)
        self.card: ModelCard = _card(folder, folds, kept)
        _check_memory(folder, [path / FILES.get(name, TENSORS) for path in folds.values()])
        self._unknown = kept.unknown if kept else None
        self._by_picture = self.card.model_copy(update={"unknown": None})
        self._backends: list[tuple[Backend, float]] = []
        for path in folds.values():
            backend = open_backend(path, name)
            relative = kept.temperature / backend.card.temperature if kept else 1.0
            self._backends.append((backend, relative))
        self.remark = _remark(folder, list(folds), kept)

    def __call__(self, levels: Levels) -> Answer:
        """Ask about pictures; see :class:`spectro.listening.backends.Backend`."""
        total = np.zeros((len(levels), len(self.card.labels)), dtype=np.float64)
        votes = np.zeros(len(levels))
        for backend, temperature in self._backends:
            answer = backend(levels)
            probabilities = tempered(answer.probabilities, temperature)
            total += probabilities
            votes += self._unknown.known(probabilities) if self._unknown else answer.known
        mean = (total / len(self._backends)).astype(np.float32)
        known = 2 * votes >= len(self._backends)
        return Answer(mean, known & self._by_picture.known(levels, mean))


def run_folds(folder: str | Path) -> dict[int, Path]:
    """List the model folders of a run by fold.

    Raises
    ------
    ModelError
        If there is no fold with a model, there are more than 100, or a link is on the way.
    """
    folder = Path(folder)
    found: dict[int, Path] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            number = _FOLD.fullmatch(entry.name)
            model = folder / entry.name / "model"
            if number is None or not (model / CARD).is_file():
                continue
            for path in (folder / entry.name, model, model / CARD, model / TENSORS):
                check_no_link(path, ModelError)
            found[int(number[1])] = model
            if len(found) > MOST_FOLDS:
                raise ModelError(f"{folder}: has over {MOST_FOLDS} folds; name one fold's model")
    if not found:
        raise ModelError(f"{folder}: {_no_network(folder)}")
    return dict(sorted(found.items()))


def _no_network(folder: Path) -> str:
    if any(folder.glob(f"fold*/*/{OWN}")):
        return OWN_NETWORK
    return (
        "is a run without a trained network; train its folds with spectro cross-validate, or "
        "name a model folder"
    )


def run_card(folder: str | Path) -> ModelCard:
    """Read what a run is as a model: the first fold's card, at the run's temperature.

    Raises
    ------
    ModelError
        As :class:`RunBackend` does, and if the networks look at other pictures or tell other
        classes apart.
    """
    folder = Path(folder)
    return _card(folder, run_folds(folder), RunCalibration.of(folder))


def trained_on(folder: str | Path) -> frozenset[str]:
    """Read the marks of the pictures that a model, or any network of a run, was trained on.

    Raises
    ------
    ModelError
        If a list of them is damaged.
    """
    models = run_folds(folder).values() if is_run(folder) else [Path(folder)]
    return frozenset().union(*(read_marks(model) for model in models))


def _card(folder: Path, folds: dict[int, Path], kept: RunCalibration | None) -> ModelCard:
    cards = {fold: read_card(path) for fold, path in folds.items()}
    (first, card), *others = cards.items()
    for fold, other in others:
        for name in ("labels", "spectrogram", "size"):
            if getattr(card, name) != getattr(other, name):
                raise ModelError(
                    f"{folder}: folds {first} and {fold} have networks of other {name}, which "
                    "cannot be averaged; name one fold's model"
                )
    if kept is None:
        return card.replace(temperature=None)
    return card.replace(
        temperature=kept.temperature, steady=kept.steady, detections=kept.detections
    )


def _check_memory(folder: Path, files: list[Path]) -> None:
    """Refuse networks that this machine has no memory for."""
    n_bytes = sum(file.stat().st_size for file in files if file.is_file())
    memory = installed()
    if memory is not None and 2 * n_bytes > memory:
        raise ModelError(
            f"{folder}: its {len(files)} networks need {2 * n_bytes / 1e9:.1f} GB of memory, this "
            f"machine has {memory / 1e9:.1f}; name one fold's model"
        )


def remark_of(folder: str | Path) -> str:
    """Say in a line what a run is as a model: which networks, and how sure they may be."""
    folder = Path(folder)
    return _remark(folder, list(run_folds(folder)), RunCalibration.of(folder))


def _remark(folder: Path, folds: list[int], kept: RunCalibration | None) -> str:
    told = f"{folder}: a run, so the mean of the networks of "
    told += f"folds {', '.join(map(str, folds))}" if len(folds) > 1 else f"fold {folds[0]} alone"
    if kept is None:
        return f"{told}; not calibrated: it has no calibration.json, which scoring it anew writes"
    return f"{told}, at the run's temperature {kept.temperature:.3g}"
