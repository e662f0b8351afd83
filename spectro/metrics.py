"""Scores from out-of-fold predictions, with the interval that chance leaves them.

Intervals come from a bootstrap over source recordings: clips of one recording rise and fall
together, and resampling single clips would claim a certainty that is not there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["bootstrap_interval", "confusion", "fold_table", "per_class", "score"]

Counts = npt.NDArray[np.int64]

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
    """Say which cell of the flattened confusion matrix each clip counts in."""
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
    hits, support, claimed = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    columns = zip(
        labels, support, _ratio(hits, claimed), _ratio(hits, support), _f1(counts), strict=True
    )
    return [
        {"label": label, "clips": int(n), "precision": float(p), "recall": float(r), "f1": float(f)}
        for label, n, p, r, f in columns
    ]


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
    group, names = pd.factorize(predictions["group"], sort=True)
    n_groups, n_labels = len(names), len(labels)
    size = n_labels * n_labels
    by_group = np.bincount(
        group * size + _cells(predictions, labels), minlength=n_groups * size
    ).reshape(n_groups, size)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=_RESAMPLES)
    # In floats, whose product is a BLAS call; counts stay far below where they are exact.
    counts = (drawn.astype(float) @ by_group.astype(float)).reshape(_RESAMPLES, n_labels, n_labels)
    tail = 100 * (1 - _LEVEL) / 2
    return {
        name: [float(x) for x in np.percentile(values, [tail, 100 - tail])]
        for name, values in (("accuracy", _accuracies(counts)), ("macro_f1", _macro_f1s(counts)))
    }


def _accuracies(counts: Counts) -> npt.NDArray[np.float64]:
    """Accuracy of each confusion matrix in a stack, shape (..., classes, classes)."""
    return _ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def _macro_f1s(counts: Counts) -> npt.NDArray[np.float64]:
    """Mean F1 over the classes that occur, as truth or as prediction."""
    occurs = (counts.sum(axis=-1) + counts.sum(axis=-2)) > 0
    return _ratio((_f1(counts) * occurs).sum(axis=-1), occurs.sum(axis=-1))


def _accuracy(counts: Counts) -> float:
    return float(_accuracies(counts))


def _macro_f1(counts: Counts) -> float:
    return float(_macro_f1s(counts))


def _f1(counts: Counts) -> npt.NDArray[np.float64]:
    """F1 of each class: twice the hits over truths plus claims."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return _ratio(2 * hits, counts.sum(axis=-1) + counts.sum(axis=-2))


def _ratio(above: Any, below: Any) -> npt.NDArray[np.float64]:
    """Divide; nothing over nothing is 0."""
    above, below = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    ratio: npt.NDArray[np.float64] = np.zeros_like(above)
    np.divide(above, below, out=ratio, where=below > 0)
    return ratio
