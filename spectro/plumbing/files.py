"""Writing files so that nothing is lost: a reader sees the old file or the new one, never half."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from spectro.errors import SpectroError
from spectro.plumbing.paths import is_url, place

__all__ = [
    "check_writable",
    "claim_text",
    "is_scratch",
    "is_taken",
    "move",
    "outside",
    "read_json",
    "replacing",
    "replacing_folder",
    "scratch",
    "sweep",
    "write_bytes",
    "write_text",
]


_LARGEST_JSON = 1 << 26  # bytes; our own files are far smaller


@contextmanager
def replacing(path: str | Path, *, inside: Path | None = None) -> Iterator[Path]:
    """Give a temporary path that takes the place of `path` when the block ends well.

    It lies beside `path`, or in the folder `inside` on the same disk. The temporary name is unlike
    any other process's, starts with a dot, and keeps the suffix, by which some writers choose the
    format.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = (inside or path.parent) / f".{uuid.uuid4().hex}.part{path.suffix}"
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename = str(path)  # a name that the user knows
        raise
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


def check_writable(folder: Path) -> None:
    """Write and remove an empty file, so that a folder that cannot be written to is told early.

    Raises
    ------
    OSError
        If it cannot be written to; the error names the folder.
    """
    probe = folder / f".{uuid.uuid4().hex}.part"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        error.filename = str(folder)
        raise


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
        with place(path).open("rb") as file:
            data = file.read(_LARGEST_JSON + 1)
        if len(data) > _LARGEST_JSON:
            raise ValueError(f"larger than {_LARGEST_JSON >> 20} MiB")
        found = json.loads(data.decode("utf-8"))
    except RecursionError:
        raise error(f"{path}: is nested too deeply; restore it or make it anew") from None
    except (OSError, ValueError) as problem:
        raise error(f"{path}: cannot be read ({problem}); restore it or make it anew") from None
    if not isinstance(found, dict):
        raise error(f"{path}: holds no JSON object; restore it or make it anew")
    return found


def write_bytes(path: str | Path, data: bytes, *, inside: Path | None = None) -> None:
    """Write `data` to `path` in one step; `inside` is that of :func:`replacing`.

    `path` may be a URL: an object store shows only whole files.
    """
    if is_url(path):
        place(path).write_bytes(data)
        return
    with replacing(path, inside=inside) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str, *, inside: Path | None = None) -> None:
    """Write `text` as UTF-8, as it is on every system, by :func:`write_bytes`."""
    write_bytes(path, text.encode(), inside=inside)


def claim_text(path: Path, text: str, *, inside: Path | None = None) -> bool:
    """Write `text` to `path` unless it is there; return whether it was this call that wrote it.

    Of several processes at once, one alone gets True, on a disk that has hard links.
    """
    if path.is_file():
        return False
    if is_url(path):
        write_text(path, text)
        return True
    temporary = (inside or path.parent) / f".{uuid.uuid4().hex}.part"
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # no hard links here
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def move(path: Path, target: Path) -> None:
    """Give the file `path` the name `target`, whatever was there."""
    if is_url(path):
        target.write_bytes(path.read_bytes())
        path.unlink()
    else:
        path.replace(target)


_PREFIX = ".spectro-"
_LOCK = "lock"


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Make a folder of one's own below `folder`; it goes when the block ends, however it ends."""
    while True:
        own = folder / f"{_PREFIX}{uuid.uuid4().hex}"
        own.mkdir()
        lock = FileLock(own / _LOCK)
        try:
            lock.acquire(blocking=False)
        except (Timeout, FileNotFoundError, FileExistsError):
            continue  # swept away before it was locked, or while filelock looked at its folder
        except NotImplementedError:  # a file system without locks, on which nothing is swept
            pass
        break
    try:
        yield own
    finally:
        lock.release()
        shutil.rmtree(own, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove the scratch folders of processes that are no more; those in use are locked."""
    for left in folder.glob(f"{_PREFIX}*"):
        if left.is_symlink() or (left / _LOCK).is_symlink():
            continue  # none of ours; locking would write to wherever it leads
        lock = FileLock(left / _LOCK)
        try:
            lock.acquire(blocking=False)
        except (Timeout, OSError, NotImplementedError):
            continue
        shutil.rmtree(left, ignore_errors=True)
        lock.release()


def is_scratch(path: Path) -> bool:
    """Tell whether `path` is such a folder."""
    return path.name.startswith(_PREFIX)


def outside(path: str) -> str:
    """Name what a person knows: of a path in a scratch folder, the folder that this lies in."""
    return path.partition(f"{os.sep}{_PREFIX}")[0]
