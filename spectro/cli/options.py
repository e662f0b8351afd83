"""Options that several commands share, and the settings that they add up to.

An option left out is None and leaves what the recipe or the TOML file says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from spectro.pictures.settings import SpectrogramConfig
    from spectro.training.settings import TrainConfig

__all__ = [
    "INTERRUPTED",
    "SOME_FAILED",
    "Arch",
    "BatchSize",
    "ConfigFile",
    "Epochs",
    "Gpus",
    "InnerFold",
    "Precision",
    "Quarantine",
    "Rate",
    "Recipe",
    "Rendered",
    "RunFolder",
    "RunsFolder",
    "Seed",
    "Size",
    "TimeBudget",
    "Track",
    "WeightsSpec",
    "spectrogram_config",
    "train_config",
]

SOME_FAILED = 3  # exit status: all is done but for clips that are named
INTERRUPTED = 130  # exit status: Ctrl-C, as shells give it

ConfigFile = Annotated[
    Optional[Path],
    typer.Option("--config", help="TOML file with the tables [spectrogram] and [train]."),
]
Rendered = Annotated[Path, typer.Argument(help="Folder that spectro render wrote.")]
Recipe = Annotated[
    Optional[str], typer.Option(help="Settings to start from: default, plain, blog or digits.")
]
Arch = Annotated[Optional[str], typer.Option(help="torchvision network, as resnet34, or cnn4.")]
WeightsSpec = Annotated[
    Optional[str],
    typer.Option("--weights", help="imagenet, auto (imagenet if it can be had), none, or a file."),
]
Members = Annotated[
    Optional[int], typer.Option(help="Networks to train, whose probabilities are averaged.")
]
Size = Annotated[
    Optional[int], typer.Option(help="Resize pictures to this many pixels a side; 0: not.")
]
BatchSize = Annotated[Optional[int], typer.Option(help="Pictures in a step.")]
Epochs = Annotated[Optional[int], typer.Option(help="Epochs of the last phase.")]
Rate = Annotated[
    Optional[float], typer.Option("--lr", help="Peak learning rate of the last phase.")
]
Precision = Annotated[Optional[str], typer.Option(help="auto, fp32, bf16 or fp16 (on a GPU).")]
Seed = Annotated[Optional[int], typer.Option(help="Seed of weights, order and augmentation.")]
InnerFold = Annotated[
    Optional[int], typer.Option(help="Training fold to set aside and watch, for tuning.")
]
RunFolder = Annotated[
    Optional[Path],
    typer.Option("--run", help="Run folder; by default one in --runs, named after the settings."),
]
TimeBudget = Annotated[
    Optional[float],
    typer.Option(
        "--time-budget", min=0.01, help="Minutes: fewer epochs, smaller pictures, to fit."
    ),
]
Track = Annotated[
    Optional[str], typer.Option(help="Also record with tensorboard or wandb, in the run's folder.")
]
Gpus = Annotated[int, typer.Option(min=1, help="Share one training among so many GPUs.")]
RunsFolder = Annotated[Path, typer.Option("--runs", help="Folder of all runs.")]

Quarantine = Annotated[
    Optional[Path],
    typer.Option("--quarantine", help="CSV of clips to leave out; spectro check writes one."),
]


def spectrogram_config(
    file: Path | None, recipe: str | None = None, **flags: Any
) -> SpectrogramConfig:
    """Start from the recipe's pictures, then apply the TOML file, then the flags."""
    from spectro.pictures.settings import SpectrogramConfig
    from spectro.plumbing.settings import read_table
    from spectro.training.recipes import recipe_spectrogram

    base = recipe_spectrogram(recipe or "default")
    if file is None:
        return base.replace(**flags)
    if recipe is None:
        return SpectrogramConfig.from_toml(file).replace(**flags)
    return base.replace(**read_table(file, "spectrogram")).replace(**flags)


def train_config(
    file: Path | None, recipe: str | None, epochs: int | None, lr: float | None, **flags: Any
) -> TrainConfig:
    """Start from the recipe, then apply the TOML file, then the flags."""
    from spectro.plumbing.settings import read_table
    from spectro.training.recipes import recipe as find

    table = read_table(file, "train") if file else {}
    base = find(recipe or table.get("recipe", "default"))
    config = base.replace(**{**table, "recipe": base.recipe}).replace(**flags)
    return config.with_last_phase(epochs=epochs, lr=lr)
