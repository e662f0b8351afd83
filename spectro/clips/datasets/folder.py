"""Anyone's own data: a folder a class, or a CSV.

- Folder a class: ``ROOT/{label}/**/*.wav`` or any other file that looks like sound; see
  :mod:`spectro.clips.datasets.listing`.
- CSV: ``ROOT/clips.csv``, or a CSV file itself, with the columns ``path`` (relative to the CSV) and
  ``label``, and optionally ``fold``, ``group``, ``start`` and ``end`` (seconds).
- Folds: those of the CSV; else made once, seeded, stratified by class and never cutting a recording
  apart, and written to ``folds.csv`` beside the data so that they never change under the user.
- Licence and citation: the user's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pandas as pd

from spectro.clips.clip import printable
from spectro.clips.datasets.folds import remembered_folds
from spectro.clips.datasets.listing import SPLITS, Listing, by_folder, path_of
from spectro.clips.table import (
    Dataset,
    absent_note,
    alike_labels,
    clip_table,
    leaks_in_words,
    list_some,
    read_csv,
    seconds,
    whole_numbers,
)
from spectro.errors import DatasetError
from spectro.plumbing.paths import is_url, place

__all__ = ["load", "looks_like"]

_TABLE = "clips.csv"
_GENERIC = {  # names of folders that say what lies in them, not how it sounds
    *("audio", "audios", "clips", "data", "dataset", "files", "recordings", "samples", "sound"),
    *("sounds", "wav", "wavs", "mp3", "flac", "ogg", "archive", "content"),
}
_DOCUMENTS = {  # suffixes of what lies beside sounds and is none
    *("", ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".toml", ".yaml", ".yml"),
    *(".xml", ".html", ".htm", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".png", ".jpg", ".jpeg"),
    *(".gif", ".svg", ".webp", ".py", ".pyc", ".ipynb", ".sh", ".r", ".m", ".mat", ".npy", ".npz"),
    *(".pth", ".pt", ".pkl", ".safetensors", ".onnx", ".zip", ".tar", ".gz", ".log", ".ini"),
    *(".cff", ".bib", ".tex", ".lab", ".textgrid", ".parquet", ".db", ".part"),
}


def looks_like(files: Listing) -> bool:
    """Tell whether it is a CSV, has a ``clips.csv``, or has folders with sound files.

    Raises
    ------
    DatasetError
        If the folders are hardly classes: the parts of a split, or one folder named ``audio``.
    """
    if files.root.is_file():
        return files.root.suffix.lower() in (".csv", ".tsv")
    if _TABLE in files.files:
        return True
    clips = _in_folders(files)
    if clips:
        _check_classes(files, clips)
    return bool(clips)


def _check_classes(files: Listing, clips: list[str]) -> None:
    """Refuse folders that are hardly classes."""
    tops = sorted({name.partition("/")[0] for name in clips})
    splits = [name for name in tops if name.lower() in SPLITS]
    below = sorted({name.split("/")[1] for name in clips if name.count("/") > 1})
    if len(splits) > 1 or splits == tops:
        what = f"the classes below seem to be {list_some(below, 5)}" if below else "no classes"
        raise DatasetError(
            f"{files.root}: {list_some(splits, 5)} look like parts of a split, not like classes "
            f"({what}); give one of them, list path, label and fold in a {_TABLE}, or take them "
            "for classes with --layout folder"
        )
    flat = [name for name in clips if name.count("/") == 1]
    if len(tops) == 1 and (tops[0].lower() in _GENERIC or (len(below) > 1 and not flat)):
        inside = f"; if the folders in it are classes, give {files.root / tops[0]}" if below else ""
        raise DatasetError(
            f"{files.root}: {tops[0]} is the only folder with sound, and hardly a class{inside}; "
            f"else list path and label in a {_TABLE}, or take it for a class with --layout folder"
        )


def load(
    files: Listing,
    *,
    n_folds: int | None = None,
    seed: int = 0,
    group_pattern: str | None = None,
    folds_file: Path | None = None,
) -> Dataset:
    """Read the clip table of a folder of one's own.

    Parameters
    ----------
    files : Listing
        Of a folder with a folder a class, a folder with a ``clips.csv``, or a CSV.
    n_folds : int or None
        Folds to make where the data brings none; None means as many as were made before, or 5.
    seed : int
        Seed of their first dealing.
    group_pattern : str or None
        Regular expression that finds the recording's name within a clip's file name (its first
        group if it has one). None takes every file for a recording of its own.
    folds_file : Path or None
        Where made folds are kept; None means ``folds.csv`` beside the data.

    Returns
    -------
    Dataset

    Raises
    ------
    DatasetError
        If nothing is found, the pattern does not match a file, or folds cannot be made or kept.
    """
    root = files.root
    table_file = root if root.is_file() else root / _TABLE
    if table_file.is_file():
        table, home = _from_csv(table_file), table_file.parent
        name = root.stem if root.is_file() else root.resolve().name
    else:
        table, home, name = _from_folders(files), root, root.resolve().name
    table, absent, notes = _present(table, table_file)
    notes = [*notes, *_left_out(files, table)]
    if "group" not in table:
        table["group"] = [_group(place(path), home, group_pattern) for path in table["path"]]
        if group_pattern is None:
            notes.append(
                "every file counts as a recording of its own; where several were cut from one, "
                "say how to tell with --group-pattern, or scores will be too high"
            )
    notes += _give_folds(table, folds_file or home / "folds.csv", n_folds, seed)
    clips = clip_table(table, root)
    return Dataset(
        name=printable(name),
        root=home,
        clips=clips,
        folds=tuple(sorted(set(clips["fold"]))),
        notes=(*notes, *_alike(clips), *_thin_classes(clips)),
        absent=tuple(absent),
    )


def _from_csv(file: Path) -> pd.DataFrame:
    """Read a table of clips; relative paths start at the CSV's folder."""
    table = read_csv(file, ("path", "label"), optional=("fold", "group"))
    parts = [name for name in ("start", "end") if name in table]
    names = [name for name in ("path", "label", "fold", "group") if name in table]
    table = table[names + parts].copy()
    for name in parts:
        table[name] = seconds(table, name, file)
    for name in set(names) - {"path"}:
        table[name] = table[name].str.strip()
    if "fold" in table:
        table["fold"] = whole_numbers(table, "fold", file)
    _check_urls(table["path"], file)
    table["listed"] = table["path"]
    table["path"] = [_opened(str(path), file) for path in table["path"]]
    return table


def _check_urls(paths: Iterable[str], file: Path) -> None:
    """Refuse URLs to anywhere but the store that the table itself lies in: it may be a stranger's.

    A table that makes this machine ask hosts of its choosing would reach what only this machine
    can; so none of them is asked.
    """
    own = _store(str(file)) if is_url(file) else None
    for row, path in enumerate(paths, start=1):
        if is_url(path) and ("::" in path or _store(path) != own):
            raise DatasetError(
                f"{file}: row {row}: the path {path[:200]!r} is a URL, and a table may name only "
                "files beside it, or in its own store; copy the file and name the copy"
            )


def _store(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    return scheme.lower(), rest.partition("/")[0]


def _opened(path: str, file: Path) -> str:
    """Write a path so that one can open it; one that Windows wrote, with forward slashes."""
    if is_url(path):
        return path
    options = dict.fromkeys((path, path.strip(), path.strip().replace("\\", "/")))
    whole = [str(file.parent / option) for option in options]
    if len(whole) == 1 or is_url(file):
        return whole[0]
    return next((option for option in whole if _exists(option)), whole[-1])


def _exists(path: str) -> bool:
    try:
        return place(path).exists()
    except OSError:  # a name that is too long, a folder that may not be read
        return False


def _present(table: pd.DataFrame, file: Path) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Keep the clips that are on disk; return the names of the others, and a note on them."""
    on_disk = table["path"].map(_exists).astype(bool)
    gone = table[~on_disk]
    absent = [printable(os.path.basename(path)) for path in gone["path"]]
    if on_disk.any():
        return table[on_disk].copy(), absent, [absent_note(absent)] if absent else []
    if gone.empty:
        raise DatasetError(f"{file}: lists no clip; is it the right table?")
    first = gone.iloc[0]
    listed = first.get("listed", first["path"])
    raise DatasetError(
        f"{file}: none of the {len(gone):,} listed clips is on disk; row 1 names {listed[:200]!r}, "
        f"looked for as {first['path'][:300]}; write paths relative to the table"
    )


def _from_folders(files: Listing) -> pd.DataFrame:
    """List the sound files, labelled by the first folder below the root."""
    root = files.root
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder")
    clips = _in_folders(files)
    if not clips:
        raise DatasetError(
            f"{root}: holds no sound file in a folder a class; put clips into "
            f"{root}/LABEL/ or list them in {root}/{_TABLE}"
        )
    _check_no_class_is_empty(files, clips)
    return pd.DataFrame(
        {
            "path": [path_of(files, name) for name in clips],
            "label": [printable(name.partition("/")[0]) for name in clips],
        }
    )


def _in_folders(files: Listing) -> list[str]:
    return [name for name in files.sounds if "/" in name]


def _check_no_class_is_empty(files: Listing, clips: list[str]) -> None:
    """Refuse a folder that holds nothing, or nothing but files of an unknown kind."""
    filled = {name.partition("/")[0] for name in clips}
    suffixes: dict[str, set[str]] = {}
    for name in files.files:
        suffixes.setdefault(name.partition("/")[0], set()).add(PurePosixPath(name).suffix.lower())
    for folder in files.folders:
        kinds = sorted(suffixes.get(folder, ()))
        if folder in filled or (kinds and _DOCUMENTS.issuperset(kinds)):
            continue
        what = f"files with the suffixes {list_some(kinds, 5)}" if kinds else "nothing"
        raise DatasetError(
            f"{files.root}: the folder {printable(folder)} has no clip, it holds {what}; put sound "
            "into it (ffmpeg -i IN OUT.wav converts), or move it away"
        )


def _left_out(files: Listing, table: pd.DataFrame) -> list[str]:
    """Say in notes which sound files below the folder are no clip, and which links lead to more."""
    taken = set(table["path"])
    others = [name for name in files.sounds if path_of(files, name) not in taken]
    notes = []
    if others:
        are = "file is" if len(others) == 1 else "files are"
        why = f"not in {_TABLE}" if _TABLE in files.files else "in no folder of a class"
        notes.append(f"{len(others):,} sound {are} {why} and left out: {by_folder(others)}")
    if files.links:
        links = list_some(map(printable, files.links), 5)
        notes.append(f"links to folders are not followed: {links}; put the folders there")
    return notes


def _alike(clips: pd.DataFrame) -> list[str]:
    """Name the labels that differ only in blanks or case."""
    groups = [" and ".join(map(repr, group)) for group in alike_labels(clips["label"].unique())]
    told = f"labels alike but for blanks or case are classes of their own: {list_some(groups, 5)}"
    return [told] if groups else []


def _group(path: Path, home: Path, pattern: str | None) -> str:
    """Name the recording that a clip was cut from."""
    if pattern is None:
        inside = path.relative_to(home) if path.is_relative_to(home) else path
        return printable(inside.as_posix())
    try:
        match = re.search(pattern, path.name)
    except re.error as error:
        raise DatasetError(
            f"--group-pattern '{pattern}' is no regular expression: {error}"
        ) from None
    group = match and match.group(1 if match.re.groups else 0)
    if group is None:
        raise DatasetError(
            f"{printable(str(path))}: --group-pattern '{pattern}' finds nothing in the file name; "
            "give one that fits every name, or move the file away"
        )
    return printable(group)


def _give_folds(table: pd.DataFrame, file: Path, n_folds: int | None, seed: int) -> list[str]:
    """Fill the ``fold`` column in place unless the data brought one; return what to tell."""
    if "fold" in table:
        return leaks_in_words(table)
    fold_of = remembered_folds(table, file, n_folds=n_folds, seed=seed)
    table["fold"] = table["group"].map(fold_of)
    return [f"{max(fold_of.values())} folds made by recording, kept in {file}"]


def _thin_classes(clips: pd.DataFrame) -> list[str]:
    """Name the classes that some fold cannot score for want of recordings."""
    n_folds = clips["fold"].nunique()
    present = clips.groupby("label")["fold"].nunique()
    thin = [f"{label} (in {count})" for label, count in present.items() if count < n_folds]
    return [f"classes absent from some of the {n_folds} folds: {list_some(thin)}"] if thin else []
