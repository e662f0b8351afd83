"""The data doctor's word in a report: examined once for a run, and kept in its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from spectro.clips.check import check
from spectro.clips.table import COLUMNS, Dataset
from spectro.crossval.run import Run
from spectro.errors import ModelError, SpectroError
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.files import read_json, write_text
from spectro.plumbing.paths import is_url

__all__ = ["examine"]

_CACHE = "doctor.json"
_MOST_CLIPS = 50_000  # some minutes; more are worth a command of their own
_EXAMPLES = 20  # findings of a problem

Health = dict[str, Any]


def examine(
    run: Run, predictions: pd.DataFrame, progress: Callable[[int, int], None] | None = None
) -> Health:
    """Say what is wrong with the sounds that a run was trained and scored on.

    Decodes every clip the first time, and then writes ``doctor.json`` into the run's folder: the
    findings belong to the sounds as they were, and outlive them.

    Parameters
    ----------
    run : Run
        Names the dataset and the pictures.
    predictions : pandas.DataFrame
        The scored clips, which are examined where the rendered set is not there any more.
    progress : callable or None
        Called with the number of clips done and the number of all.

    Returns
    -------
    health : dict
        ``clips`` (examined), ``errors`` and ``warnings`` (clips with one), ``problems`` (each with
        ``problem``, ``severity``, ``count`` and some ``examples``), and ``absence``: why nothing
        was examined, or empty.
    """
    identity = run.record.rendered.identity
    kept = _kept(run.folder / _CACHE, identity)
    if kept is not None:
        return kept
    clips = _clips(run, predictions)
    absence = _absence(run, clips)
    if absence:
        return {"clips": 0, "errors": 0, "warnings": 0, "problems": [], "absence": absence}
    found = _findings(run, clips, progress)
    with suppress(OSError):  # a folder that may not be written to: examined again the next time
        text = json.dumps({"identity": identity, **found}, indent=1)
        write_text(run.folder / _CACHE, text + "\n")
    return found


def _kept(path: Path, identity: str) -> Health | None:
    """Read what was found before, if it was found in these very clips."""
    if not path.is_file():
        return None
    try:
        kept = read_json(path, ModelError)
    except ModelError:
        return None
    known = {"clips", "errors", "warnings", "problems", "absence"} <= kept.keys()
    return kept if known and kept.pop("identity", None) == identity else None


def _clips(run: Run, predictions: pd.DataFrame) -> pd.DataFrame:
    """Take the clips of all folds, those that could not be drawn too, or at least the scored."""
    try:
        rendered = RenderedSet.load(run.record.rendered.folder)
        failed = pd.read_csv(
            rendered.folder / "failures.csv",
            dtype={"label": str, "group": str},
            keep_default_na=False,
            na_values={"start": [""], "end": [""]},
        )
    except (SpectroError, OSError, ValueError):
        return predictions[list(COLUMNS)]
    root = rendered.dataset.root
    failed["path"] = [os.path.join(root, path) for path in failed["path"]]
    tables = [table[list(COLUMNS)] for table in (rendered.clips, failed) if len(table)]
    clips = pd.concat(tables).sort_values(["path", "start"], ignore_index=True)
    return clips.astype({"fold": int, "start": float, "end": float})


def _absence(run: Run, clips: pd.DataFrame) -> str:
    """Say why nothing can be examined; nothing where it can."""
    if is_url(run.record.dataset.root):
        return "the sounds are not on a local disk; spectro check examines them there"
    if not any(map(os.path.exists, clips["path"])):
        return "the sounds are no longer where the run found them"
    if len(clips) > _MOST_CLIPS:
        return f"{len(clips):,} clips are many; spectro check examines them"
    return ""


def _findings(run: Run, clips: pd.DataFrame, progress: Callable[[int, int], None] | None) -> Health:
    about = run.record.dataset
    dataset = Dataset(
        name=about.name,
        root=Path(about.root),
        clips=clips,
        folds=about.folds,
        notes=about.notes,
        absent=about.absent,
    )
    checkup = check(dataset, progress=progress)
    return {
        "clips": len(clips),
        "errors": checkup.count("error"),
        "warnings": checkup.count("warning"),
        "problems": [
            {
                "problem": str(problem),
                "severity": str(found["severity"].iloc[0]),
                "count": len(found),
                "examples": [
                    {"name": row.path, "detail": row.detail}
                    for row in found.head(_EXAMPLES).itertuples()
                ],
            }
            for problem, found in checkup.findings.groupby("problem", sort=False)
        ],
        "absence": "",
    }
