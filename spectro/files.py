"""Writing files so that nothing is lost: a reader sees the old file or the new one, never half."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spectro.errors import SpectroError

__all__ = ["is_taken", "read_json", "replacing", "replacing_folder", "write_text"]


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` that takes its place when the block ends well.

    The temporary name is unlike any other process's, starts with a dot, and keeps the suffix, by
    which some writers choose the format.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.part{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `path` that takes its place when the block ends well."""
    path = Path(path).resolve()  # through a link, to the folder that it names
    temporary, old = (path.with_name(f".{uuid.uuid4().hex}.part") for _ in range(2))
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if path.is_dir():
            path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def is_taken(folder: Path) -> bool:
    """Tell whether something is there that must not be written over: a file, a filled folder."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def read_json(path: str | Path, error: type[SpectroError]) -> dict[str, Any]:
    """Read a JSON object that this project wrote.

    Raises
    ------
    SpectroError
        The kind that `error` names, if the file cannot be read or holds no JSON object.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise error(f"{path}: cannot be read ({problem}); restore it or make it anew") from None
    if not isinstance(found, dict):
        raise error(f"{path}: holds no JSON object; restore it or make it anew")
    return found


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 `text` to `path` in one step, with the same line ends on every system."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
