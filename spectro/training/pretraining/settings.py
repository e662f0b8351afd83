"""Settings of pretraining. Frozen, and checked on construction."""

from __future__ import annotations

import sys
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from spectro.plumbing.settings import Settings
from spectro.training.pretraining.parameters import KINDS

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

__all__ = ["IDLE_IF_NEW", "OF_DRAWING", "OF_PAIRS", "PretrainConfig"]


OF_PAIRS = ("scene", "change", "temperature")
"""Settings that change nothing where the objective is "parameters"."""

OF_DRAWING = ("n_fft", "win_length", "top_db", "db_range")
"""Settings of the picture that vary where drawing is "new"; of pictures to probe they are free."""

IDLE_IF_NEW = ("win_length", "db_range")
"""Of these, the settings that change nothing then."""


class PretrainConfig(Settings):
    """How a network is trained on synthesised sounds.

    Parameters
    ----------
    arch : str
        Name of the network: torchvision's or timm's (:mod:`spectro.models.networks.build`).
    weights : str
        Where it starts: "none" (the default), "imagenet", or a file.
    objective : "parameters", "pairs" or "both"
        To tell what the sound was made of: which kinds of source, and their parameters
        ("parameters"); to tell two renderings of one sound from those of others ("pairs", after
        Cherep and Singh, "Contrastive Learning from Synthetic Audio Doppelgängers", ICLR 2025); or
        the sum of both (the default).
    sounds : int
        How many are heard in all. Pairs count as two, so that objectives compare at equal compute.
    batch_size : int
        Sounds in a step; pairs are half as many sounds, each rendered twice.
    lr : float
        Peak of the learning rate, which rises over the first twentieth and falls to nothing by a
        cosine.
    weight_decay : float
        Of AdamW.
    temperature : float
        Of the contrastive loss.
    change : float
        How far the parameters of the second rendering lie from those of the first, as a standard
        deviation, where all of their range is 1.
    scene : "same" or "new"
        Whether room, background, microphone and the clip's end of the second rendering are those of
        the first, moved a little as the rest, or are drawn anew (the default).
    drawing : "same" or "new"
        Whether all pictures are drawn as the settings of the picture say (the default), or each
        with a window of its own, its own `top_db`, and `db_range` one or the other, so that the
        network suits pictures of other settings, too; `win_length` and `db_range` then have no say.
    leave_out : tuple of str
        Kinds of source that are not synthesised, to see what each is worth.
    precision : "auto", "fp32" or "bf16"
        Arithmetic of training.
    seed : int
        Of the network, and of every sound.
    """

    table: ClassVar[str] = "pretrain"

    arch: str = "resnet18"
    weights: str = "none"
    objective: Literal["parameters", "pairs", "both"] = "both"
    sounds: int = Field(100_000, ge=1, le=10**9)
    batch_size: int = Field(32, ge=4, le=4_096)
    lr: float = Field(2e-3, gt=0, le=1)
    weight_decay: float = Field(0.01, ge=0, le=1)
    temperature: float = Field(0.1, ge=1e-3, le=10)
    change: float = Field(0.1, ge=0, le=1)
    scene: Literal["same", "new"] = "new"
    drawing: Literal["same", "new"] = "same"
    leave_out: tuple[str, ...] = ()
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = Field(0, ge=0, le=2**31 - 1)

    @field_validator("leave_out")
    @classmethod
    def _in_one_order(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(kinds)))

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        unknown = sorted(set(self.leave_out) - set(KINDS))
        if unknown:
            raise ValueError(f"leave_out names {unknown[0]!r}; there are {', '.join(KINDS)}")
        if len(set(self.leave_out)) >= len(KINDS) - 1:
            raise ValueError("leave_out leaves fewer than two kinds of source")
        if self.batch_size % 2 and self.objective != "parameters":
            raise ValueError(f"batch_size is {self.batch_size}: pairs need an even number")
        return self

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return -(-self.sounds // self.batch_size)
