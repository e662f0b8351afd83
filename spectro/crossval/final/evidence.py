"""What the out-of-fold predictions of a run say of a network that is trained on all folds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from spectro.crossval.run import Run
from spectro.models.calibrated import CALIBRATION, RunCalibration, Unknown
from spectro.models.card import CARD, ModelCard
from spectro.models.exports.probes import hum_pictures, noise_pictures
from spectro.models.folder import load_model
from spectro.models.networks import build as networks
from spectro.models.steady import Steady
from spectro.pictures.read import read_levels
from spectro.plumbing.files import write_text
from spectro.scores import unknown
from spectro.scores.calibration import apply_temperature, fit_temperature
from spectro.scores.metrics import probability_columns

__all__ = ["Evidence", "evenly", "gather", "write_calibration"]

_BATCH = 32
_MOST = 1_000  # detections of a class that a card keeps
_LOOKED_AT = 100  # clips of a class whose pictures are compared with those of noise
_SPARED = 0.05  # share of them that may look like noise before the class is left alone

Floats = npt.NDArray[np.float64]


class Evidence(NamedTuple):
    """What is known out of fold.

    Attributes
    ----------
    temperature : float
        Fitted on all out-of-fold predictions.
    detections : dict of str to tuple of float
        For each class, its scaled probabilities on its own clips, ascending; 0 of a clip that
        `unknown` tells.
    unknown : Unknown or None
        How sounds are told that were not trained on; None where there is one class only.
    steady : Steady
        What counts as steady noise.
    aurocs : dict of str to dict of str to float
        By method, then by the class that was left out.
    """

    temperature: float
    detections: dict[str, tuple[float, ...]]
    unknown: Unknown | None
    steady: Steady
    aurocs: dict[str, dict[str, float]]


def gather(run: Run, predictions: pd.DataFrame | None = None, *, logits: bool = True) -> Evidence:
    """Learn from a run's out-of-fold predictions, and from its networks' logits.

    Parameters
    ----------
    run : Run
        With finished folds.
    predictions : pandas.DataFrame or None
        Of :meth:`spectro.crossval.run.Run.predictions`; None reads them.
    logits : bool
        Whether to ask each fold's network about its held-out fold once more, for the energy score.
        Where a fold's network was not kept, only the probability is considered.
    """
    predictions = run.predictions() if predictions is None else predictions
    truth = pd.Index(run.labels).get_indexer(pd.Index(predictions["label"])).astype(np.int64)
    probabilities = predictions[probability_columns(run.labels)].to_numpy(dtype=float)
    temperature = fit_temperature(truth, probabilities)
    scaled = apply_temperature(probabilities, temperature)
    found, aurocs = None, {}
    if len(np.unique(truth)) > 1:
        each = _logits(run, predictions) if logits else None
        chosen = unknown.choose(truth, run.labels, probabilities, temperature, each)
        aurocs = chosen.by_class
        found = Unknown(
            method=chosen.method,
            threshold=chosen.threshold,
            auroc=chosen.auroc,
            kept=unknown.KEPT,
        )
        energy = unknown.energy(each) if found.method == "energy" and each is not None else None
        scaled[~found.known(scaled, energy)] = 0  # such a clip raises nothing
    detections = _detections(truth, scaled, run.labels)
    return Evidence(temperature, detections, found, steadiness(run, predictions), aurocs)


def write_calibration(run: Run, predictions: pd.DataFrame) -> None:
    """Write ``calibration.json``: what to do to the probabilities of the folds' networks."""
    found = gather(run, predictions, logits=False)
    record = RunCalibration(
        temperature=found.temperature,
        clips=len(predictions),
        unknown=found.unknown,
        steady=found.steady,
        detections=found.detections,
    )
    write_text(run.folder / CALIBRATION, record.to_text())


def evenly(n: int, most: int) -> npt.NDArray[np.int_]:
    """Choose at most so many of `n` places, evenly, the first and the last among them."""
    return np.linspace(0, n - 1, min(most, n)).round().astype(int)


def steadiness(run: Run, clips: pd.DataFrame) -> Steady:
    """Find what counts as noise or hum in pictures like a run's, and which classes sound like it.

    Parameters
    ----------
    run : Run
        Its settings are those of the pictures.
    clips : pandas.DataFrame
        ``label`` and ``image`` of its clips; at most 100 of each class are looked at.
    """
    config, size = run.record.spectrogram, run.config.size
    found = Steady.fitted(noise_pictures(config, size), hum_pictures(config, size))
    spared = []
    for label, images in clips.groupby("label")["image"]:
        places = evenly(len(images), _LOOKED_AT)
        levels = read_levels(images.iloc[places].tolist(), size, config.shape)
        if found.covers(levels).mean() > _SPARED:
            spared.append(str(label))
    return found.replace(spared=tuple(spared))


def _detections(
    truth: npt.NDArray[np.int64], scaled: Floats, labels: list[str]
) -> dict[str, tuple[float, ...]]:
    """Sort each class's probabilities on its clips; where they are many, thin them out evenly."""
    kept = {}
    for position, label in enumerate(labels):
        values = np.sort(scaled[truth == position, position])
        places = evenly(len(values), _MOST)
        kept[label] = tuple(round(float(value), 6) for value in values[places])
    return kept


def _logits(run: Run, predictions: pd.DataFrame) -> Floats | None:
    """Ask each fold's network about its held-out fold; None where a network was not kept.

    Returns
    -------
    logits : np.ndarray [shape=(clips, members, classes)]
        In the order of `predictions`.
    """
    if not all((run.fold_folder(k) / "model" / CARD).is_file() for k in run.finished_folds):
        return None
    found: Any = None
    for fold in run.finished_folds:
        network, card = load_model(run.fold_folder(fold) / "model")
        rows = np.flatnonzero(predictions["fold"].to_numpy() == fold)
        images = predictions["image"].to_numpy()[rows].tolist()
        for start in range(0, len(rows), _BATCH):
            levels = read_levels(images[start : start + _BATCH], card.size, card.spectrogram.shape)
            each = _ask(network, card, levels)
            if found is None:
                found = np.empty((len(predictions), *each.shape[1:]))
            found[rows[start : start + _BATCH]] = each
    return np.asarray(found)


def _ask(network: torch.nn.Module, card: ModelCard, levels: npt.NDArray[np.uint8]) -> Floats:
    """Give logits of shape (clips, members, classes)."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (card.mean, card.std))
    pixels = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        each = networks.member_logits(network, (pixels - mean) / std)
    return each.permute(1, 0, 2).double().numpy()
