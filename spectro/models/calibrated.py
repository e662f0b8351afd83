"""What was learned about a network's probabilities out of fold: a temperature, and what is unknown.

Needs numpy and pydantic alone: listening reads it without training's packages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from spectro.errors import ModelError
from spectro.models.steady import Steady
from spectro.plumbing.paths import check_no_link
from spectro.plumbing.settings import Record, Settings

__all__ = [
    "CALIBRATION",
    "HIGHEST",
    "LOWEST",
    "Detections",
    "Label",
    "RunCalibration",
    "Unknown",
    "tempered",
]

CALIBRATION = "calibration.json"
LOWEST, HIGHEST = 0.05, 20.0  # of temperatures, as they are fitted
_MAX_BYTES = 1 << 26  # of calibration.json; detections of 1,000 classes are about 9 MB
_MAX_DETECTIONS = 1_000  # of a class: enough to tell a share to a thousandth

Label = Annotated[str, Field(min_length=1, max_length=1_000)]
_Share = Annotated[float, Field(ge=0, le=1)]
Detections = dict[Label, Annotated[tuple[_Share, ...], Field(max_length=_MAX_DETECTIONS)]]
_LEAST = float(np.finfo(np.float32).tiny)

Floats = npt.NDArray[np.float32]


class Unknown(Settings):
    """How a sound is told that the network was not trained on.

    Parameters
    ----------
    method : "probability" or "energy"
        What is compared with the threshold: the highest probability, scaled by the temperature; or
        the logarithm of the sum of the exponentials of the logits, which Liu et al. call the
        negative energy. Of several networks the mean counts.
    threshold : float
        Below it a sound is unknown.
    auroc : float
        How well the score tells clips of a class whose logit was dropped from the other clips: the
        probability, 0 to 1, that one of the others scores higher. Mean over classes, out of fold.
    kept : float
        Share of the out-of-fold clips that the threshold keeps.

    References
    ----------
    W. Liu, X. Wang, J. D. Owens, Y. Li, "Energy-based Out-of-distribution Detection", NeurIPS 2020.
    """

    table: ClassVar[str] = "unknown"

    method: Literal["probability", "energy"]
    threshold: float = Field(ge=-1e6, le=1e6)
    auroc: float = Field(ge=0, le=1)
    kept: float = Field(0.95, gt=0, le=1)

    def known(
        self,
        probabilities: npt.NDArray[np.floating],
        energy: npt.NDArray[np.floating] | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Tell which sounds are of a kind that was trained on.

        Parameters
        ----------
        probabilities : np.ndarray [shape=(n, classes)]
            Scaled by the model's temperature.
        energy : np.ndarray [shape=(n,)] or None
            Needed if `method` is "energy".
        """
        score = probabilities.max(axis=1) if self.method == "probability" else energy
        assert score is not None
        return np.asarray(score >= self.threshold, dtype=bool)


class RunCalibration(Record):
    """What ``calibration.json`` in a run says of its folds' networks.

    Parameters
    ----------
    temperature : float
        Fitted on the out-of-fold predictions of all finished folds.
    clips : int
        Number of those.
    unknown : Unknown or None
        By the method "probability", which predictions are enough for.
    steady : Steady or None
        What counts as steady noise or hum; None tells none.
    detections : dict of str to tuple of float
        As in a model's card; empty where they were not kept.
    """

    temperature: float = Field(ge=LOWEST, le=HIGHEST)
    clips: int = Field(ge=1)
    unknown: Unknown | None = None
    steady: Steady | None = None
    detections: Detections = Field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> RunCalibration | None:
        """Read that of a run, which may come from a stranger; None if it has none.

        Raises
        ------
        ModelError
            If it is a link, too long, or damaged.
        """
        path = folder / CALIBRATION
        check_no_link(path, ModelError)
        if not path.is_file():
            return None
        if path.stat().st_size > _MAX_BYTES:
            raise ModelError(f"{path}: is longer than {_MAX_BYTES:,} bytes; remove it")
        return cls.read(path, ModelError)


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """Give the probabilities that logits divided by a temperature would have had.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n, classes)], float32
        Each row sums to one.
    temperature : float
        Above 0. 1 changes nothing; NaN stays NaN.
    """
    if temperature == 1:
        return probabilities
    logs = np.log(np.maximum(probabilities.astype(np.float64), _LEAST)) / temperature
    scaled = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: Floats = (scaled / scaled.sum(axis=1, keepdims=True)).astype(np.float32)
    return result
