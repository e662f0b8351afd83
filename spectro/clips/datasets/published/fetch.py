"""A published dataset, from its official host to a folder that every command can read.

Until all is there and counted, everything lies in the hidden folder ``.fetch-NAME``: a stopped or
killed run goes on from there, and a half dataset never stands under its name. What is there already
is never written over.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import filelock

from spectro.clips import datasets
from spectro.clips.datasets import Dataset
from spectro.clips.datasets.published.sources import Source
from spectro.errors import DatasetError
from spectro.plumbing.files import is_taken
from spectro.plumbing.transfer.archive import ArchiveError, unpack
from spectro.plumbing.transfer.download import PATIENCE, Patience, Progress, check, download

__all__ = ["Stage", "fetch", "present"]

Stage = Callable[[str], AbstractContextManager[Progress]]
"""Given what is about to be done, gives what to tell the bytes of it."""


def _quiet(what: str) -> AbstractContextManager[Progress]:
    return nullcontext(lambda done, total: None)


def present(source: Source, to: str | Path) -> Dataset | None:
    """Look for a dataset that was fetched, or put there by hand, before.

    Parameters
    ----------
    source : Source
        Which one.
    to : str or Path
        Folder that its own folder lies in.

    Returns
    -------
    Dataset or None
        None if nothing is there.

    Raises
    ------
    DatasetError
        If something is there that is not all of it, which is left as it is, or `to` is a URL.
    """
    folder = Path(to) / source.folder
    if ":/" in str(to):
        raise DatasetError(f"{to}: is no folder on a local disk, which fetching needs; name one")
    if not is_taken(folder):
        return None
    try:
        return _load(folder, source)
    except DatasetError as problem:
        raise DatasetError(
            f"{folder}: is there but is not all of {source.name} ({problem}); it is left as it "
            "is: move it away and run it again"
        ) from None


def fetch(
    source: Source,
    to: str | Path,
    *,
    url: str | None = None,
    keep_archive: bool = False,
    stage: Stage = _quiet,
    patience: Patience = PATIENCE,
) -> Dataset:
    """Download and unpack a dataset, unless it is there.

    Parameters
    ----------
    source : Source
        Which one, from `spectro.clips.datasets.published.sources`.
    to : str or Path
        Folder to put its own folder in. An archive of its name that lies there is used, if it is
        the published one, and left there.
    url : str, optional
        A mirror of the archive; it must hold what the official host publishes.
    keep_archive : bool
        Put the archive into `to` when done.
    stage : callable
        Given what is about to be done, gives a context manager of the function to tell the
        progress of it.
    patience : Patience
        Of the download.

    Returns
    -------
    Dataset
        Its clip table.

    Raises
    ------
    DatasetError
        If it cannot be had, is not what was published, or something else is in its place.
    """
    to = Path(to)
    found = present(source, to)
    if found is not None:
        return found
    work = to / f".fetch-{source.name}"
    with _alone(work):
        if is_taken(to / source.folder):  # by a run that has just ended
            return _load(to / source.folder, source)
        _check_room(source, to, work)
        archive = _archive(source, to, work, url, stage, patience)
        try:
            with stage("unpacking") as progress:
                _unpack(source, to, archive, progress)
        except ArchiveError as problem:
            _tell_bad_archive(source, archive, problem, ours=archive.parent == work)
        if archive.parent == work and keep_archive:
            archive.replace(to / source.archive)
        elif archive.parent == work:
            archive.unlink()
    return _load(to / source.folder, source)


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Hold off a second run into the same folder; the system ends the hold of a killed one."""
    work.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(work / "lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise DatasetError(f"{work}: another run is fetching this; wait for it to end") from None
    try:
        yield
    finally:
        if {path.name for path in work.iterdir()} <= {"lock"}:
            shutil.rmtree(work, ignore_errors=True)
        lock.release()


def _check_room(source: Source, to: Path, work: Path) -> None:
    """Stop before the first byte if archive and sounds do not fit on the disk."""
    places = (to / source.archive, work / source.archive, work / f"{source.archive}.part")
    there = sum(path.stat().st_size for path in places if path.exists())
    needed = max((source.size or 0) - there, 0) + source.unpacked
    free = shutil.disk_usage(to).free
    if needed > free:
        raise DatasetError(
            f"{to}: {source.name} needs about {needed / 1e9:.1f} GB there, the disk has "
            f"{free / 1e9:.1f} GB left; make room or choose another folder with --to"
        )


def _archive(
    source: Source, to: Path, work: Path, url: str | None, stage: Stage, patience: Patience
) -> Path:
    """Have the archive: the user's own, that of a run before, or a download."""
    own = to / source.archive
    if own.exists():
        with stage("checking"):
            _check_own(own, source)
        return own
    with stage("downloading") as progress:
        return download(
            url or source.url,
            work / source.archive,
            size=source.size,
            checksum=source.checksum,
            most=2 * source.unpacked,
            progress=progress,
            patience=patience,
        )


def _check_own(archive: Path, source: Source) -> None:
    try:
        check(archive, size=source.size, checksum=source.checksum)
    except DatasetError as problem:
        raise DatasetError(f"{problem}; move it away to have it downloaded again") from None


def _unpack(source: Source, to: Path, archive: Path, progress: Progress) -> None:
    def complete(unpacked: Path) -> None:
        try:
            _load(unpacked, source)
        except DatasetError as problem:
            raise ArchiveError(f"{archive}: is not all of {source.name} ({problem})") from None

    unpack(
        archive,
        to / source.folder,
        most_bytes=2 * source.unpacked,
        most_members=2 * source.clips + 1000,
        check=complete,
        progress=progress,
    )


def _tell_bad_archive(source: Source, archive: Path, problem: ArchiveError, *, ours: bool) -> None:
    """Say what to do about it, and remove what a new download may mend."""
    if ours and source.checksum is None:
        archive.unlink()
        raise DatasetError(f"{problem}; the download is removed: run it again") from None
    raise DatasetError(f"{problem}; move the archive away to have it downloaded again") from None


def _load(folder: Path, source: Source) -> Dataset:
    """Read the clip table, if it is complete."""
    dataset = datasets.load(folder / source.inside, source.layout)
    if len(dataset.clips) != source.clips or dataset.absent:
        raise DatasetError(f"{len(dataset.clips):,} clips, not {source.clips:,}")
    return dataset
