"""The training log: data, model, optimiser and epochs as a page of plain text."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from torch import nn

from spectro.models.networks.build import Ensemble
from spectro.pictures.settings import SpectrogramConfig
from spectro.training.settings import TrainConfig

__all__ = ["training_log"]


def training_log(
    config: TrainConfig,
    spectrogram: SpectrogramConfig,
    model: nn.Module,
    parts: dict[str, pd.DataFrame],
    history: pd.DataFrame,
    about: dict[str, str],
) -> str:
    """Describe a training for a person to read; every number is also in another file.

    Parameters
    ----------
    config : TrainConfig
        Settings of training.
    spectrogram : SpectrogramConfig
        Settings of the pictures.
    model : torch.nn.Module
        The trained network.
    parts : dict of str to pandas.DataFrame
        Clip tables by name, as "trained on" and "scored".
    history : pandas.DataFrame
        A row an epoch; see :func:`spectro.training.loop.learner.fit`.
    about : dict of str to str
        First lines, as of the dataset, the weights and the arithmetic.

    Returns
    -------
    text : str
    """
    sections = {
        "": [f"{name}: {value}" for name, value in about.items()],
        "Data": [*_data(parts), f"pictures: {_settings(spectrogram)}"],
        "Model": _model(config.arch, model),
        "Optimiser": _optimiser(config),
        "Epochs": _epochs(history),
    }
    blocks = ["\n".join([title, "-" * len(title)] * bool(title) + body)
              for title, body in sections.items()]  # fmt: skip
    return "\n\n".join(blocks) + "\n"


def _data(parts: dict[str, pd.DataFrame]) -> Iterator[str]:
    for name, clips in parts.items():
        count = clips["label"].value_counts().sort_index()
        each = ", ".join(f"{label} {n:,}" for label, n in count.items())
        yield f"{name}: {len(clips):,} clips of {clips['group'].nunique():,} recordings ({each})"


def _settings(config: SpectrogramConfig) -> str:
    return ", ".join(f"{name} {value}" for name, value in config.to_dict().items())


def _model(arch: str, model: nn.Module) -> list[str]:
    """List every layer that has parameters, and their number."""
    networks = [*model.members] if isinstance(model, Ensemble) else [model]
    model = networks[0]
    layers = [(name, layer, sum(p.numel() for p in layer.parameters(recurse=False)))
              for name, layer in model.named_modules()]  # fmt: skip
    total = sum(count for _, _, count in layers)
    rows = [f"{name:<16} {count:>12,}  {layer}" for name, layer, count in layers if count]
    each = f"{len(networks)} networks, of each: " if len(networks) > 1 else ""
    return [f"{each}{arch}, {total:,} parameters", *rows]


def _optimiser(config: TrainConfig) -> list[str]:
    decay = f"weight decay {config.weight_decay:g}" if config.weight_decay else "no weight decay"
    lines = [f"Adam, {decay}; batches of {config.batch_size}; seed {config.seed}"]
    for number, phase in enumerate(config.phases, start=1):
        rate = phase.lr if isinstance(phase.lr, float) else f"{phase.lr[0]:g} to {phase.lr[1]:g}"
        trained = "head alone" if phase.frozen else "whole network"
        lines.append(
            f"phase {number}: {phase.epochs} epochs of the {trained}, rate {rate}, {phase.schedule}"
        )
    if config.settle_norms:
        lines.append("then batch norm's statistics, measured anew on the training pictures")
    names = [*config.sound_changes, *config.picture_changes]
    if config.mixup:
        names.append("mixup")
    chosen = [f"{name} {getattr(config, name)}" for name in names]
    if config.time_masks or config.freq_masks:
        chosen.append(f"mask_share {config.mask_share}")
    return [*lines, f"from {config.source}; augmentation: {', '.join(chosen) or 'none'}"]


def _epochs(history: pd.DataFrame) -> list[str]:
    return history.to_string(index=False, justify="right").splitlines()
