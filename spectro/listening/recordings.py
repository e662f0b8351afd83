"""Which recordings are meant by paths, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from spectro.clips.datasets.listing import is_document, list_below, path_of
from spectro.clips.decode import file_seconds
from spectro.errors import AudioError, DatasetError
from spectro.listening.unread import NO_FIT, NO_SOUND
from spectro.plumbing.words import counted

__all__ = ["Recordings", "find_recordings", "known_seconds"]

_LEFT_OUT = "all its sound files lie in {}, which is for results; name another folder for them"


class Recordings(NamedTuple):
    """Recordings that were asked for.

    Parameters
    ----------
    paths : list of str
        Each once, sorted within a folder or a pattern.
    notes : list of str
        What is not among them, in words: files that are no sound by their names, but for documents;
        other names of the same files; and sounds in the folder that was to be left out.
    """

    paths: list[str]
    notes: list[str]


def find_recordings(asked: Iterable[str], *, leave_out: str | Path | None = None) -> Recordings:
    """Find recordings.

    Parameters
    ----------
    asked : iterable of str
        Sound files; folders, of which all sounds below count; and patterns, as
        ``night/**/*.wav``, which a shell may have left to us.
    leave_out : str, Path or None
        A folder whose files do not count: that of the results, where sounds may lie.

    Returns
    -------
    recordings : Recordings
        Each file once, by the first of its names.

    Raises
    ------
    DatasetError
        If no recording is found, as a pattern fits nothing or a folder holds no sound. Beside
        others such a name is a recording that cannot be read, and so is a file that is not there.
    """
    found: dict[str, None] = {}
    empty = {}  # and why
    passed_over = left_out = 0
    own = None if leave_out is None else os.path.realpath(leave_out)
    for one in asked:
        matches = _matches(one)
        if not matches:
            empty[one] = NO_FIT
        for path in matches:
            sounds, others = _sounds(path)
            passed_over += others
            inside = [each for each in sounds if own is None or not _is_below(each, own)]
            left_out += len(sounds) - len(inside)
            if not inside:
                empty[path] = _LEFT_OUT.format(leave_out) if sounds else NO_SOUND
            found.update(dict.fromkeys(inside))
    if not found:
        raise DatasetError("; ".join(f"{path}: {why}" for path, why in empty.items()))
    found.update(dict.fromkeys(empty))
    once: dict[str, str] = {}
    for path in found:
        once.setdefault(os.path.realpath(path), path)
    notes = _notes(passed_over, len(found) - len(once), left_out, leave_out)
    return Recordings(list(once.values()), notes)


def _notes(passed_over: int, again: int, left_out: int, folder: str | Path | None) -> list[str]:
    by_name = ("file is no sound by its name", "files are no sound by their names")
    names = ("name is another of the same file", "names are others of the same files")
    inside = ("sound file lies", "sound files lie")
    told = {
        f"{counted(passed_over, *by_name)}: passed over": passed_over,
        f"{counted(again, *names)}: heard once": again,
        f"{counted(left_out, *inside)} in {folder}: left out": left_out,
    }
    return [words for words, number in told.items() if number]


def _matches(asked: str) -> list[str]:
    """Return what a pattern fits; of a path, the path."""
    if os.path.lexists(asked) or not glob.has_magic(asked):
        return [asked]
    return sorted(glob.glob(asked, recursive=True))


def _sounds(path: str) -> tuple[list[str], int]:
    if not Path(path).is_dir():
        return [path], 0
    listing = list_below(Path(path))
    sounds = [path_of(listing, name) for name in listing.sounds]
    documents = sum(map(is_document, listing.files))
    return sounds, len(listing.files) - len(sounds) - documents


def _is_below(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(folder.rstrip(os.sep) + os.sep)


def known_seconds(recordings: Sequence[str]) -> dict[str, float]:
    """Return how long recordings are by their headers; those that do not say it are left out."""
    found = {}
    for recording in recordings:
        try:
            seconds = file_seconds(Path(recording))
        except (AudioError, OSError):
            continue
        if seconds is not None:
            found[recording] = seconds
    return found
