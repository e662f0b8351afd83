"""Thresholds from a budget: at most so many false events an hour on one's own background.

Every count comes from :class:`~spectro.listening.events.finding.EventTracker`, which makes the
events of a scan: events are counted, not windows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from spectro.errors import ConfigError, DatasetError
from spectro.listening.events.finding import Origin, ScoredWindow, find_events
from spectro.listening.events.settings import ClassThresholds, EventSettings
from spectro.listening.thresholds.bounds import bootstrap_upper, hours_needed, poisson_upper
from spectro.listening.thresholds.site import ClassEvidence, CurvePoint, SiteThresholds

__all__ = ["Background", "check_budget", "choose_thresholds"]

Counts = npt.NDArray[np.int64]

_STEP = 1e-6  # between thresholds
_POINTS = 20  # of a curve


class Background(NamedTuple):
    """A recording without any sound of the classes, and what the model made of it.

    Parameters
    ----------
    recording : str
        Its name.
    hours : float
        Its length.
    windows : sequence of ScoredWindow
        All of them, in order.
    night : str
        Which night or day it is of, as what is recorded then has one weather; "" if not known.
    """

    recording: str
    hours: float
    windows: Sequence[ScoredWindow]
    night: str = ""


def check_budget(hours: float, budget: float, confidence: float = 0.95) -> None:
    """Refuse a budget that so many hours cannot support, even without one event.

    Raises
    ------
    ConfigError
        Saying what they do support, and how many hours it takes.
    """
    if not 0 < budget < math.inf:
        raise ConfigError(f"the budget is {budget:g} an hour: choose one above 0")
    needed = hours_needed(budget, confidence)
    if not hours >= needed:
        least = _up(poisson_upper(0, confidence) / hours) if hours > 0 else math.inf
        raise ConfigError(
            f"{hours:.3g} h of background cannot support a budget of {budget:g} an hour: without a "
            f"single alarm they bound the rate at {least:g} an hour; "
            f"give at least {_up(needed):g} h, --unsupported to claim nothing, or a budget of "
            f"{least:g}"
        )


def _up(number: float) -> float:
    """Round up to three digits and a bit: what is told must hold."""
    scale = 10.0 ** (2 - math.floor(math.log10(number)))
    return math.ceil(number * scale - 1e-9) / scale


class _Counter:
    """Counts false events of all classes at once, at any thresholds."""

    def __init__(
        self, background: Sequence[Background], labels: Sequence[str], base: EventSettings
    ) -> None:
        self.background, self.labels, self.base = background, list(labels), base
        levels = base.levels(labels)
        self.floors = np.maximum(levels.off, levels.extent)
        self._off, self._extent = levels.off, levels.extent
        self.hours = np.array([one.hours for one in background])
        nights = [one.night or f" {number:09}" for number, one in enumerate(background)]
        self.knows_nights = any(one.night for one in background)
        self._nights = np.unique(nights, return_inverse=True)[1]

    def by_night(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Add up what recordings of one night have, shape (n_recordings,) to (n_nights,)."""
        return np.bincount(self._nights, weights=values).astype(np.float64)

    def settings(self, on: Sequence[float | None]) -> EventSettings:
        """Return the settings with these on-thresholds; None is never raised."""
        classes = {
            label: ClassThresholds(on=value, off=float(off), extent=float(extent))
            for label, value, off, extent in zip(
                self.labels, on, self._off, self._extent, strict=True
            )
            if value is not None
        }
        never = tuple(label for label, value in zip(self.labels, on, strict=True) if value is None)
        return self.base.replace(classes=classes, ignore=never)

    def counts(self, on: Sequence[float | None]) -> Counts:
        """Return the events of each class in each recording, shape (n_classes, n_recordings)."""
        settings, row = self.settings(on), {label: i for i, label in enumerate(self.labels)}
        counts = np.zeros((len(self.labels), len(self.background)), dtype=np.int64)
        for column, one in enumerate(self.background):
            for event in find_events(one.windows, self.labels, settings, Origin(one.recording)):
                counts[row[event.label], column] += 1
        return counts

    def candidates(self) -> list[list[float]]:
        """Return, for each class, the thresholds at which the number of its events can change."""
        everything = self.settings([None if math.isinf(f) else float(f) for f in self.floors])
        everything = everything.replace(merge_gap=0.0, min_length=0.0)
        found: dict[str, set[float]] = {
            label: set() if math.isinf(floor) else {float(floor)}
            for label, floor in zip(self.labels, self.floors, strict=True)
        }
        for one in self.background:
            for event in find_events(one.windows, self.labels, everything, Origin("")):
                found[event.label].add(_above(event.peak))
        return [sorted(value for value in found[label] if value <= 1) for label in self.labels]


def _above(peak: float) -> float:
    """Return the lowest threshold, in steps, that a peak does not reach; it may be over 1."""
    step = math.floor(peak / _STEP) + 1
    value = round(step * _STEP, 6)
    return value if value > peak else round((step + 1) * _STEP, 6)


def choose_thresholds(
    background: Sequence[Background],
    labels: Sequence[str],
    *,
    site: str,
    budget: float,
    hop: float,
    settings: EventSettings | None = None,
    detections: Mapping[str, Sequence[float]] | None = None,
    confidence: float = 0.95,
    unsupported: bool = False,
    model: str = "",
    backend: Literal["", "torch", "onnx", "int8"] = "",
) -> SiteThresholds:
    """Choose for each class the lowest on-threshold that keeps it within the budget.

    Within the budget is a class whose false events an hour have a bound of at most the budget: the
    Poisson bound, or that of a bootstrap over recordings or over nights if it is higher.

    Parameters
    ----------
    background : sequence of Background
        Recordings in which nothing is to be heard.
    labels : sequence of str
        The model's classes.
    site : str
        See :class:`~spectro.listening.thresholds.site.SiteThresholds`.
    budget : float
        False events an hour for each class.
    hop : float
        Seconds between the windows' starts.
    settings : EventSettings or None
        All but the on-thresholds is kept. No threshold is chosen below `off` and `extent`.
    detections : mapping of str to sequence of float, or None
        For a class, the calibrated out-of-fold probabilities of it on its own clips: what share of
        detections a threshold keeps.
    confidence : float
        Of the bounds.
    unsupported : bool
        Whether to go on with too few hours: then a class may raise no event at all on the
        background, and nothing is claimed.
    model : str
        Hash of the model.
    backend : "torch", "onnx", "int8" or ""
        What ran it.

    Returns
    -------
    thresholds : SiteThresholds

    Raises
    ------
    ConfigError
        If the hours cannot support the budget (:func:`check_budget`).
    DatasetError
        If there is no background, or two recordings have one name.
    """
    hours = _hours(background)
    if not unsupported:
        check_budget(sum(hours.values()), budget, confidence)
    counter = _Counter(background, labels, settings or EventSettings())
    judge = _Judge(counter, budget, confidence, detections or {})
    candidates = counter.candidates()
    on = _lowest(candidates, judge)
    chosen = judge.points(on)
    return SiteThresholds(
        site=site,
        model=model,
        backend=backend,
        budget=budget,
        confidence=confidence,
        supported=poisson_upper(0, confidence) <= budget * sum(hours.values()),
        hop=hop,
        hours=sum(hours.values()),
        recordings=hours,
        settings=counter.settings(on),
        classes={
            label: ClassEvidence(chosen=point, curve=curve)
            for label, point, curve in zip(
                labels, chosen, _curves(candidates, on, judge), strict=True
            )
        },
    )


def _hours(background: Sequence[Background]) -> dict[str, float]:
    hours = {one.recording: one.hours for one in background}
    if len(hours) < len(background):
        raise DatasetError("two recordings of the background have one name; name them by path")
    if not sum(hours.values()) > 0:
        raise DatasetError(
            "there is no background: give recordings in which nothing is to be heard"
        )
    return hours


class _Judge:
    """Tells what thresholds cost, and whether that is within the budget."""

    def __init__(
        self,
        counter: _Counter,
        budget: float,
        confidence: float,
        detections: Mapping[str, Sequence[float]],
    ) -> None:
        self.counter, self.budget, self.confidence = counter, budget, confidence
        self._kept = [np.sort(np.asarray(detections.get(name, ()))) for name in counter.labels]
        self._hours = float(counter.hours.sum())

    def points(self, on: Sequence[float | None]) -> list[CurvePoint | None]:
        """Return what each class's threshold costs and keeps."""
        counts = self.counter.counts(on)
        return [
            None if value is None else self._point(i, value, counts[i])
            for i, value in enumerate(on)
        ]

    def _point(self, i: int, on: float, counts: Counts) -> CurvePoint:
        events, kept = int(counts.sum()), self._kept[i]
        bound = poisson_upper(events, self.confidence) / self._hours
        hours, by_night = self.counter.hours, self.counter.by_night
        drawn = [bootstrap_upper(counts, hours, self.confidence)]
        if self.counter.knows_nights:  # else a night is a recording, and it would be drawn twice
            drawn.append(bootstrap_upper(by_night(counts), by_night(hours), self.confidence))
        return CurvePoint(
            on=on,
            events=events,
            per_hour=events / self._hours,
            bound=max(bound, *(one or 0.0 for one in drawn)),
            kept=float(np.mean(kept >= on)) if len(kept) else None,
        )

    def within(self, point: CurvePoint | None) -> bool:
        """Tell whether a class is within the budget; of too few hours, whether it is silent."""
        return point is not None and (point.events == 0 or point.bound <= self.budget)


def _lowest(candidates: list[list[float]], judge: _Judge) -> list[float | None]:
    """Bisect the candidates of all classes at once for the lowest within the budget."""
    low, high = [0] * len(candidates), [len(values) for values in candidates]
    while any(a < b for a, b in zip(low, high, strict=True)):
        middle = [(a + b) // 2 for a, b in zip(low, high, strict=True)]
        tried = [
            values[m] if a < b else None
            for values, m, a, b in zip(candidates, middle, low, high, strict=True)
        ]
        for i, point in enumerate(judge.points(tried)):
            if tried[i] is None:
                continue
            if judge.within(point):
                high[i] = middle[i]
            else:
                low[i] = middle[i] + 1
    return [
        values[h] if h < len(values) else None for values, h in zip(candidates, high, strict=True)
    ]


def _curves(
    candidates: list[list[float]], on: Sequence[float | None], judge: _Judge
) -> list[tuple[CurvePoint, ...]]:
    """Tell of each class what some thresholds cost and keep, from low to high."""
    spread = [_spread(values, own) for values, own in zip(candidates, on, strict=True)]
    curves: list[list[CurvePoint]] = [[] for _ in spread]
    for k in range(max(map(len, spread), default=0)):
        tried = [values[k] if k < len(values) else None for values in spread]
        for curve, point in zip(curves, judge.points(tried), strict=True):
            if point is not None:
                curve.append(point)
    return [tuple(curve) for curve in curves]


def _spread(values: list[float], own: float | None) -> list[float]:
    """Take some of the candidates, the chosen one among them."""
    if not values:
        return []
    places = np.linspace(0, len(values) - 1, min(_POINTS, len(values))).round().astype(int)
    return sorted({values[place] for place in places} | ({own} if own is not None else set()))
