"""What counts as wrong with a clip or a dataset, and from where on.

Rules on tables: nothing here opens a file. :mod:`spectro.clips.checking.check` measures and calls
them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, NamedTuple

import pandas as pd

from spectro.clips.clip import Clip
from spectro.clips.table import Dataset, alike_labels, leaking_groups, list_some
from spectro.plumbing.words import percent

__all__ = ["ERRORS", "WARNINGS", "Finding", "Thresholds", "judge"]

_FEW = 10  # clips: of fewer, what is missing says nothing
_MOST_FOLDS = 20  # named that lack a class
_FORMULA = ("=", "+", "-", "@", "\t")

ERRORS = (
    *("unreadable", "empty", "non-finite", "silent"),
    *("contradicting labels", "leak", "listed twice", "class without sound"),
)
"""Problems that make a score wrong or a clip useless, the worst first."""

WARNINGS = (
    *("duplicate", "wrapped", "clipped", "DC offset", "short", "end behind the file"),
    *("absent", "missing folds", "one class", "labels alike", "formula"),
    *("leaking recording", "no recordings", "class not in fold", "rare class"),
    *("one clip of a class", "several rates", "several lengths"),
)
"""Problems for a person to look at, the worst first."""


@dataclass(frozen=True)
class Thresholds:
    """From where on a measurement is a finding.

    Attributes
    ----------
    silent_db : float
        Peak in dBFS below which a clip is silent: at -72, three of 16 bits are left. Not higher:
        UrbanSound8K has sirens that peak at -61 and make clear pictures.
    clipped : float
        Share of samples on flat tops: 4 ms of 4 s. Less is a few peaks that nobody hears.
    wraps : int
        Numbers that wrapped around. They come in pairs; a single one may be a click.
    dc : float
        Offset, of full scale.
    dc_of_rms : float
        Offset, of the clip's own level: at a half, a quarter of its power is no sound.
    dc_least : float
        Offset, of full scale, that is none: rounding to 8 bits alone makes 0.004.
    shortest : float
        Length in seconds: one FFT window at the default settings. UrbanSound8K goes down to 0.05.
    rare : float
        Clips of a class, of those of the largest class.
    even : float
        Length of the shortest clip, of that of the longest: below, a picture may be half padding.
    behind : float
        Times the file's length at which a clip's `end` is hardly meant in seconds.
    """

    silent_db: float = -72.0
    clipped: float = 1e-3
    wraps: int = 2
    dc: float = 0.05
    dc_of_rms: float = 0.5
    dc_least: float = 0.005
    shortest: float = 2048 / 22050
    rare: float = 0.1
    even: float = 0.5
    behind: float = 2.0


class Finding(NamedTuple):
    """One problem: of a clip, or of the dataset where `path` is empty.

    Attributes
    ----------
    path, start, end, label, fold
        As in the clip table, or as far as they make sense.
    problem : str
        One of `ERRORS` or `WARNINGS`.
    detail : str
        What exactly, in a line.
    """

    path: str
    start: float
    end: float
    label: str
    fold: int | None
    problem: str
    detail: str

    @property
    def severity(self) -> str:
        """Return "error" or "warning"."""
        return "error" if self.problem in ERRORS else "warning"


def judge(dataset: Dataset, clips: pd.DataFrame, thresholds: Thresholds) -> list[Finding]:
    """Apply every rule to the clips that could be read, and to the dataset.

    Parameters
    ----------
    dataset : Dataset
        What was measured.
    clips : pandas.DataFrame
        Its clip table with a column a field of :class:`~spectro.clips.checking.measure.Vitals`,
        missing where the clip could not be read; ``path`` as it is to be told.
    thresholds : Thresholds

    Returns
    -------
    findings : list of Finding
        The worst first; within a problem in the order of the table.
    """
    read = clips[clips["sr"].notna()]
    found = chain(
        _of_clips(read, thresholds),
        _same_sounds(read[~_is_silent(read, thresholds)]),
        _listed_twice(clips),
        _behind_the_end(read, thresholds),
        _absences(dataset),
        _labels(clips, set(read["label"])),
        _formulas(clips),
        _recordings(clips),
        _classes(clips, thresholds),
        _formats(read, thresholds),
    )
    rank = {problem: i for i, problem in enumerate((*ERRORS, *WARNINGS))}
    return sorted(found, key=lambda finding: rank[finding.problem])


def _about(clip: Any, problem: str, detail: str) -> Finding:
    return Finding(clip.path, clip.start, clip.end, clip.label, clip.fold, problem, detail)


def _overall(problem: str, detail: str, label: str = "", fold: int | None = None) -> Finding:
    return Finding("", math.nan, math.nan, label, fold, problem, detail)


def _is_silent(clips: Any, limits: Thresholds) -> Any:
    """Judge one row or a whole table."""
    return clips.mono_peak < 10 ** (limits.silent_db / 20)


def _of_clips(read: pd.DataFrame, limits: Thresholds) -> Iterator[Finding]:
    for clip in read.itertuples():
        for problem, detail in _symptoms(clip, limits):
            yield _about(clip, problem, detail)


def _symptoms(clip: Any, limits: Thresholds) -> Iterator[tuple[str, str]]:
    """Yield the problems of one clip, each with its detail."""
    if clip.seconds < limits.shortest:
        yield "short", f"lasts {clip.seconds:.3f} s, less than one FFT window"
    if clip.non_finite:
        frames = round(clip.seconds * clip.sr)
        yield (
            "non-finite",
            f"NaN, infinite or absurdly loud in {clip.non_finite:,} of {frames:,} samples",
        )
        return
    if _is_silent(clip, limits):
        yield "silent", _how_silent(clip)
        return
    if clip.wraps >= limits.wraps:  # which leaves flat tops of its own
        detail = f"{clip.wraps:,} clicks: jumps across the whole scale, where a peak wrapped around"
        yield "wrapped", detail
    elif clip.clipped >= limits.clipped:
        yield "clipped", f"{percent(clip.clipped)} of the samples lie on tops that were cut off"
    rms = 10 ** (clip.rms_db / 20)
    if abs(clip.dc) > min(limits.dc, max(limits.dc_of_rms * rms, limits.dc_least)):
        yield "DC offset", f"oscillates around {clip.dc:+.3f} of full scale, its level is {rms:.3f}"


def _how_silent(clip: Any) -> str:
    if clip.mono_peak > 0:
        return f"peaks at {20 * math.log10(clip.mono_peak):.0f} dBFS"
    if clip.peak > 0:
        return f"its {clip.channels} channels cancel each other out when averaged to one"
    return "every sample is zero"


def _same_sounds(heard: pd.DataFrame) -> Iterator[Finding]:
    """Find the copies of each sound; of the same label, the first by path is the one to keep."""
    sounding = heard[heard["fingerprint"] != ""].drop_duplicates(["path", "start", "end", "label"])
    alike = sounding[sounding.duplicated("fingerprint", keep=False)]
    for _, group in alike.groupby("fingerprint", sort=False):
        copies: list[Any] = list(group.itertuples())
        if len({copy.label for copy in copies}) > 1:
            yield from _contradictions(copies)
            continue
        first = copies[0]
        for copy in copies[1:]:
            problem = "duplicate" if copy.fold == first.fold else "leak"
            yield _about(copy, problem, f"sounds the same as {_name(first)} in fold {first.fold}")


def _contradictions(copies: list[Any]) -> Iterator[Finding]:
    for copy in copies:
        other = next(other for other in copies if other.label != copy.label)
        detail = f"sounds the same as {_name(other)}, labelled {other.label}"
        yield _about(copy, "contradicting labels", detail)


def _name(clip: Any) -> str:
    """Name a clip: its file, and where in it where it is only a part."""
    return Clip.of(clip._asdict()).name_in()


def _listed_twice(clips: pd.DataFrame) -> Iterator[Finding]:
    for clip in clips[clips.duplicated(["path", "start", "end", "label"])].itertuples():
        yield _about(clip, "listed twice", "keep one of its rows in the table")


def _behind_the_end(read: pd.DataFrame, limits: Thresholds) -> Iterator[Finding]:
    """Find parts that end far behind their file, as milliseconds taken for seconds do."""
    for clip in read[read["end"].notna()].itertuples():
        part: Any = clip
        lasts = (0 if math.isnan(part.start) else part.start) + part.seconds
        if part.end > max(limits.behind * lasts, lasts + 1):
            detail = f"ends at {part.end:g} s, its file at {lasts:.3f} s; are these milliseconds?"
            yield _about(part, "end behind the file", detail)


def _labels(clips: pd.DataFrame, heard: set[str]) -> Iterator[Finding]:
    """Find classes without sound, labels that may be one class, and data that has but one."""
    labels = sorted(clips["label"].unique())
    for label in labels:
        if label not in heard:
            detail = (
                f"none of the {int((clips['label'] == label).sum()):,} clips of {label} is read"
            )
            yield _overall("class without sound", detail, label)
    for group in alike_labels(labels):
        told = " and ".join(map(repr, group))
        yield _overall("labels alike", f"{told} count as classes of their own", group[0])
    if len(labels) == 1 and len(clips) >= _FEW:
        yield _overall("one class", f"every clip is {labels[0]}: nothing to tell apart", labels[0])


def _formulas(clips: pd.DataFrame) -> Iterator[Finding]:
    """Find text that a spreadsheet would run when it opens one of the tables written here."""
    for column in ("label", "group", "path"):
        risky = sorted(cell for cell in clips[column].unique() if cell.startswith(_FORMULA))
        if risky:
            detail = f"a {column} begins as a formula of a spreadsheet does: {list_some(risky, 3)}"
            yield _overall("formula", detail)


def _absences(dataset: Dataset) -> Iterator[Finding]:
    for name in dataset.absent:
        yield _overall("absent", f"{name} is listed, but not on disk")
    if dataset.missing_folds:
        folds = ", ".join(str(fold) for fold in dataset.missing_folds)
        yield _overall("missing folds", f"of {len(dataset.folds)} folds, not on disk: {folds}")


def _recordings(clips: pd.DataFrame) -> Iterator[Finding]:
    """Find recordings on both sides of a split, and data that names none."""
    of_group = clips.groupby("group")["fold"]
    for group in leaking_groups(clips):
        folds = of_group.get_group(group)
        where = ", ".join(str(fold) for fold in sorted(folds.unique()))
        yield _overall("leaking recording", f"{group} has {len(folds)} clips in folds {where}")
    if clips["group"].nunique() == clips["path"].nunique() > 1:
        yield _overall(
            "no recordings",
            "every file is a recording of its own; where several were cut from one, say so "
            "(--group-pattern, or a column group), or scores come out too high",
        )


def _classes(clips: pd.DataFrame, limits: Thresholds) -> Iterator[Finding]:
    """Find classes that a fold cannot score, or that there is little of."""
    folds = sorted(clips["fold"].unique())
    for name, in_folds in clips.groupby("label")["fold"]:
        label, there = str(name), set(in_folds)
        missing = (fold for fold in folds if fold not in there)
        for fold in islice(missing, _MOST_FOLDS):
            yield _overall("class not in fold", f"no {label} in fold {fold}", label, int(fold))
        more = len(folds) - len(there) - _MOST_FOLDS
        if more > 0:
            yield _overall("class not in fold", f"no {label} in {more:,} other folds", label)
    sizes = clips["label"].value_counts()
    for alone in sorted(sizes.index[sizes == 1]) if len(clips) >= _FEW else ():
        yield _overall("one clip of a class", f"{alone} cannot be both learned and scored", alone)
    for rare, size in sizes[sizes < limits.rare * sizes.max()].items():
        detail = f"{size:,} clips of {rare}, {sizes.max():,} of {sizes.index[0]}"
        yield _overall("rare class", detail, str(rare))


def _formats(read: pd.DataFrame, limits: Thresholds) -> Iterator[Finding]:
    rates = read["sr"].value_counts()
    if len(rates) > 1:
        counts = ", ".join(f"{rate:,} Hz: {count:,}" for rate, count in rates.items())
        yield _overall("several rates", f"low ones lack the high frequencies ({counts})")
    shortest, longest = read["seconds"].min(), read["seconds"].max()
    if shortest < limits.even * longest:
        yield _overall("several lengths", f"from {shortest:.2f} s to {longest:.2f} s")
