"""The model card: what to build, what to show it, what it is worth. Needs no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from spectro.errors import ConfigError, ModelError
from spectro.models.calibrated import HIGHEST, LOWEST, Detections, Label, Unknown
from spectro.models.steady import Steady
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.settings import Settings

if sys.version_info >= (3, 11):
    from typing import Self
else:
    from typing_extensions import Self

__all__ = [
    "CARD",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "OWN",
    "OWN_NETWORK",
    "TENSORS",
    "VECTORS",
    "ModelCard",
    "read_card",
    "shortened",
]

CARD, TENSORS, VECTORS = "model.json", "model.safetensors", "verify.json"
OWN = "network.safetensors"  # of :mod:`spectro.models.networks.own`
OWN_NETWORK = (
    "keeps a network of the user's own, which only its code can build "
    "(spectro.models.networks.own.load_weights); predict and export take what "
    "vision_learner makes of a torchvision ResNet, and what spectro trains"
)
_MAX_MEMBERS = 100  # as many as training takes
_MAX_BYTES = 1 << 26  # of model.json; one with 10,000 classes and their scores is about 1 MB

# Channel statistics of ImageNet, which torchvision's weights were trained with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_Mean = Annotated[float, Field(ge=-1_000, le=1_000)]
_Std = Annotated[float, Field(ge=1e-4, le=1_000)]


class ModelCard(Settings):
    """What a model is: enough to rebuild it, to feed it, and to judge it.

    Parameters
    ----------
    arch : str
        Name of the body: "cnn4", torchvision's, or timm's with "timm/" before it
        (:func:`spectro.models.networks.build.full_name`).
    members : int
        Networks whose probabilities are averaged, 1 to 100.
    labels : tuple of str
        Classes, in the order of the probabilities: 2 to 100,000, no two alike.
    spectrogram : SpectrogramConfig
        How a clip becomes the picture that the network knows.
    size : int or None
        Side that pictures are resized to, 32 to 4096; None for as they are.
    mean, std : tuple of float
        Normalisation of the three channels; std above 0.
    temperature : float
        What logits are divided by before they become probabilities, so that these can be believed:
        0.05 to 20, fitted out of fold; 1 changes nothing.
    unknown : Unknown or None
        How a sound is told that the network was not trained on; None tells none.
    steady : Steady or None
        What counts as steady noise or hum, and is unknown too; None tells none.
    detections : dict of str to tuple of float
        For a class, probabilities of it on its own clips, out of fold and with the temperature,
        ascending, 0 of a clip that `unknown` tells; at most 1,000. Thresholds start from them
        (:func:`spectro.listening.thresholds.choose_thresholds`).
    training : dict
        Settings, weights, dataset and fold it was trained with.
    scores : dict
        What it reached, and on which clips.
    licence : str
        Licence of the sounds it was trained on.

    Raises
    ------
    ConfigError
        If a value is out of range.
    """

    table: ClassVar[str] = "model"

    format: int = Field(1, ge=1, le=1)
    arch: str = Field(min_length=1, max_length=100)
    members: int = Field(1, ge=1, le=_MAX_MEMBERS)
    labels: tuple[Label, ...] = Field(min_length=2, max_length=100_000)
    spectrogram: SpectrogramConfig
    size: int | None = Field(None, ge=32, le=4_096)
    mean: tuple[_Mean, _Mean, _Mean] = IMAGENET_MEAN
    std: tuple[_Std, _Std, _Std] = IMAGENET_STD
    temperature: float = Field(1.0, ge=LOWEST, le=HIGHEST)
    unknown: Unknown | None = None
    steady: Steady | None = None
    detections: Detections = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    scores: dict[str, Any] = Field(default_factory=dict)
    licence: str = ""

    @field_validator("labels")
    @classmethod
    def _all_differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        seen: set[str] = set()
        for label in labels:
            if label in seen:
                raise ValueError(f"labels holds {label!r} twice")
            seen.add(label)
        return labels

    @model_validator(mode="after")
    def _detects_its_labels(self) -> Self:
        foreign = self.detections.keys() - set(self.labels)
        if foreign:
            raise ValueError(f"detections holds {min(foreign)!r}, which is no label")
        spared = set(self.steady.spared if self.steady else ()) - set(self.labels)
        if spared:
            raise ValueError(f"steady spares {min(spared)!r}, which is no label")
        return self

    def known(
        self,
        levels: npt.NDArray[np.uint8],
        probabilities: npt.NDArray[np.float32],
        energy: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Tell which sounds are of a kind that was trained on, by `unknown` and `steady`.

        Parameters
        ----------
        levels : np.ndarray [shape=(n, height, width, 3)], uint8
            Pictures that the network was shown.
        probabilities : np.ndarray [shape=(n, classes)]
            What it answered, scaled by the temperature.
        energy : np.ndarray [shape=(n,)] or None
            Needed if that is the method of `unknown`.
        """
        known = np.ones(len(probabilities), dtype=bool)
        if self.unknown is not None:
            known = self.unknown.known(probabilities, energy)
        if self.steady is not None:
            spared = np.isin(self.labels, self.steady.spared)[probabilities.argmax(axis=1)]
            asked = np.flatnonzero(known & ~spared)
            known[asked] = ~self.steady.covers(levels[asked])
        return known

    def same_answers(self, other: ModelCard) -> bool:
        """Tell whether the other card says the same of network, pictures and answers."""
        names = ("arch", "members", "labels", "spectrogram", "size", "mean", "std")
        return all(
            getattr(self, name) == getattr(other, name)
            for name in (*names, "temperature", "unknown", "steady")
        )


def read_card(folder: str | Path) -> ModelCard:
    """Read the card of a model folder, which may come from a stranger.

    Parameters
    ----------
    folder : str or Path
        Model folder.

    Returns
    -------
    ModelCard

    Raises
    ------
    ModelError
        If there is none, or it cannot be used.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        if (Path(folder) / OWN).is_file():
            raise ModelError(f"{folder}: {OWN_NETWORK}")
        raise ModelError(f"{folder}: {_no_model(Path(folder))}")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{CARD} is longer than {_MAX_BYTES:,} bytes")
        return ModelCard.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ConfigError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder}: the model cannot be loaded ({shortened(error)})") from None


def _no_model(folder: Path) -> str:
    """Say why a folder is no model folder, and where one may be."""
    if not folder.is_dir():
        return "no such folder"
    near = [name for name in ("model", "final") if (folder / name / CARD).is_file()]
    way = f"; take {folder / near[0]}" if near else ""
    if not near and (folder / "run.json").is_file():
        way = ", and is a run: take the model of a fold, RUN/foldK/model, or spectro train-final"
    elif seeds := sorted(folder.glob("seed*/run.json")):
        way = f", and holds a run a seed: take a model of one, as {seeds[0].parent / 'fold1/model'}"
    return f"is no model folder, it has no {CARD}{way}"


def shortened(told: object, limit: int = 200) -> str:
    r"""Write the first line of what another wrote so that it can be shown: printable and short.

    Examples
    --------
    >>> shortened("a" * 300, limit=5)
    'aaaa…'
    >>> shortened(chr(27) + "[31m")
    '\\x1b[31m'
    """
    line = (str(told).strip().splitlines() or [type(told).__name__])[0][: 2 * limit]
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    return text if len(text) <= limit else text[: limit - 1] + "…"
