"""What lies below the folder of a dataset: every file once, and what is passed over by name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from spectro.clips.clip import printable
from spectro.errors import DatasetError
from spectro.plumbing.paths import is_url, place

__all__ = [
    "DOCUMENTS",
    "SPLITS",
    "SUFFIXES",
    "Listing",
    "by_folder",
    "is_document",
    "is_sound",
    "list_below",
    "parts_of_a_split",
    "path_of",
]

SUFFIXES = frozenset(
    {
        # what libsndfile reads
        *(".wav", ".wave", ".w64", ".rf64", ".bwf", ".flac", ".ogg", ".oga"),
        *(".opus", ".mp3", ".aif", ".aiff", ".aifc", ".caf", ".au", ".snd"),
        *(".sph", ".nist", ".voc", ".iff", ".8svx", ".svx", ".paf", ".fap"),
        *(".pvf", ".sf", ".ircam", ".wve", ".avr", ".htk", ".sds", ".xi"),
        # what ffmpeg reads, where it is installed; elsewhere each such clip fails with the way on
        *(".m4a", ".m4b", ".m4r", ".mp4", ".m4v", ".mov", ".aac", ".adts"),
        *(".ac3", ".eac3", ".dts", ".webm", ".weba", ".mka", ".mkv", ".avi"),
        *(".wma", ".asf", ".wmv", ".amr", ".awb", ".3gp", ".3gpp", ".3g2"),
        *(".mp2", ".mp1", ".mpa", ".mpga", ".mpc", ".mpg", ".mpeg", ".ape"),
        *(".wv", ".tta", ".tak", ".spx", ".ra", ".rm", ".gsm", ".qcp", ".dsf"),
        *(".dff", ".ogv", ".ogx", ".mts", ".flv", ".f4a", ".aa3", ".oma"),
        *(".shn", ".g722", ".sbc", ".caff"),
    }
)
"""Suffixes by which a file looks like sound, in lower case."""


DOCUMENTS = frozenset(
    {
        *("", ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl"),
        *(".toml", ".yaml", ".yml", ".xml", ".html", ".htm", ".pdf", ".doc"),
        *(".docx", ".xls", ".xlsx", ".png", ".jpg", ".jpeg", ".gif", ".svg"),
        *(".webp", ".py", ".pyc", ".ipynb", ".sh", ".r", ".m", ".mat", ".npy"),
        *(".npz", ".pth", ".pt", ".pkl", ".safetensors", ".onnx", ".zip"),
        *(".tar", ".gz", ".log", ".ini", ".cff", ".bib", ".tex", ".lab"),
        *(".textgrid", ".parquet", ".db", ".part"),
    }
)
"""Suffixes of what lies beside sounds and is none; none at all is one of them."""

_WRAPPED = {".part", ".gz", ".zip", ".tar"}  # of these what is inside may be sound

SPLITS = frozenset(
    {
        *("train", "training", "trn", "tr", "valid", "validation", "validate", "val", "dev"),
        *("test", "testing", "tst", "eval", "evaluation", "holdout", "train_set", "test_set"),
    }
)
"""Names of folders that hold a part of a split, in lower case."""

_PARTS = {  # of names such as train_audio, NAME-train, dev-clean: which part they name
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_NUMBERED = re.compile(  # who or what was recorded, and when; parts of a whole
    r"(?:folds?|splits?|cv|parts?|sets?|actor|speaker|subject|participant|patient|session)"
    r"[-_ ]?(?:\d+|[a-z])",
    re.IGNORECASE,
)


_MAC = "__MACOSX"  # what a Mac puts beside the files of a zip


class Listing(NamedTuple):
    """The files below a folder, without hidden ones.

    Attributes
    ----------
    root : Path
        The folder; or the table, where the dataset is one file.
    files : tuple of str
        Relative to `root`, with forward slashes, sorted by their parts.
    folders : tuple of str
        Folders directly below `root`, without those that are in `links`.
    links : tuple of str
        Links to folders, which are not followed unless they lie directly below `root`.
    """

    root: Path
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    @property
    def sounds(self) -> list[str]:
        """Return the files that look like sound, in order."""
        return [file for file in self.files if is_sound(file)]

    def with_table(self, table: Path) -> Listing:
        """Leave out all tables but one: who gives a table means no other."""
        kept = table.relative_to(self.root).as_posix()
        files = (f for f in self.files if f == kept or not f.lower().endswith((".csv", ".tsv")))
        return self._replace(files=tuple(files))

    def tables(self, *suffixes: str) -> list[str]:
        """Return the files with one of `suffixes`, those nearest to the root first."""
        found = (file for file in self.files if file.lower().endswith(suffixes))
        return sorted(found, key=lambda file: (file.count("/"), file))


def is_sound(name: str) -> bool:
    """Tell whether a file looks like sound by its suffix."""
    _, dot, suffix = name.rpartition(".")
    return bool(dot) and f".{suffix.lower()}" in SUFFIXES


def is_document(name: str) -> bool:
    """Tell whether a file is none that may hold sound, by its suffix; without one it may."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in DOCUMENTS - _WRAPPED - {""}


def parts_of_a_split(tops: Sequence[str], inside: Mapping[str, frozenset[str]]) -> list[str]:
    """Return those of the folders with sound that are hardly classes, but parts of a whole.

    Parameters
    ----------
    tops : sequence of str
        Folders directly below the dataset's.
    inside : mapping of str to frozenset of str
        Folders in each of them.
    """
    named = [name for name in tops if name.lower() in SPLITS]
    if len(named) > 1 or named == list(tops):
        return named
    of_part = {
        name: part
        for name in tops
        for word in re.split(r"[^a-z]+", name.lower())
        if (part := _PARTS.get(word))
    }
    if len(set(of_part.values())) > 1:
        return sorted(of_part)
    if len(tops) < 2:
        return []
    # Digits may be classes; not where each of them holds the same folders.
    same = len({inside[name] for name in tops}) == 1 and bool(inside[tops[0]])
    numbered = all(_NUMBERED.fullmatch(name) for name in tops)
    return list(tops) if numbered or (same and all(map(str.isdecimal, tops))) else []


def path_of(files: Listing, name: str) -> str:
    """Write the path of a listed file as one can open it."""
    return str(files.root / name)


def by_folder(names: Iterable[str], most: int = 5) -> str:
    """Count files by their folder for a message: ``audio/16000 (2,000), the top folder (1)``."""
    counts: dict[str, int] = {}
    for name in names:
        folder = printable(name.rpartition("/")[0]) or "the top folder"
        counts[folder] = counts.get(folder, 0) + 1
    told = [f"{folder} ({count:,})" for folder, count in list(counts.items())[:most]]
    more = f" and {len(counts) - most} more folders" if len(counts) > most else ""
    return ", ".join(told) + more


def list_below(root: Path) -> Listing:
    """List a folder once, in full.

    Parameters
    ----------
    root : Path
        A folder or its URL. Of a file, the listing is empty.

    Raises
    ------
    DatasetError
        If a folder cannot be listed.
    """
    if is_url(root):
        return _list_store(root)
    if not root.is_dir():
        return Listing(root)
    files: list[str] = []
    links: list[str] = []
    for name, is_file in _walk(root, os.path.realpath(root)):
        (files if is_file else links).append(name)
    folders = [e.name for e in _entries(root) if e.is_dir() and e.name not in links]
    return Listing(root, _by_parts(files), _by_parts(folders), _by_parts(links))


def _walk(root: Path, real: str) -> Iterator[tuple[str, bool]]:
    """Yield files (True) and links to folders that are not followed (False)."""
    left = [""]
    while left:  # a stack: folders may lie deeper than functions may call each other
        below = left.pop()
        for entry in _entries(root / below):
            name = f"{below}{entry.name}"
            if not entry.is_dir():
                yield name, True
            elif entry.is_symlink() and (below or _holds(os.path.realpath(entry.path), real)):
                yield name, False
            else:
                left.append(f"{name}/")


def _holds(folder: str, real: str) -> bool:
    """Tell whether the dataset lies in `folder`, so that following the link would never end."""
    try:
        return os.path.commonpath([folder, real]) == folder
    except ValueError:  # on two drives
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [e for e in entries if not e.name.startswith(".") and e.name != _MAC]
    except OSError as error:
        raise DatasetError(
            f"{printable(str(folder))}: cannot be listed ({error.strerror}); "
            "make it readable or move it away"
        ) from None


def _by_parts(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: name.split("/")))


def _list_store(root: Path) -> Listing:
    """List an object store, where folders are but parts of names."""
    there: Any = place(root)
    try:
        found = there.fs.find(there.path)
    except Exception as error:  # each kind of store raises its own
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(f"{root}: the store cannot be listed ({why})") from None
    base = there.path.strip("/")
    inside = (str(name).strip("/").removeprefix(base).strip("/") for name in found)
    files = [name for name in inside if name and not _is_hidden(name)]
    folders = {name.partition("/")[0] for name in files if "/" in name}
    return Listing(root, _by_parts(files), _by_parts(folders))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
