"""A clip: a sound file, or a part of it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spectro.errors import AudioError

__all__ = ["Clip", "check_name", "clips_of", "is_named", "printable"]


class Clip(NamedTuple):
    """A sound file, or a part of it.

    Attributes
    ----------
    path : str
        The sound file, or its URL.
    start, end : float or None
        Part of the file, in seconds; None means from its start, to its end.

    Examples
    --------
    >>> Clip("clips/owl/1.wav", None, 2.5).name_in("clips")
    'owl/1.wav (0 s to 2.5 s)'
    """

    path: str
    start: float | None = None
    end: float | None = None

    @classmethod
    def of(cls, row: Any) -> Clip:
        """Take the clip from a row of a clip table, where NaN means None.

        Parameters
        ----------
        row : Series or dict
            With ``path``, ``start`` and ``end``.
        """
        return cls(row["path"], _second(row["start"]), _second(row["end"]))

    def name_in(self, root: str | Path = "") -> str:
        """Name the clip for people: its file, and which part where it is not all of it.

        Parameters
        ----------
        root : str or Path
            Folder of the dataset, which is left out of the name. No file is looked at.
        """
        base = os.path.join(root, "") if root != "" else ""
        told = self.path.removeprefix(base)
        if self.start is None and self.end is None:
            return told
        until = "its end" if self.end is None else f"{self.end:g} s"
        return f"{told} ({self.start or 0:g} s to {until})"


def clips_of(table: Any) -> Iterator[Clip]:
    """Iterate over the clips of a clip table, in its order.

    Parameters
    ----------
    table : pandas.DataFrame
        With the columns ``path``, ``start`` and ``end``; NaN means None.
    """
    columns = (table[name].tolist() for name in Clip._fields)
    for path, start, end in zip(*columns, strict=True):
        yield Clip(path, _second(start), _second(end))


def _second(value: float) -> float | None:
    """Turn a table's NaN into None, here and nowhere else."""
    return None if math.isnan(value) else value


def printable(name: str) -> str:
    r"""Write a file name as text that any file and console takes.

    Bytes that are no Unicode, which Python keeps as surrogates, are escaped; a carriage return too,
    which ends a row of some CSV readers.

    Examples
    --------
    >>> printable("caf\udce9.wav")
    'caf\\udce9.wav'
    """
    return name.encode("utf-8", "backslashreplace").decode().replace("\r", "\\r")


def is_named(path: str) -> bool:
    """Tell whether every table can hold a path."""
    return printable(path) == path


def check_name(path: str) -> None:
    """Refuse a path that no table can hold.

    Raises
    ------
    AudioError
        If it is not Unicode, or holds a carriage return.
    """
    if not is_named(path):
        raise AudioError(f"{path}: the file name is not Unicode text; rename the file")
