"""Datasets: each layout is a file here, and each becomes the same clip table.

Importing this package imports no layout and no pandas, so that a help text can name them all.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectro.errors import DatasetError
from spectro.plumbing.paths import exists, place

if TYPE_CHECKING:
    from spectro.clips.table import COLUMNS, Dataset

__all__ = ["COLUMNS", "LAYOUTS", "Dataset", "load"]

# The most particular layout first: every layout is also folders with sound in them. The sample is
# laid out like UrbanSound8K.
LAYOUTS: dict[str, str] = {  # name: module
    "urbansound8k": "spectro.clips.datasets.urbansound8k",
    "sample": "spectro.clips.datasets.urbansound8k",
    "esc50": "spectro.clips.datasets.esc50",
    "spoken-digits": "spectro.clips.datasets.spoken_digits",
    "folder": "spectro.clips.datasets.folder",
}


def __getattr__(name: str) -> Any:
    """Import the names of :mod:`spectro.clips.table` when they are asked for."""
    if name not in ("COLUMNS", "Dataset"):
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module("spectro.clips.table"), name)


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
    loader = import_module(LAYOUTS[layout]).load
    foreign = sorted(set(given) - set(inspect.signature(loader).parameters))
    if foreign:
        raise DatasetError(f"{root}: read as {layout}, which has no option {', '.join(foreign)}")
    dataset: Dataset = loader(root, **given)
    return dataset


def _recognise(root: Path) -> str:
    for name, module in LAYOUTS.items():
        if import_module(module).looks_like(root):
            return name
    raise DatasetError(
        f"{root}: no known dataset; expected UrbanSound8K, ESC-50 or spoken digits as published, "
        "a folder a class with sound files, or a CSV with path and label"
    )
