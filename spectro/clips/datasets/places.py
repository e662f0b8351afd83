"""Where the files lie that a table names: below its own folder, however their names are spelled."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from spectro.clips.clip import printable
from spectro.clips.datasets.listing import is_sound, list_below
from spectro.errors import DatasetError
from spectro.plumbing.paths import is_url

__all__ = ["as_written", "lie_outside", "places", "plain"]

_TRIED = 20  # paths by which the folder is found that all of them start at
_MOST_TRIED = 10_000  # spellings of one path
_MOST_FOLDERS = 1_000


def plain(name: str) -> str:
    """Write a name with composed letters: a Mac takes them apart where others do not."""
    return unicodedata.normalize("NFC", name)


def as_written(names: Iterable[str], files: Iterable[str]) -> dict[str, str]:
    """Map names to the files that bear them: the same letter for letter, else but for composing."""
    there = set(files)
    by_plain: dict[str, list[str]] = {}
    for file in there:
        by_plain.setdefault(plain(file), []).append(file)
    found = {}
    for name in names:
        alike = by_plain.get(plain(name), [])
        if name in there:
            found[name] = name
        elif len(alike) == 1:
            found[name] = alike[0]
    return found


def places(
    names: Sequence[str], labels: Sequence[str], file: Path, inside: Path | None = None
) -> list[str]:
    """Find the files of a table; one that is not there gets the path where it was looked for.

    Parameters
    ----------
    names : sequence of str
        Paths as listed.
    labels : sequence of str
        The class of each, which may be the name of its folder.
    file : Path
        The table, or its URL. Paths start at its folder, or at one below that has them.
    inside : Path or None
        Folder that no path may climb out of; None means the table's own.

    Raises
    ------
    DatasetError
        If a path climbs out of the folder by ``..``.
    """
    inside = inside or file.parent
    if is_url(file):
        for row, name in enumerate(names, start=1):
            if _climbs(name) and not _stays(os.path.normpath(_slashed(name))):
                _refuse(file, row, name, inside)
        return [name if is_url(name) else str(file.parent / name) for name in names]
    disk = _Disk()
    home = file.parent
    base = _base([_slashed(name) for name in names], home, disk)
    found = [disk.find(base, name) for name in names]
    if inside != home and not any(found):  # the sounds lie beside the table's folder
        home = inside
        base = _base([_slashed(name) for name in names], home, disk)
        found = [disk.find(base, name) for name in names]
    n_found = sum(map(bool, found))
    if n_found < len(found) and (base != file.parent or n_found * 2 < len(found)):
        found = _by_their_ends(names, labels, found, home)
    opened = [path or str(base / _slashed(name)) for path, name in zip(found, names, strict=True)]
    real = os.path.realpath(inside)
    for row, (name, path) in enumerate(zip(names, opened, strict=True), start=1):
        if _climbs(name):
            if not _is_below(os.path.realpath(path), real):
                _refuse(file, row, name, inside)
            opened[row - 1] = _without_climbing(path)
    return opened


def lie_outside(paths: Iterable[str], folder: Path) -> list[str]:
    """Return the paths that lead elsewhere than below a folder, absolute ones and links."""
    if is_url(folder):
        return []
    real = os.path.realpath(folder)
    below: dict[str, bool] = {}
    outside = []
    for path in paths:
        parent = os.path.dirname(path)
        if parent not in below:
            below[parent] = _is_below(os.path.realpath(parent), real)
        is_in = (
            _is_below(os.path.realpath(path), real) if Path(path).is_symlink() else below[parent]
        )
        if not is_in:
            outside.append(path)
    return outside


class _Disk:
    """Finds files by names that may be spelled otherwise; each folder is listed once."""

    def __init__(self) -> None:
        self._listed: dict[str, dict[str, list[str]]] = {}
        self._tried = 0

    def find(self, base: Path, name: str) -> str | None:
        """Find a file: by its very name, without blanks around, as Windows wrote it, as spelled."""
        for option in dict.fromkeys((name, name.strip(), _slashed(name))):
            if option and _exists(path := str(base / option)):
                return path
        option = _slashed(name)
        if not option or _climbs(option) or Path(option).is_absolute():
            return None
        self._tried = 0
        return self._spelled(str(base), [part for part in option.split("/") if part != "."])

    def _spelled(self, folder: str, parts: list[str]) -> str | None:
        """Find a file by names composed otherwise, in other case, or without its suffix."""
        self._tried += 1
        if self._tried > _MOST_TRIED:
            return None
        own, *rest = parts
        there = self._in(folder)
        alike = there.get(plain(own)) or there.get(f"/{plain(own).casefold()}", [])
        alike = [other for other in alike if other != own]
        if _exists(os.path.join(folder, own)):
            alike = [own, *alike]
        elif not rest:
            alike = alike or there.get(f"{plain(own)}.*", [])
            return os.path.join(folder, alike[0]) if len(alike) == 1 else None
        below = (self._spelled(os.path.join(folder, other), rest) for other in alike if rest)
        return next(filter(None, below), None)

    def _in(self, folder: str) -> dict[str, list[str]]:
        """List a folder: by composed names, ``/name`` without case, ``NAME.*`` of sounds."""
        if folder not in self._listed:
            try:
                names = sorted(os.listdir(folder))
            except OSError:
                names = []
            listed: dict[str, list[str]] = {}
            for name in names:
                listed.setdefault(plain(name), []).append(name)
                listed.setdefault(f"/{plain(name).casefold()}", []).append(name)
                if is_sound(name):
                    listed.setdefault(f"{plain(name.rpartition('.')[0])}.*", []).append(name)
            self._listed[folder] = listed
        return self._listed[folder]


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - false where a name cannot be one


def _base(names: Sequence[str], home: Path, disk: _Disk) -> Path:
    """Find the folder that the paths start at: the table's own, or the one below that has most."""
    step = max(1, len(names) // _TRIED)
    tried = names[::step][:_TRIED]
    best, most = home, 0
    for folder in (home, *islice(_folders(home), _MOST_FOLDERS)):
        n = sum(disk.find(folder, name) is not None for name in tried)
        if n > most:
            best, most = folder, n
        if most == len(tried):
            break
    return best


def _folders(top: Path) -> Iterator[Path]:
    """Yield the folders in a folder, then those in them, without links and hidden ones."""
    own = _inside(top)
    yield from own
    for folder in own:
        yield from _inside(folder)


def _inside(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            found = [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return sorted(path for path in found if not path.name.startswith("."))


def _by_their_ends(
    names: Sequence[str], labels: Sequence[str], found: list[str | None], home: Path
) -> list[str | None]:
    """Find files wherever they lie below a folder, where only one path ends like the listed one.

    Of several, the one in a folder that bears the label; else that which was found before.
    """
    by_name: dict[str, list[str]] = {}
    for sound in list_below(home).sounds:
        by_name.setdefault(plain(sound.rpartition("/")[2]), []).append(sound)
    ends = list(found)
    for at, (name, label) in enumerate(zip(names, labels, strict=True)):
        wanted = plain(_slashed(name))
        if not wanted or _climbs(wanted) or Path(wanted).is_absolute():
            continue
        same = [
            sound
            for sound in by_name.get(wanted.rpartition("/")[2], [])
            if f"/{plain(sound)}".endswith(f"/{wanted}")
        ]
        if len(same) > 1:
            same = [sound for sound in same if label.strip() in sound.split("/")[:-1]]
        ends[at] = str(home / same[0]) if len(same) == 1 else found[at]
    return ends


def _slashed(path: str) -> str:
    return path.strip().replace("\\", "/")


def _climbs(name: str) -> bool:
    return ".." in name and ".." in re.split(r"[/\\]", name.strip())


def _stays(path: str) -> bool:
    return path != ".." and not path.startswith("../")


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def _without_climbing(path: str) -> str:
    """Write a path without ``..``, which later tables may not hold."""
    short = os.path.normpath(path)
    real = os.path.realpath(path)
    return short if os.path.realpath(short) == real else real


def _refuse(file: Path, row: int, name: str, inside: Path) -> None:
    raise DatasetError(
        f"{file}: row {row}: the path {name[:200]!r} leads out of {printable(str(inside))}, and "
        "nothing outside it is read; put the table into a folder that holds all its sounds and "
        "write the paths from there, or copy the sounds into this one"
    )
