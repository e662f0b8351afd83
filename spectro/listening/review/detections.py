"""Events to judge: where their recordings are, and which comes first."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import NamedTuple

from spectro.clips.clip import is_named
from spectro.listening.events.finding import Event
from spectro.listening.review.verdicts import Key, key_of

__all__ = ["Detection", "Detections", "Match", "by_doubt", "find_recording", "read_detections"]


class Detection(NamedTuple):
    """An event, and the file that it was heard in."""

    event: Event
    file: Path

    @property
    def doubt(self) -> float:
        """How uncertain the model was: 0.5 where it gave even odds, 0 where it was sure."""
        return 0.5 - abs(self.event.peak - 0.5)

    @property
    def key(self) -> Key:
        """What tells it from others."""
        return key_of(self.event, self.file)


class Detections(NamedTuple):
    """Events to judge, in order, and the recordings that are not there."""

    found: list[Detection]
    absent: list[str]


def read_detections(events: Iterable[Event], root: Path) -> Detections:
    """Find the recordings of events, and put the most uncertain event first.

    Parameters
    ----------
    events : iterable of Event
        An event that comes twice counts once.
    root : Path
        Folder of the recordings: no file outside of it is opened.
    """
    events = list(events)
    files = _files({event.recording: None for event in events}, root)
    found = {}
    for event in events:
        file = files[event.recording]
        if file is not None:
            one = Detection(event, file)
            found[one.key] = one
    return Detections(
        by_doubt(found.values()), [name for name, file in files.items() if file is None]
    )


def _files(names: Iterable[str], root: Path) -> dict[str, Path | None]:
    """Find recordings; a file that several names end like is that of which most fits.

    Recorders at two sites give the same names: what was heard at one is not judged by the sound of
    the other.
    """
    found = {name: find_recording(name, root) for name in names}
    fits: dict[Path, list[int]] = {}
    for one in found.values():
        if one is not None:
            fits.setdefault(one.path.resolve(), []).append(one.parts)
    sure = {file for file, parts in fits.items() if parts.count(max(parts)) == 1}
    return {
        name: one.path
        if one and (file := one.path.resolve()) in sure and one.parts == max(fits[file])
        else None
        for name, one in found.items()
    }


def by_doubt(found: Iterable[Detection]) -> list[Detection]:
    """Put the most uncertain first."""
    return sorted(found, key=lambda one: (-one.doubt, one.event.recording, one.event.start))


class Match(NamedTuple):
    """A file, and how many parts of its path are in the name."""

    path: Path
    parts: int


def find_recording(name: str, root: Path) -> Match | None:
    """Find a recording below a folder, by its path or by the end of its path; None if it is not.

    A table may come from a stranger, and a link may lead anywhere: what lies outside the folder is
    not taken.
    """
    home = root.resolve()
    parts = PurePath(name.replace("\\", "/") if "\\" in name else name).parts
    tails = [Path(*parts[first:]) for first in range(len(parts))]
    below = [(root / tail, len(tail.parts)) for tail in tails if not tail.is_absolute()]
    for path, fitting in [(Path(name), len(parts) + 1), *below]:
        try:
            if path.is_file() and path.resolve().is_relative_to(home) and is_named(str(path)):
                return Match(path, fitting)
        except (OSError, ValueError):  # a name that is too long, or holds a NUL
            continue
    return None
