"""Clips to leave out: a CSV that `spectro check` proposes, a person may edit, and the rest honour.

========== ==================================================================================
column     meaning
========== ==================================================================================
path       the sound file, relative to the dataset's root if it lies below it
start, end part of the file in seconds, as in the clip table; both empty mean all of the file
problem    why
detail     why exactly
========== ==================================================================================

Only ``path`` has to be there. Delete a row to keep its clip; add one to leave a clip out.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from spectro.clips.checking.check import Checkup
from spectro.clips.clip import Clip, clips_of, printable
from spectro.clips.datasets.places import as_written
from spectro.clips.table import Dataset, list_some, read_csv
from spectro.errors import DatasetError
from spectro.plumbing.files import replacing
from spectro.plumbing.paths import absolute, is_url
from spectro.plumbing.words import counted

__all__ = ["PROPOSED", "apply", "apply_to_clips", "check_free", "write"]

PROPOSED = (
    *("unreadable", "empty", "non-finite", "silent"),
    *("contradicting labels", "leak", "duplicate"),
)
"""Problems for which `write` proposes to leave a clip out: nothing can be learned from it, or it is
a copy. One copy of each sound stays, unless their labels contradict each other."""

_COLUMNS = ("path", "start", "end", "problem", "detail")


def check_free(path: str | Path) -> None:
    """Refuse to write over a quarantine, in which a person may have edited.

    Raises
    ------
    DatasetError
        If there is something at `path`.
    """
    if Path(path).exists():
        raise DatasetError(f"{path}: is there already; name another file, or remove that one")


def write(path: str | Path, checkup: Checkup) -> int:
    """Write the clips that a checkup proposes to leave out; return how many.

    Raises
    ------
    DatasetError
        If there is something at `path`.
    """
    check_free(path)
    findings = checkup.findings
    table = findings.loc[findings["problem"].isin(PROPOSED), list(_COLUMNS)]
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return len(table)


def apply(dataset: Dataset, file: str | Path) -> Dataset:
    """Return `dataset` without the clips that a quarantine names.

    Parameters
    ----------
    dataset : Dataset
        From :func:`spectro.clips.datasets.load`.
    file : str or Path
        The quarantine.

    Returns
    -------
    Dataset
        With a note that says how many clips were left out, and one that names the rows to which no
        clip belongs: the dataset may have changed since, or only some folds may be on disk.

    Raises
    ------
    DatasetError
        If the file cannot be read, has no column ``path``, or leaves no clip.
    """
    clips, notes = apply_to_clips(dataset.clips, dataset.root, file)
    return dataclasses.replace(dataset, clips=clips, notes=(*dataset.notes, *notes))


def apply_to_clips(
    clips: pd.DataFrame, root: Path, file: str | Path
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a clip table without the clips that a quarantine names, and what to tell about it.

    Parameters
    ----------
    clips : pandas.DataFrame
        A clip table; more columns are kept.
    root : Path
        What the paths in the quarantine are relative to.
    file : str or Path
        The quarantine.

    Raises
    ------
    DatasetError
        As :func:`apply`.
    """
    rows = _rows(Path(file))
    named = [_key(clip, _whole(clip.path, root)) for clip in clips_of(rows)]
    own = [_key(clip, absolute(clip.path)) for clip in clips_of(clips)]
    named = _as_here(named, own)
    asked = set(named)
    out = [key in asked or Clip(key.path) in asked for key in own]
    here = {*own, *(Clip(key.path) for key in own)}
    stale = [path for path, key in zip(rows["path"], named, strict=True) if key not in here]
    if all(out):
        raise DatasetError(f"{file}: leaves none of the {len(clips):,} clips; delete some rows")
    name = Path(file).name  # notes are passed on with the score, folders are not
    notes = [f"{counted(sum(out), 'clip')} left out by {name}"]
    if stale:
        notes.append(f"{len(stale):,} rows of {name} name no clip that is here: {list_some(stale)}")
    return clips[[not o for o in out]].reset_index(drop=True), tuple(notes)


def _as_here(named: list[Clip], own: list[Clip]) -> list[Clip]:
    """Spell names as the files here are: a Mac takes letters apart that others write as one."""
    here = {clip.path for clip in own}
    spelled = as_written((clip.path for clip in named), here)
    return [clip._replace(path=spelled.get(clip.path, clip.path)) for clip in named]


def _rows(file: Path) -> pd.DataFrame:
    """Read a quarantine; `start` and `end` may be missing."""
    if not file.is_file():
        raise DatasetError(f"{file}: no such file; spectro check --quarantine writes one")
    rows = read_csv(file, ("path",), lines=True).reindex(columns=list(_COLUMNS))
    try:
        return rows.astype({"start": "float64", "end": "float64"})
    except ValueError as error:
        raise DatasetError(f"{file}: a start or end is not a number ({error})") from None


def _whole(path: str, root: Path) -> str:
    return path if is_url(path) else absolute(str(root / path))


def _key(clip: Clip, path: str) -> Clip:
    """Tell clips apart by file and part, to a microsecond: a person may have typed it."""
    start, end = (None if part is None else round(part, 6) for part in (clip.start, clip.end))
    return Clip(printable(path), start, end)
