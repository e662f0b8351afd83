"""Datasets: each layout is a file here, and each becomes the same clip table.

Importing this package imports no layout and no pandas, so that a help text can name them all.
"""

from __future__ import annotations

import inspect
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectro.clips.datasets.listing import Listing, list_below
from spectro.errors import DatasetError, SpectroError
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

    Examples
    --------
    A folder a class; `n_folds` deals folds, and writes them down:

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, soundfile
    >>> from spectro import load_dataset
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("frog/a.wav", "frog/b.wav", "rain/c.wav", "rain/d.wav"):
    ...     (folder / name).parent.mkdir(exist_ok=True)
    ...     soundfile.write(folder / name, np.sin(np.arange(8000) / len(name)), 8000)
    >>> load_dataset(folder, n_folds=2).clips.groupby("label").size().to_dict()
    {'frog': 2, 'rain': 2}
    """
    if layout not in ("auto", *LAYOUTS):
        raise DatasetError(f"unknown layout {layout!r}; there are {', '.join(LAYOUTS)}")
    parquet = import_module("spectro.clips.datasets.parquet")
    files = list_below(_folder(root))
    if parquet.sounds_inside(files):
        files = list_below(parquet.export(files))
    root = files.root
    if layout == "auto":
        layout = _recognise(files)
    given = {name: value for name, value in options.items() if value is not None}
    loader = import_module(LAYOUTS[layout]).load
    foreign = sorted(set(given) - set(inspect.signature(loader).parameters))
    if foreign:
        raise DatasetError(f"{root}: read as {layout}, which has no option {', '.join(foreign)}")
    dataset: Dataset = loader(files, **given)
    return dataset


def _folder(root: str | Path) -> Path:
    """Find the folder to list: that of UrbanSound8K in `root`, or that of a dataset's own table."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kinds of URL that are seldom used
            there = place(root)
        str(there)  # some kinds of URL are read only now
    except SpectroError:
        raise
    except Exception as error:  # each kind of URL raises its own
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(f"{str(root)[:200]}: no URL that can be read ({why})") from None
    if not exists(there):
        raise DatasetError(f"{there}: no such folder or file")
    if (there / "UrbanSound8K").is_dir():
        return there / "UrbanSound8K"
    if there.is_file() and there.suffix.lower() in (".csv", ".tsv"):
        for layout in ("urbansound8k", "esc50"):
            found: Path | None = import_module(LAYOUTS[layout]).folder_of(there)
            if found is not None:
                return found
    return there


def _recognise(files: Listing) -> str:
    for name, module in LAYOUTS.items():
        if import_module(module).looks_like(files):
            return name
    raise DatasetError(
        f"{files.root}: no known dataset; expected UrbanSound8K, ESC-50 or spoken digits as "
        "published, a folder a class with sound files, or a CSV with path and label"
    )
