"""Calibration: whether a network that says 80 % is right in 80 % of such clips.

A temperature mends over- and underconfidence without changing a label. It is fitted on other
recordings than those it is judged on, as the network was.

After C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks",
ICML 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from spectro.errors import ConfigError, ModelError
from spectro.scores.metrics import probability_columns

__all__ = [
    "Calibration",
    "Reliability",
    "apply_temperature",
    "calibration",
    "cross_fitted",
    "fit_temperature",
    "reliability",
    "temperature_in_doubt",
]

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# Less counts as this much: where float32's softmax has run out of numbers it gives 0, whose
# logarithm would outweigh all other clips.
_LEAST = float(np.finfo(np.float32).tiny)
_LOWEST, _HIGHEST = 0.05, 20.0


@dataclass(frozen=True)
class Reliability:
    """How far probabilities can be believed.

    Attributes
    ----------
    bins : pandas.DataFrame
        A row a bin of confidence, empty ones too: ``low`` (not in it), ``high`` (in it), mean
        ``confidence`` and ``accuracy`` of its clips (NaN without clips), ``count``.
    confidence : float
        Mean probability of the predicted class; above `accuracy` the network is overconfident.
    accuracy : float
        Share of clips whose most probable class is the true one.
    ece : float
        Expected calibration error, 0 to 1: mean distance of a bin's confidence and accuracy,
        weighted by clips.
    brier : float
        Squared distance of probabilities and truth, summed over classes, 0 to 2; mean over clips.
    nll : float
        Mean negative log-likelihood of the true class, in nats.
    """

    bins: pd.DataFrame
    confidence: float
    accuracy: float
    ece: float
    brier: float
    nll: float


@dataclass(frozen=True)
class Calibration:
    """Calibration of a run, before and after temperature scaling.

    Attributes
    ----------
    before : Reliability
        Of the probabilities as predicted.
    after : Reliability or None
        Of the cross-fitted ones; None where all clips are of one recording.
    temperatures : dict of str to float
        Of each part, fitted on the others; see :func:`cross_fitted`.
    temperature : float
        Fitted on all clips: one to use on new clips. `after` was not measured with it.
    """

    before: Reliability
    after: Reliability | None
    temperatures: dict[str, float]
    temperature: float


def calibration(predictions: pd.DataFrame, labels: list[str], *, bins: int = 15) -> Calibration:
    """Measure the calibration of out-of-fold predictions, before and after temperature scaling.

    Parameters
    ----------
    predictions : pandas.DataFrame
        A row a clip: ``label``, ``fold``, ``group`` and a column ``p_<label>`` a class.
    labels : list of str
        Every class.
    bins : int
        Of confidence; see :func:`reliability`.

    Raises
    ------
    ModelError
        If there is no clip, `labels` are not those of the table, or a probability is none.
    """
    truth, probabilities = _from_predictions(predictions, labels)
    folds, groups = predictions["fold"], predictions["group"]
    scaled, temperatures = cross_fitted(truth, probabilities, folds, groups)
    return Calibration(
        before=reliability(truth, probabilities, bins=bins),
        after=None if scaled is None else reliability(truth, scaled, bins=bins),
        temperatures=temperatures,
        temperature=fit_temperature(truth, probabilities),
    )


def _from_predictions(predictions: pd.DataFrame, labels: list[str]) -> tuple[Counts, Floats]:
    """Take the class index and the probabilities of each clip out of a table."""
    columns = probability_columns(labels)
    foreign = {*columns} - {*predictions.columns} or {*predictions["label"]} - {*labels}
    if predictions.empty or foreign:
        what = f"do not know {min(foreign)}" if foreign else "hold no clip"
        raise ModelError(f"these predictions {what}; were they made by this run?")
    probabilities = predictions[columns].to_numpy(dtype=float)
    if not ((probabilities >= 0) & (probabilities <= 1 + 1e-6)).all():
        raise ModelError("these predictions hold a probability that is not between 0 and 1")
    truth = pd.Index(labels).get_indexer(pd.Index(predictions["label"]))
    return truth.astype(np.int64), probabilities


def reliability(
    truth: npt.ArrayLike, probabilities: npt.ArrayLike, *, bins: int = 15
) -> Reliability:
    """Compare what a network claims with how often it is right.

    Bins of confidence have equal width, ``(0, 1/bins], (1/bins, 2/bins]...``, as in Guo et al.,
    who take 15 too. The fewer clips, the larger chance alone makes the calibration error on
    average: compare it only between sets of like size.

    Parameters
    ----------
    truth : array_like [shape=(clips,)]
        Position of each clip's class.
    probabilities : array_like [shape=(clips, classes)]
        Each row sums to one.
    bins : int
        At least 1.

    Raises
    ------
    ConfigError
        If `bins` is below 1.

    References
    ----------
    Guo et al. 2017, equations 2 and 3. G. W. Brier, "Verification of forecasts expressed in terms
    of probability", 1950.
    """
    if bins < 1:
        raise ConfigError(f"bins={bins}: a reliability table needs at least 1")
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, dtype=float)
    right, confidence = probabilities.argmax(axis=1) == truth, probabilities.max(axis=1)
    table = _bin_table(right, confidence, bins)
    gap = (table["accuracy"] - table["confidence"]).abs()
    one_hot = np.eye(probabilities.shape[1])[truth]
    return Reliability(
        bins=table,
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        ece=float((gap * table["count"]).sum() / len(truth)),
        brier=float(np.square(probabilities - one_hot).sum(axis=1).mean()),
        nll=float(-_log(probabilities)[np.arange(len(truth)), truth].mean()),
    )


def _bin_table(right: Mask, confidence: Floats, bins: int) -> pd.DataFrame:
    """Gather clips by confidence; see :class:`Reliability`."""
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges[1:-1], confidence)
    count = np.bincount(place, minlength=bins)
    filled = np.where(count > 0, count, np.nan)
    means = {
        name: np.bincount(place, weights=values, minlength=bins) / filled
        for name, values in (("confidence", confidence), ("accuracy", right))
    }
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], **means, "count": count})


def apply_temperature(probabilities: npt.ArrayLike, temperature: float) -> Floats:
    """Divide the logarithms of probabilities by a temperature, and make them sum to one again.

    The same as dividing the logits, which differ from the logarithms by one number a clip. Labels
    stay as they are; above 1 the network claims less, below 1 more.

    Parameters
    ----------
    probabilities : array_like [shape=(..., classes)]
        Values below 1.2e-38, the least of float32, count as that.
    temperature : float
        Above 0.

    Raises
    ------
    ConfigError
        If the temperature is not above 0.
    """
    if not temperature > 0:
        raise ConfigError(f"temperature={temperature}: must be above 0")
    return np.asarray(softmax(_log(probabilities) / temperature, axis=-1))


def fit_temperature(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Find the temperature, 0.05 to 20, with the lowest negative log-likelihood.

    As Guo et al., section 4.2. There is a single valley along the logarithm of the temperature, so
    a bounded search finds its bottom. Clips that are all right end at the lower bound, all wrong
    at the upper.

    Parameters
    ----------
    truth, probabilities : array_like [shape=(clips,), (clips, classes)]
        As :func:`reliability` takes them.

    Returns
    -------
    temperature : float
        1 where no other is better.
    """
    logs, picked = _log(probabilities), (np.arange(len(np.asarray(truth))), np.asarray(truth))

    def nll(log_temperature: float) -> float:
        return float(-log_softmax(logs / np.exp(log_temperature), axis=1)[picked].mean())

    bounds = (np.log(_LOWEST), np.log(_HIGHEST))
    found = minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x)) if found.fun < nll(0.0) - 1e-12 else 1.0


def temperature_in_doubt(temperature: float) -> str:
    """Say that a temperature is one at the end of what is tried; "" for one within.

    Examples
    --------
    >>> temperature_in_doubt(1.3)
    ''
    """
    if _LOWEST * 1.01 < temperature < _HIGHEST / 1.01:
        return ""
    why = "no mistake tells how sure to be" if temperature < 1 else "its answers tell nothing"
    return (
        f"the temperature is {temperature:.3g}, the end of what is tried ({_LOWEST:g} to "
        f"{_HIGHEST:g}), as {why}: probabilities of new clips are not calibrated by it"
    )


def cross_fitted(
    truth: npt.ArrayLike, probabilities: npt.ArrayLike, folds: npt.ArrayLike, groups: npt.ArrayLike
) -> tuple[Floats | None, dict[str, float]]:
    """Scale each fold's clips by a temperature that was fitted on the other folds.

    Judged on the clips it was fitted to, a temperature would look better than it is. Clips of a
    recording that sits in the scored fold too are not fitted on. With one fold, or where a fold
    leaves nothing to fit on, whole recordings are dealt into two halves, class after class in turn,
    and each half takes the temperature of the other.

    Parameters
    ----------
    truth, probabilities : array_like [shape=(clips,), (clips, classes)]
        As :func:`reliability` takes them.
    folds, groups : array_like [shape=(clips,)]
        Fold that each clip is scored in, and its source recording.

    Returns
    -------
    scaled : np.ndarray [shape=(clips, classes)], float64, or None
        None where all clips are of one recording, which leaves nothing to fit on.
    temperatures : dict of str to float
        By part: "fold 1", "fold 2"... or "half 1", "half 2"; empty where `scaled` is None.
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, dtype=float)
    groups, names = pd.factorize(np.asarray(groups), sort=True)
    if len(names) < 2:
        return None, {}
    parts = _parts("fold", np.asarray(folds), groups)
    if not all(others.any() for _, _, others in parts):
        parts = _parts("half", _halves(truth, groups), groups)
    scaled, temperatures = np.empty_like(probabilities), {}
    for name, inside, others in parts:
        temperatures[name] = fit_temperature(truth[others], probabilities[others])
        scaled[inside] = apply_temperature(probabilities[inside], temperatures[name])
    return scaled, temperatures


def _parts(kind: str, numbers: Counts, groups: Counts) -> list[tuple[str, Mask, Mask]]:
    """Yield each part: its name, its clips, and the clips to fit its temperature on."""
    masks = [(number, numbers == number) for number in np.unique(numbers)]
    return [(f"{kind} {number}", mask, ~np.isin(groups, groups[mask])) for number, mask in masks]


def _halves(truth: Counts, groups: Counts) -> Counts:
    """Put whole recordings into halves 1 and 2 in turn, sorted by class."""
    classes = pd.Series(truth).groupby(groups).min().to_numpy()
    half: Counts = np.empty(len(classes), dtype=np.int64)
    half[np.argsort(classes, kind="stable")] = 1 + np.arange(len(classes)) % 2
    return half[groups]


def _log(probabilities: npt.ArrayLike) -> Floats:
    """Take the logarithm; values below :data:`_LEAST` count as :data:`_LEAST`."""
    return np.asarray(np.log(np.maximum(np.asarray(probabilities, dtype=float), _LEAST)))
