"""How long recordings are that were listened to: from the sounds themselves, or from tables."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spectro.clips.datasets.listing import is_sound, list_below, path_of
from spectro.clips.decode import file_seconds
from spectro.errors import DatasetError
from spectro.listening.events.columns import length_columns
from spectro.listening.events.tables import unguard
from spectro.plumbing.files import read_bounded

__all__ = ["read_durations", "short_name"]

_MOST_BYTES = 1 << 26  # of a table of lengths
_SAME = 0.01  # s that two tellings of one length may differ, for rounding


class _Length(NamedTuple):
    """The length of a recording, and where it was told."""

    recording: str
    seconds: float
    source: str


def short_name(recording: str) -> str:
    r"""Return the name of a recording without its folder and a suffix of sound.

    Examples
    --------
    >>> short_name(r"C:\\\\rec\\\\night.WAV"), short_name("20180517_010348.5AFCD4F4")
    ('night', '20180517_010348.5AFCD4F4')
    """
    last = re.split(r"[/\\]", recording)[-1] or recording
    return unicodedata.normalize("NFC", last.rpartition(".")[0] if is_sound(last) else last)


def read_durations(paths: Iterable[str | Path]) -> dict[str, float]:
    """Find out how long the recordings are that were listened to.

    Parameters
    ----------
    paths : iterable of str or Path
        Sound files, folders of them, or tables with the columns ``recording`` (or ``path``,
        ``filename`` or alike) and ``duration`` (or ``seconds``).

    Returns
    -------
    durations : dict of str to float
        Seconds; each recording once, by the first of its names.

    Raises
    ------
    AudioError
        If a sound file cannot be read.
    DatasetError
        If a table cannot, a folder holds no sound, or a recording has two lengths.
    """
    return _once([length for path in paths for length in _lengths(path)])


def _lengths(path: str | Path) -> Iterator[_Length]:
    listing = list_below(Path(path))
    if Path(path).is_dir() and not listing.sounds:
        raise DatasetError(f"{path}: holds no sound file; name another folder, or a table")
    if Path(path).is_dir():
        for name in listing.sounds:
            yield _of_sound(path_of(listing, name))
    elif is_sound(str(path)):
        yield _of_sound(str(path))
    else:
        yield from _table(path)


def _of_sound(path: str) -> _Length:
    seconds = file_seconds(Path(path))
    if seconds is None:
        raise DatasetError(
            f"{path}: only decoding tells how long it is; give a table of recording,duration"
        )
    return _Length(path, seconds, "the sound file")


def _once(lengths: Sequence[_Length]) -> dict[str, float]:
    """Keep each recording once; two lengths of one are an error."""
    found: dict[str, _Length] = {}
    for one in lengths:
        _check_same(found.setdefault(_place(one.recording), one), one)
    whole: dict[str, list[_Length]] = {}
    for place, one in found.items():
        if place != one.recording or Path(place).is_absolute():
            whole.setdefault(short_name(place), []).append(one)
    for place, one in list(found.items()):
        same = whole.get(short_name(place), [])
        if len(same) == 1 and one not in same:  # a bare name, and the one path that it can mean
            _check_same(same[0], one)
            del found[place]
    return {one.recording: one.seconds for one in found.values()}


def _place(recording: str) -> str:
    """Return the file that a path means, through links; a name alone may lie in any folder."""
    if not re.search(r"[/\\]", recording) and not Path(recording).exists():
        return recording
    return os.path.realpath(recording)


def _check_same(first: _Length, second: _Length) -> None:
    if abs(first.seconds - second.seconds) > _SAME:
        raise DatasetError(
            f"{second.recording}: is {second.seconds:g} s long by {second.source}, and "
            f"{first.seconds:g} s by {first.source}, as {first.recording}; give one length alone"
        )


def _table(path: str | Path) -> list[_Length]:
    try:
        text = read_bounded(path, _MOST_BYTES).decode("utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
        names, seconds = length_columns(path, list(rows.fieldnames or []))
        return [
            _length(row.get(names) or "", row.get(seconds.column) or "", seconds.unit,
                    f"{path}, line {rows.line_num}")
            for row in rows
            if not row.get("error")  # a scan's recordings.csv names those that cannot be read too
        ]  # fmt: skip
    except UnicodeDecodeError:
        raise DatasetError(f"{path}: is not UTF-8; save it as that") from None
    except csv.Error as error:
        raise DatasetError(f"{path}: is no CSV ({error})") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from None


def _length(name: str, text: str, unit: float, where: str) -> _Length:
    try:
        seconds = unit * float(text)
    except ValueError:
        seconds = -1.0
    if not name or not 0 <= seconds < math.inf:
        raise DatasetError(f"{where}: expected a recording and its seconds, not {text[:40]!r}")
    return _Length(unguard(name), seconds, where)
