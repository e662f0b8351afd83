"""Are the folders of a dataset its classes? Where they hardly are, or a table differs, ask."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from spectro.clips.clip import printable
from spectro.clips.datasets.copies import other_versions
from spectro.clips.datasets.listing import Listing, parts_of_a_split
from spectro.clips.datasets.own_table import TABLE, labels_in, propose
from spectro.clips.table import list_some
from spectro.errors import DatasetError

__all__ = ["check_classes"]

_GENERIC = {  # names of folders that say what lies in them, not how it sounds
    *("audio", "audios", "clips", "data", "dataset", "files", "recordings", "samples", "sound"),
    *("sounds", "wav", "wavs", "mp3", "flac", "ogg", "archive", "content"),
    *("train", "training", "test", "testing", "valid", "validation", "val", "dev", "eval"),
    *("short", "long", "soundscape", "soundscapes", "unlabeled", "unlabelled", "labeled"),
    *("raw", "original", "curated", "mono", "stereo", "segments", "chunks", "khz", "hz"),
}
_GENERIC_FOR = {  # of these alone, a name may be that of a class
    *("train", "training", "test", "testing", "valid", "validation", "val", "dev", "eval"),
    *("short", "long", "raw", "original", "mono", "stereo", "labeled", "khz", "hz", "curated"),
}
_MOST_TABLES = 20  # at the top, which may list the clips


def check_classes(files: Listing, clips: list[str]) -> None:
    """Refuse folders that are hardly classes.

    Parameters
    ----------
    files : Listing
    clips : list of str
        Its sounds that lie in a folder, relative to its root.

    Raises
    ------
    DatasetError
        If the folders are parts of a split, say what lies in them, hold each other once more, or
        if a table beside them lists the clips under other classes.
    """
    tops = sorted({name.partition("/")[0] for name in clips})
    below = sorted({name.split("/")[1] for name in clips if name.count("/") > 1})
    splits = parts_of_a_split(tops, _inside(clips))
    if splits:
        what = f"the classes below seem to be {list_some(below, 5)}" if below else "no classes"
        raise DatasetError(
            f"{files.root}: {list_some(splits, 5)} look like parts of a split, not like classes "
            f"({what}); give one of them, list path, label and fold in a {TABLE}, or take them "
            f"for classes with --layout folder{_by_table(files)}"
        )
    _check_versions(files)
    odd = _no_classes(tops, clips)
    if odd:
        inside = f"; if the folders in it are classes, give {files.root / odd}" if below else ""
        only = "the only folder with sound, and " if len(tops) == 1 else ""
        raise DatasetError(
            f"{files.root}: {odd} is {only}hardly a class{inside}; else list path and label in a "
            f"{TABLE}, or take it for a class with --layout folder{_by_table(files)}"
        )
    _check_table(files, clips)


def _check_versions(files: Listing) -> None:
    """Refuse a folder that holds the classes beside it once more, with other sound."""
    versions = other_versions(files)
    if versions:
        raise DatasetError(
            f"{files.root}: {list_some(versions, 5)} holds the folders beside it once more, with "
            "other sound; give one of them, or move it away; or take it for a class with --layout "
            "folder"
        )


def _no_classes(tops: list[str], clips: list[str]) -> str:
    """Return the first folder whose name tells that it is no class, or that has all of them."""
    inside: dict[str, set[str]] = {}
    for name in clips:
        top, *rest = name.split("/")
        inside.setdefault(top, set()).add(rest[0] if len(rest) > 1 else "")
    only = inside[tops[0]] if len(tops) == 1 else {""}
    if "" not in only and (len(only) > 1 or all(map(_is_generic, only))):
        return tops[0]
    generic = [top for top in tops if _is_generic(top)]
    several = [top for top in generic if len(inside[top] - {""}) > 1]
    return next(iter(several or (generic if len(generic) == len(tops) else [])), "")


def _is_generic(name: str) -> bool:
    """Tell whether a folder's name says what lies in it or for what, not how it sounds."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    return bool(words) and _GENERIC.issuperset(words) and not _GENERIC_FOR.issuperset(words)


def _check_table(files: Listing, clips: list[str]) -> None:
    """Refuse folders of classes beside a table that lists the clips under other classes."""
    folder_of: dict[str, set[str]] = {}
    for name in clips:
        folder_of.setdefault(PurePosixPath(name).stem, set()).add(name.partition("/")[0])
    for table in files.tables(".csv", ".tsv")[:_MOST_TABLES]:
        listed = {} if "/" in table else labels_in(files.root / table)
        pairs = {
            (label, folder)
            for stem, label in listed.items()
            for folder in folder_of.get(stem, ())
            if len(folder_of[stem]) == 1
        }
        here = sum(stem in folder_of for stem in listed)
        one_to_one = len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
        if 2 * here > len(listed) and not one_to_one:
            raise DatasetError(
                f"{files.root}: {printable(table)} lists these clips under other classes than the "
                f"folders; by it, {propose(files.root / table)}; by the folders, --layout folder"
            )


def _by_table(files: Listing) -> str:
    """Propose a table at the top whose columns, whatever they are called, may list the clips."""
    for name in files.tables(".csv", ".tsv"):
        if "/" not in name and (way := propose(files.root / name)):
            return f"; by {printable(name)}, {way}"
    return ""


def _inside(clips: list[str]) -> dict[str, frozenset[str]]:
    """Return the names of the folders that each top folder holds sound in."""
    found: dict[str, set[str]] = {}
    for name in clips:
        top, *rest = name.split("/")
        found.setdefault(top, set()).update(rest[:1] if len(rest) > 1 else ())
    return {top: frozenset(names) for top, names in found.items()}
