"""Unpack an archive into a folder, safely: whatever it says, nothing is written outside.

Refused are absolute names, ``..``, drive letters, backslashes, links, devices, encrypted and sparse
members, members without a name, two members of one name (or of names that some file systems take
for one), and more members, headers or bytes than allowed. Every byte is read, so that the CRC-32s
in gzip and zip are compared. The folder appears whole or not at all, and never in place of another.
Its one top folder, whatever its name, becomes the folder; what macOS leaves in archives is skipped.

No member is extracted by tarfile or zipfile: they only read, and what is written is a new file of a
checked name. So tarfile's ``filter="data"`` would have nothing to do. It is also missing from early
releases of Python 3.10 and 3.11, lets links through and bounds neither bytes nor members.
"""

from __future__ import annotations

import errno
import gzip
import os
import re
import stat
import sys
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, cast

from spectro.errors import DatasetError
from spectro.plumbing.files import is_taken, scratch, sweep, writing
from spectro.plumbing.transfer.download import Progress

__all__ = ["ArchiveError", "unpack"]

_CHUNK = 1 << 18
_HEADERS = 1 << 16  # bytes that the headers of one member, or the padding at the end, may have
_DIRECTORY = 1 << 10  # bytes a member that a zip's directory may have
_ZIP_HEADER = 30  # bytes before the name of a member in a zip
_LONGEST_NAME, _LONGEST_PART = 1000, 255
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows


class ArchiveError(DatasetError):
    """An archive is damaged, or holds what must not be unpacked."""


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
    if not archive.is_file():
        raise ArchiveError(f"{archive}: is no regular file; nothing of it is unpacked")
    size = archive.stat().st_size
    with archive.open("rb") as file, writing(folder, DatasetError), _appearing(folder) as unpacked:
        writer = _Writer(unpacked, most_bytes, most_members, lambda: progress(file.tell(), size))
        with _telling(archive):
            for member in _members(file, most_members):
                writer.add(member)
        check(unpacked)
    return folder


@contextmanager
def _telling(archive: Path) -> Iterator[None]:
    """Name the archive in what is wrong with it."""
    try:
        yield
    except ArchiveError as problem:
        raise ArchiveError(f"{archive}: {problem}; nothing of it is unpacked") from None
    except Exception as problem:  # all that tarfile, zipfile and zlib raise for damaged bytes
        if isinstance(problem, OSError) and problem.errno not in (None, errno.EINVAL):
            raise  # of the disk; EINVAL is of a seek to where a zip says a member is
        why = " ".join(ascii(str(problem))[1:-1].split())[:200] or type(problem).__name__
        raise ArchiveError(f"{archive}: is cut or damaged ({why})") from None


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder` that becomes it when the block ends well."""
    if is_taken(folder):
        raise DatasetError(f"{folder}: is there already; move it away")
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent)
    with scratch(folder.parent) as own:
        temporary = own / "new"
        temporary.mkdir()
        yield temporary
        if folder.is_dir():
            folder.rmdir()  # fails, rightly, if something has come into it
        elif folder.exists():
            raise DatasetError(f"{folder}: has appeared meanwhile; move it away")
        temporary.rename(folder)


@dataclass(frozen=True)
class _Member:
    """A file or folder in an archive."""

    name: str
    size: int
    is_folder: bool
    open: Callable[[], IO[bytes]]


class _Gauge:
    """Passes on as many bytes of a file as `left` says.

    tarfile reads a header of whatever length it declares into memory, zipfile the whole directory.
    """

    def __init__(self, source: Any, left: int) -> None:
        self.source = source
        self.left = left

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes."""
        if size > self.left:
            raise ArchiveError("is cut or damaged (its headers are too long)")
        block = cast(bytes, self.source.read(size))
        self.left -= len(block)
        return block

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)


def _members(file: IO[bytes], most_members: int) -> Iterator[_Member]:
    start = file.read(4)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return _tar_members(_Gauge(gzip.GzipFile(fileobj=file), _HEADERS))
    if start.startswith(b"PK"):
        return _zip_members(_Gauge(file, (1 << 18) + _DIRECTORY * most_members))
    raise ArchiveError(f"is neither a tar.gz nor a zip: it begins with {start!r}")


def _tar_members(gauge: Any) -> Iterator[_Member]:
    with tarfile.open(fileobj=gauge, mode="r|", bufsize=8 * tarfile.BLOCKSIZE) as tar:
        stream = cast("IO[bytes]", tar.fileobj)
        while (info := tar.next()) is not None:
            gauge.left = _HEADERS + tar.offset - stream.tell()
            plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
            if not (plain or info.isdir()) or info.size < 0:
                raise ArchiveError(f"holds a link, a device or the like: {info.name[:200]!a}")
            source = cast("Callable[[], IO[bytes]]", partial(tar.extractfile, info))
            yield _Member(info.name, info.size, info.isdir(), source)
        gauge.left = _HEADERS
        while block := stream.read(_CHUNK):
            if block.strip(b"\0"):
                raise ArchiveError("is cut or damaged (no member follows where one should)")


def _zip_members(gauge: Any) -> Iterator[_Member]:
    with zipfile.ZipFile(gauge) as archive:
        gauge.left = sys.maxsize
        _check_apart(archive.infolist(), archive.start_dir)
        for info in archive.infolist():
            name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
            is_folder, shown = name.endswith("/"), ascii(name[:200])
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ArchiveError(f"holds a link, a device or the like: {shown}")
            if info.comment or (is_folder and info.file_size):
                raise ArchiveError(f"is damaged at {shown}")  # a comment may hide members
            if info.flag_bits & 1:
                raise ArchiveError(f"is encrypted: {shown}")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ArchiveError(f"is compressed in a way not known here: {shown}")
            yield _Member(name, info.file_size, is_folder, partial(archive.open, info))


def _check_apart(members: list[zipfile.ZipInfo], end: int) -> None:
    """Refuse members that share bytes, of which a small zip makes a large bomb."""
    found = sorted((info.header_offset, info.compress_size) for info in members)
    for (start, size), (following, _) in pairwise([*found, (end, 0)]):
        if start + _ZIP_HEADER + size > following:
            raise ArchiveError("is damaged: two members overlap")


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
        if self._bytes > self.most_bytes:
            raise ArchiveError(f"unpacks to more than {self.most_bytes:,} bytes")
        parts = _safe_parts(member)
        wanted = bool(parts) and not _is_junk(parts)
        if wanted:
            self._check_new(parts, member)
        # Folders count that no member names, but the path of one does.
        if max(self._members, len(self._seen)) > self.most_members:
            raise ArchiveError(f"holds more than {self.most_members:,} files and folders")
        if wanted:
            self._write(member, self.folder.joinpath(*parts[1:]))

    def _check_new(self, parts: list[str], member: _Member) -> None:
        """Refuse a second top folder, and names that are there but for case and accents' form."""
        self._top = self._top or parts[0]
        if parts[0] != self._top or (len(parts) == 1 and not member.is_folder):
            names = f"{self._top!r}, {member.name[:200]!r}"
            raise ArchiveError(f"holds more than one top folder: {names}")
        for depth in range(1, len(parts) + 1):
            exact = "/".join(parts[:depth])
            found = (exact, depth < len(parts) or member.is_folder)
            key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", exact).casefold())
            before = self._seen.setdefault(key, found)
            last_file = depth == len(parts) and not member.is_folder
            if before != found or (last_file and before is not found):
                names = f"{before[0][:200]!r}, {exact[:200]!r}"
                raise ArchiveError(f"holds two members of one name: {names}")

    def _write(self, member: _Member, path: Path) -> None:
        if member.is_folder:
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        written = 0
        with member.open() as source, path.open("xb") as file:
            while block := source.read(_CHUNK):
                written += len(block)
                file.write(block)
                self.tick()
        if written != member.size:
            found = f"{written:,} bytes, not {member.size:,}"
            raise ArchiveError(f"is damaged: {member.name[:200]!r} has {found}")


def _safe_parts(member: _Member) -> list[str]:
    """Split a member's name; refuse one that might mean a place outside, here or on Windows.

    Of the folder ``./``, which tar writes for the archive itself, there are no parts.
    """
    name = member.name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    unsafe = (
        not (parts or (name and member.is_folder))
        or name.startswith("/")
        or any(character in '\\:*?"<>|' for character in name)
        or any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
        or len(name) > _LONGEST_NAME
        or any(_is_unsafe(part) for part in parts)
    )
    if unsafe:
        raise ArchiveError(f"holds a name that is not safe to write: {name[:200]!a}")
    return parts


def _is_unsafe(part: str) -> bool:
    return (
        part.endswith((".", " "))
        or len(os.fsencode(part)) > _LONGEST_PART
        or _DEVICE.fullmatch(part) is not None
    )


def _is_junk(parts: list[str]) -> bool:
    return "__MACOSX" in parts or parts[-1] == ".DS_Store" or parts[-1].startswith("._")
