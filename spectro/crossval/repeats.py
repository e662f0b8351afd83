"""The same cross-validation under several seeds, to tell a score from the luck of one.

::

    seed0/ seed1/ ...   a run a seed
    seeds.json          mean and spread over the seeds, and the interval of their mean
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from spectro.crossval.run import Run
from spectro.errors import ModelError
from spectro.plumbing.files import write_text
from spectro.scores import metrics

__all__ = ["check_free", "folder_of", "summary", "write"]


def folder_of(parent: str | Path, seed: int) -> Path:
    """Name the run of a seed."""
    return Path(parent) / f"seed{seed}"


def check_free(parent: str | Path) -> None:
    """Refuse to put runs into a run.

    Raises
    ------
    ModelError
        If `parent` is a run itself.
    """
    if (Path(parent) / "run.json").is_file():
        raise ModelError(f"{parent}: holds a run of one seed; name another --run for several")


def summary(runs: list[Run]) -> dict[str, Any]:
    """Put the scores of several seeds together.

    Parameters
    ----------
    runs : list of Run
        Scored, over the same clips, one a seed.

    Returns
    -------
    summary : dict
        ``clips``; ``seeds``, each with its ``accuracy`` and ``macro_f1`` over all clips; of either,
        ``..._mean``, ``..._std`` (sample standard deviation over seeds, None for one) and
        ``..._interval`` (95 % of the mean: source recordings are drawn anew, the same ones for
        every seed; what is left is not the seeds' luck but which recordings were there to score).

    Raises
    ------
    ModelError
        If the runs are of different clips.
    """
    tables, labels = [run.predictions() for run in runs], runs[0].labels
    if any(set(table["image"]) != set(tables[0]["image"]) for table in tables):
        raise ModelError(f"{runs[0].folder.parent}: the seeds are not scored on the same clips")
    each = [
        {"seed": run.config.seed, **{name: run.scores()[name] for name in ("accuracy", "macro_f1")}}
        for run in runs
    ]
    draws = np.stack([metrics.resampled(table, labels) for table in tables])
    drawn = {"accuracy": metrics.accuracies(draws), "macro_f1": metrics.macro_f1s(draws)}
    whole: dict[str, Any] = {"clips": len(tables[0]), "seeds": each}
    for name, values in drawn.items():
        scores = [row[name] for row in each]
        whole[f"{name}_mean"] = float(np.mean(scores))
        whole[f"{name}_std"] = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
        whole[f"{name}_interval"] = metrics.interval(values.mean(axis=0)).tolist()
    return whole


def write(parent: str | Path, runs: list[Run]) -> dict[str, Any]:
    """Write ``seeds.json``; return the summary."""
    found = summary(runs)
    write_text(Path(parent) / "seeds.json", json.dumps(found, indent=2) + "\n")
    return found
