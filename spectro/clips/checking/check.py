"""Check a dataset: what is wrong with it, before any training.

Every clip is decoded and measured (:mod:`spectro.clips.checking.measure`), then judged by itself,
beside every other clip, and as part of the dataset (:mod:`spectro.clips.checking.findings`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from spectro.clips.checking.findings import Finding, Thresholds, judge
from spectro.clips.checking.measure import Vitals, examine, is_empty
from spectro.clips.clip import Clip, check_name, clips_of, is_named, printable
from spectro.clips.table import Dataset
from spectro.errors import AudioError
from spectro.plumbing import workers
from spectro.plumbing.files import replacing
from spectro.plumbing.paths import absolute, below, place
from spectro.plumbing.workers import completed

__all__ = ["FINDINGS", "Checkup", "check"]

FINDINGS = ("path", "start", "end", "label", "fold", "problem", "severity", "detail")
"""Columns of the table of findings."""

_WHOLE = ("sr", "channels", "wraps", "non_finite")
_WORDS = ("container", "codec", "fingerprint")
_TYPES = {  # all of them can be missing
    name: "Int64" if name in _WHOLE else "object" if name in _WORDS else "float64"
    for name in Vitals._fields
}


@dataclass(frozen=True)
class Checkup:
    """What :func:`check` found.

    Attributes
    ----------
    dataset : Dataset
        What was examined.
    clips : pandas.DataFrame
        The clip table and the :class:`~spectro.clips.checking.measure.Vitals` of each clip; missing
        where it could not be read, with the ``reason``, which is empty for the others.
    findings : pandas.DataFrame
        A row a :class:`~spectro.clips.checking.findings.Finding`, the worst first: ``path``
        (relative to the dataset's root if it lies below it; empty for what concerns no single
        clip), ``start``, ``end``, ``label``, ``fold``, ``problem``, ``severity`` and ``detail``.
    """

    dataset: Dataset
    clips: pd.DataFrame
    findings: pd.DataFrame

    def count(self, severity: str) -> int:
        """Return how many clips have an "error", or a "warning"."""
        table = self.findings[self.findings["severity"] == severity]
        return len(table[table["path"] != ""].drop_duplicates(["path", "start", "end"]))

    def save(self, path: str | Path) -> None:
        """Write the findings as a CSV."""
        with replacing(path) as temporary:
            self.findings.to_csv(temporary, index=False, lineterminator="\n")

    def save_vitals(self, path: str | Path) -> None:
        """Write the clip table, with what was measured of each clip, as a CSV."""
        table = self.clips.assign(path=_told(self.clips["path"], self.dataset.root))
        with replacing(path) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")


def check(
    dataset: Dataset,
    *,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
    thresholds: Thresholds | None = None,
) -> Checkup:
    """Examine every clip of a dataset, and the dataset as a whole.

    Parameters
    ----------
    dataset : Dataset
        What to examine.
    executor : concurrent.futures.Executor or None
        Where clips are decoded. None means a worker for each processor.
    progress : callable or None
        Called with the number of clips done and the number of all.
    thresholds : Thresholds or None
        From where on a measurement is a finding; None means the defaults.

    Returns
    -------
    Checkup
        A clip that cannot be read is a finding, and stops nothing.

    Raises
    ------
    AudioError
        If a worker died.
    """
    outcomes = _examine_all(dataset.clips, executor, progress)
    clips = _with_vitals(dataset.clips, outcomes)
    told = clips.assign(path=_told(clips["path"], dataset.root))
    found = [*_unread(told, outcomes), *judge(dataset, told, thresholds or Thresholds())]
    return Checkup(dataset, clips, _table(found))


def _told(paths: Iterable[str], root: Path) -> list[str]:
    """Write paths as a person reads them: relative to `root` if they lie below it."""
    base = place(absolute(root))
    return [printable(below(absolute(path), base)) for path in paths]


class _Job(NamedTuple):
    """One clip to examine: all that a worker needs."""

    row: int
    clip: Clip


class _Outcome(NamedTuple):
    row: int
    vitals: Vitals | None
    problem: str = ""
    reason: str = ""


def _jobs(clips: pd.DataFrame) -> Iterator[_Job]:
    for row, clip in enumerate(clips_of(clips)):
        # Workers elsewhere have another working directory.
        yield _Job(row, clip._replace(path=absolute(clip.path)))


def _examine_all(
    clips: pd.DataFrame,
    executor: Executor | None,
    progress: Callable[[int, int], None] | None,
) -> list[_Outcome]:
    """Examine through `executor`, or through a pool of our own that ends with the work."""
    outcomes: list[_Outcome] = []
    try:
        with nullcontext(executor) if executor else workers.pool() as pool:
            for batch in completed(pool, _examine_batch, _jobs(clips), len(clips)):
                outcomes += batch
                if progress is not None:
                    progress(len(outcomes), len(clips))
    except BrokenExecutor:
        raise AudioError(
            f"a worker died after {len(outcomes):,} of {len(clips):,} clips, for want of memory or "
            "of a clip that ends the decoder; run it again with --workers 1"
        ) from None
    return sorted(outcomes, key=lambda outcome: outcome.row)


def _examine_batch(jobs: list[_Job]) -> list[_Outcome]:
    return [_examine(job) for job in jobs]


def _examine(job: _Job) -> _Outcome:
    try:
        check_name(job.clip.path)
        return _Outcome(job.row, examine(*job.clip))
    except AudioError as error:
        problem = "empty" if is_named(job.clip.path) and is_empty(job.clip.path) else "unreadable"
        return _Outcome(job.row, None, problem, str(error).removeprefix(f"{job.clip.path}: "))


def _with_vitals(clips: pd.DataFrame, outcomes: list[_Outcome]) -> pd.DataFrame:
    """Add to the clip table what was measured, and why it could not be."""
    unknown = dict.fromkeys(Vitals._fields)
    rows = [outcome.vitals._asdict() if outcome.vitals else unknown for outcome in outcomes]
    vitals = pd.DataFrame(rows, columns=Vitals._fields, index=clips.index).astype(_TYPES)
    return clips.join(vitals).assign(reason=[outcome.reason for outcome in outcomes])


def _unread(clips: pd.DataFrame, outcomes: list[_Outcome]) -> Iterator[Finding]:
    """Yield the clips that could not be read."""
    for o in outcomes:
        if o.problem:
            clip = clips.iloc[o.row]
            where = (clip["path"], clip["start"], clip["end"], clip["label"], clip["fold"])
            yield Finding(*where, o.problem, o.reason)


def _table(found: Iterable[Finding]) -> pd.DataFrame:
    rows = [{**finding._asdict(), "severity": finding.severity} for finding in found]
    table = pd.DataFrame(rows, columns=list(FINDINGS))
    return table.astype({"start": "float64", "end": "float64", "fold": "Int64"})
