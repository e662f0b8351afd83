"""The clips of a report as columns for the page's script, each name once."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from spectro.clips.clip import clips_of
from spectro.crossval.run import Run
from spectro.scores.breakdown import of_truth

__all__ = ["columns"]

_A_ROW = 48  # bytes of a clip beside its name


def columns(run: Run, predictions: pd.DataFrame, room: int) -> dict[str, Any]:
    """Put the clips into columns for the page, as many as there is room for.

    Parameters
    ----------
    run : Run
        Names the classes and the dataset's root.
    predictions : pandas.DataFrame
        Of :meth:`spectro.crossval.run.Run.predictions`.
    room : int
        Bytes. What does not fit is left out: the surest hits first, the surest mistakes last.

    Returns
    -------
    clips : dict
        ``labels``, ``sources`` and ``all`` (their number), and columns: ``id`` (row of the table),
        ``name``, ``fold``, ``truth`` and ``predicted`` (positions in ``labels``), ``source``
        (position in ``sources``), ``p`` and ``p_truth``.
    """
    labels, root = run.labels, run.record.dataset.root
    names = np.array([clip.name_in(root) for clip in clips_of(predictions)], dtype=object)
    kept = _that_fit(predictions, names, room)
    shown = predictions.iloc[kept]
    source, sources = pd.factorize(shown["group"], sort=True)
    places = pd.Index(labels)
    return {
        "labels": labels,
        "sources": [str(group) for group in sources],
        "all": len(predictions),
        "id": [int(row) for row in kept],
        "name": names[kept].tolist(),
        "fold": shown["fold"].tolist(),
        "truth": places.get_indexer(pd.Index(shown["label"])).tolist(),
        "predicted": places.get_indexer(pd.Index(shown["predicted"])).tolist(),
        "source": source.tolist(),
        "p": shown["probability"].round(6).tolist(),
        "p_truth": of_truth(predictions)[kept].round(6).tolist(),
    }


def _that_fit(predictions: pd.DataFrame, names: Any, room: int) -> Any:
    """Choose rows until the room is filled; return their positions in order."""
    right = (predictions["label"] == predictions["predicted"]).to_numpy()
    sure = predictions["probability"].to_numpy()
    order = np.lexsort((np.where(right, sure, -sure), right))
    sizes = [len(json.dumps(name).encode()) + _A_ROW for name in names]
    fits = np.cumsum(np.array(sizes)[order]) <= room
    return np.sort(order[fits])
