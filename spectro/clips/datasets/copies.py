"""Folders that hold a dataset once more, inside itself, as some of Kaggle's archives do.

``TESS/OAF_angry/x.wav`` lies once more in ``TESS/TESS/OAF_angry/x.wav``; ``Actor_01/x.wav`` in
``audio_speech_actors_01-24/Actor_01/x.wav``. Read as they lie, the copy would be a class of its
own, or sit in other folds than what it copies.
"""

from __future__ import annotations

import filecmp
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from spectro.clips.clip import printable
from spectro.clips.datasets.listing import Listing
from spectro.clips.table import list_some
from spectro.plumbing.paths import is_url
from spectro.plumbing.words import counted

__all__ = ["other_versions", "without_copies"]


class _Nested(NamedTuple):
    """A folder inside another that holds folders and files of the same names as that one."""

    inner: str
    outer: str
    same: list[str]
    other: list[str]
    only: list[str]


def without_copies(files: Listing) -> tuple[Listing, list[str]]:
    """Leave out the folders that hold what lies beside them once more.

    Returns
    -------
    files : Listing
        Without everything in such folders.
    notes : list of str
        Which they are, and which of their sounds are no copies.
    """
    notes: list[str] = []
    for nested in _nested(files):
        every = len(nested.same) + len(nested.other) + len(nested.only)
        if 2 * len(nested.same) > every and nested.same[0] in files.files:
            files = _without(files, nested.inner)
            notes += _told(nested)
    return files, notes


def other_versions(files: Listing) -> list[str]:
    """Return the folders that hold all folders beside them once more, with other sounds in them."""
    found = []
    for nested in _nested(files):
        beside = {
            _first(name, nested.outer) for name in files.sounds if name.startswith(nested.outer)
        }
        inside = {_first(name, nested.inner) for name in (*nested.other, *nested.same)}
        if len(inside) > 1 and beside - {_first(nested.inner, nested.outer)} <= inside:
            found.append(nested.inner.rstrip("/"))
    return found


def _first(name: str, folder: str) -> str:
    """Return the first part of a path below a folder."""
    return name.removeprefix(folder).partition("/")[0]


def _nested(files: Listing) -> list[_Nested]:
    """Find folders that hold the folders beside them once more, the deepest first."""
    if is_url(files.root):
        return []
    sounds = files.sounds
    folders = {name.rpartition("/")[0] for name in sounds}
    own = files.root.resolve().name
    votes: set[tuple[str, str]] = set()
    for folder in folders:
        for inner, outer in _beside(folder, own):
            if f"{outer}{folder[len(inner) :]}".rstrip("/") in folders:
                votes.add((inner, outer))
    deepest_first = sorted(votes, key=lambda pair: (-pair[0].count("/"), pair))
    return [_compared(files.root, sounds, *pair) for pair in deepest_first]


def _beside(folder: str, own: str) -> Iterable[tuple[str, str]]:
    """Yield what a folder's path may begin with, and that without some folders in between.

    At least one folder must be left behind it; or what is left out repeats the name above it.
    """
    parts = folder.split("/") if folder else []
    for first in range(len(parts)):
        for last in range(first + 1, len(parts) + 1):
            above = parts[first - 1] if first else own
            if last < len(parts) or parts[first:last] == [above]:
                inner, outer = ("".join(f"{part}/" for part in parts[:at]) for at in (last, first))
                yield inner, outer


def _compared(root: Path, sounds: list[str], inner: str, outer: str) -> _Nested:
    """Compare each sound in a folder with its namesake beside."""
    there = set(sounds)
    nested = _Nested(inner, outer, [], [], [])
    for name in sounds:
        if not name.startswith(inner):
            continue
        namesake = f"{outer}{name[len(inner) :]}"
        if namesake not in there:
            nested.only.append(name)
        elif _is_same(root / name, root / namesake):
            nested.same.append(name)
        else:
            nested.other.append(name)
    return nested


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _without(files: Listing, folder: str) -> Listing:
    kept = tuple(name for name in files.files if not name.startswith(folder))
    links = tuple(name for name in files.links if not name.startswith(folder))
    left = {name.partition("/")[0] for name in kept}
    top = folder.partition("/")[0]
    folders = tuple(name for name in files.folders if name != top or name in left)
    return files._replace(files=kept, folders=folders, links=links)


def _told(nested: _Nested) -> list[str]:
    inner, outer = (printable(folder.rstrip("/")) for folder in (nested.inner, nested.outer))
    n = counted(len(nested.same), "sound file", "sound files")
    notes = [f"{inner} holds {n} of {outer or 'the folder above it'} once more: read once"]
    for names, what in (
        (nested.other, "of the same name with other sound"),
        (nested.only, "of a name that is only there"),
    ):
        if names:
            told = list_some(map(printable, names), 5)
            n = counted(len(names), "file", "files")
            notes.append(f"{inner} holds {n} {what}, left out: {told}; compare them")
    return notes
