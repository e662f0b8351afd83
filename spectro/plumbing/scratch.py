"""Folders for files in the making, which a killed process leaves and the next one clears away.

A file is written in a scratch folder and renamed to where it belongs, so that nothing half-written
ever bears a name that counts. A folder for each writer also keeps several of them from waiting for
one another: creating a file locks its folder, renaming one into a folder hardly does.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["is_scratch", "outside", "scratch", "sweep"]

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
