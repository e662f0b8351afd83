"""An archive to a folder, safely: whatever the archive says, nothing leaves the folder.

Refused are absolute names, ``..``, drive letters, backslashes, links, devices, encrypted and sparse
members, two members of one name (or of names that some file systems take for one), and more
members or bytes than allowed. Every byte is read, so that the CRC-32s which gzip and zip carry are
compared. The folder appears whole or not at all, and never in place of another. Its one top folder,
however it is named, becomes the folder; what macOS leaves in archives is skipped.
"""

from __future__ import annotations

import errno
import gzip
import os
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, cast

from spectro.errors import DatasetError
from spectro.plumbing.download import Progress, disk_full
from spectro.plumbing.files import is_taken

__all__ = ["ArchiveError", "unpack"]

_CHUNK = 1 << 18
_HEADERS = 1 << 20  # bytes that the headers of one member, or the padding at the end, may have
_LONGEST_NAME, _LONGEST_PART = 1000, 255
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows
_DAMAGE = (
    EOFError,
    NotImplementedError,
    OverflowError,
    ValueError,
    gzip.BadGzipFile,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


class ArchiveError(DatasetError):
    """An archive is damaged, or holds what must not be unpacked."""


@dataclass(frozen=True)
class _Member:
    """A file or folder in an archive."""

    name: str
    size: int
    is_folder: bool
    open: Callable[[], IO[bytes]]


def unpack(
    archive: str | Path,
    folder: str | Path,
    *,
    most_bytes: int,
    most_members: int,
    check: Callable[[Path], object] = lambda unpacked: None,
    progress: Progress = lambda done, total: None,
) -> Path:
    """Unpack a tar.gz or zip whose members lie in one top folder.

    Parameters
    ----------
    archive : str or Path
        The archive; which kind it is shows in its first bytes.
    folder : str or Path
        What its top folder becomes. Must not be there, or be empty.
    most_bytes, most_members : int
        What all members together may declare.
    check : callable
        Called with the unpacked folder before it gets its name; if it raises, nothing is left.
    progress : callable
        Called with bytes read of the archive and its size.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    ArchiveError
        If the archive is damaged or holds what must not be unpacked.
    DatasetError
        If the folder is taken or the disk is full.
    """
    archive, folder = Path(archive), Path(folder).resolve()
    size = archive.stat().st_size
    with archive.open("rb") as file, _appearing(folder) as unpacked, disk_full(folder):
        writer = _Writer(
            unpacked, most_bytes, most_members, tick=lambda: progress(file.tell(), size)
        )
        try:
            for member in _members(file):
                writer.add(member)
        except ArchiveError as problem:
            raise ArchiveError(f"{archive}: {problem}; nothing of it is unpacked") from None
        except _DAMAGE as problem:
            why = " ".join(str(problem).split()) or type(problem).__name__
            raise ArchiveError(f"{archive}: is cut or damaged ({why})") from None
        except OSError as problem:
            if problem.errno != errno.EINVAL:  # of a seek to where a zip says a member is
                raise
            raise ArchiveError(f"{archive}: is cut or damaged") from None
        check(unpacked)
    return folder


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder` that becomes it when the block ends well.

    Its name is always the same, so that what a killed run left is found and removed.
    """
    temporary = folder.with_name(f".{folder.name}.part")
    if is_taken(folder):
        raise DatasetError(f"{folder}: is there already; move it away")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if folder.is_dir():
            folder.rmdir()  # fails, rightly, if something has come into it
        elif folder.exists():
            raise DatasetError(f"{folder}: has appeared meanwhile; move it away")
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _members(file: IO[bytes]) -> Iterator[_Member]:
    start = file.read(4)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return _tar_members(file)
    if start.startswith(b"PK"):
        return _zip_members(file)
    raise ArchiveError(f"is neither a tar.gz nor a zip: it begins with {start!r}")


def _tar_members(file: IO[bytes]) -> Iterator[_Member]:
    gauge = _Gauge(gzip.GzipFile(fileobj=file))
    with tarfile.open(fileobj=cast("IO[bytes]", gauge), mode="r|", bufsize=_CHUNK // 16) as tar:
        stream = cast("IO[bytes]", tar.fileobj)
        while (info := tar.next()) is not None:
            gauge.left = _HEADERS + tar.offset - stream.tell()
            plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
            if not (plain or info.isdir()) or info.size < 0:
                raise ArchiveError(f"holds a link, a device or the like: {info.name!r}")
            source = partial(tar.extractfile, info)
            yield _Member(
                info.name, info.size, info.isdir(), cast("Callable[[], IO[bytes]]", source)
            )
        gauge.left = _HEADERS
        while block := stream.read(_CHUNK):
            if block.strip(b"\0"):
                raise ArchiveError("is cut or damaged (no member follows where one should)")


class _Gauge:
    """Pass decompressed bytes on, as many as the member at hand may have.

    tarfile reads a header, of whatever length it declares, into memory.
    """

    def __init__(self, source: gzip.GzipFile) -> None:
        self.source = source
        self.left = _HEADERS

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes."""
        block = self.source.read(size)
        self.left -= len(block)
        if self.left < 0:
            raise ArchiveError(f"has headers of more than {_HEADERS:,} bytes")
        return block


def _zip_members(file: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ArchiveError(f"holds a link, a device or the like: {name!r}")
            if info.comment or (info.is_dir() and info.file_size):
                raise ArchiveError(f"is damaged at {name!r}")  # a comment may hide members
            if info.flag_bits & 1:
                raise ArchiveError(f"is encrypted: {name!r}")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ArchiveError(f"is compressed in a way not known here: {name!r}")
            yield _Member(name, info.file_size, info.is_dir(), partial(archive.open, info))


@dataclass
class _Writer:
    """Write members below a folder, if all is well with them."""

    folder: Path
    most_bytes: int
    most_members: int
    tick: Callable[[], None]
    _bytes: int = 0
    _members: int = 0
    _top: str = ""
    _seen: dict[str, tuple[str, bool]] = field(default_factory=dict)

    def add(self, member: _Member) -> None:
        """Write one member, or skip what macOS left."""
        self._members += 1
        self._bytes += member.size
        if self._members > self.most_members:
            raise ArchiveError(f"holds more than {self.most_members:,} files and folders")
        if self._bytes > self.most_bytes:
            raise ArchiveError(f"unpacks to more than {self.most_bytes:,} bytes")
        parts = _safe_parts(member.name)
        if not parts or _is_junk(parts):
            return
        self._top = self._top or parts[0]
        if parts[0] != self._top or (len(parts) == 1 and not member.is_folder):
            raise ArchiveError(f"holds more than one top folder: {self._top!r}, {member.name!r}")
        self._check_new(parts, member)
        path = self.folder.joinpath(*parts[1:])
        if member.is_folder:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._copy(member, path)

    def _check_new(self, parts: list[str], member: _Member) -> None:
        """Refuse names that are there, on this file system or on one that ignores case."""
        for depth in range(1, len(parts) + 1):
            exact = "/".join(parts[:depth])
            found = (exact, depth < len(parts) or member.is_folder)
            key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", exact).casefold())
            before = self._seen.setdefault(key, found)
            last_file = depth == len(parts) and not member.is_folder
            if before != found or (last_file and before is not found):
                raise ArchiveError(f"holds two members of one name: {before[0]!r}, {exact!r}")

    def _copy(self, member: _Member, path: Path) -> None:
        written = 0
        with member.open() as source, path.open("xb") as file:
            while block := source.read(_CHUNK):
                written += len(block)
                file.write(block)
                self.tick()
        if written != member.size:
            raise ArchiveError(
                f"is damaged: {member.name!r} has {written:,} bytes, not {member.size:,}"
            )


def _safe_parts(name: str) -> list[str]:
    """Split a member's name; refuse one that might mean a place outside, here or on Windows."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    unsafe = (
        name.startswith("/")
        or any(character in '\\:*?"<>|' for character in name)
        or any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
        or len(name) > _LONGEST_NAME
        or any(_is_unsafe(part) for part in parts)
    )
    if unsafe:
        raise ArchiveError(f"holds a name that is not safe to write: {name[:200]!r}")
    return parts


def _is_unsafe(part: str) -> bool:
    return (
        part.endswith((".", " "))
        or len(os.fsencode(part)) > _LONGEST_PART
        or _DEVICE.fullmatch(part) is not None
    )


def _is_junk(parts: list[str]) -> bool:
    return "__MACOSX" in parts or parts[-1] == ".DS_Store" or parts[-1].startswith("._")
