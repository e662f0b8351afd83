"""Plots of results: training curves, confusion matrix, rate test, learning curve.

Each function returns a matplotlib figure, for a notebook to show or :func:`save` to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator, NullFormatter

from spectro.plumbing.words import percent
from spectro.scores.breakdown import most_confused

if TYPE_CHECKING:
    from spectro.scores.forecast import Forecast


__all__ = [
    "confusion", "history", "learning_curve", "learning_rates",

]  # fmt: skip

_MOST_CLASSES = 60  # in a confusion matrix: more cannot be read
_LARGEST = 18.0  # inches, of its cells


def history(
    tables: Mapping[int, pd.DataFrame] | Mapping[str, pd.DataFrame], held_out: str
) -> Figure:
    """Draw training curves: losses on the left, accuracy on the right, a line a training.

    Parameters
    ----------
    tables : mapping of int or str to pandas.DataFrame
        Training history by fold, or by what else tells them apart.
    held_out : str
        What the accuracy was measured on, for the legend.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    several = any("member" in table for table in tables.values())
    for number, (key, table) in enumerate(tables.items()):
        name = f"fold {key}" if isinstance(key, int) else key
        end = "" if several else f": {percent(table['accuracy'].iloc[-1])}"  # not of them all
        color = f"C{number % 10}"
        dots = {"marker": "o", "ms": 3, "color": color}
        losses.plot(table["epoch"], table["train_loss"], "--", mfc="none", **dots)
        losses.plot(table["epoch"], table["valid_loss"], **dots)
        accuracies.plot(
            table["epoch"],
            100 * table["accuracy"],
            "o-",
            ms=3,
            color=color,
            label=f"{name}{end}",
        )
    top = max(float(table["train_loss"].max()) for table in tables.values())
    losses.set(title="loss: training (dashed), " + held_out, xlabel="epoch", ylim=(0, 1.6 * top))
    accuracies.set(title=f"accuracy on {held_out}, %", xlabel="epoch", ylim=(0, 100))
    accuracies.legend(loc="lower right", fontsize="small")
    for axis in (losses, accuracies):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if max(len(table) for table in tables.values()) == 1:
            axis.set(xlim=(0, 2), xticks=[1])
        axis.grid(alpha=0.3)
        if several:
            axis.set_xlabel("epoch, of one network after another")
    return figure


def confusion(counts: npt.ArrayLike, labels: list[str], title: str = "") -> Figure:
    """Draw a confusion matrix: colour is the share of the true class, numbers are clips.

    Of more than 60 classes those that are confused most are drawn.

    Parameters
    ----------
    counts : array_like [shape=(classes, classes)]
        Clips by true class (row) and predicted class (column).
    labels : list of str
        Classes, in the same order.
    title : str
        What was scored.
    """
    counts = np.asarray(counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shown = most_confused(counts, _MOST_CLASSES)
    if len(shown) < len(labels):
        some = f"the {len(shown)} most confused of {len(labels):,} classes"
        title = f"{title}, {some}" if title else some
    counts, share = counts[np.ix_(shown, shown)], share[np.ix_(shown, shown)]
    labels = [labels[place] for place in shown]
    cell = min(0.62, _LARGEST / len(labels))
    size = 10 * cell / 0.62
    side = cell * len(labels) + 2.2
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    places = range(len(labels))
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axis.set_xticks(places, labels, fontsize=size, **turned)
    axis.set_yticks(places, labels, fontsize=size)
    axis.set(xlabel="predicted", ylabel="truth", title=title)
    for i, j in zip(*np.nonzero(counts), strict=True):
        axis.text(
            j,
            i,
            str(counts[i, j]),
            ha="center",
            va="center",
            fontsize=0.833 * size,  # matplotlib's "small"
            color="white" if share[i, j] > 0.5 else "black",
        )
    figure.colorbar(image, ax=axis, shrink=0.8, label="share of the true class")
    return figure


def learning_rates(
    lrs: npt.NDArray[np.float64], losses: npt.NDArray[np.float64], suggestion: float
) -> Figure:
    """Draw a learning-rate range test and its suggestion."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    axis.semilogx(lrs, losses)
    axis.xaxis.set_major_formatter(LogFormatter())  # numbers as --lr takes them, no formulas
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.axvline(suggestion, ls="--", color="C1", label=f"suggested: {suggestion:.2g}")
    lowest = float(np.nanmin(losses))
    axis.set(
        xlabel="learning rate",
        ylabel="training loss, smoothed",
        ylim=(0.9 * lowest, 1.2 * float(losses[0])),
    )
    axis.legend()
    axis.grid(alpha=0.3)
    return figure


def learning_curve(points: pd.DataFrame, law: Forecast | None, title: str = "") -> Figure:
    """Draw accuracy against training clips, with the fitted law up to twice their number.

    Parameters
    ----------
    points : pandas.DataFrame
        Of :class:`spectro.crossval.studies.learning_curve.Curve`.
    law : Forecast or None
        Drawn dashed to twice the clips, with the interval there.
    title : str
        What was scored.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    n, accuracy = points["train_clips"], 100 * points["accuracy"]
    ends = (accuracy - 100 * points["accuracy_low"], 100 * points["accuracy_high"] - accuracy)
    axis.errorbar(n, accuracy, yerr=ends, fmt="o", capsize=4, label="scored, with 95 % interval")
    if law is not None:
        low, high = law.interval
        reach = np.geomspace(n.iloc[0], law.more_clips, 100)
        axis.plot(reach, 100 * (1 - law.errors(reach)), "--", color="C1", label="power law")
        expected = 100 * law.accuracy
        spread = [[max(0, expected - 100 * low)], [max(0, 100 * high - expected)]]
        axis.errorbar(
            [law.more_clips], [expected], spread, fmt="o", mfc="white", capsize=4, color="C1",
            label="twice the clips, expected",
        )  # fmt: skip
    axis.set_xscale("log")
    marks = [*n, law.more_clips] if law is not None else [*n]
    axis.set_xticks(marks, [f"{mark:,}" for mark in marks])
    axis.minorticks_off()
    axis.set(xlabel="training clips", ylabel="accuracy on the held-out folds, %", title=title)
    axis.legend(loc="lower right", fontsize="small")
    axis.grid(alpha=0.3)
    return figure
