"""Write files and folders so that nothing is lost, and clear what killed processes left.

A reader sees the old file or the new one, never half. What is being written lies in a scratch
folder ``.spectro-HEX`` beside its target, which holds a locked file while its process lives. The
system frees the lock of a killed process, so that :func:`sweep` knows what nobody needs any more.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from spectro.errors import ConfigError, SpectroError
from spectro.plumbing.paths import is_url, place

__all__ = [
    "LARGEST_TABLE",
    "check_ours",
    "check_writable",
    "claim_text",
    "is_scratch",
    "is_taken",
    "move",
    "open_regular",
    "read_bounded",
    "read_json",
    "replacing",
    "replacing_folder",
    "scratch",
    "sha256_of",
    "sweep",
    "without_scratch",
    "write_bytes",
    "write_text",
    "writing",
]

_SCRATCH = re.compile(r"\.spectro-[0-9a-f]{32}")
_SCRATCH_IN_PATH = re.compile(rf"[/\\]{_SCRATCH.pattern}(?=[/\\]|$)")
_LOCK = "lock"
_OLD = "old"  # where a folder that is being replaced waits until the new one has its name


# Whole files and folders


LARGEST_TABLE = 1 << 29  # bytes: a few million clips
_LARGEST_JSON = 1 << 26  # bytes; our own files are far smaller


@contextmanager
def replacing(path: str | Path, *, inside: Path | None = None) -> Iterator[Path]:
    """Give a temporary path that takes the place of `path` when the block ends well.

    It lies in a scratch folder beside `path`, or in `inside`, a scratch folder on the same disk. It
    keeps the suffix, by which some writers choose the format. What killed processes left beside
    `path` is cleared first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _naming(path), nullcontext(inside) if inside else _swept(path.parent) as own:
        stem = uuid.uuid4().hex if inside else "x"  # one letter: a suffix may have 254 bytes
        temporary = own / f"{stem}{path.suffix}"
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder that takes the place of the folder `path` when the block ends well.

    A process killed between the two renames leaves the old folder in its scratch folder, from where
    :func:`sweep`, which this function calls first, gives it its name again.
    """
    path = Path(path).resolve()  # through a link, to the folder that it names
    path.parent.mkdir(parents=True, exist_ok=True)
    with _naming(path), _swept(path.parent) as own:
        temporary, old = own / "new", own / _OLD / path.name
        temporary.mkdir()
        yield temporary
        if path.is_dir():
            old.parent.mkdir()
            path.rename(old)
        temporary.rename(path)


@contextmanager
def _swept(folder: Path) -> Iterator[Path]:
    sweep(folder)
    with scratch(folder) as own:
        yield own


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have an error about a scratch folder name `path` instead, which the user knows."""
    try:
        yield
    except OSError as error:
        name = error.filename
        if name is None or without_scratch(str(name)) != str(name):
            error.filename = str(path)
        raise


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


def check_ours(path: str | Path, start: str | bytes) -> None:
    """Raise if a file is there that is not of the kind that is to take its place.

    A slip, as a pattern behind an option, would else cost somebody a sound or a table.

    Parameters
    ----------
    path : str or Path
        File that was asked for.
    start : str or bytes
        What a file of this kind starts with, as a table with its columns. An empty file is ours.

    Raises
    ------
    ConfigError
        If the file is there and starts otherwise.
    """
    wanted = start if isinstance(start, bytes) else start.encode(errors="backslashreplace")
    if not Path(path).is_file():  # a pipe would be waited for
        return
    try:
        with Path(path).open("rb") as file:
            found = file.read(len(wanted))
    except OSError:  # told when it is written
        return
    if found and found != wanted:
        raise ConfigError(f"{path}: is there already, as something else; name another file")


def is_taken(folder: Path) -> bool:
    """Tell whether something is there that must not be written over: a file, a filled folder."""
    if not folder.is_dir():
        return folder.exists()
    return not all(is_scratch(path) for path in folder.iterdir())


def open_regular(path: str | Path) -> IO[bytes]:
    """Open a file to read; a pipe, which would be waited for, or a device is refused.

    Parameters
    ----------
    path : str or Path
        Of a file, or a URL.

    Raises
    ------
    OSError
        If it is no regular file, or cannot be opened.
    """
    if is_url(path):
        return place(path).open("rb")
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(0, "it is no regular file")
    return file


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for anyone at the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_bounded(path: str | Path, most: int) -> bytes:
    """Read a whole regular file of at most so many bytes, by :func:`open_regular`.

    Raises
    ------
    OSError
        If it cannot be read, or is larger.
    """
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        size = f"{most >> 20} MiB" if most >> 20 else f"{most:,} bytes"
        raise OSError(0, f"larger than {size}")
    return data


def read_json(path: str | Path, error: type[SpectroError]) -> dict[str, Any]:
    """Read a JSON object that this project wrote.

    Raises
    ------
    SpectroError
        The kind that `error` names, if the file cannot be read or holds no JSON object.
    """
    try:
        found = json.loads(read_bounded(path, _LARGEST_JSON).decode("utf-8"))
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
    """Write `text` as UTF-8 with its line ends as they are, by :func:`write_bytes`."""
    write_bytes(path, text.encode(), inside=inside)


def claim_text(path: Path, text: str, *, inside: Path | None) -> bool:
    """Write `text` to `path` unless it is there; return whether this call wrote it.

    Of several processes at once exactly one gets True, on a disk that has hard links. `inside` is a
    scratch folder on the same disk; None where `path` is a URL.
    """
    if path.is_file():
        return False
    if inside is None:
        write_text(path, text)
        return True
    temporary = inside / uuid.uuid4().hex
    write_text(temporary, text, inside=inside)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # no hard links here
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def move(path: Path, target: Path) -> None:
    """Give the file `path` the name `target`, replacing a file of that name."""
    if is_url(path):
        target.write_bytes(path.read_bytes())
        path.unlink()
    else:
        path.replace(target)


@contextmanager
def writing(path: Path, kind: type[SpectroError]) -> Iterator[None]:
    """Turn an OSError into one line of the given kind that says why `path` cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise kind(f"{path}: the disk is full; make room and run it again") from None
        why = error.strerror or str(error)
        raise kind(f"{path}: cannot be written ({why}); choose another folder") from None


# Scratch folders


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Make a scratch folder in `folder` and remove it when the block ends, however it ends."""
    own, lock = _locked_scratch(folder)
    try:
        yield own
    finally:
        lock.release()
        _clear(own)


def _locked_scratch(folder: Path) -> tuple[Path, FileLock]:
    while True:
        own = folder / f".spectro-{uuid.uuid4().hex}"
        own.mkdir()
        lock = FileLock(own / _LOCK)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue  # another process sweeps it
        except (OSError, NotImplementedError):
            pass  # swept, or a file system without locks, on which nothing is swept
        if own.is_dir():
            return own, lock
        lock.release()


def sweep(folder: Path) -> None:
    """Remove the scratch folders in `folder` that killed processes left; those in use are locked.

    Whole folders that were about to be replaced get their names again. Links are not followed, and
    nothing is raised: what cannot be removed stays.

    Notes
    -----
    The writers of this module call it for the folder they write to. A program that goes on with a
    folder calls it once before it looks what is there. Several machines may share the folder if
    locks hold between them, as they do on NFS 4, and on Lustre unless mounted with ``localflock``.
    """
    for left in folder.glob(".spectro-*"):
        if not is_scratch(left) or (left / _LOCK).is_symlink():
            continue  # not ours; locking would write to where the link leads
        lock = FileLock(left / _LOCK)
        try:
            lock.acquire(blocking=False)
        except (Timeout, OSError, NotImplementedError):
            continue
        _clear(left)
        lock.release()


def _clear(own: Path) -> None:
    """Remove a scratch folder; give a folder in it that was being replaced its name again."""
    try:
        if not (own / _OLD).is_symlink():
            for folder in (own / _OLD).glob("*"):
                _restore(folder, own.parent / folder.name)
    except OSError:
        return  # all of it stays for the next sweep
    shutil.rmtree(own, ignore_errors=True)


def _restore(folder: Path, path: Path) -> None:
    if not folder.is_symlink() and not os.path.lexists(path):
        folder.rename(path)


def is_scratch(path: Path) -> bool:
    """Tell whether `path` is a scratch folder, of this process or another."""
    return _SCRATCH.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()


def without_scratch(path: str) -> str:
    """Strip the scratch folder, and what lies in it, from a path.

    So that an error names the folder that the user gave.
    """
    found = _SCRATCH_IN_PATH.search(path)
    return path[: found.start()] if found else path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read a piece at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
