"""Events to judge: where their recordings are, and which comes first."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import NamedTuple

from spectro.clips.clip import is_named
from spectro.listening.events.finding import Event
from spectro.listening.review.verdicts import Key, key_of

__all__ = ["Detection", "Detections", "by_doubt", "find_recording", "read_detections"]


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
    files: dict[str, Path | None] = {}
    found = {}
    for event in events:
        if event.recording not in files:
            files[event.recording] = find_recording(event.recording, root)
        file = files[event.recording]
        if file is not None:
            one = Detection(event, file)
            found[one.key] = one
    return Detections(
        by_doubt(found.values()), [name for name, file in files.items() if file is None]
    )


def by_doubt(found: Iterable[Detection]) -> list[Detection]:
    """Put the most uncertain first."""
    return sorted(found, key=lambda one: (-one.doubt, one.event.recording, one.event.start))


def find_recording(name: str, root: Path) -> Path | None:
    """Find a recording below a folder, by its path or by the end of its path; None if it is not.

    A table may come from a stranger, and a link may lead anywhere: what lies outside the folder is
    not taken.
    """
    home = root.resolve()
    parts = PurePath(name.replace("\\", "/") if "\\" in name else name).parts
    tails = [Path(*parts[first:]) for first in range(len(parts))]
    for path in [Path(name), *(root / tail for tail in tails if not tail.is_absolute())]:
        try:
            if path.is_file() and path.resolve().is_relative_to(home) and is_named(str(path)):
                return path
        except (OSError, ValueError):  # a name that is too long, or holds a NUL
            continue
    return None
