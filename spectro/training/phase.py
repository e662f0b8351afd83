"""One phase of a training's schedule."""

from __future__ import annotations

import sys
from typing import Literal

from pydantic import Field, model_validator

from spectro.plumbing.settings import Settings

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

__all__ = ["Phase"]


class Phase(Settings):
    """One call of fastai's ``fit_one_cycle`` or ``fit``.

    Parameters
    ----------
    epochs : int
        Passes over the training clips.
    frozen : bool
        Train the head alone (and the body's batch norms, as fastai does).
    lr : float or pair of floats
        Peak learning rate; a pair gives the first and the last layers theirs, with equal ratios
        between layer groups (``lr_max=slice(low, high)``). Default 1e-3, fastai's own.
    schedule : "one_cycle" or "flat"
        How the rate moves: up to `lr` and down again, with Adam's momentum the other way (the
        default), or not at all.
    """

    epochs: int = Field(ge=1, le=10_000, strict=True)
    frozen: bool = Field(False, strict=True)
    lr: float | tuple[float, float] = 1e-3
    schedule: Literal["one_cycle", "flat"] = "one_cycle"

    @model_validator(mode="after")
    def _check_rates(self) -> Self:
        rates = self.lr if isinstance(self.lr, tuple) else (self.lr,)
        if not all(0 < rate <= 10 for rate in rates):
            raise ValueError(f"lr is {self.lr}: a learning rate must be above 0 and at most 10")
        return self
