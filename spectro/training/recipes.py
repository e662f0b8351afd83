"""Recipes by name: complete settings of training, which options and TOML then change.

A recipe may also have settings of the picture, for ``spectro render --recipe``.
"""

from __future__ import annotations

from typing import Any

from spectro.errors import ConfigError
from spectro.pictures.settings import SpectrogramConfig
from spectro.training.settings import Phase, TrainConfig

__all__ = ["RECIPES", "SPECTROGRAMS", "changes", "recipe", "recipe_spectrogram"]

# Augments clips as if recorded by other microphones, in other scenes, and at other tempi and
# pitches, and trains for longer: half the batch, 15 epochs. docs/recipes.md measures each part.
_DEFAULT = TrainConfig(
    recipe="default",
    batch_size=16,
    phases=(Phase(epochs=15),),
    background=0.5,
    mixstyle=0.5,
    band_gain=0.08,
    stretch=0.15,
    pitch=0.06,
    settle_norms=True,
)

RECIPES: dict[str, TrainConfig] = {
    "default": _DEFAULT,
    # On stretches half as long, which take half the time, at three times the rate: made for
    # ImageNet's weights on few clips; on all ten folds it is no better (docs/recipes.md).
    "transfer": _DEFAULT.replace(recipe="transfer", crop=0.5).with_last_phase(lr=3e-3),
    # The baseline of comparisons: no augmentation, one cycle of ten epochs.
    "plain": TrainConfig(),
    # "Sound classification using images" (fast.ai forums, etown/dl1): 80.61 % over the ten folds
    # of UrbanSound8K from ImageNet weights. Its schedule at fastai's present default rate, as a
    # baseline.
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
    # The usual tutorial on spoken digits with torchaudio: 96.89 % on a random split of 3,600 clips
    # of AudioMNIST. Adam without weight decay. The rate falls at the end: at a constant 1e-2 the
    # running statistics of batch norm lag behind, and scores vary by chance.
    "digits": TrainConfig(
        recipe="digits",
        arch="cnn4",
        weights="none",
        batch_size=16,
        phases=(Phase(epochs=5, lr=1e-2),),
        weight_decay=0.0,
        shift=0.4,
        time_masks=1,
        freq_masks=1,
        mask_share=0.1,
    ),
    # A linear head on the body as it is: spectro probe.
    "probe": TrainConfig(recipe="probe", phases=()),
}

SPECTROGRAMS: dict[str, SpectrogramConfig] = {
    # hop_length is torchaudio's default, half a window. A clip is at a random place in 4 s.
    "digits": SpectrogramConfig(
        sr=44_100,
        n_fft=1_024,
        hop_length=512,
        n_mels=64,
        pad="random",
        channels="both",
    ),
}


def recipe(name: str) -> TrainConfig:
    """Return the recipe called `name`.

    Raises
    ------
    ConfigError
        If there is no such recipe; the message lists all.

    Examples
    --------
    >>> from spectro import recipe
    >>> recipe("plain").arch, recipe("plain").replace(batch_size=8).batch_size
    ('resnet18', 8)
    """
    if not isinstance(name, str) or name not in RECIPES:  # of a file, it may be anything
        raise ConfigError(f"unknown recipe {str(name)[:80]!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def recipe_spectrogram(name: str) -> SpectrogramConfig:
    """Return the settings of the picture for the recipe called `name`.

    Raises
    ------
    ConfigError
        If there is no such recipe.
    """
    recipe(name)
    return SPECTROGRAMS.get(name, SpectrogramConfig())


def changes(config: TrainConfig) -> dict[str, list[Any]]:
    """List the settings that are other than their recipe says: the value, then the recipe's.

    `epochs` and `lr` are those of the last phase where only that is another.

    Examples
    --------
    >>> changes(recipe("plain").replace(members=3).with_last_phase(epochs=5))
    {'epochs': [5, 10], 'members': [3, 1]}
    """
    base = RECIPES.get(config.recipe, TrainConfig())
    now, was = config.to_dict(), base.to_dict()
    for values in (now, was):
        del values["recipe"], values["seed"]
    if len(now["phases"]) == len(was["phases"]) and now["phases"][:-1] == was["phases"][:-1]:
        now, was = ({**_last(values), **values} for values in (now, was))
    return {name: [now[name], was[name]] for name in now if now[name] != was[name]}


def _last(values: dict[str, Any]) -> dict[str, Any]:
    """Take the last phase out of settings."""
    phases = values.pop("phases")
    return dict(phases[-1]) if phases else {}
