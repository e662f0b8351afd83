"""Every number of a report, computed in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from spectro.clips.table import leaking_groups
from spectro.crossval.run import RANDOM, Run
from spectro.scores import metrics
from spectro.scores.breakdown import by_class, by_source, most_confused
from spectro.scores.calibration import Reliability, calibration

__all__ = ["Facts", "collect"]

Row = dict[str, Any]

_MOST_CLASSES = 60  # in the matrix: a page of 500 classes would have 250,000 cells
_MOST_CONFUSIONS = 8
_MOST_SOURCES = 60


@dataclass(frozen=True)
class Facts:
    """The numbers of a page, as plain lists, dicts and scalars; None where unknown.

    Attributes
    ----------
    headline : dict
        Scores over all clips with their intervals, and what they were measured on.
    protocol : list of str
        What was trained and scored, in words.
    folds, classes : list of dict
        A row a fold, a row a class, with intervals.
    matrix : dict
        ``labels`` and ``rows`` of the confusion matrix, each cell ``count`` and ``share`` of its
        row; ``hidden`` classes that did not fit.
    confusions : list of dict
        The most frequent mistakes.
    sources : dict
        The recordings, those that fail whole first.
    calibration : dict
        ``before`` and ``after`` temperature scaling, and the temperatures.
    curves : list of dict
        The training history of each fold.
    """

    headline: Row
    protocol: list[str]
    folds: list[Row]
    classes: list[Row]
    matrix: Row
    confusions: list[Row]
    sources: Row
    calibration: Row
    curves: list[Row]


def collect(run: Run, predictions: pd.DataFrame) -> Facts:
    """Compute every number of a page.

    Parameters
    ----------
    run : Run
        With at least one finished fold.
    predictions : pandas.DataFrame
        Of :meth:`spectro.crossval.run.Run.predictions`.
    """
    labels, seed = run.labels, run.config.seed
    scores = metrics.score(predictions, labels, seed=seed)
    classes = by_class(predictions, labels, seed=seed)
    return Facts(
        headline=_headline(run, predictions, scores),
        protocol=_protocol(run, predictions),
        folds=_folds(run, predictions, scores["folds"]),
        classes=_rows(classes),
        matrix=_matrix(scores["confusion"], labels),
        confusions=_confusions(predictions),
        sources=_sources(predictions),
        calibration=_calibration(predictions, labels),
        curves=[_curve(run, fold) for fold in run.finished_folds if _has_history(run, fold)],
    )


def _rows(table: pd.DataFrame) -> list[Row]:
    """Turn a table into plain rows, with None for NaN."""
    return [
        {str(name): _plain(value) for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---------------------------------------------------------------------------------- the headline


def _headline(run: Run, predictions: pd.DataFrame, scores: Row) -> Row:
    about, finished = run.record.dataset, run.finished_folds
    sources = int(predictions["group"].nunique())
    alone = {} if sources > 1 else {"accuracy_interval": None, "macro_f1_interval": None}
    commonest = predictions["label"].value_counts()
    taken = ("clips", "accuracy", "accuracy_interval", "macro_f1", "macro_f1_interval")
    return {
        **{name: scores[name] for name in (*taken, "fold_mean", "fold_std")},
        **alone,
        "right": int((predictions["label"] == predictions["predicted"]).sum()),
        "sources": sources,
        "commonest": str(commonest.index[0]),
        "commonest_share": float(commonest.iloc[0] / len(predictions)),
        "dataset": about.name,
        "finished": finished,
        "whole": len(about.folds),
        "complete": set(finished) >= set(about.folds),
        "leaking": run.leaks,
        "random_split": _random_split(run),
        "weights": run.record.weights,
        "frozen": not run.config.phases,
        "watched": run.watched,
    }


def _random_split(run: Run) -> Row | None:
    """Score the split at random that was trained for comparison, if there is one."""
    if not Run.is_at(run.inner(RANDOM)):
        return None
    leaking = Run.load(run.inner(RANDOM))
    if not leaking.finished_folds:
        return None
    predictions = leaking.predictions()
    right = predictions["label"] == predictions["predicted"]
    shared = len(leaking_groups(predictions))
    return {"accuracy": float(right.mean()), "clips": len(predictions), "shared": shared}


def _protocol(run: Run, predictions: pd.DataFrame) -> list[str]:
    """Return the protocol of ``scores.json`` if it is of these clips, else describe the run."""
    if run.is_scored:
        scores = run.scores()
        if scores.clips == len(predictions) and scores.protocol:
            return list(scores.protocol)
    about, finished = run.record.dataset, run.finished_folds
    if run.leaks:
        how = "clips were dealt to folds at random, blind to recordings: sounds that were tested "
        return [how + "on had been trained on", f"started from {run.record.weights.detail}"]
    whole = len(about.folds)
    lines = [
        f"{len(finished)} of the {whole} folds of {about.name} scored "
        f"({', '.join(map(str, finished))}), in {run.record.precision}",
        f"started from {run.record.weights.detail}",
        *about.notes,
    ]
    short = f"this is NOT the {whole}-fold number and must not be compared with it"
    return lines if set(finished) >= set(about.folds) else [*lines, short]


# -------------------------------------------------------------------------------- folds, classes


def _folds(run: Run, predictions: pd.DataFrame, scored: list[Row]) -> list[Row]:
    """Add to each fold's scores its interval, its recordings, and what it was trained on."""
    rows = []
    for row in scored:
        part = predictions[predictions["fold"] == row["fold"]]
        sources = int(part["group"].nunique())
        ends = metrics.bootstrap_interval(part, run.labels, seed=run.config.seed)
        record = run.fold_record(row["fold"])
        rows.append(
            {
                **row,
                "sources": sources,
                "classes": int(part["label"].nunique()),
                "accuracy_interval": ends["accuracy"] if sources > 1 else None,
                "macro_f1_interval": ends["macro_f1"] if sources > 1 else None,
                "train_clips": record.train_clips,
                "seconds": record.seconds,
            }
        )
    return rows


def _matrix(counts: list[list[int]], labels: list[str]) -> Row:
    """Give the cells with each one's share of its row; of many classes, the most confused ones."""
    shown = most_confused(counts, _MOST_CLASSES)
    rows = [
        {
            "label": labels[i],
            "place": i,
            "clips": sum(counts[i]),
            "cells": [
                {"place": j, "count": counts[i][j], "share": counts[i][j] / max(sum(counts[i]), 1)}
                for j in shown
            ],
        }
        for i in shown
    ]
    return {
        "labels": [labels[i] for i in shown],
        "rows": rows,
        "hidden": len(labels) - len(shown),
    }


def _confusions(predictions: pd.DataFrame) -> list[Row]:
    """List the most frequent mistakes, with the recordings that they come from."""
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    of_class = predictions["label"].value_counts().to_dict()
    pairs = wrong["group"].groupby([wrong["label"], wrong["predicted"]]).agg(["size", "nunique"])
    table = pairs.reset_index().sort_values(
        ["size", "label", "predicted"], ascending=[False, True, True]
    )
    return [
        {
            "label": pair["label"],
            "predicted": pair["predicted"],
            "clips": int(pair["size"]),
            "sources": int(pair["nunique"]),
            "share": int(pair["size"]) / of_class[pair["label"]],
        }
        for pair in _rows(table.head(_MOST_CONFUSIONS))
    ]


# -------------------------------------------------------------------------------------- recordings


def _sources(predictions: pd.DataFrame) -> Row:
    """Count the recordings that fail whole, and list the worst."""
    table = by_source(predictions)
    folds = predictions.groupby(["group", "label"])["fold"].unique()
    rows = _rows(table.head(_MOST_SOURCES))
    for row in rows:
        row["folds"] = sorted(int(fold) for fold in folds[(row["group"], row["label"])])
    several = table[table["clips"] > 1]
    failed = several[several["right"] == 0]
    return {
        "rows": rows,
        "count": len(table),
        "hidden": len(table) - len(rows),
        "several": len(several),
        "failed": len(failed),
        "failed_clips": int(failed["clips"].sum()),
        "perfect": int((several["right"] == several["clips"]).sum()),
        "wrong_clips": int((table["clips"] - table["right"]).sum()),
    }


# ----------------------------------------------------------------------------- curves, calibration


def _calibration(predictions: pd.DataFrame, labels: list[str]) -> Row:
    found = calibration(predictions, labels)
    return {
        "before": _reliability(found.before),
        "after": None if found.after is None else _reliability(found.after),
        "temperatures": found.temperatures,
        "temperature": found.temperature,
    }


def _reliability(found: Reliability) -> Row:
    names = ("confidence", "accuracy", "ece", "brier", "nll")
    return {"bins": _rows(found.bins), **{name: float(getattr(found, name)) for name in names}}


def _has_history(run: Run, fold: int) -> bool:
    return (run.fold_folder(fold) / "history.csv").is_file()


def _curve(run: Run, fold: int) -> Row:
    table = run.history(fold)
    names = ("epoch", "train_loss", "valid_loss", "accuracy")
    return {"fold": fold, **{name: [_plain(x) for x in table[name].tolist()] for name in names}}
