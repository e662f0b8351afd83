"""The runs of a folder side by side: which dataset, which recipe, what score, when."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spectro.crossval.records import Scores
from spectro.crossval.run import Run
from spectro.errors import ConfigError, ModelError
from spectro.plumbing.files import write_text
from spectro.scores import metrics
from spectro.scores.comparison import Comparison, compare

__all__ = [
    "COLUMNS",
    "check_free",
    "compare_runs",
    "folder_of",
    "list_runs",
    "summary",
    "to_json",
    "write",
]

COLUMNS = (
    "run", "dataset", "recipe", "arch", "weights", "epochs", "seed", "folds", "all_folds", "clips",
    "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "date", "leaks",
)  # fmt: skip


def list_runs(
    parent: str | Path,
    *,
    dataset: str | None = None,
    recipe: str | None = None,
    sort: str = "date",
    damaged: Callable[[ModelError], None] | None = None,
) -> pd.DataFrame:
    """List the runs below a folder, the last, or the best, first.

    Parameters
    ----------
    parent : str or Path
        Folder of runs; itself one, or runs at any depth below it. A run within a run, such as its
        random split, is not listed.
    dataset, recipe : str or None
        Keep those of this name.
    sort : str
        One of `COLUMNS`. Dates and scores start with the highest, everything else with the lowest;
        what is not known comes last.

    damaged : callable or None
        Called with what is wrong with a run that cannot be read, which is then left out; None
        raises it.

    Returns
    -------
    runs : pandas.DataFrame
        `COLUMNS`: ``run`` is the folder; ``folds`` are finished of ``all_folds`` that the dataset
        has; the scores, 0 to 1, are missing until these are scored; ``date`` is when the run was
        last scored, or else begun, in ISO 8601; ``leaks`` whether its split was drawn at random,
        so that its score is not honest.

    Raises
    ------
    ConfigError
        If there is no such column.
    ModelError
        If there is no such folder.
    """
    if sort not in COLUMNS:
        raise ConfigError(f"--sort {sort}: there are {', '.join(COLUMNS)}")
    parent = Path(parent)
    if not parent.is_dir():
        raise ModelError(f"{parent}: no such folder; training makes runs")
    rows = []
    for folder in _folders(parent):
        try:
            rows.append(_row(Run.load(folder)))
        except ModelError as error:  # one damaged run does not hide the others
            if damaged is None:
                raise
            damaged(error)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"clips": "Int64"})
    for column, wanted in (("dataset", dataset), ("recipe", recipe)):
        if wanted is not None:
            table = table[table[column] == wanted]
    highest_first = sort in ("date", "accuracy", "accuracy_low", "accuracy_high", "macro_f1")
    return table.sort_values(sort, ascending=not highest_first, kind="stable", ignore_index=True)


def _folders(parent: Path) -> list[Path]:
    """Find the outermost folders that hold a run, in order of name, each once."""
    seen: set[Path] = set()

    def below(folder: Path) -> Iterator[Path]:
        real = folder.resolve()
        if real in seen:  # through a link, which may lead round in a ring
            return
        seen.add(real)
        if Run.is_at(folder):
            yield folder
            return
        for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
            if not inner.name.startswith("."):
                yield from below(inner)

    return list(below(parent))


def _row(run: Run) -> dict[str, Any]:
    config, record = run.config, run.record
    row: dict[str, Any] = {
        "run": str(run.folder),
        "dataset": record.dataset.name,
        "recipe": config.recipe,
        "arch": run.design.learner_name or config.arch,
        "weights": record.weights.source,
        "epochs": None if run.design.learner else config.epochs,
        "seed": config.seed,
        "folds": len(run.finished_folds),
        "all_folds": len(record.dataset.folds),
        "leaks": run.leaks,
    }
    scores = _scores(run)
    if scores is not None:
        low, high = scores.accuracy_interval
        row |= {"accuracy": scores.accuracy, "accuracy_low": low, "accuracy_high": high}
        row |= {"clips": scores.clips, "macro_f1": scores.macro_f1}
    when = datetime.fromtimestamp(run.changed, tz=timezone.utc)
    return {**row, "date": when.isoformat(timespec="seconds")}


def _scores(run: Run) -> Scores | None:
    """Read the scores of a run, if they are of the folds that are finished now."""
    if not run.is_scored:
        return None
    predictions = run.predictions()  # a score of predictions that are another fold's is none
    scores = run.scores()
    now = sorted(predictions["fold"].value_counts().items())
    return scores if [(row.get("fold"), row.get("clips")) for row in scores.folds] == now else None


def to_json(runs: pd.DataFrame) -> str:
    """Write a table of runs as JSON, a list of objects; what is missing is null."""
    rows = runs.astype(object).where(runs.notna(), None).to_dict("records")
    return json.dumps(rows, indent=2, ensure_ascii=False)


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
    if Run.is_at(Path(parent)):
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
        {"seed": run.config.seed, "accuracy": scores.accuracy, "macro_f1": scores.macro_f1}
        for run, scores in ((run, run.scores()) for run in runs)
    ]
    draws = [metrics.resampled(table, labels) for table in tables]
    drawn = {
        "accuracy": np.stack([metrics.accuracies(draw) for draw in draws]),
        "macro_f1": np.stack([metrics.macro_f1s(draw) for draw in draws]),
    }
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


def compare_runs(
    first: Run, second: Run, *, names: tuple[str, str] = ("A", "B"), seed: int = 0
) -> Comparison:
    """Compare two runs: :func:`compare`, with paths relative to each run's dataset.

    Examples
    --------
    Of two runs of one dataset, as :func:`spectro.cross_validate` makes them:

    >>> import tempfile
    >>> from spectro import RenderedSet, SpectrogramConfig, TrainConfig, cross_validate
    >>> from spectro import compare_runs, load_dataset, render, write_sample
    >>> folder = tempfile.mkdtemp()
    >>> sounds = write_sample(folder, sources=1, slices=1, folds=2, classes=("siren", "dog_bark"))
    >>> _ = render(load_dataset(sounds), f"{folder}/pictures", SpectrogramConfig(n_mels=32))
    >>> config = TrainConfig(arch="cnn4", weights="none", batch_size=2, phases=[{"epochs": 1}])
    >>> run = cross_validate(RenderedSet.load(f"{folder}/pictures"), f"{folder}/run", config)
    >>> compare_runs(run, run).moved.empty
    True
    """
    tables = []
    for run in (first, second):
        predictions, root = run.predictions(), os.path.join(run.record.dataset.root, "")
        paths = [path.removeprefix(root) for path in predictions["path"]]
        tables.append(predictions.assign(path=paths))
    return compare(*tables, names=names, seed=seed)
