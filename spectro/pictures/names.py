"""The names of pictures: after their clips, no two alike, and such as any file system takes."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from pathlib import Path, PurePath

import pandas as pd

from spectro.clips.clip import Clip, printable
from spectro.errors import RenderError
from spectro.plumbing.paths import below
from spectro.plumbing.words import counted

__all__ = ["image_names"]

_LONGEST = 251  # bytes of a picture's name without .png: file systems take 255
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f/\\]")


def image_names(clips: pd.DataFrame, root: Path) -> list[str]:
    """Name the picture of each clip, ``fold3/<clip>.png``, no two alike.

    The file's own name where it is the only one of its fold, whatever the case of letters; else
    its path below `root`; and the second it starts at where several clips lie in one file. What no
    file name may hold everywhere is escaped, and a long name is cut short and told apart.
    """

    def unique(names: list[str]) -> list[bool]:
        keys = [unicodedata.normalize("NFC", name).lower() for name in names]
        count = Counter(keys)
        return [count[key] == 1 for key in keys]

    folds = [f"fold{fold}" for fold in clips["fold"]]
    short = [
        f"{fold}/{_clean(PurePath(path).stem)}"
        for fold, path in zip(folds, clips["path"], strict=True)
    ]
    names = [
        name if alone else f"{fold}/{_flat(path, root)}"
        for name, fold, path, alone in zip(short, folds, clips["path"], unique(short), strict=True)
    ]
    starts = clips["start"].fillna(0)
    names = [
        name if alone else f"{name}@{start:.3f}"
        for name, start, alone in zip(names, starts, unique(names), strict=True)
    ]
    _check_listed_once(clips, root)
    keys = zip(clips["path"], clips["start"], clips["end"], strict=True)
    names = [
        name if alone and _fits(name) else f"{_cut(name)}~{_mark(root, *key)}"
        for name, key, alone in zip(names, keys, unique(names), strict=True)
    ]
    return [f"{name}.png" for name in names]


def _check_listed_once(clips: pd.DataFrame, root: Path) -> None:
    """Refuse a clip with two rows in one fold, which would be two pictures of the same sound."""
    columns = ["path", "fold", "start", "end"]
    keys = clips.assign(path=[PurePath(below(path, root)).as_posix() for path in clips["path"]])
    twice = keys.duplicated(columns)
    if not twice.any():
        return
    groups = keys.groupby(columns, dropna=False, sort=False).ngroup()
    rows = clips[(groups == groups[twice].iloc[0]).to_numpy()]
    first, second = (f"as {row.label} in fold {row.fold}" for row in rows[:2].itertuples())
    clip = Clip.of(rows.iloc[0])
    part = clip.name_in().removeprefix(clip.path)
    more = int(twice.sum()) - 1
    others = f", and {counted(more, 'other clip')} like it" if more else ""
    raise RenderError(
        f"{clip.path}: is listed twice{part}, {first} and {second}{others}; keep one of the two "
        "rows in the table (spectro check names all such clips)"
    )


def _mark(root: Path, path: str, start: float, end: float) -> str:
    """Tell apart what no readable name does: letters' case, times within a millisecond."""
    inside = below(path, root)
    text = f"{inside}|{start!r}|{end!r}"
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


def _clean(name: str) -> str:
    """Escape what no name of a picture may hold: separators, controls, bytes that are no text."""
    return _FORBIDDEN.sub(lambda found: f"_x{ord(found[0]):02x}_", printable(name))


def _fits(name: str) -> bool:
    """Tell whether ``foldN/<name>.png`` is a name that any disk takes."""
    return len(name.rpartition("/")[2].encode()) <= _LONGEST


def _cut(name: str) -> str:
    """Make room for a mark behind a name, in bytes of UTF-8."""
    fold, _, own = name.rpartition("/")
    if len(own.encode()) <= _LONGEST - 9:  # bytes of a mark
        return name
    return f"{fold}/{own.encode()[: _LONGEST - 9].decode(errors='ignore')}"


def _flat(path: str, root: Path) -> str:
    """Write a path below `root` as one file name."""
    return _clean("__".join(part.strip("/\\:") for part in PurePath(below(path, root)).parts))
