"""Training recipes by name: whole settings to start from, which flags and TOML then change."""

from __future__ import annotations

from spectro.config import Phase, TrainConfig
from spectro.errors import ConfigError

__all__ = ["RECIPES", "recipe"]

RECIPES: dict[str, TrainConfig] = {
    # One cycle over the whole network: a pretrained body adapts, a random one learns at all.
    "default": TrainConfig(),
    # The floor of every comparison: no augmentation, one cycle of ten epochs.
    "plain": TrainConfig(recipe="plain"),
    # "Sound classification using images" (fast.ai forums, etown/dl1): 80.61 % over the ten folds
    # of UrbanSound8K from ImageNet weights. Its schedule, at fastai's present default rate, as the
    # floor to measure against.
    "blog": TrainConfig(
        recipe="blog",
        arch="resnet34",
        size=224,
        batch_size=64,
        phases=(
            Phase(epochs=3, frozen=True),
            Phase(epochs=1),
            Phase(epochs=3, lr=(1e-6, 1e-4)),
        ),
    ),
}


def recipe(name: str) -> TrainConfig:
    """Return the recipe called `name`.

    Raises
    ------
    ConfigError
        If there is none; the message lists those there are.
    """
    if name not in RECIPES:
        raise ConfigError(f"unknown recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]
