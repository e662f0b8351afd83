"""Datasets: each layout is a file here, and each becomes the same clip table.

Importing this package imports no layout and no pandas, so that a help text can name them all.
"""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectro.clips.clip import printable
from spectro.clips.datasets.listing import Listing, list_below
from spectro.errors import DatasetError, SpectroError
from spectro.plumbing.paths import exists, place
from spectro.plumbing.words import counted

if TYPE_CHECKING:
    from spectro.clips.table import COLUMNS, Dataset

__all__ = ["COLUMNS", "LAYOUTS", "Dataset", "load"]

# The most particular layout first: every layout is also folders with sound in them. The sample is
# laid out like UrbanSound8K.
LAYOUTS: dict[str, str] = {  # name: module
    "urbansound8k": "spectro.clips.datasets.published.urbansound8k",
    "sample": "spectro.clips.datasets.published.urbansound8k",
    "esc50": "spectro.clips.datasets.published.esc50",
    "speech-commands": "spectro.clips.datasets.published.speech_commands",
    "tau": "spectro.clips.datasets.published.tau",
    "spoken-digits": "spectro.clips.datasets.published.spoken_digits",
    "folder": "spectro.clips.datasets.folder",
}


def __getattr__(name: str) -> Any:
    """Import the names of :mod:`spectro.clips.table` when they are asked for."""
    if name not in ("COLUMNS", "Dataset"):
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module("spectro.clips.table"), name)


def load(
    root: str | Path,
    layout: str = "auto",
    *,
    keep_folds: bool = True,
    as_before: bool = False,
    **options: Any,
) -> Dataset:
    """Read the clip table of the dataset in a folder.

    Parameters
    ----------
    root : str or Path
        Folder of the dataset (or the folder that holds ``UrbanSound8K``), or a CSV of clips; or
        the URL of one.
    layout : str
        A name in `LAYOUTS`, or "auto" to recognise it.
    keep_folds : bool
        Write down folds that are made now; else :meth:`Dataset.keep_folds` does.
    as_before : bool
        Where no option says how to tell recordings apart, do as when folds were made; else that is
        an error.
    **options
        What the layout's own ``load`` takes besides `root`: ``esc10`` of `esc50`; ``n_folds``,
        ``seed``, ``group_pattern``, ``folds_file``, ``path_column`` and the like of `folder`.

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
    asked = layout
    if layout not in ("auto", *LAYOUTS):
        raise DatasetError(f"unknown layout {layout!r}; there are {', '.join(LAYOUTS)}")
    parquet = import_module("spectro.clips.datasets.parquet")
    given = {name: value for name, value in options.items() if value is not None}
    own = any(name.endswith("_column") for name in given)  # of a table that is nobody else's
    folder, table = _folder(root, published=not own and layout != "folder")
    files = list_below(folder)
    if table is not None:
        files = files.with_table(table)
    inside = parquet.sounds_inside(files)
    beside = parquet.beside(files, read=inside)
    if inside:
        files = list_below(parquet.export(files))
    files, copies = import_module("spectro.clips.datasets.copies").without_copies(files)
    root = files.root
    if layout == "auto":
        layout = "folder" if own else _recognise(files)
    loader = import_module(LAYOUTS[layout]).load
    known = set(inspect.signature(loader).parameters)
    foreign = sorted(set(given) - known)
    if foreign:
        raise DatasetError(f"{root}: read as {layout}, which has no option {', '.join(foreign)}")
    before = {"as_before": as_before} if "as_before" in known else {}
    dataset: Dataset = loader(files, **given, **before)
    if keep_folds:
        dataset.keep_folds()
    notes = (*dataset.notes, *copies, *beside)
    return dataclasses.replace(dataset, notes=notes, reading=_reading(given, asked))


def _reading(given: dict[str, Any], asked: str) -> dict[str, Any]:
    """Write down the options that a dataset was read with, as JSON holds them."""
    layout = {} if asked == "auto" else {"layout": asked}
    return {**layout, **{name: _plain(value) for name, value in given.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _folder(root: str | Path, *, published: bool) -> tuple[Path, Path | None]:
    """Find the folder to list: that of UrbanSound8K in `root`, or that of a published table.

    A published table that is given itself is returned, too.
    """
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
        return there / "UrbanSound8K", None
    if published and there.is_file() and there.suffix.lower() in (".csv", ".tsv"):
        for layout in ("urbansound8k", "esc50"):
            found: Path | None = import_module(LAYOUTS[layout]).folder_of(there)
            if found is not None:
                return found, there
    return there, None


def _recognise(files: Listing) -> str:
    for name, module in LAYOUTS.items():
        if import_module(module).looks_like(files):
            return name
    if files.sounds:
        parent = printable(str(files.root.resolve().parent))
        n = counted(len(files.sounds), "sound file lies", "sound files lie")
        raise DatasetError(
            f"{files.root}: {n} in no folder of a class; if this is the folder of one class, did "
            f"you mean its parent, {parent}? Else list path and label in a clips.csv"
        )
    raise DatasetError(
        f"{files.root}: no known dataset; expected {_published()} as published, a folder a class "
        "with sound files, or a CSV with path and label"
    )


def _published() -> str:
    """Name the published datasets, as the first line of each layout's module does."""
    modules = dict.fromkeys(module for name, module in LAYOUTS.items() if name != "folder")
    lines = ((import_module(module).__doc__ or module) for module in modules)
    *most, last = (line.partition(":")[0].replace("Google's ", "") for line in lines)
    return f"{', '.join(most)} or {last}"
