"""Which clips a report shows: few of any one recording."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

__all__ = ["HITS", "MISTAKES", "by_cell", "hits", "mistakes"]

MISTAKES, HITS = 24, 12
_A_SOURCE = 2  # clips of one recording among the mistakes
_A_CELL = 4  # clips of one cell of the matrix that can be seen and heard


def mistakes(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the mistakes that the network was most confident of, the surest first.

    Parameters
    ----------
    predictions : pandas.DataFrame
        A row a clip: ``label``, ``predicted``, ``probability``, ``group`` and ``path``.

    Returns
    -------
    clips : pandas.DataFrame
        Rows of the table under their own index; two of a recording only where there are not enough
        recordings, and never more.
    """
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    surest = wrong.sort_values(["probability", "path"], ascending=[False, True], kind="stable")
    again = surest.groupby("group", sort=False).cumcount().sort_values(kind="stable")
    taken = again[again < _A_SOURCE].index[:MISTAKES]
    return surest[surest.index.isin(taken)]


def hits(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return what was right with the least confidence, a clip of a recording; as `mistakes`."""
    right = predictions[predictions["label"] == predictions["predicted"]]
    unsure = right.sort_values(["probability", "path"], kind="stable")
    return unsure.groupby("group", sort=False).head(1).head(HITS)


def by_cell(predictions: pd.DataFrame) -> Iterator[int]:
    """Yield clips of every cell of the confusion matrix in turn, the mistakes' cells first.

    Within a cell the surest mistakes, or least sure hits, of each recording come first. So whatever
    room there is, it is shared.

    Yields
    ------
    row : int
        Index of the clip in the table.
    """
    cell = ["label", "predicted"]
    right = predictions["label"] == predictions["predicted"]
    told = predictions.assign(
        right=right, order=predictions["probability"].where(right, -predictions["probability"])
    ).sort_values(["order", "path"], kind="stable")
    told["again"] = told.groupby([*cell, "group"]).cumcount()
    told = told.sort_values(["again", "order"], kind="stable")
    told["turn"] = told.groupby(cell).cumcount()
    told = told[told["turn"] < _A_CELL]
    yield from told.sort_values(["right", "turn", "order"], kind="stable").index
