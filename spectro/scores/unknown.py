"""Which score tells sounds that a network was not trained on, and where its threshold lies.

Classes are left out in turn: for each, its logit is dropped, its clips count as unknown and all
others as known. A score is as good as its mean AUROC over the classes. The network did learn the
class whose logit is dropped, and what it learned to see of it still shapes what its other logits
say: its clips look less like the other classes, and bring forth smaller logits, than sounds that it
never heard. So expect the AUROC told here to be higher than that of a class which was left out of
training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from spectro.errors import ModelError

__all__ = ["Chosen", "choose", "energy", "leave_out", "probability"]

Floats = npt.NDArray[np.float64]
Score = Callable[[int | None], Floats]

KEPT = 0.95
_LEAST = float(np.finfo(np.float32).tiny)


class Chosen(NamedTuple):
    """The better score.

    Attributes
    ----------
    method : "probability" or "energy"
    threshold : float
        Below it a clip is unknown; it keeps 95 % of all clips.
    auroc : float
        Mean over the classes that were left out, 0 to 1.
    by_class : dict of str to dict of str to float
        AUROC by method, then by the class that was left out.
    """

    method: Literal["probability", "energy"]
    threshold: float
    auroc: float
    by_class: dict[str, dict[str, float]]


def choose(
    truth: npt.ArrayLike,
    labels: list[str],
    probabilities: npt.ArrayLike,
    temperature: float = 1.0,
    logits: npt.ArrayLike | None = None,
) -> Chosen:
    """Choose the score with the better mean AUROC, on out-of-fold clips.

    Parameters
    ----------
    truth : array_like [shape=(clips,)]
        Position of each clip's class.
    labels : list of str
        Every class.
    probabilities : array_like [shape=(clips, classes)]
        As the networks gave them.
    temperature : float
        They are scaled by it.
    logits : array_like [shape=(clips, members, classes)] or None
        Of each network that was asked; None leaves the energy out.

    Raises
    ------
    ModelError
        If there are fewer than two classes among the clips.
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, dtype=float)
    scores: dict[Literal["probability", "energy"], Score] = {
        "probability": lambda out: probability(probabilities, temperature, out)
    }
    if logits is not None:
        scores["energy"] = lambda out: energy(np.asarray(logits, dtype=float), out)
    found = {name: leave_out(truth, score, labels) for name, score in scores.items()}
    means = {name: float(np.mean([*aurocs.values()])) for name, aurocs in found.items()}
    best = max(means, key=means.__getitem__)  # of equals the probability, which needs less
    threshold = float(np.quantile(scores[best](None), 1 - KEPT, method="lower"))
    return Chosen(best, threshold, means[best], {name: found[name] for name in found})


def leave_out(truth: npt.NDArray[np.int64], score: Score, labels: list[str]) -> dict[str, float]:
    """Give the AUROC of a score for each class that has clips and is left out.

    Parameters
    ----------
    truth : np.ndarray [shape=(clips,)]
        Position of each clip's class.
    score : callable
        Gives the score of each clip without the class at a position, or with all of them for None;
        higher means known.
    labels : list of str
        Every class.
    """
    there = np.unique(truth)
    if len(there) < 2:
        raise ModelError("only one class is among the clips, so none can be left out")
    return {
        labels[out]: float(roc_auc_score(truth != out, _finite(score(int(out))))) for out in there
    }


def _finite(score: Floats) -> Floats:
    """Put the lowest number where a network without other classes has nothing to say."""
    return np.nan_to_num(score, nan=-1e30, neginf=-1e30, posinf=1e30)


def probability(probabilities: Floats, temperature: float, out: int | None = None) -> Floats:
    """Give the highest probability, scaled, of all classes but one, shape (clips,)."""
    logs = np.log(np.maximum(_without(probabilities, out), _LEAST)) / temperature
    return np.asarray(np.exp(logs.max(axis=1) - logsumexp(logs, axis=1)))


def energy(logits: Floats, out: int | None = None) -> Floats:
    """Give the log-sum-exp of the logits of all classes but one, mean over networks.

    Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020, call it the negative
    energy at temperature 1.
    """
    return np.asarray(logsumexp(_without(logits, out), axis=-1).mean(axis=1))


def _without(values: Floats, out: int | None) -> Floats:
    """Drop a class, the last axis."""
    return values if out is None else np.delete(values, out, axis=-1)
