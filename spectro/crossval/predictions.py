"""The tables of a fold: what was predicted for its clips, and how training went."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from spectro.crossval.records import FoldRecord
from spectro.errors import ModelError
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.files import LARGEST_TABLE, read_bounded
from spectro.plumbing.paths import below, check_pictures, check_relative, place
from spectro.plumbing.words import percent
from spectro.scores.metrics import probability_columns

__all__ = [
    "accuracy",
    "check_fold",
    "check_once",
    "out_of_fold",
    "read_history",
    "read_predictions",
    "write_predictions",
]

_FILE = "predictions.csv"
_TEXT = ("path", "label", "group", "image", "predicted")
_NUMBERS = ("fold", "start", "end", "probability")
_HISTORY = ("epoch", "train_loss", "valid_loss", "accuracy")
_MAY_BE_EMPTY = {name: [""] for name in ("start", "end", "train_loss", "valid_loss")}
_ROUNDING = 1e-5  # of a probability as text
_MOST_EPOCHS = 1_000_000
_MOST_LOSS = float(np.finfo(np.float32).max)  # training has no more


def out_of_fold(
    probabilities: npt.NDArray[np.float32], clips: pd.DataFrame, labels: list[str]
) -> pd.DataFrame:
    """Put clips and what was predicted for them side by side.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_clips, n_classes)]
        In the order of `clips` and `labels`.
    """
    best = probabilities.argmax(axis=1)
    table = clips.assign(
        predicted=[labels[i] for i in best], probability=probabilities.max(axis=1)
    ).reset_index(drop=True)
    columns = pd.DataFrame(probabilities, columns=probability_columns(labels))
    return pd.concat([table, columns], axis=1)


def accuracy(predictions: pd.DataFrame) -> float:
    """Accuracy, 0 to 1."""
    return float((predictions["predicted"] == predictions["label"]).mean())


def write_predictions(folder: Path, predictions: pd.DataFrame, rendered: RenderedSet) -> None:
    """Write ``predictions.csv``, paths relative to dataset and pictures, which may be moved."""
    root = place(rendered.dataset.root)
    portable = predictions.assign(
        path=[below(path, root) for path in predictions["path"]],
        image=[below(image, rendered.folder) for image in predictions["image"]],
    )
    portable.to_csv(folder / _FILE, index=False, lineterminator="\n")


def read_predictions(
    folder: Path, labels: Sequence[str], root: str, pictures: Path
) -> pd.DataFrame:
    """Read ``predictions.csv`` of a fold.

    Parameters
    ----------
    folder : Path
        Of the fold.
    labels : sequence of str
        Classes of the run.
    root, pictures : str, Path
        What sounds and pictures are named relative to.

    Raises
    ------
    ModelError
        If the table cannot be read, lacks a column, names something outside its folders, or holds a
        label of another dataset or a probability that is no number from 0 to 1.
    """
    file = folder / _FILE
    numbers = [*_NUMBERS, *probability_columns(list(labels))]
    table = _read(file, [*_TEXT, *numbers], dtype=dict.fromkeys(_TEXT, str))
    check_relative(table["path"], file, ModelError)
    check_pictures(table["image"], pictures, file, ModelError)
    for name in ("label", "predicted"):
        foreign = set(table[name]) - set(labels)
        if foreign:
            raise ModelError(f"{file}: {name} {min(foreign)[:80]!r} is no class of this run")
    _check_numbers(table, numbers, file)
    probabilities = table[["probability", *probability_columns(list(labels))]].to_numpy()
    if not ((probabilities >= 0) & (probabilities <= 1)).all():  # NaN fails it too
        raise ModelError(f"{file}: a probability is not a number from 0 to 1; train the fold anew")
    if not pd.api.types.is_integer_dtype(table["fold"]):  # booleans and fractions are none
        raise ModelError(f"{file}: a fold is not a whole number; train the fold anew")
    table["path"] = [os.path.join(root, path) for path in table["path"]]
    table["image"] = [os.path.join(pictures, image) for image in table["image"]]
    return table


def check_fold(table: pd.DataFrame, labels: Sequence[str], record: FoldRecord, file: Path) -> None:
    """Check that a table of predictions is the one that the fold was scored by.

    Parameters
    ----------
    table : pandas.DataFrame
        As :func:`read_predictions` gives it.
    labels : sequence of str
        Classes of the run.
    record : FoldRecord
        Of the fold.
    file : Path
        Named in errors.

    Raises
    ------
    ModelError
        If it is of another fold, cut, has a clip twice, or tells another class or accuracy than its
        own probabilities, or the record.
    """
    check_once(table, file)
    surest = table[probability_columns(list(labels))].to_numpy(float)
    named = surest[
        np.arange(len(table)), pd.Index(labels).get_indexer(pd.Index(table["predicted"]))
    ]
    others = [fold for fold in table["fold"] if fold != record.fold]
    faults = {
        f"holds clips of fold {others[0] if others else ''}, not {record.fold}": bool(others),
        f"holds {len(table):,} clips, and {record.scored_clips:,} were scored":
            len(table) != record.scored_clips,
        "predicts another class than its probabilities do":
            (np.abs(surest.max(axis=1) - named) > _ROUNDING).any()
            or (np.abs(surest.max(axis=1) - table["probability"]) > _ROUNDING).any(),
        f"has {percent(accuracy(table))} right, and fold.json says {percent(record.accuracy)}":
            abs(accuracy(table) - record.accuracy) > _ROUNDING,
    }  # fmt: skip
    for fault, is_so in faults.items():
        if is_so:
            raise ModelError(
                f"{file}: {fault}: it was changed, or is another fold's; put the fold's own back, "
                f"or remove {file.parent} and train the fold anew"
            )


def check_once(table: pd.DataFrame, place: Path) -> None:
    """Refuse predictions that have a clip twice.

    Raises
    ------
    ModelError
        If they do.
    """
    twice = table["image"].duplicated()
    if twice.any():
        raise ModelError(
            f"{place}: the clip of {table.loc[twice, 'image'].iloc[0]} is predicted twice; put the "
            "fold's own predictions.csv back, or train the fold anew"
        )


def read_history(file: Path) -> pd.DataFrame:
    """Read ``history.csv`` of a fold, a row an epoch.

    Raises
    ------
    ModelError
        If it cannot be read, lacks a column, or holds what is no number, epochs that are no whole
        numbers in rising order, or losses that no training has.
    """
    table = _read(file, _HISTORY)
    _check_numbers(table, _HISTORY, file)
    epochs = np.r_[0, table["epoch"].to_numpy(float)]
    in_range = bool(((epochs >= 0) & (epochs <= _MOST_EPOCHS)).all())  # NaN fails it too
    if not in_range or (epochs % 1 != 0).any() or (np.diff(epochs) <= 0).any():
        raise ModelError(f"{file}: epochs are not numbered from 1 upward; train the fold anew")
    for column in ("train_loss", "valid_loss"):
        losses = table[column].to_numpy(float)
        if (np.abs(losses[np.isfinite(losses)]) > _MOST_LOSS).any():
            raise ModelError(f"{file}: {column} is larger than any loss; train the fold anew")
    return table.astype({"epoch": int})


def _read(file: Path, columns: Sequence[str], dtype: dict[str, type] | None = None) -> pd.DataFrame:
    """Read a CSV that has these columns; empty times and losses become NaN."""
    try:
        data = read_bounded(file, LARGEST_TABLE)
        table: pd.DataFrame = pd.read_csv(
            io.BytesIO(data), dtype=dtype or {}, keep_default_na=False, na_values=_MAY_BE_EMPTY
        )
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise ModelError(f"{file}: cannot be read ({error}); train the fold anew") from None
    missing = [column for column in columns if column not in table.columns]
    if missing or table.empty:
        what = f"has no column {missing[0]}" if missing else "holds no row"
        raise ModelError(f"{file}: {what}; train the fold anew")
    return table


def _check_numbers(table: pd.DataFrame, columns: Sequence[str], file: Path) -> None:
    for column in columns:
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise ModelError(f"{file}: {column} holds what is not a number; train the fold anew")
