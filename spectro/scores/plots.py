"""Pictures of results: a glance at the clips, training curves, confusion matrix, rate test.

Each function returns a matplotlib figure, for a notebook to show or :func:`save` to write.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from spectro.crossval.run import Run
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.files import write_bytes
from spectro.plumbing.paths import place

if TYPE_CHECKING:
    from spectro.scores.forecast import Forecast

_MOST_ROWS = 60  # classes shown; matplotlib's pictures end at 65,536 pixels

__all__ = [
    "confusion", "examples", "history", "learning_curve", "learning_rates", "save", "save_run",
    "watched",
]  # fmt: skip


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, in one step, and return its path."""
    png = io.BytesIO()
    with warnings.catch_warnings():  # a label in letters that the font lacks is drawn as boxes
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(png, dpi=110, format="png")
    write_bytes(path, png.getvalue())
    return place(path)


def save_run(run: Run) -> list[Path]:
    """Draw a run's training curves, if it has any, and confusion matrix; return their paths."""
    scores = run.scores()
    title = (
        f"{run.record['dataset']['name']}: {100 * scores['accuracy']:.1f} % of {scores['clips']:,}"
    )
    matrix = confusion(scores["confusion"], run.labels, title)
    drawn = [save(matrix, run.folder / "confusion.png")]
    if run.config.phases:
        curves = {fold: run.history(fold) for fold in run.finished_folds}
        drawn.insert(0, save(history(curves, watched(run)), run.folder / "training.png"))
    return drawn


def watched(run: Run) -> str:
    """Say what the accuracy of a run's training curves was measured on."""
    return "the scored fold" if run.config.inner_fold is None else "the inner fold"


def examples(clips: pd.DataFrame, config: SpectrogramConfig, *, per_class: int = 4) -> Figure:
    """Show some pictures of each class, a row a class, each from another recording if it can be.

    Parameters
    ----------
    clips : pandas.DataFrame
        Rendered clips, with ``image``, ``label`` and ``group``.
    config : SpectrogramConfig
        Gives the axes.
    per_class : int
        Pictures in a row.
    """
    labels = sorted(clips["label"].unique())[:_MOST_ROWS]
    figure = Figure(figsize=(2.3 * per_class + 1.4, 1.45 * len(labels)), layout="constrained")
    axes = figure.subplots(len(labels), per_class, squeeze=False)
    for row, label in zip(axes, labels, strict=True):
        alike = clips[clips["label"] == label]
        first_of_each = alike.drop_duplicates("group")
        chosen = pd.concat([first_of_each, alike.drop(first_of_each.index)]).head(per_class)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
        for axis, image in zip(row, chosen["image"], strict=False):
            with place(image).open("rb") as file:
                picture = Image.open(file).convert("RGB")
            axis.imshow(picture, aspect="auto", interpolation="nearest")
        row[0].set_ylabel(label, rotation=0, ha="right", va="center")
    figure.supxlabel(
        f"time, {config.duration:g} s  (frequency upwards, {config.n_mels} mel bands to "
        f"{(config.fmax or config.sr / 2) / 1000:g} kHz; dark: {config.top_db:g} dB below bright)",
        fontsize="small",
    )
    return figure


def history(
    tables: Mapping[int, pd.DataFrame] | Mapping[str, pd.DataFrame], held_out: str
) -> Figure:
    """Draw training curves: losses on the left, accuracy on the right, a line a training.

    Parameters
    ----------
    tables : mapping of int or str to pandas.DataFrame
        Training history (:func:`spectro.training.learner.fit`) by fold, or by what else tells them apart.
    held_out : str
        What the accuracy was measured on, for the legend.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    several = any("member" in table for table in tables.values())
    for number, (key, table) in enumerate(tables.items()):
        name = f"fold {key}" if isinstance(key, int) else key
        end = "" if several else f": {100 * table['accuracy'].iloc[-1]:.1f} %"  # not of them all
        color = f"C{number % 10}"
        losses.plot(table["epoch"], table["train_loss"], "--", color=color)
        losses.plot(table["epoch"], table["valid_loss"], color=color)
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
    accuracies.legend(loc="best", fontsize="small")
    for axis in (losses, accuracies):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        if several:
            axis.set_xlabel("epoch, of one network after another")
    return figure


def confusion(counts: npt.ArrayLike, labels: list[str], title: str = "") -> Figure:
    """Draw a confusion matrix: colour is the share of the true class, numbers are clips.

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
    side = 0.62 * len(labels) + 2.2
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    places = range(len(labels))
    axis.set_xticks(places, labels, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(places, labels)
    axis.set(xlabel="predicted", ylabel="truth", title=title)
    for i, j in zip(*np.nonzero(counts), strict=True):
        axis.text(
            j,
            i,
            str(counts[i, j]),
            ha="center",
            va="center",
            fontsize="small",
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
    """Draw accuracy against training clips, and the law through them as far as it may be trusted.

    Parameters
    ----------
    points : pandas.DataFrame
        Of :class:`spectro.crossval.learning_curve.Curve`.
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
