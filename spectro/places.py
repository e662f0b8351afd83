"""Paths and URLs alike: ``data/clips``, ``s3://bucket/clips``, whatever fsspec can open.

A local path becomes a `pathlib.Path` and costs nothing more. A URL becomes universal-pathlib's
`UPath`, which has the same methods.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

from spectro.errors import MissingExtraError

__all__ = ["absolute", "below", "is_url", "modified", "place"]


def is_url(path: str | Path) -> bool:
    """Tell whether `path` names a place that is not on a local disk."""
    return "://" in str(path)


def place(path: str | Path) -> Path:
    """Turn a path or URL, or what this function gave before, into something with a path's methods.

    Raises
    ------
    MissingExtraError
        If it is a URL and universal-pathlib is not installed.
    """
    if not is_url(path):
        return Path(path)
    try:
        from upath import UPath
    except ImportError:
        raise MissingExtraError("cloud", str(path)) from None
    return cast(Path, UPath(path))


def absolute(path: str | Path) -> str:
    """Write a path so that it means the same in every working directory."""
    return str(path) if is_url(path) else os.path.abspath(path)


def below(path: str, folder: Path) -> str:
    """Write a path relative to `folder` if it lies in it, with forward slashes on every system."""
    whole = place(path)
    if whole.is_relative_to(folder):
        return whole.relative_to(folder).as_posix()
    base = folder.resolve()
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else path


def modified(path: str) -> int:
    """Return when a file was last changed, in nanoseconds since 1970.

    Raises
    ------
    OSError
        If it is not there, or cannot be asked for.
    """
    if not is_url(path):
        return os.stat(path).st_mtime_ns
    there: Any = place(path)
    seconds: float = there.fs.modified(there.path).timestamp()
    return round(seconds * 1e9)
