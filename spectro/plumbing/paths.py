"""Local paths and URLs through one interface, and checks of the names that tables hold.

A local path becomes a `pathlib.Path`. A URL, such as ``s3://bucket/clips`` or any other that fsspec
can open, becomes universal-pathlib's `UPath`, which has the same methods.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from spectro.errors import ConfigError, MissingExtraError, SpectroError

__all__ = [
    "absolute",
    "below",
    "check_no_link",
    "check_pictures",
    "check_relative",
    "check_root",
    "exists",
    "is_url",
    "modified",
    "place",
]

_LONGEST = 4_096  # characters of a path, as Linux has it
_PICTURE = re.compile(r"(fold-?\d+)/[^/\\\0]+\.png")


def is_url(path: str | Path) -> bool:
    """Tell whether `path` is a URL, as against a path on a local disk."""
    return "://" in str(path)


def place(path: str | Path) -> Path:
    """Return an object with the methods of `pathlib.Path` for a local path or a URL.

    What this function returned may be passed to it again.

    Raises
    ------
    MissingExtraError
        If it is a URL and universal-pathlib is not installed.
    ConfigError
        If it is a URL of a kind that fsspec does not know.
    """
    if not is_url(path):
        return Path(path)
    try:
        from upath import UPath
    except ImportError:
        raise MissingExtraError("cloud", str(path)) from None
    try:
        return cast(Path, UPath(path))
    except Exception as error:  # each kind of store raises its own, ImportError among them
        why = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{path}: no URL that can be read ({why}); see s3://, gs://") from None


def exists(path: Path) -> bool:
    """Tell whether `path` exists; call it before other methods, as a store may be out of reach.

    Raises
    ------
    ConfigError
        If it is a URL and its store cannot be asked, for want of a package, of credentials or of a
        network.
    """
    try:
        return path.exists()
    except Exception as error:  # each kind of store raises its own
        if not is_url(path):
            raise
        why = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{path}: the store cannot be asked ({why})") from None


def absolute(path: str | Path) -> str:
    """Return an absolute path, or the URL as it is."""
    return str(path) if is_url(path) else os.path.abspath(path)


def below(path: str, folder: Path) -> str:
    """Return `path` relative to `folder`, with forward slashes; unchanged if it lies elsewhere."""
    whole = place(path)
    if whole.is_relative_to(folder):
        return whole.relative_to(folder).as_posix()
    base = folder.resolve()
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else path


def modified(path: str) -> int:
    """Return the time of the last change of a file, in nanoseconds since 1970.

    Raises
    ------
    OSError
        If the file does not exist or cannot be reached.
    """
    if not is_url(path):
        return os.stat(path).st_mtime_ns
    there: Any = place(path)
    seconds: float = there.fs.modified(there.path).timestamp()
    return round(seconds * 1e9)


def check_pictures(
    names: Iterable[object], folder: Path, table: str | Path, error: type[SpectroError]
) -> None:
    """Refuse names of pictures, read from a table, that lead out of the folder of pictures.

    A table may come from a stranger, or have been edited: what it names is opened, written over and
    removed, so each name must be ``foldN/NAME.png`` below `folder`, with no link on the way.

    Parameters
    ----------
    names : iterable of str
        As the table has them, relative to `folder`.
    folder : Path
        The folder of pictures; it need not be there.
    table : str or Path
        The file they were read from, for the message.
    error : type of SpectroError
        What to raise.

    Raises
    ------
    SpectroError
        Of the type `error`, naming the table and the first such name.
    """
    real_folds = set()
    for name in names:
        parts = _PICTURE.fullmatch(str(name))
        if parts is None:
            raise error(
                f"{table}: names a picture outside the folder, {str(name)[:200]!r}; expected "
                "foldN/NAME.png; restore the table, or render into another folder"
            )
        if is_url(folder):
            continue
        if parts[1] not in real_folds:
            check_no_link(folder / parts[1], error)
            real_folds.add(parts[1])
        check_no_link(folder / str(name), error)


def check_no_link(path: Path, error: type[SpectroError]) -> None:
    """Refuse a symbolic link, through which something elsewhere would be read or written.

    Raises
    ------
    SpectroError
        Of the type `error`.
    """
    if path.is_symlink():
        raise error(f"{path}: is a symbolic link, which is not followed here; remove the link")


def check_root(root: str) -> str:
    """Refuse what can be no folder and no URL, before anything is looked for there.

    Raises
    ------
    ValueError
        If it is empty, too long, or has characters that no path has; or is a URL that cannot be
        taken apart.
    """
    if not 0 < len(root) <= _LONGEST or "\0" in root:
        raise ValueError(f"root is {root[:80]!r}: it can be no folder and no URL")
    if is_url(root):
        try:
            urlsplit(root)
        except ValueError as error:
            raise ValueError(f"root is {root[:80]!r}: it can be no URL ({error})") from None
    return root


def check_relative(names: Iterable[object], table: str | Path, error: type[SpectroError]) -> None:
    """Refuse relative paths of sounds, read from a table, that climb out of the dataset by ``..``.

    Raises
    ------
    SpectroError
        Of the type `error`, naming the table and the first such path.
    """
    for name in names:
        text = str(name)
        if ".." in text and ".." in re.split(r"[/\\]", text):
            raise error(
                f"{table}: the path {text[:200]!r} leads out of the dataset; write it without .."
            )
