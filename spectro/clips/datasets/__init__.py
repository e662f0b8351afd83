"""Datasets: each layout is a file here, and each becomes the same clip table."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

from spectro.clips.datasets import esc50, folder, spoken_digits, urbansound8k
from spectro.clips.datasets.sources import Source
from spectro.clips.table import COLUMNS, Dataset
from spectro.errors import DatasetError
from spectro.plumbing.paths import exists, place

__all__ = ["COLUMNS", "LAYOUTS", "SOURCES", "Dataset", "find_source", "load"]

# The most particular layout first: every layout is also folders with sound in them. The sample is
# laid out like UrbanSound8K.
LAYOUTS: dict[str, ModuleType] = {
    "urbansound8k": urbansound8k,
    "sample": urbansound8k,
    "esc50": esc50,
    "spoken-digits": spoken_digits,
    "folder": folder,
}

SOURCES: dict[str, Source] = {
    module.SOURCE.name: module.SOURCE for module in (urbansound8k, esc50, spoken_digits)
}
"""What can be fetched, by name."""


def find_source(name: str) -> Source:
    """Look up a dataset that can be fetched, by what the command line calls it.

    Raises
    ------
    DatasetError
        If there is none of that name.
    """
    if name.lower() not in SOURCES:
        raise DatasetError(
            f"{name}: no dataset that can be fetched; there are {', '.join(SOURCES)}"
        )
    return SOURCES[name.lower()]


def load(root: str | Path, layout: str = "auto", **options: Any) -> Dataset:
    """Read the clip table of the dataset in a folder.

    Parameters
    ----------
    root : str or Path
        Folder of the dataset (or the folder that holds ``UrbanSound8K``), or a CSV of clips; or
        the URL of one.
    layout : str
        A name in `LAYOUTS`, or "auto" to recognise it.
    **options
        What the layout's own ``load`` takes besides `root`: ``esc10`` of `esc50`; ``n_folds``,
        ``seed``, ``group_pattern`` and ``folds_file`` of `folder`.

    Returns
    -------
    Dataset

    Raises
    ------
    DatasetError
        If the folder is missing, has no known layout, or cannot be read; or if an option does not
        belong to the layout.
    """
    root = place(root)
    if not exists(root):
        raise DatasetError(f"{root}: no such folder or file")
    if (root / "UrbanSound8K").is_dir():
        root = root / "UrbanSound8K"
    if layout == "auto":
        layout = _recognise(root)
    if layout not in LAYOUTS:
        raise DatasetError(f"unknown layout {layout!r}; there are {', '.join(LAYOUTS)}")
    given = {name: value for name, value in options.items() if value is not None}
    loader = LAYOUTS[layout].load
    foreign = sorted(set(given) - set(inspect.signature(loader).parameters))
    if foreign:
        raise DatasetError(f"{root}: read as {layout}, which has no option {', '.join(foreign)}")
    dataset: Dataset = loader(root, **given)
    return dataset


def _recognise(root: Path) -> str:
    for name, module in LAYOUTS.items():
        if module.looks_like(root):
            return name
    raise DatasetError(
        f"{root}: no known dataset; expected UrbanSound8K, ESC-50 or spoken digits as published, "
        "a folder a class with sound files, or a CSV with path and label"
    )
