"""What ``spectro listen`` kept of events, as events to judge: each in a clip of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, field_validator, model_validator

from spectro.clips.clip import is_named, printable
from spectro.errors import DatasetError
from spectro.listening.events.finding import Event
from spectro.listening.live.evidence.store import LARGEST_FACTS, STEM
from spectro.listening.review.detections import Detection, by_doubt
from spectro.plumbing.settings import Record

__all__ = ["Kept", "holds_evidence", "read_kept"]

_MOST = 100_000  # events
_LONGEST = 86_400.0  # s of a clip
_SLACK = 0.01  # s by which a window may lie before its clip: both are rounded


class Kept(NamedTuple):
    """Events to judge, in order, and what is wrong with the others, a line each."""

    found: list[Detection]
    problems: list[str]


class Stretch(Record):
    """A part of a clip, in seconds from its start."""

    start_in_clip: float = Field(ge=-_SLACK, le=_LONGEST)
    end_in_clip: float = Field(gt=0, le=_LONGEST)

    @model_validator(mode="after")
    def _forwards(self) -> Stretch:
        if max(0.0, self.start_in_clip) >= self.end_in_clip:
            raise ValueError("start_in_clip is not before end_in_clip")
        return self


class Facts(Record):
    """What a review needs of an event's JSON; the clip lies beside it, whatever else that says.

    Parameters
    ----------
    source : str
        Name of the source.
    label : str
        What the model heard.
    begin_time : str
        When the event began, ISO 8601; "" if that is not known.
    window : Stretch
        In which the event was surest.
    event : Stretch or None
        Where the event lies; older evidence does not say it.
    probability, peak, site, model, thresholds
        See :class:`~spectro.listening.events.finding.Event`.
    """

    source: str = Field(min_length=1, max_length=200)
    label: str = Field(min_length=1, max_length=200)
    begin_time: str = Field("", max_length=64, pattern=r"^(\d{4}-\d\d-\d\dT[0-9:.+Z-]+)?$")
    probability: float = Field(ge=0, le=1)
    peak: float = Field(ge=0, le=1)
    site: str = Field("", max_length=200)
    model: str = Field("", max_length=200)
    thresholds: str = Field("", max_length=200)
    window: Stretch
    event: Stretch | None = None

    @field_validator("source", "label", "site", "model", "thresholds")
    @classmethod
    def _text(cls, value: str) -> str:
        if not is_named(value):
            raise ValueError(f"{printable(value)[:80]!r} holds a carriage return")
        return value


def holds_evidence(folder: Path) -> bool:
    """Tell whether a folder holds evidence of ``spectro listen``."""
    try:
        return next(_named_so(folder), None) is not None
    except OSError:
        return False


def read_kept(folder: Path) -> Kept:
    """Read the events of a folder of evidence, or of one of its classes; the most uncertain first.

    The events of one source and day belong to one recording, which is called so: what a place
    sounds like must not be learned from in one fold and scored in another.

    Parameters
    ----------
    folder : Path
        As ``spectro listen --evidence`` writes it. Nothing outside of it is opened, links included.

    Raises
    ------
    DatasetError
        If it cannot be read, or holds too many events.
    """
    try:
        paths = list(itertools.islice(_named_so(folder), _MOST + 1))
    except OSError as error:
        raise DatasetError(
            f"{folder}: cannot be read ({error.strerror}); copy it to where you may"
        ) from None
    if len(paths) > _MOST:
        raise DatasetError(f"{folder}: holds more than {_MOST:,} events; review a class at a time")
    found, problems = [], []
    for path in paths:
        try:
            found.append(_detection(path))
        except DatasetError as error:
            problems.append(str(error))
    return Kept(by_doubt(found), problems)


def _named_so(folder: Path) -> Iterator[Path]:
    """Find the JSON of events, in the folder and in those of its classes."""
    classes = (each for each in folder.iterdir() if each.is_dir() and not each.is_symlink())
    for home in (folder, *sorted(classes)):
        yield from (path for path in sorted(home.glob("*.json")) if STEM.fullmatch(path.stem))


def _detection(path: Path) -> Detection:
    """Read one event, and find its clip.

    Raises
    ------
    DatasetError
    """
    clip = path.with_suffix(".flac")
    for file in (path, clip):
        if file.is_symlink() or not file.is_file():
            raise DatasetError(f"{file}: is not there or no regular file; the event is left out")
    if not is_named(str(path)):
        raise DatasetError(f"{path}: the name is not Unicode text; rename the folder")
    try:
        size = path.stat().st_size
    except OSError as error:  # removed meanwhile
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None
    if size > LARGEST_FACTS:
        raise DatasetError(f"{path}: is too big to be of spectro listen; remove it")
    return Detection(_event(Facts.read(path, DatasetError), path.stem), clip)


def _event(facts: Facts, stem: str) -> Event:
    """Make an event of the clip's own seconds."""
    place = facts.event or facts.window
    day = facts.begin_time[:10] or f"{stem[:4]}-{stem[4:6]}-{stem[6:8]}"
    return Event(
        recording=f"{facts.source} {day}",
        start=max(0.0, place.start_in_clip),
        end=place.end_in_clip,
        begin_time=facts.begin_time,
        label=facts.label,
        probability=facts.probability,
        peak=facts.peak,
        site=facts.site,
        model=facts.model,
        thresholds=facts.thresholds,
    )
