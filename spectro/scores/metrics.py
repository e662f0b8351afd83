"""Scores of out-of-fold predictions, with 95 % intervals over source recordings.

Intervals come from a bootstrap over source recordings: clips of one recording rise and fall
together, and resampling single clips would claim a certainty that is not there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = [
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
_LEVEL = 0.95


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
    folds = fold_table(predictions, labels)
    accuracies = [fold["accuracy"] for fold in folds]
    intervals = bootstrap_interval(predictions, labels, seed=seed)
    return {
        "clips": int(counts.sum()),
        "accuracy": _accuracy(counts),
        "accuracy_interval": intervals["accuracy"],
        "macro_f1": _macro_f1(counts),
        "macro_f1_interval": intervals["macro_f1"],
        "fold_mean": float(np.mean(accuracies)),
        "fold_std": float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
        "folds": folds,
        "classes": per_class(counts, labels),
        "confusion": counts.tolist(),
    }


def confusion(predictions: pd.DataFrame, labels: list[str]) -> Counts:
    """Count clips by true class (row) and predicted class (column), shape (classes, classes)."""
    n = len(labels)
    return np.bincount(_cells(predictions, labels), minlength=n * n).reshape(n, n)


def _cells(predictions: pd.DataFrame, labels: list[str]) -> Counts:
    """Return the index of each clip's cell in the flattened confusion matrix."""
    position = {label: place for place, label in enumerate(labels)}
    truth, predicted = (predictions[name].map(position) for name in ("label", "predicted"))
    cells: Any = truth * len(labels) + predicted
    return np.asarray(cells, dtype=np.int64)


def fold_table(predictions: pd.DataFrame, labels: list[str]) -> list[dict[str, Any]]:
    """Score each fold: ``fold``, ``clips``, ``accuracy``, ``macro_f1``."""
    rows = []
    for fold, part in predictions.groupby("fold"):
        counts = confusion(part, labels)
        rows.append(
            {
                "fold": int(str(fold)),
                "clips": len(part),
                "accuracy": _accuracy(counts),
                "macro_f1": _macro_f1(counts),
            }
        )
    return rows


def per_class(counts: Counts, labels: list[str]) -> list[dict[str, Any]]:
    """Score each class: ``label``, ``clips``, ``precision``, ``recall``, ``f1``.

    A ratio with nothing below the line is 0, as in scikit-learn.
    """
    scores, support = class_scores(counts), counts.sum(axis=1)
    return [
        {
            "label": label,
            "clips": int(support[place]),
            **{name: float(values[place]) for name, values in scores.items()},
        }
        for place, label in enumerate(labels)
    ]


def class_scores(counts: npt.NDArray[Any], *, undefined: float = 0.0) -> dict[str, Floats]:
    """Score each class of each confusion matrix in a stack.

    Parameters
    ----------
    counts : np.ndarray [shape=(..., classes, classes)]
        Clips by true class (row) and predicted class (column).
    undefined : float
        What a ratio with nothing below the line is: 0, as in scikit-learn, or NaN.

    Returns
    -------
    scores : dict of str to np.ndarray [shape=(..., classes)]
        ``precision``, ``recall`` and ``f1``, between 0 and 1.
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    claimed, support = counts.sum(axis=-2), counts.sum(axis=-1)
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
    counts = resampled(predictions, labels, seed=seed)
    return {
        name: [float(x) for x in interval(values)]
        for name, values in (("accuracy", accuracies(counts)), ("macro_f1", macro_f1s(counts)))
    }


def resampled(predictions: pd.DataFrame, labels: list[str], *, seed: int = 0) -> Floats:
    """Count the confusion matrix of each bootstrap draw of source recordings.

    Two tables over the same recordings are drawn alike under one seed, so that what is computed
    from their matrices is paired.

    Returns
    -------
    counts : np.ndarray [shape=(2000, classes, classes)]
        Whole numbers, in floats.
    """
    group, names = pd.factorize(predictions["group"], sort=True)
    n_groups, n_labels = len(names), len(labels)
    size = n_labels * n_labels
    by_group = np.bincount(
        group * size + _cells(predictions, labels), minlength=n_groups * size
    ).reshape(n_groups, size)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=_RESAMPLES)
    # In floats, whose product is a BLAS call; counts stay far below where they are exact.
    counts: Floats = drawn.astype(float) @ by_group.astype(float)
    return counts.reshape(_RESAMPLES, n_labels, n_labels)


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


def accuracies(counts: npt.NDArray[Any]) -> Floats:
    """Accuracy of each confusion matrix in a stack, shape (..., classes, classes)."""
    return _ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def macro_f1s(counts: npt.NDArray[Any]) -> Floats:
    """Mean F1 of each matrix in a stack, over the classes that occur as truth or prediction."""
    occurs = (counts.sum(axis=-1) + counts.sum(axis=-2)) > 0
    f1 = class_scores(counts)["f1"]
    return _ratio((f1 * occurs).sum(axis=-1), occurs.sum(axis=-1))


def _accuracy(counts: Counts) -> float:
    return float(accuracies(counts))


def _macro_f1(counts: Counts) -> float:
    return float(macro_f1s(counts))


def _ratio(above: Any, below: Any, undefined: float = 0.0) -> Floats:
    """Divide; 0 / 0 is `undefined`."""
    above, below = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    ratio: Floats = np.full_like(above, undefined)
    np.divide(above, below, out=ratio, where=below > 0)
    return ratio


def probability_columns(labels: list[str]) -> list[str]:
    """Name the probability columns of a predictions table."""
    return [f"p_{label}" for label in labels]
