"""A model folder: all that is needed to use a trained network, and nothing that executes.

::

    model.safetensors      the network's tensors
    model.json             the model card: what to build, what to show it, what it is worth
    README.md              the card in words
"""

from __future__ import annotations

from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from spectro.errors import ConfigError, ModelError
from spectro.models import networks as network
from spectro.models.card import ModelCard
from spectro.plumbing.files import write_text

__all__ = ["load_model", "predict_probabilities", "save_model"]

_TENSORS, _CARD, _README = "model.safetensors", "model.json", "README.md"


def save_model(folder: str | Path, model: nn.Module, card: ModelCard) -> None:
    """Write a model folder.

    Parameters
    ----------
    folder : str or Path
        Created if missing.
    model : torch.nn.Module
        As :func:`spectro.models.networks.build` makes it.
    card : ModelCard
        What goes with it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    safetensors.torch.save_file(tensors, folder / _TENSORS)
    write_text(folder / _CARD, card.to_json())
    write_text(folder / _README, _describe(card))


def load_model(folder: str | Path) -> tuple[nn.Module, ModelCard]:
    """Read a model folder.

    Returns
    -------
    model : torch.nn.Module
        In evaluation mode, on the CPU.
    card : ModelCard

    Raises
    ------
    ModelError
        If the folder holds no model, or its two files do not fit each other.
    """
    folder = Path(folder)
    for name in (_CARD, _TENSORS):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: is no model folder, it has no {name}")
    try:
        card = ModelCard.from_json((folder / _CARD).read_text(encoding="utf-8"))
        model = network.build(card.arch, len(card.labels), card.members)
        model.load_state_dict(safetensors.torch.load_file(folder / _TENSORS))
    except (ConfigError, RuntimeError, safetensors.SafetensorError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{folder}: the model cannot be loaded ({reason})") from None
    return model.eval(), card


def predict_probabilities(model: nn.Module, card: ModelCard, pixels: torch.Tensor) -> torch.Tensor:
    """Give the probability of each class for a batch of pictures.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode.
    card : ModelCard
        Gives the normalisation.
    pixels : torch.Tensor [shape=(n, 3, height, width)], float32
        Between 0 and 1; see :func:`spectro.pictures.spectrogram.network_pixels`.

    Returns
    -------
    probabilities : torch.Tensor [shape=(n, classes)], float32
        Each row sums to one.
    """
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (card.mean, card.std))
    with torch.inference_mode():
        logits: torch.Tensor = model((pixels - mean) / std)
        return logits.softmax(dim=1)


def _network(card: ModelCard) -> str:
    if card.members == 1:
        return f"A {card.arch} that tells"
    return f"{card.members} {card.arch}s that together tell"


def _describe(card: ModelCard) -> str:
    """Write the card as a page."""
    config = card.spectrogram
    lines = [
        f"# {_network(card)} {len(card.labels)} sounds apart",
        "",
        f"Classes: {', '.join(card.labels)}.",
        "",
        f"It looks at mel-spectrograms of {config.duration:g} s at {config.sr:,} Hz "
        f"({config.n_mels} bands); all settings are in `{_CARD}`.",
        "",
        "## What it is worth",
        "",
        *(f"- {name}: {value}" for name, value in card.scores.items()),
        "",
        "## How it was trained",
        "",
        *(f"- {name}: {value}" for name, value in card.training.items()),
        "",
        f"Licence of the sounds it was trained on: {card.licence or 'not stated'}.",
        "",
        "Use it: `spectro predict FOLDER CLIP.wav`.",
        "",
    ]
    return "\n".join(lines)
