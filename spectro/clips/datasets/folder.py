"""Anyone's own data: a folder a class, or a CSV.

- Folder a class: ``ROOT/{label}/**/*.wav`` or any other file that looks like sound; see
  :mod:`spectro.clips.datasets.listing`.
- CSV: ``ROOT/clips.csv``, or a CSV file itself, with the columns ``path`` (relative to the CSV) and
  ``label``, and optionally ``fold``, ``group``, ``start`` and ``end`` (seconds); columns of other
  names can be named (:mod:`spectro.clips.datasets.own_table`).
- Folds: those of the CSV; else made once, seeded, stratified by class and never cutting a recording
  apart, and written to ``folds.csv`` beside the data so that they never change under the user.
- Licence and citation: the user's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from spectro.clips.clip import printable
from spectro.clips.datasets.class_folders import check_classes
from spectro.clips.datasets.folds import Grouping, MadeFolds, remembered_folds
from spectro.clips.datasets.judged import read_judged
from spectro.clips.datasets.listing import (
    DOCUMENTS,
    SPLITS,
    Listing,
    by_folder,
    is_document,
    is_sound,
    path_of,
)
from spectro.clips.datasets.own_table import (
    TABLE,
    Columns,
    exists,
    find,
    read_table,
)
from spectro.clips.datasets.places import lie_outside
from spectro.clips.datasets.recordings import name_in, recordings, suggest
from spectro.clips.opening import begins_as_sound
from spectro.clips.table import (
    Dataset,
    absent_note,
    alike_labels,
    clip_table,
    header_of,
    leaks_in_words,
    list_some,
)
from spectro.errors import DatasetError
from spectro.plumbing.paths import below, is_url
from spectro.plumbing.words import counted

__all__ = ["load", "looks_like"]

_NOISE = "_background_noise_/"  # of Speech Commands, and of no word
_SPLIT_COLUMNS = {"split", "subset", "partition", "usage", "set", "dataset_split"}


def looks_like(files: Listing) -> bool:
    """Tell whether it is a CSV, has a ``clips.csv``, or has folders with sound files.

    Raises
    ------
    DatasetError
        If the folders are hardly classes: the parts of a split, or one folder named ``audio``.
    """
    if files.root.is_file():
        return files.root.suffix.lower() in (".csv", ".tsv")
    if TABLE in files.files:
        return True
    clips = _in_folders(files)
    if clips:
        check_classes(files, clips)
    return bool(clips)


def load(
    files: Listing,
    *,
    n_folds: int | None = None,
    seed: int = 0,
    group_pattern: str | None = None,
    folds_file: Path | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    fold_column: str | None = None,
    group_column: str | None = None,
    verdicts: Sequence[Path] | None = None,
    as_before: bool = False,
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
    path_column, label_column, fold_column, group_column : str or None
        What the table calls ``path``, ``label``, ``fold`` and ``group``.
    verdicts : sequence of Path, or None
        Tables of ``spectro review``, whose clips are added; their folds are dealt with the others'.
    as_before : bool
        Where nothing says how to tell recordings apart, do as when folds were made.

    Returns
    -------
    Dataset
        Its ``made_folds`` are not written down yet.

    Raises
    ------
    DatasetError
        If nothing is found, the pattern does not match a file, or folds cannot be made.
    """
    root, columns = files.root, Columns(path_column, label_column, fold_column, group_column)
    table_file = find(files, columns)
    if table_file is not None:
        home = table_file.parent
        table = read_table(table_file, columns, None if root.is_file() else root)
        name = root.stem if root.is_file() else root.resolve().name
    else:
        table, home, name = _from_folders(files), root, root.resolve().name
    table, absent, notes = _present(table, table_file or root)
    notes += [*_unused_split(table_file, table), *_unkept_split(table, root, table_file is None)]
    notes += [*_outside(table, (home if root.is_file() else root) if table_file else None)]
    folds_file = folds_file or home / "folds.csv"
    grouping = Grouping(group_pattern=group_pattern)
    if "group" in table:
        grouping = Grouping(group_column=group_column or "group")
    elif as_before and group_pattern is None:
        grouping = Grouping.beside(folds_file) or grouping
    left_out = _left_out(files, table, table_is_folders=table_file is None)
    notes = [*notes, *left_out, *_give_groups(table, home, grouping)]
    if verdicts:
        judged, denied = read_judged(verdicts)
        table, gone, told = _added(table, judged, verdicts[0], grouping)
        absent, notes = [*absent, *gone], [*notes, *denied, *told]
    try:
        made = _give_folds(table, folds_file, n_folds, seed, grouping)
    except DatasetError as error:
        if not absent:
            raise
        raise DatasetError(f"{error}; {absent_note(absent)}") from None
    clips = clip_table(table, root)
    return Dataset(
        name=printable(name),
        root=home,
        clips=clips,
        folds=tuple(sorted(set(clips["fold"]))),
        notes=(*notes, *_told(clips, made, root if table_file is None else None)),
        absent=tuple(absent),
        made_folds=made,
    )


def _present(table: pd.DataFrame, file: Path) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Keep the clips that are on disk; return the names of the others, and a note on them."""
    on_disk = table["path"].map(exists).astype(bool)
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
            f"{root}/LABEL/ or list them in {root}/{TABLE}"
        )
    _check_no_class_is_empty(files, clips)
    return pd.DataFrame(
        {
            "path": [path_of(files, name) for name in clips],
            "label": [printable(name.partition("/")[0]) for name in clips],
        }
    )


def _in_folders(files: Listing) -> list[str]:
    return [name for name in files.sounds if "/" in name and not name.startswith(_NOISE)]


def _check_no_class_is_empty(files: Listing, clips: list[str]) -> None:
    """Refuse a folder that holds nothing, or nothing but files of an unknown kind."""
    filled = {name.partition("/")[0] for name in clips}
    suffixes: dict[str, set[str]] = {}
    for name in files.files:
        suffixes.setdefault(name.partition("/")[0], set()).add(PurePosixPath(name).suffix.lower())
    for folder in files.folders:
        kinds = sorted(suffixes.get(folder, ()))
        if f"{folder}/" == _NOISE or folder in filled or (kinds and DOCUMENTS.issuperset(kinds)):
            continue
        what = f"files with the suffixes {list_some(kinds, 5)}" if kinds else "nothing"
        raise DatasetError(
            f"{files.root}: the folder {printable(folder)} has no clip, it holds {what}; put sound "
            "into it (ffmpeg -i IN OUT.wav converts), or move it away"
        )


def _unused_split(file: Path | None, table: pd.DataFrame) -> list[str]:
    """Say in a note that a table parts its clips, and that folds are made all the same."""
    found = sorted(_SPLIT_COLUMNS & header_of(file)) if file and "fold" not in table else []
    told = (
        f"the column {', '.join(found)} is not used, and folds are made; to keep its parts "
        "apart, number them in a column fold"
    )
    return [told] if found else []


def _unkept_split(table: pd.DataFrame, root: Path, by_folder: bool) -> list[str]:
    """Say in a note that folders part the clips for training and testing, and folds are made."""
    if "fold" in table:
        return []
    above: dict[str, set[str]] = {}
    for path, label in zip(table["path"], table["label"], strict=True):
        folders = PurePosixPath(below(path, root)).parts[by_folder:-1]
        for part in {folder for folder in folders if folder.lower() in SPLITS}:
            above.setdefault(part, set()).add(label)
    if len(above) < 2 and all(len(labels) < 2 for labels in above.values()):
        return []
    told = list_some(map(printable, sorted(above)), 5)
    return [
        f"{told} below the classes {'look' if len(above) > 1 else 'looks'} like parts of a split, "
        "which is not kept: folds are made of all clips; to keep the parts, list path, label and "
        f"fold in a {TABLE}, with a number for each part"
    ]


def _outside(table: pd.DataFrame, home: Path | None) -> list[str]:
    """Say in a note which clips of a table lie elsewhere than below its folder."""
    found = [] if home is None else lie_outside(table["path"], home)
    told = counted(len(found), "listed clip lies", "listed clips lie")
    where = f"{told} outside {home}, by an absolute path or a link: {list_some(found, 3)}"
    return [printable(where)] if found else []


def _may_be_sound(files: Listing, name: str) -> bool:
    """Tell whether a file in a folder of a class is neither sound by its name nor a document."""
    suffix = PurePosixPath(name).suffix.lower()
    if not suffix:
        return not is_url(files.root) and begins_as_sound(files.root / name)
    return not is_sound(name) and not is_document(name)


def _left_out(files: Listing, table: pd.DataFrame, *, table_is_folders: bool) -> list[str]:
    """Say in notes which sound files below the folder are no clip, and which links lead to more."""
    taken = set(table["path"])
    others = [name for name in files.sounds if path_of(files, name) not in taken]
    notes = []
    if others:
        are = "file is" if len(others) == 1 else "files are"
        why = f"not in {TABLE}" if TABLE in files.files else "in no folder of a class"
        notes.append(f"{len(others):,} sound {are} {why} and left out: {by_folder(others)}")
    passed = [name for name in files.files if "/" in name and _may_be_sound(files, name)]
    if passed and table_is_folders:
        n = counted(
            len(passed), "file is no sound by its name", "files are no sound by their names"
        )
        names = list_some(map(printable, passed), 5)
        notes.append(f"{n}, and left out: {names}; rename or convert them (ffmpeg -i IN OUT.wav)")
    if files.links:
        links = list_some(map(printable, files.links), 5)
        notes.append(f"links to folders are not followed: {links}; put the folders there")
    return notes


def _alike(clips: pd.DataFrame) -> list[str]:
    """Name the labels that differ only in blanks or case."""
    groups = [" and ".join(map(repr, group)) for group in alike_labels(clips["label"].unique())]
    told = f"labels alike but for blanks or case are classes of their own: {list_some(groups, 5)}"
    return [told] if groups else []


def _several(clips: pd.DataFrame) -> list[str]:
    """Say that cells with several labels, as ``Bark,Dog``, are classes of their own."""
    labels = clips["label"].value_counts()
    parts = {label: re.split(r"\s*[,;|]\s*", label) for label in labels.index}
    several = [name for name, own in parts.items() if len(own) > 1 and labels.index.isin(own).any()]
    n = counted(int(labels[several].sum()), "clip has", "clips have")
    told = f"{n} several labels in one cell, and each combination is a class of its own"
    return [f"{told}: {list_some(map(repr, several), 3)}"] if several else []


def _give_groups(table: pd.DataFrame, home: Path, grouping: Grouping) -> list[str]:
    """Fill the ``group`` column in place unless the data brought one; return what to tell."""
    if "group" in table:
        return []
    pattern = grouping.group_pattern
    table["group"] = recordings(table["path"], home, pattern)
    if pattern is not None:
        return []
    found = suggest(table)
    how = f" ({found.in_words()})" if found else ""
    return [
        "every file counts as a recording of its own; where several were cut from one, say how to "
        f"tell with --group-pattern, or scores will be too high{how}"
    ]


def _added(
    table: pd.DataFrame, judged: pd.DataFrame, file: Path, grouping: Grouping
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Add the clips that a person judged; return the names of absent ones and a note on them, too.

    Each belongs to the recording that it was heard in, by the name that this has among the others.
    """
    if "fold" in table:
        raise DatasetError(
            f"{file}: the clips beside it bring folds of their own, which say nothing of these; "
            "add its rows to that table, each with a fold"
        )
    there, absent, notes = _present(judged, file)
    known = dict(zip(map(os.path.realpath, table["path"]), table["group"], strict=True))
    pattern = re.compile(grouping.group_pattern) if grouping.group_pattern else None
    there["group"] = [
        known.get(os.path.realpath(path))
        or (pattern and name_in(os.path.basename(path), pattern))
        or group
        for path, group in zip(there["path"], there["group"], strict=True)
    ]
    return pd.concat([table, there], ignore_index=True), absent, notes


def _give_folds(
    table: pd.DataFrame, file: Path, n_folds: int | None, seed: int, grouping: Grouping
) -> MadeFolds | None:
    """Fill the ``fold`` column in place unless the data brought one."""
    if "fold" in table:
        return None
    made = remembered_folds(table, file, n_folds=n_folds, seed=seed, grouping=grouping)
    table["fold"] = table["group"].map(made.fold_of)
    return made


def _told(clips: pd.DataFrame, made: MadeFolds | None, root: Path | None) -> list[str]:
    """Say what to know of classes and folds."""
    notes = leaks_in_words(clips)
    if made is not None:
        n_folds = counted(max(made.fold_of.values()), "fold")
        notes = [f"{n_folds} made by recording, which rendering keeps in {made.file.name}"]
        gone = made.fold_of.keys() - set(clips["group"])
        if gone and made.joined:
            notes.append(
                f"{counted(made.joined, 'recording')} joined these folds and "
                f"{counted(len(gone), 'recording')} of them {'is' if len(gone) == 1 else 'are'} "
                "gone: if they are the same under other names, what shared a fold may not any "
                f"more; remove {made.file.name} to deal anew"
            )
    return [
        *notes,
        *_alike(clips),
        *_several(clips),
        *_one_class(clips, root),
        *_thin_classes(clips),
    ]


def _one_class(clips: pd.DataFrame, root: Path | None) -> list[str]:
    """Say that there is nothing to tell apart."""
    labels = clips["label"].unique()
    if len(labels) > 1:
        return []
    told = f"every clip is {labels[0]}: one class, and training needs two"
    if root is None:
        return [told]
    own, parent = (printable(str(name)) for name in (root.resolve().name, root.resolve().parent))
    return [f"{told}; if {own} is a class itself, did you mean its parent, {parent}?"]


def _thin_classes(clips: pd.DataFrame) -> list[str]:
    """Name the classes that some fold cannot score for want of recordings."""
    n_folds = clips["fold"].nunique()
    present = clips.groupby("label")["fold"].nunique()
    thin = [f"{label} (in {count})" for label, count in present.items() if count < n_folds]
    return [f"classes absent from some of the {n_folds} folds: {list_some(thin)}"] if thin else []
