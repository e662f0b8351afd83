"""Settings to choose from, as a TOML file lists them.

::

    [[candidate]]
    lr = 1e-3

    [[candidate]]
    name = "long"        # without one, its settings are its name
    lr = 3e-3
    epochs = 20

    [[candidate]]
    recipe = "blog"

Each table changes the settings of the run: ``lr`` and ``epochs`` are those of the last phase, as
the flags are; everything else is a setting of ``[train]``. A recipe replaces all of them but
weights, precision and seed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from spectro.errors import ConfigError
from spectro.plumbing.settings import read_tables
from spectro.training.recipes import recipe
from spectro.training.settings import TrainConfig

__all__ = ["read_candidates"]

_NAME = re.compile(r"[^\W_][\w=,.+-]*")  # it names a folder


def read_candidates(path: str | Path, base: TrainConfig) -> dict[str, TrainConfig]:
    """Read the settings that a run is to choose from.

    Parameters
    ----------
    path : str or Path
        TOML file.
    base : TrainConfig
        Settings of the run, which each candidate changes.

    Returns
    -------
    candidates : dict of str to TrainConfig
        By name, in the order of the file.

    Raises
    ------
    ConfigError
        If there are fewer than two, two alike, or one that is not valid.
    """
    candidates: dict[str, TrainConfig] = {}
    for number, table in enumerate(read_tables(path, "candidate"), start=1):
        try:
            name, config = _candidate(table, base)
        except ConfigError as error:
            raise ConfigError(f"{path}: candidate {number}: {error}") from None
        for other, settings in candidates.items():
            if name.lower() == other.lower() or config == settings:
                raise ConfigError(f"{path}: candidate {number} is {other} once more")
        candidates[name] = config
    if len(candidates) < 2:
        raise ConfigError(f"{path}: lists {len(candidates)} [[candidate]]; a choice needs two")
    return candidates


def _candidate(table: dict[str, Any], base: TrainConfig) -> tuple[str, TrainConfig]:
    changes = {name: value for name, value in table.items() if name != "name"}
    said = ",".join(f"{name}={value}" for name, value in changes.items())
    name = str(table.get("name", re.sub(r"[^\w=,.+-]+", "-", said) or "base"))
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name {name!r}: use letters, digits and any of = , . + - _")
    if "recipe" in changes:
        kept = {key: getattr(base, key) for key in ("weights", "precision", "seed")}
        base = recipe(changes.pop("recipe")).replace(**kept)
    last = {key: changes.pop(key, None) for key in ("epochs", "lr")}
    config = base.replace(**changes).with_last_phase(**last)
    if config.inner_fold is not None:
        raise ConfigError("inner_fold cannot be set: the inner folds take turns")
    return name, config
