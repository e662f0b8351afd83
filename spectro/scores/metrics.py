"""Scores of out-of-fold predictions, with 95 % intervals over source recordings.

Intervals come from a bootstrap over source recordings: clips of one recording rise and fall
together, and resampling single clips would claim a certainty that is not there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = [
    "Tallies",
    "accuracies",
    "bootstrap_interval",
    "class_scores",
    "confusion",
    "fold_table",
    "interval",
    "macro_f1s",
    "per_class",
    "probability_columns",
    "resampled",
    "score",
]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_RESAMPLES = 2_000
_AT_ONCE = 50  # of them are in memory: of 100,000 recordings 80 MB
_LEVEL = 0.95


class Tallies(NamedTuple):
    """What scores are computed from, of one confusion matrix or of many: its diagonal and sums.

    Attributes
    ----------
    hits : np.ndarray [shape=(..., classes)]
        Clips of each class that were named right.
    claimed : np.ndarray [shape=(..., classes)]
        Clips that were taken for it.
    support : np.ndarray [shape=(..., classes)]
        Clips of it.
    """

    hits: npt.NDArray[Any]
    claimed: npt.NDArray[Any]
    support: npt.NDArray[Any]

    @classmethod
    def of(cls, counts: Counts) -> Tallies:
        """Take them from a confusion matrix, shape (classes, classes)."""
        return cls(np.diagonal(counts), counts.sum(axis=0), counts.sum(axis=1))


def score(predictions: pd.DataFrame, labels: list[str], *, seed: int = 0) -> dict[str, Any]:
    """Score out-of-fold predictions.

    Parameters
    ----------
    predictions : pandas.DataFrame
        A row a clip with the columns ``label``, ``predicted``, ``fold`` and ``group``.
    labels : list of str
        Every class.
    seed : int
        Of the bootstrap.

    Returns
    -------
    scores : dict
        ``clips``, ``accuracy`` and ``macro_f1`` over all clips together, each with ``..._interval``
        (95 %); ``folds`` (:func:`fold_table`), ``fold_mean`` and ``fold_std`` (of their
        accuracies, sample standard deviation, None for one fold); ``classes``
        (:func:`per_class`); ``confusion`` (rows are the truth).
    """
    counts = confusion(predictions, labels)
    tallies = Tallies.of(counts)
    folds = fold_table(predictions, labels)
    by_fold = [fold["accuracy"] for fold in folds]
    intervals = bootstrap_interval(predictions, labels, seed=seed)
    return {
        "clips": int(counts.sum()),
        "accuracy": float(accuracies(tallies)),
        "accuracy_interval": intervals["accuracy"],
        "macro_f1": float(macro_f1s(tallies)),
        "macro_f1_interval": intervals["macro_f1"],
        "fold_mean": float(np.mean(by_fold)),
        "fold_std": float(np.std(by_fold, ddof=1)) if len(by_fold) > 1 else None,
        "folds": folds,
        "classes": per_class(counts, labels),
        "confusion": counts.tolist(),
    }


def confusion(predictions: pd.DataFrame, labels: list[str]) -> Counts:
    """Count clips by true class (row) and predicted class (column), shape (classes, classes)."""
    n = len(labels)
    truth, predicted = _places(predictions, labels)
    return np.bincount(truth * n + predicted, minlength=n * n).reshape(n, n)


def _places(predictions: pd.DataFrame, labels: list[str]) -> tuple[Counts, Counts]:
    """Return the places in `labels` of each clip's class and of the one it was taken for."""
    position = {label: place for place, label in enumerate(labels)}
    places = predictions[["label", "predicted"]].apply(lambda named: named.map(position))
    truth, predicted = places.to_numpy(np.int64).T
    return truth, predicted


def fold_table(predictions: pd.DataFrame, labels: list[str]) -> list[dict[str, Any]]:
    """Score each fold: ``fold``, ``clips``, ``accuracy``, ``macro_f1``."""
    rows = []
    for fold, part in predictions.groupby("fold"):
        tallies = Tallies.of(confusion(part, labels))
        rows.append(
            {
                "fold": int(str(fold)),
                "clips": len(part),
                "accuracy": float(accuracies(tallies)),
                "macro_f1": float(macro_f1s(tallies)),
            }
        )
    return rows


def per_class(counts: Counts, labels: list[str]) -> list[dict[str, Any]]:
    """Score each class: ``label``, ``clips``, ``precision``, ``recall``, ``f1``.

    A ratio with nothing below the line is 0, as in scikit-learn.
    """
    tallies = Tallies.of(counts)
    scores = class_scores(tallies)
    return [
        {
            "label": label,
            "clips": int(tallies.support[place]),
            **{name: float(values[place]) for name, values in scores.items()},
        }
        for place, label in enumerate(labels)
    ]


def class_scores(tallies: Tallies, *, undefined: float = 0.0) -> dict[str, Floats]:
    """Score each class.

    Parameters
    ----------
    tallies : Tallies
        Of one confusion matrix, or of many.
    undefined : float
        What a ratio with nothing below the line is: 0, as in scikit-learn, or NaN.

    Returns
    -------
    scores : dict of str to np.ndarray [shape=(..., classes)]
        ``precision``, ``recall`` and ``f1``, between 0 and 1.
    """
    hits, claimed, support = tallies
    return {
        "precision": _ratio(hits, claimed, undefined),
        "recall": _ratio(hits, support, undefined),
        "f1": _ratio(2 * hits, support + claimed, undefined),
    }


def bootstrap_interval(
    predictions: pd.DataFrame, labels: list[str], *, seed: int = 0
) -> dict[str, list[float]]:
    """Give 95 % percentile intervals of accuracy and macro F1.

    Whole source recordings (``group``) are drawn with replacement, as many as there are, 2,000
    times; each draw is scored over all its clips.

    Returns
    -------
    intervals : dict
        ``accuracy`` and ``macro_f1``, each ``[low, high]``.

    References
    ----------
    A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8
    (resampling clusters).
    """
    drawn = resampled(predictions, labels, seed=seed)
    return {
        name: [float(x) for x in interval(values)]
        for name, values in (("accuracy", accuracies(drawn)), ("macro_f1", macro_f1s(drawn)))
    }


def resampled(predictions: pd.DataFrame, labels: list[str], *, seed: int = 0) -> Tallies:
    """Count the clips of each bootstrap draw of source recordings.

    Two tables over the same recordings are drawn alike under one seed, so that what is computed
    from their counts is paired. No confusion matrix of a draw is made: of a thousand classes, two
    thousand of them would fill the memory.

    Returns
    -------
    tallies : Tallies
        Of shape (2000, classes): whole numbers, in floats.
    """
    group, names = pd.factorize(predictions["group"], sort=True)
    n_groups, n_labels = len(names), len(labels)
    truth, predicted = _places(predictions, labels)
    right = truth == predicted
    rng = np.random.default_rng(seed)

    def counts(recording: Counts, place: Counts) -> Floats:
        cells = np.bincount(recording * n_labels + place, minlength=n_groups * n_labels)
        return cells.reshape(n_groups, n_labels).astype(float)

    each = (counts(group[right], truth[right]), counts(group, predicted), counts(group, truth))
    found = [np.empty((_RESAMPLES, n_labels)) for _ in each]
    for first in range(0, _RESAMPLES, _AT_ONCE):
        rows = slice(first, min(first + _AT_ONCE, _RESAMPLES))
        size = rows.stop - rows.start
        drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=size)
        times = drawn.astype(float)  # whose product is a BLAS call; counts are exact in it
        for total, cells in zip(found, each, strict=True):
            np.matmul(times, cells, out=total[rows])
    return Tallies(*found)


def interval(values: Floats) -> Floats:
    """Give the 95 % percentile interval of bootstrap values, low and high.

    Parameters
    ----------
    values : np.ndarray [shape=(draws, ...)]
        What was computed from each draw; NaN where that draw says nothing.

    Returns
    -------
    ends : np.ndarray [shape=(2, ...)]
        NaN where no draw says anything.
    """
    tail = 100 * (1 - _LEVEL) / 2
    ends = np.full((2, *values.shape[1:]), np.nan)
    said = ~np.isnan(values).all(axis=0)
    ends[:, said] = np.nanpercentile(values[:, said], [tail, 100 - tail], axis=0)
    return ends


def accuracies(tallies: Tallies) -> Floats:
    """Share of all clips that were named right, of each confusion matrix."""
    return _ratio(tallies.hits.sum(axis=-1), tallies.support.sum(axis=-1))


def macro_f1s(tallies: Tallies) -> Floats:
    """Mean F1 over the classes that occur as truth or prediction, of each confusion matrix."""
    occurs = (tallies.claimed + tallies.support) > 0
    f1 = class_scores(tallies)["f1"]
    return _ratio((f1 * occurs).sum(axis=-1), occurs.sum(axis=-1))


def _ratio(above: Any, below: Any, undefined: float = 0.0) -> Floats:
    """Divide; 0 / 0 is `undefined`."""
    above, below = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    ratio: Floats = np.full_like(above, undefined)
    np.divide(above, below, out=ratio, where=below > 0)
    return ratio


def probability_columns(labels: list[str]) -> list[str]:
    """Name the probability columns of a predictions table."""
    return [f"p_{label}" for label in labels]
