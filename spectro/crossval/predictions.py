"""The table of what was predicted for clips, as a run writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from spectro.crossval.run import probability_columns
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.paths import below, place

__all__ = ["accuracy", "out_of_fold", "write_predictions"]


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
    """Give the share of clips, 0 to 1, whose predicted class is theirs."""
    return float((predictions["predicted"] == predictions["label"]).mean())


def write_predictions(folder: Path, predictions: pd.DataFrame, rendered: RenderedSet) -> None:
    """Write ``predictions.csv``, paths relative to dataset and pictures, which may be moved."""
    root = place(rendered.dataset["root"])
    portable = predictions.assign(
        path=[below(path, root) for path in predictions["path"]],
        image=[below(image, rendered.folder) for image in predictions["image"]],
    )
    portable.to_csv(folder / "predictions.csv", index=False, lineterminator="\n")
