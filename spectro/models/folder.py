"""A model folder: all that is needed to use a trained network, and nothing that executes.

::

    model.safetensors      the network's tensors
    model.json             the model card: what to build, what to show it, what it is worth
    README.md              the card in words
    trained-on.txt         hashes of the pictures that it was trained on: spectro.models.trained_on
    model.onnx             exports, if they were asked for: spectro.models.exports.float32
    model.int8.onnx
    verify.json            what it answered where it was exported: spectro.models.exports.vectors
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from spectro.errors import ConfigError, ModelError
from spectro.models import tensors
from spectro.models.card import CARD, TENSORS, VECTORS, ModelCard, read_card, shortened
from spectro.models.networks import build as network
from spectro.models.trained_on import TRAINED_ON, write_marks
from spectro.models.words import describe
from spectro.plumbing.files import replacing, scratch, without_scratch, writing

__all__ = [
    "EXPORTS",
    "TENSORS",
    "VECTORS",
    "load_model",
    "predict",
    "predict_levels",
    "predict_probabilities",
    "save_model",
]

_README = "README.md"
EXPORTS = ("model.onnx", "model.int8.onnx")  # of :mod:`spectro.models.exports.float32`


def save_model(
    folder: str | Path, model: nn.Module, card: ModelCard, trained_on: Iterable[str] = ()
) -> None:
    """Write a model folder: all of it or, where that fails, nothing.

    Parameters
    ----------
    folder : str or Path
        Created if missing. Exports of a model that was there before are removed.
    model : torch.nn.Module
        As :func:`spectro.models.networks.build.build` makes it.
    card : ModelCard
        What goes with it.
    trained_on : iterable of str
        Marks of its training pictures (:func:`spectro.models.trained_on.marks_of`).

    Raises
    ------
    ModelError
        If the folder cannot be written to: a full disk, no permission.
    """
    folder = Path(folder)
    state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    with writing(Path(without_scratch(str(folder))), ModelError):
        folder.mkdir(parents=True, exist_ok=True)
        with scratch(folder) as own, ExitStack() as all_or_none:
            parts = [
                all_or_none.enter_context(replacing(folder / name, inside=own))
                for name in (_README, CARD, TRAINED_ON, TENSORS)
            ]
            parts[0].write_text(describe(card), encoding="utf-8", newline="\n")
            parts[1].write_text(card.to_json(), encoding="utf-8", newline="\n")
            write_marks(parts[2], trained_on)
            tensors.write_tensors(state, parts[3])
        for name in (*EXPORTS, VECTORS):
            (folder / name).unlink(missing_ok=True)


def load_model(folder: str | Path) -> tuple[nn.Module, ModelCard]:
    """Read a model folder, which may come from a stranger.

    Its card is checked first, then the header of its tensors against what the card says; only then
    is a network built and a tensor read.

    Returns
    -------
    model : torch.nn.Module
        In evaluation mode, on the CPU.
    card : ModelCard

    Raises
    ------
    ModelError
        If the folder holds no model, its two files do not fit each other, or a weight is no number.
    MissingExtraError
        If its network is timm's, which is not installed.
    """
    folder = Path(folder)
    card = read_card(folder)
    if not (folder / TENSORS).is_file():
        raise ModelError(f"{folder}: is no model folder, it has no {TENSORS}")
    try:
        expected = network.expected(card.arch, len(card.labels), card.members)
        _check_header(folder, expected)
        model = network.blank(card.arch, len(card.labels), card.members)
        state = tensors.read_tensors(folder / TENSORS, expected)
        tensors.check_finite(state, folder)
        model.load_state_dict(state)
    except (ConfigError, OSError, RuntimeError) as error:
        raise ModelError(f"{folder}: the model cannot be loaded ({shortened(error)})") from None
    return model.eval(), card


def _check_header(folder: Path, expected: dict[str, network.Expected]) -> None:
    """Compare names, shapes and types, and the memory that they need."""
    found = tensors.read_shapes(folder / TENSORS, expected)
    wrong = [name for name in expected if found.get(name) != expected[name]]
    wrong += [name for name in found if name not in expected]
    if wrong:
        raise ModelError(
            f"{folder}: the model cannot be loaded ({len(wrong)} tensors of {TENSORS} are missing, "
            f"foreign or of another shape than {CARD} says, as {shortened(wrong[0], 60)})"
        )
    tensors.check_memory(2 * (folder / TENSORS).stat().st_size, folder)


def predict_probabilities(model: nn.Module, card: ModelCard, pixels: torch.Tensor) -> torch.Tensor:
    """Give the probability of each class for a batch of pictures, as :func:`predict` does.

    Returns
    -------
    probabilities : torch.Tensor [shape=(n, classes)], float32
        Each row sums to one.
    """
    return predict(model, card, pixels).probabilities


def predict(model: nn.Module, card: ModelCard, pixels: torch.Tensor) -> network.Answer:
    """Give probabilities and energies for a batch of pictures.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode.
    card : ModelCard
        Gives the normalisation and the temperature.
    pixels : torch.Tensor [shape=(n, 3, height, width)], float32
        Between 0 and 1; see :func:`spectro.pictures.spectrogram.network_pixels`.

    Returns
    -------
    answer : spectro.models.networks.build.Answer
    """
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (card.mean, card.std))
    with torch.inference_mode():
        return network.answer(model, (pixels - mean) / std, card.temperature)


def predict_levels(model: nn.Module, card: ModelCard, levels: npt.NDArray[Any]) -> network.Answer:
    """Give probabilities and energies for pictures as they are read, as :func:`predict` does.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode.
    card : ModelCard
        Gives the normalisation and the temperature.
    levels : np.ndarray [shape=(n, height, width, 3)], uint8
        Of :func:`spectro.pictures.read.read_levels`.
    """
    return predict(model, card, torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255)
