"""How high a rate of events may be, given how many were counted in how many hours."""

from __future__ import annotations

import functools
import math
import re

import numpy as np
import numpy.typing as npt

from spectro.errors import ConfigError

__all__ = ["bootstrap_upper", "hours_needed", "parse_budget", "poisson_upper"]

_DRAWS = 1000
_BUDGET = re.compile(
    r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(?:(?:/|per|an?)?\s*(h|hours?|d|days?|weeks?|w))?\s*"
)
_HOURS = {"h": 1, "d": 24, "w": 168}


def parse_budget(text: str) -> float:
    """Read a budget of false events: ``0.5/hour``, ``0.5/h``, ``12/day``, ``1/week``, or ``0.5``.

    Returns
    -------
    budget : float
        Events an hour, above 0.

    Raises
    ------
    ConfigError
        If it is none.

    Examples
    --------
    >>> parse_budget("12/day"), parse_budget("0.5/h"), parse_budget("2")
    (0.5, 0.5, 2.0)
    """
    match = _BUDGET.fullmatch(text)
    budget = float(match[1]) / _HOURS[(match[2] or "h")[0]] if match else 0.0
    if not 0 < budget < math.inf:
        raise ConfigError(
            f"{text[:80]!r} is no budget of false events: write it as 0.5/hour or 12/day, above 0"
        )
    return budget


@functools.lru_cache(maxsize=4096)
def poisson_upper(events: int, confidence: float = 0.95) -> float:
    """Return the exact one-sided upper bound of a Poisson mean (Garwood, 1936).

    It is the mean at which as few as `events` are seen with a probability of ``1 - confidence``,
    half the chi-square quantile at ``2 * (events + 1)`` degrees of freedom, found by bisection.

    Parameters
    ----------
    events : int
        Counted, 0 or more.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    bound : float
        In events; divided by the hours, it is a rate. For no event at 0.95, 3.00.

    Examples
    --------
    >>> round(poisson_upper(0), 4), round(poisson_upper(3), 4)
    (2.9957, 7.7537)
    """
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, events + 1)))])
    low, high = 0.0, events + 10 * math.sqrt(events + 1) - math.log1p(-confidence) + 10
    for _ in range(100):
        mean = (low + high) / 2
        if _at_most(mean, log_factorials) > 1 - confidence:
            low = mean
        else:
            high = mean
    return high


def _at_most(mean: float, log_factorials: npt.NDArray[np.float64]) -> float:
    """Return how probable it is that a Poisson count of that mean has at most so many events."""
    terms = np.arange(len(log_factorials)) * math.log(mean) - log_factorials - mean
    return float(np.exp(terms).sum())


def hours_needed(budget: float, confidence: float = 0.95) -> float:
    """Return for how many hours no event must come to bound the rate at `budget` an hour.

    Examples
    --------
    >>> round(hours_needed(0.5), 2), round(hours_needed(0.1), 1)
    (5.99, 30.0)
    """
    return poisson_upper(0, confidence) / budget


def bootstrap_upper(
    counts: npt.ArrayLike, hours: npt.ArrayLike, confidence: float = 0.95, *, seed: int = 0
) -> float | None:
    """Bound a rate by drawing whole nights or recordings again, as alarms come in bursts.

    Parameters
    ----------
    counts, hours : array-like [shape=(n_parts,)]
        Events in each night or recording, and its length.
    confidence : float
        Between 0 and 1.
    seed : int

    Returns
    -------
    bound : float or None
        Events an hour, the percentile of 1,000 draws; None of fewer than two. It says
        nothing where no event was counted.
    """
    events, length = np.asarray(counts, dtype=np.float64), np.asarray(hours, dtype=np.float64)
    if len(events) < 2:
        return None
    weights = _draws(len(events), seed)
    return float(np.quantile((weights @ events) / (weights @ length), confidence))


@functools.lru_cache(maxsize=4)
def _draws(n: int, seed: int) -> npt.NDArray[np.float64]:
    """Return how often each of `n` recordings is in each draw."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=_DRAWS).astype(np.float64)
