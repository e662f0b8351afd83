"""What is wrong with the sounds of a run: examined once, and kept in its folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd
from pydantic import Field

from spectro.clips.checking.check import check
from spectro.clips.table import COLUMNS, Dataset
from spectro.crossval.run import Run
from spectro.errors import ModelError, SpectroError
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.files import write_text
from spectro.plumbing.paths import is_url
from spectro.plumbing.settings import Record

__all__ = ["Health", "examine"]

_CACHE = "doctor.json"
_MOST_CLIPS = 50_000  # some minutes; more are worth a command of their own
_EXAMPLES = 20  # findings of a problem


class Example(Record):
    """A clip with a problem, and what exactly."""

    name: str
    detail: str


class Problem(Record):
    """One kind of problem: how bad, how often, and some clips that have it."""

    problem: str
    severity: str
    count: int = Field(ge=0)
    examples: tuple[Example, ...]


class Health(Record):
    """What is wrong with the sounds of a run; kept in its folder as ``doctor.json``.

    Parameters
    ----------
    identity : str
        Of the clips and pictures that were examined.
    clips, errors, warnings : int
        Clips examined, and those of them with an error or a warning.
    problems : tuple of Problem
        The worst first.
    absence : str
        Why nothing was examined; empty if it was.
    """

    identity: str
    clips: int = Field(0, ge=0)
    errors: int = Field(0, ge=0)
    warnings: int = Field(0, ge=0)
    problems: tuple[Problem, ...] = ()
    absence: str = ""


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
    health : Health
    """
    identity = run.record.rendered.identity
    kept = _kept(run.folder / _CACHE, identity)
    if kept is not None:
        return kept
    clips = _clips(run, predictions)
    absence = _absence(run, clips)
    if absence:
        return Health(identity=identity, absence=absence)
    found = _findings(run, clips, progress)
    with suppress(OSError):  # a folder that may not be written to: examined again the next time
        write_text(run.folder / _CACHE, found.to_text())
    return found


def _kept(path: Path, identity: str) -> Health | None:
    """Read what was found before, if it was found in these very clips."""
    if not path.is_file():
        return None
    try:
        kept = Health.read(path, ModelError)
    except ModelError:
        return None
    return kept if kept.identity == identity else None


def _clips(run: Run, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the clips of all folds, failed ones too; only the scored ones if the set is gone."""
    folder = run.record.rendered.folder
    if is_url(folder):
        return predictions[list(COLUMNS)]
    try:
        rendered = RenderedSet.load(folder)
        failed = rendered.failures
    except (SpectroError, OSError):
        return predictions[list(COLUMNS)]
    tables = [table[list(COLUMNS)] for table in (rendered.clips, failed) if len(table)]
    clips = pd.concat(tables).sort_values(["path", "start"], ignore_index=True)
    return clips.astype({"fold": int, "start": float, "end": float})


def _absence(run: Run, clips: pd.DataFrame) -> str:
    """Say why nothing can be examined; empty if it can."""
    if is_url(run.record.dataset.root) or any(map(is_url, clips["path"])):
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
    return Health(
        identity=run.record.rendered.identity,
        clips=len(clips),
        errors=checkup.count("error"),
        warnings=checkup.count("warning"),
        problems=tuple(
            _problem(str(name), found)
            for name, found in checkup.findings.groupby("problem", sort=False)
        ),
    )


def _problem(name: str, found: pd.DataFrame) -> Problem:
    rows = zip(found["path"].head(_EXAMPLES), found["detail"].head(_EXAMPLES), strict=True)
    return Problem(
        problem=name,
        severity=str(found["severity"].iloc[0]),
        count=len(found),
        examples=tuple(Example(name=path, detail=detail) for path, detail in rows),
    )
