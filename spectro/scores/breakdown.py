"""Where the mistakes are: by class, by source recording, and by speaker or site.

A recording whose forty clips all fail is one finding, not forty.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from spectro.scores import metrics

__all__ = ["by_class", "by_group", "by_loss", "by_move", "by_source", "most_confused", "of_truth"]

_MOST_GROUPS = 60  # speakers of AudioMNIST; more are no table that one reads


def most_confused(counts: npt.ArrayLike, most: int) -> list[int]:
    """Choose the classes with the most mistakes in a confusion matrix, for a table or picture.

    Parameters
    ----------
    counts : array_like [shape=(classes, classes)]
        Clips by true class (row) and predicted class (column).
    most : int
        How many; of equals, the first.

    Returns
    -------
    places : list of int
        Rising.
    """
    cells = np.asarray(counts)
    wrong = cells.sum(axis=0) + cells.sum(axis=1) - 2 * np.diagonal(cells)
    return sorted(np.argsort(-wrong, kind="stable")[:most].tolist())


def by_class(predictions: pd.DataFrame, labels: list[str], *, seed: int = 0) -> pd.DataFrame:
    """Score each class, with 95 % intervals over source recordings.

    Parameters
    ----------
    predictions : pandas.DataFrame
        A row a clip with the columns ``label``, ``predicted`` and ``group``.
    labels : list of str
        Every class.
    seed : int
        Of the bootstrap.

    Returns
    -------
    classes : pandas.DataFrame
        A row a class: ``label``, ``clips``, ``sources`` (recordings with such a clip), and
        ``precision``, ``recall`` and ``f1`` of :func:`spectro.scores.metrics.per_class`, each with
        ``..._low`` and ``..._high``: 95 % over source recordings, drawn as by
        :func:`spectro.scores.metrics.resampled`. A draw without clips that a score is about does
        not count; an interval is NaN where fewer than two recordings have such clips, as resampling
        one recording says nothing of another.
    """
    table = pd.DataFrame(metrics.per_class(metrics.confusion(predictions, labels), labels))
    recordings = _recordings(predictions, labels)
    table.insert(2, "sources", recordings["recall"])
    drawn = metrics.class_scores(
        metrics.resampled(predictions, labels, seed=seed), undefined=np.nan
    )
    for name, values in drawn.items():
        ends = np.where(recordings[name] < 2, np.nan, metrics.interval(values))
        after = table.columns.tolist().index(name) + 1
        table.insert(after, f"{name}_low", ends[0])
        table.insert(after + 1, f"{name}_high", ends[1])
    return table


def _recordings(predictions: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Count the recordings whose clips each score of each class is about.

    Recall is about clips of the class, precision about clips taken for it, F1 about both.
    """
    truth, claims = (
        predictions[["group", column]].set_axis(["group", "label"], axis=1)
        for column in ("label", "predicted")
    )
    about = {"recall": truth, "precision": claims, "f1": pd.concat([truth, claims])}
    counts = {
        name: pairs.groupby("label")["group"].nunique().reindex(labels, fill_value=0).to_numpy()
        for name, pairs in about.items()
    }
    return pd.DataFrame(counts)


def of_truth(predictions: pd.DataFrame) -> metrics.Floats:
    """Give the probability of each clip's true class, shape (clips,), from its ``p_<label>``."""
    columns = pd.Index("p_" + predictions["label"])
    names = columns.unique()
    probabilities = predictions[names].to_numpy(dtype=float)
    truth: metrics.Floats = probabilities[np.arange(len(predictions)), names.get_indexer(columns)]
    return truth


def by_loss(predictions: pd.DataFrame) -> pd.DataFrame:
    """Sort clips by their loss, highest first: their true class got the least probability.

    Parameters
    ----------
    predictions : pandas.DataFrame
        A row a clip with ``label`` and a column ``p_<label>`` a class.

    Returns
    -------
    predictions : pandas.DataFrame
        The same rows and columns, plus ``loss``: the cross-entropy of the clip, in nats. Where the
        truth was given no probability at all, it is that of the smallest float32.
    """
    loss = -np.log(np.maximum(of_truth(predictions), np.finfo(np.float32).tiny))
    return predictions.assign(loss=loss).sort_values("loss", ascending=False, kind="stable")


def by_group(predictions: pd.DataFrame) -> pd.DataFrame:
    """Score each group that has clips of several classes: a speaker, a microphone, a site.

    Parameters
    ----------
    predictions : pandas.DataFrame
        A row a clip with the columns ``label``, ``predicted`` and ``group``.

    Returns
    -------
    groups : pandas.DataFrame
        A row a group: ``group``, ``clips`` and ``accuracy``, in the order of their names. Empty
        where groups are recordings of one class each, as in UrbanSound8K, or more than 60.
    """
    right = predictions["label"] == predictions["predicted"]
    table = right.groupby(predictions["group"]).agg(clips="size", accuracy="mean").reset_index()
    classes = predictions.groupby("group")["label"].nunique()
    told = 2 <= len(table) <= _MOST_GROUPS and classes.min() > 1
    return table if told else table.head(0)


def by_source(predictions: pd.DataFrame) -> pd.DataFrame:
    """Score each source recording.

    Parameters
    ----------
    predictions : pandas.DataFrame
        A row a clip with the columns ``label``, ``predicted`` and ``group``.

    Returns
    -------
    sources : pandas.DataFrame
        A row a recording, and a class where it has clips of several: ``group``, ``label``,
        ``clips``, ``right``, ``accuracy``, ``taken_for`` (the most frequent wrong prediction, the
        first in the alphabet of equals; empty where all is right) and ``taken_for_clips``.
        Recordings that fail whole come first, then those with the most wrong clips.
    """
    keys = ["group", "label"]
    marked = predictions[[*keys, "predicted"]].assign(
        right=predictions["label"] == predictions["predicted"]
    )
    sources = marked.groupby(keys)["right"].agg(clips="size", right="sum").reset_index()
    sources["accuracy"] = sources["right"] / sources["clips"]
    wrong = marked[~marked["right"]].value_counts([*keys, "predicted"]).rename("taken_for_clips")
    usual = (
        wrong.reset_index()
        .rename(columns={"predicted": "taken_for"})
        .sort_values(["taken_for_clips", "taken_for"], ascending=[False, True])
        .drop_duplicates(keys)
    )
    sources = sources.merge(usual, on=keys, how="left")
    sources = sources.fillna({"taken_for": "", "taken_for_clips": 0})
    sources["taken_for_clips"] = sources["taken_for_clips"].astype(int)
    return _worst_first(sources)


def _worst_first(sources: pd.DataFrame) -> pd.DataFrame:
    order = sources.assign(some=sources["right"] > 0, wrong=sources["right"] - sources["clips"])
    order = order.sort_values(["some", "wrong", "group", "label"], ignore_index=True)
    return order.drop(columns=["some", "wrong"])


def by_move(moved: pd.DataFrame) -> pd.DataFrame:
    """Count the clips that changed sides by recording; clips of one recording change together.

    Parameters
    ----------
    moved : pandas.DataFrame
        That of :class:`spectro.scores.comparison.Comparison`.

    Returns
    -------
    moves : pandas.DataFrame
        A row for the clips of a recording that went the same way: ``move``, ``group``, ``label``,
        ``first`` and ``second`` (what each run took them for), ``clips`` and ``path`` (of one of
        them). The most clips come first, of equally many the lost ones.
    """
    keys = ["move", "group", "label", "first", "second"]
    moves = moved.groupby(keys, as_index=False).agg(clips=("path", "size"), path=("path", "first"))
    order = {"clips": False, "move": False, "path": True}
    return moves.sort_values([*order], ascending=[*order.values()], ignore_index=True)
