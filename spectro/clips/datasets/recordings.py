"""Which recording a clip was cut from, as its file name tells."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from spectro.clips.clip import printable
from spectro.errors import DatasetError
from spectro.plumbing.paths import place
from spectro.plumbing.words import counted

__all__ = ["Suggestion", "recordings", "suggest"]

_FEWEST_FILES, _FEWEST_GROUPS = 6, 3
_MOST_TAILS = 3  # parts of a name that may count the pieces of one recording
# One such part, with what parts it off: a number, perhaps with letters around it (07, s3, part3,
# 12.5s), or a single letter.
_TAIL = re.compile(r"([-_ .])([A-Za-z]{0,7}\d+(?:\.\d+)?[a-z]{0,2}|[A-Za-z])")
_KINDS = (r"\d+", "[A-Z]", "[a-z]", r"[\d.]+", "[A-Za-z]")
_CLOCK = re.compile(r"(?:^|\D)\d{8}[-_T ]?$")  # a date, which a time of day follows


def recordings(paths: Iterable[str], home: Path, pattern: str | None) -> list[str]:
    """Name the recording of each clip: what `pattern` finds in its file name, or the file itself.

    Raises
    ------
    DatasetError
        If the pattern is no regular expression, or finds nothing in a name.
    """
    if pattern is None:
        return [_own(place(path), home) for path in paths]
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DatasetError(
            f"--group-pattern '{pattern}' is no regular expression: {error}"
        ) from None
    return [_found(place(path), compiled) for path in paths]


def _own(path: Path, home: Path) -> str:
    inside = path.relative_to(home) if path.is_relative_to(home) else path
    return printable(inside.as_posix())


def name_in(file_name: str, pattern: re.Pattern[str]) -> str | None:
    """Find the name of the recording in a file's name; None where the pattern finds nothing."""
    match = pattern.search(file_name)
    group = match and match.group(1 if pattern.groups else 0)
    return None if group is None else printable(group)


def _found(path: Path, pattern: re.Pattern[str]) -> str:
    group = name_in(path.name, pattern)
    if group is None:
        raise DatasetError(
            f"{printable(str(path))}: --group-pattern '{pattern.pattern}' finds nothing in the "
            "file name; give one that fits every name, or move the file away; where each file is "
            "a recording of its own, leave --group-pattern out"
        )
    return group


class Suggestion(NamedTuple):
    """A pattern that the names suggest, and what it would join.

    Attributes
    ----------
    pattern : str
        For ``--group-pattern``.
    files, groups : int
        How many files it would make how many recordings.
    example : tuple of str
        Names of files that would be one recording.
    """

    pattern: str
    files: int
    groups: int
    example: tuple[str, ...]

    def in_words(self) -> str:
        """Propose it in a line, with when to leave it out."""
        *most, last = self.example[:3]
        return (
            f"the names suggest --group-pattern '{self.pattern}': {', '.join(most)} and {last} "
            f"would be of one recording, and all {counted(self.files, 'file')} of "
            f"{counted(self.groups, 'recording')}; leave it out where each file is a recording "
            "of its own"
        )


def suggest(clips: pd.DataFrame) -> Suggestion | None:
    r"""Look for a pattern by which names tell recordings apart, as ``1-19898-A``, ``1-19898-B``.

    Parts at the end of the names that count or letter are taken off, the fewest that join any. A
    pattern that leaves a class with one recording is none: then the names count the clips of a
    class.

    Parameters
    ----------
    clips : pandas.DataFrame
        With the columns ``path`` and ``label``.

    Returns
    -------
    Suggestion or None
        None where the names suggest nothing.

    Examples
    --------
    >>> names = [f"{label}/rec{k}_{n}.wav" for label in "ab" for k in range(4) for n in range(3)]
    >>> clips = pd.DataFrame({"path": names, "label": [name[0] for name in names]})
    >>> print(suggest(clips).pattern)
    ^(.+)_\d+\.\w+$
    """
    names = [os.path.basename(path) for path in clips["path"]]
    if len(set(names)) < _FEWEST_FILES:
        return None
    for tails in range(1, _MOST_TAILS + 1):
        pattern = _pattern(names, tails)
        if pattern is None:
            return None
        table = clips.assign(name=names, group=[re.findall(pattern, name)[0] for name in names])
        if table["group"].nunique() < table["name"].nunique():
            return _judged(table, pattern)
    return None


def _pattern(names: list[str], tails: int) -> str | None:
    """Write a pattern that takes so many parts off the end; None where a name has not as many."""
    tail = f"((?:{_TAIL.pattern}){{{tails}}})"
    matches = [re.search(rf"^.+?{tail}\.\w+$", name) for name in names]
    parts = [_TAIL.findall(match[1])[-tails:] for match in matches if match]
    if len(parts) < len(names) or any(len(found) < tails for found in parts):
        return None
    written = [_part([found[at] for found in parts]) for at in range(tails)]
    return f"^(.+){''.join(written)}" + r"\.\w+$"


def _part(found: list[tuple[str, str]]) -> str:
    """Write one part of a pattern as a person would: ``-[A-Z]``, ``_part[0-9]+``."""
    signs = sorted({sign for sign, _ in found}, key=lambda sign: (sign == "-", sign))
    sign = signs[0] if len(signs) == 1 and signs != ["."] else f"[{''.join(signs)}]"
    words = [word for _, word in found]
    letters = os.path.commonprefix(words)  # noqa: RUF071
    letters = letters.rstrip("0123456789.")
    for kind in (letters + r"\d+" if letters else r"\d+", *_KINDS):
        if all(re.fullmatch(kind, word) for word in words):
            return sign + kind
    return sign + r"\w+"


def _judged(table: pd.DataFrame, pattern: str) -> Suggestion | None:
    """Take a pattern for one of recordings unless it joins whole classes, or the files of a day."""
    groups = table.groupby("group")["name"].agg(lambda names: sorted(set(names)))
    of_class = table.groupby("label")["group"].nunique()
    if len(groups) < _FEWEST_GROUPS or of_class.min() < 2 or any(map(_CLOCK.search, groups.index)):
        return None
    largest = max(groups, key=len)
    return Suggestion(pattern, table["path"].nunique(), len(groups), tuple(largest))
