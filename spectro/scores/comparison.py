"""Two runs over the same clips: which is better, by how much, and whether that could be chance.

The bootstrap over source recordings decides. It draws for both runs alike, so what is hard for
both cancels out. How much another seed of training would have moved either, two runs cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from spectro.errors import ModelError
from spectro.scores import metrics
from spectro.scores.breakdown import by_move
from spectro.scores.metrics import Tallies

__all__ = ["Change", "Comparison", "compare", "mcnemar"]

_KEYS = ["path", "start", "end"]

# Five recordings all change one way by chance alone once in 16 times: too often to call it more
# than noise, whatever a bootstrap over so few says.
_FEWEST = 6


@dataclass(frozen=True)
class Change:
    """A score of two runs on the same clips.

    Attributes
    ----------
    first, second : float
        What each reached, 0 to 1.
    change : float
        Second less first, -1 to 1.
    interval : (float, float)
        95 % of `change` over source recordings.
    """

    first: float
    second: float
    change: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Two runs compared clip by clip.

    Attributes
    ----------
    clips : int
        Scored by both.
    only_first, only_second : int
        Clips that only one has scored; they count nowhere else.
    recordings, recordings_changed : int
        Source recordings of the clips, and those of which the runs have got unlike many right.
    accuracy, macro_f1 : Change
        Over all clips that both scored.
    gained, lost : int
        Clips that went from wrong to right, and from right to wrong.
    p_value : float
        Of :func:`mcnemar`.
    verdict : str
        In words, from the interval of accuracy.
    notes : list of str
        What to keep in mind, a line each.
    classes : pandas.DataFrame
        A row a class: ``label``, ``clips``, ``sources``, and ``recall`` and ``f1``, each with
        ``..._first``, ``..._second``, ``..._change``, ``..._low`` and ``..._high`` (95 %; NaN with
        fewer than two recordings). Of twenty intervals, one misses its mark.
    moved : pandas.DataFrame
        A row a clip that changed sides: ``path``, ``start``, ``end``, ``label``, ``group``,
        ``first`` and ``second`` (what each took it for), ``move`` ("lost" or "gained").
    moves : pandas.DataFrame
        The same by recording; see :func:`spectro.scores.breakdown.by_move`.
    """

    clips: int
    only_first: int
    only_second: int
    recordings: int
    recordings_changed: int
    accuracy: Change
    macro_f1: Change
    gained: int
    lost: int
    p_value: float
    verdict: str
    notes: list[str]
    classes: pd.DataFrame
    moved: pd.DataFrame
    moves: pd.DataFrame


def compare(
    first: pd.DataFrame,
    second: pd.DataFrame,
    *,
    names: tuple[str, str] = ("A", "B"),
    seed: int = 0,
) -> Comparison:
    """Compare two tables of out-of-fold predictions, clip by clip.

    Parameters
    ----------
    first, second : pandas.DataFrame
        A row a clip: ``path``, ``start`` and ``end``, which together name the clip, ``label``,
        ``predicted``, ``fold`` and ``group``.
    names : (str, str)
        What to call the two in words.
    seed : int
        Of the bootstrap.

    Raises
    ------
    ModelError
        If no clip is in both, one is twice in a table, or the two contradict each other about a
        clip's class or recording.
    """
    both, only = _matched(first, second, names)
    labels = sorted({*both["label"], *both["first"], *both["second"]})
    sides = [both.assign(predicted=both[side]) for side in ("first", "second")]
    tallies = [metrics.Tallies.of(metrics.confusion(side, labels)) for side in sides]
    # Of the same recordings under the same seed: draw for draw the two are of the same clips.
    drawn = [metrics.resampled(side, labels, seed=seed) for side in sides]
    accuracy = _change(metrics.accuracies, tallies, drawn)
    gains = _gains(both)
    gained, lost = int((gains > 0).sum()), int((gains < 0).sum())
    moved = _moved(both, gains)
    changed = int((gains.groupby(both["group"]).sum() != 0).sum())
    return Comparison(
        clips=len(both),
        only_first=only[0],
        only_second=only[1],
        recordings=both["group"].nunique(),
        recordings_changed=changed,
        accuracy=accuracy,
        macro_f1=_change(metrics.macro_f1s, tallies, drawn),
        gained=gained,
        lost=lost,
        p_value=mcnemar(lost, gained),
        verdict=_verdict(accuracy, changed, names) if gained or lost else _no_difference(names),
        notes=_notes(both, only, names),
        classes=_class_changes(tallies, drawn, labels, both),
        moved=moved,
        moves=by_move(moved),
    )


def mcnemar(lost: int, gained: int) -> float:
    """Test whether as many clips went from right to wrong as from wrong to right (McNemar's test).

    The exact binomial form, good for few clips too. It takes clips as independent, which slices of
    one recording are not: its p-value comes out too small, and the bootstrap decides.

    Returns
    -------
    p_value : float
        Two-sided; 1 where no clip changed sides.

    References
    ----------
    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12, 1947.
    """
    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


def _matched(
    first: pd.DataFrame, second: pd.DataFrame, names: tuple[str, str]
) -> tuple[pd.DataFrame, tuple[int, int]]:
    """Put the predictions of each clip side by side, and count the clips that only one has."""
    tables = [_clips(table, name) for table, name in zip((first, second), names, strict=True)]
    matched = tables[0].merge(
        tables[1], on=_KEYS, how="outer", suffixes=("_first", "_second"), indicator="where"
    )
    both = matched[matched.pop("where") == "both"].reset_index(drop=True)
    if both.empty:
        raise ModelError(
            f"{names[0]} and {names[1]} have no clip in common; compare runs over one dataset"
        )
    for column in ("label", "group"):
        unlike = both[both[f"{column}_first"] != both[f"{column}_second"]]
        for clip in unlike.to_dict("records"):
            raise ModelError(
                f"{clip['path']}: its {column} is {clip[f'{column}_first']} in {names[0]} and "
                f"{clip[f'{column}_second']} in {names[1]}; compare runs over one dataset"
            )
    plain = {"label_first": "label", "group_first": "group"}
    plain |= {"predicted_first": "first", "predicted_second": "second"}
    return both.rename(columns=plain), (len(first) - len(both), len(second) - len(both))


def _clips(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Take the columns to compare; each clip must be there once."""
    clips = table[[*_KEYS, "label", "group", "fold", "predicted"]].round({"start": 6, "end": 6})
    for path in clips.loc[clips.duplicated(_KEYS), "path"]:
        raise ModelError(f"{path}: is twice in the predictions of {name}; score that run again")
    return clips


def _change(
    score: Callable[[Tallies], metrics.Floats], tallies: list[Tallies], drawn: list[Tallies]
) -> Change:
    first, second = (float(score(one)) for one in tallies)
    low, high = metrics.interval(score(drawn[1]) - score(drawn[0]))
    return Change(first, second, second - first, (float(low), float(high)))


def _gains(both: pd.DataFrame) -> pd.Series[int]:
    """Return 1 for a clip that went from wrong to right, -1 for the other way, 0 for neither."""
    right = [(both[side] == both["label"]).astype(int) for side in ("first", "second")]
    return right[1] - right[0]


def _moved(both: pd.DataFrame, gains: pd.Series[int]) -> pd.DataFrame:
    """List the clips that changed sides, lost ones first."""
    moved = both.assign(move=gains.map({1: "gained", -1: "lost", 0: ""}))[gains != 0]
    columns = [*_KEYS, "label", "group", "first", "second", "move"]
    return moved[columns].sort_values("move", ascending=False, kind="stable", ignore_index=True)


def _class_changes(
    tallies: list[Tallies], drawn: list[Tallies], labels: list[str], both: pd.DataFrame
) -> pd.DataFrame:
    """Compare recall and F1 class by class; see :class:`Comparison`."""
    alike = both.groupby("label")["group"]
    table = pd.DataFrame({"label": labels})
    table["clips"] = alike.size().reindex(labels, fill_value=0).to_numpy()
    table["sources"] = alike.nunique().reindex(labels, fill_value=0).to_numpy()
    scores = [metrics.class_scores(one) for one in tallies]
    draws = [metrics.class_scores(one, undefined=np.nan) for one in drawn]
    for name in ("recall", "f1"):
        table[f"{name}_first"], table[f"{name}_second"] = (score[name] for score in scores)
        table[f"{name}_change"] = scores[1][name] - scores[0][name]
        ends = metrics.interval(draws[1][name] - draws[0][name])
        ends[:, table["sources"] < 2] = np.nan
        table[f"{name}_low"], table[f"{name}_high"] = ends
    return table


def _verdict(accuracy: Change, changed: int, names: tuple[str, str]) -> str:
    """Say which is better, by how much, and whether that is more than noise."""
    sign = -1 if accuracy.change < 0 else 1
    low, high = sorted(100 * sign * end for end in accuracy.interval)
    better = names[1] if sign > 0 else names[0]
    told = f"{better} is ahead by {_points(100 * sign * accuracy.change)} points"
    if accuracy.change == 0:
        told = f"{names[0]} and {names[1]} are right equally often"
    told += f" (95 %: {_points(low)} to {_points(high)})"
    if low <= 0 or accuracy.change == 0:
        return f"{told}: cannot be told from noise"
    if changed < _FEWEST:
        return f"{told}: cannot be told from noise, only {changed} recordings changed"
    return f"{told}: more than noise"


def _no_difference(names: tuple[str, str]) -> str:
    return f"{names[0]} and {names[1]} are right on the very same clips"


def _points(value: float) -> str:
    return f"{round(value, 1) + 0.0:.1f}"  # no "-0.0"


def _notes(both: pd.DataFrame, only: tuple[int, int], names: tuple[str, str]) -> list[str]:
    """Say what to keep in mind, a line each."""
    notes = [
        f"{n:,} clips are only in {name} and do not count"
        for n, name in zip(only, names, strict=True)
        if n
    ]
    elsewhere = int((both["fold_first"] != both["fold_second"]).sum())
    if elsewhere:
        notes.append(
            f"{elsewhere:,} clips were scored in another fold by {names[1]} than by {names[0]}: "
            "the two have learned from unlike clips"
        )
    if both["group"].nunique() < len(both):
        notes.append("McNemar's p takes clips of one recording for independent: trust the interval")
    return [*notes, "each run is of one seed; another may move either"]
