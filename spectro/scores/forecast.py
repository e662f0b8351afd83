"""What more training clips would bring: a power law through a learning curve, where one fits.

References
----------
J. Hestness et al., "Deep Learning Scaling is Predictable, Empirically", 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import curve_fit

__all__ = ["Forecast", "forecast"]

Floats = npt.NDArray[np.float64]

_DRAWS = 200  # of the bootstrap that are fitted
_TAILS = (2.5, 97.5)  # percent
_FARTHEST = 2.0  # times the clips there are: beyond that a fit to so few points says nothing


@dataclass(frozen=True)
class Forecast:
    """Errors as ``a * (n / n_clips) ** -b + c``, and what follows.

    Attributes
    ----------
    a, b, c : float
        The law; `a` + `c` is the share of errors at `n_clips`, `c` what no number of clips mends.
    n_clips : int
        Training clips at the end of the curve.
    more_clips : int
        Twice as many.
    accuracy : float
        What the law expects there, between 0 and 1.
    interval : (float, float)
        95 %, by fitting to each bootstrap draw of the scored recordings.
    """

    a: float
    b: float
    c: float
    n_clips: int
    more_clips: int
    accuracy: float
    interval: tuple[float, float]

    def errors(self, n: npt.ArrayLike) -> Floats:
        """Return the expected share of errors after `n` training clips."""
        return _law(np.asarray(n, dtype=float) / self.n_clips, self.a, self.b, self.c)


def forecast(n: Floats, errors: Floats, drawn: Floats) -> Forecast | str:
    """Fit a power law to a learning curve, if accuracy rises with the number of clips.

    With three points the law has no floor `c`: a curve through as many numbers as it has points
    fits anything.

    Parameters
    ----------
    n : np.ndarray [shape=(points,)]
        Training clips, rising.
    errors : np.ndarray [shape=(points,)]
        Share of errors, 0 to 1.
    drawn : np.ndarray [shape=(points, draws)]
        The same of bootstrap draws, each draw of the same recordings at every point.

    Returns
    -------
    forecast : Forecast or str
        Or why nothing can be said.
    """
    if len(n) < 3:
        return f"{len(n)} shares are too few to say what more clips would bring; three are needed"
    fallen = np.percentile(drawn[0] - drawn[-1], _TAILS[0])
    if fallen <= 0:
        return (
            f"from {n[0]:,.0f} to {n[-1]:,.0f} training clips the score did not rise by more than "
            "chance: this curve cannot say whether more clips would help"
        )
    law = _fit(n / n[-1], errors)
    if law is None or _misses(n / n[-1], errors, law):
        return (
            "the points lie too far from any power law to say what more clips would bring; more "
            "shares, more folds or more epochs may bring them closer"
        )
    fits = [_fit(n / n[-1], draw) for draw in drawn.T[:_DRAWS]]
    expected = [1 - float(_law(np.array(_FARTHEST), *fit)) for fit in fits if fit is not None]
    low, high = np.percentile(expected, _TAILS)
    return Forecast(
        *law,
        n_clips=round(n[-1]),
        more_clips=round(_FARTHEST * n[-1]),
        accuracy=1 - float(_law(np.array(_FARTHEST), *law)),
        interval=(float(low), float(high)),
    )


def _misses(x: Floats, errors: Floats, law: tuple[float, float, float]) -> bool:
    """Tell whether a law misses a point by more than half of the gain it predicts."""
    promised = _law(np.array(1.0), *law) - _law(np.array(_FARTHEST), *law)
    return bool(np.abs(errors - _law(x, *law)).max() > promised / 2)


def _law(x: Floats, a: float, b: float, c: float) -> Floats:
    result: Floats = a * x**-b + c
    return result


def _fit(x: Floats, errors: Floats) -> tuple[float, float, float] | None:
    """Fit by least squares within bounds; None if the fit does not converge."""
    end = max(float(errors[-1]), 1e-6)
    try:
        if len(x) < 4:
            (a, b), _ = curve_fit(
                lambda x, a, b: _law(x, a, b, 0.0), x, errors, p0=(end, 0.3), bounds=(0, (1, 3))
            )
            return float(a), float(b), 0.0
        bounds = (0, (1, 3, 1))
        (a, b, c), _ = curve_fit(_law, x, errors, p0=(end / 2, 0.3, end / 2), bounds=bounds)
    except RuntimeError:
        return None
    return float(a), float(b), float(c)
