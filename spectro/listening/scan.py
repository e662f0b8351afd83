"""Recordings of any number and length to events: one file is one job, and is heard once.

What was found in a file is kept beside the tables, in a file of its own, under a name made of its
path. It counts as long as the recording's size and time of change and all settings are the same, so
that a scan that was killed goes on, and ends in the same tables.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import soundfile as sf
from pydantic import Field, model_validator

from spectro.errors import AudioError, DatasetError
from spectro.listening.annotations import Heard
from spectro.listening.backends import Backend
from spectro.listening.event_settings import EventSettings
from spectro.listening.events import Event, Origin, ScoredWindow, find_events
from spectro.listening.recorders import beginning, parse_start_time
from spectro.listening.windower import file_pictures
from spectro.plumbing.files import write_text
from spectro.plumbing.settings import Settings
from spectro.plumbing.workers import completed

__all__ = [
    "Found",
    "Outcome",
    "ScanSettings",
    "heard_in",
    "kept",
    "scan",
    "scan_recording",
    "score_windows",
]

_BATCH = 32
_PARTS = ".scan"


class ScanSettings(Settings):
    """All that decides which events a recording gives; :attr:`identity` names it.

    Parameters
    ----------
    model : str
        Hash of the model.
    hop : float or None
        Seconds from one window to the next; None means a window's length.
    site : str
        Copied into the events.
    start_time : str or None
        When the recordings began, before all that they say themselves.
    events : EventSettings
    """

    table: ClassVar[str] = "scan"

    format: int = Field(1, ge=1, le=1)
    model: str = ""
    hop: float | None = Field(None, gt=0)
    site: str = ""
    start_time: str | None = None
    events: EventSettings = EventSettings()

    @model_validator(mode="after")
    def _readable(self) -> ScanSettings:
        if self.start_time is not None:
            parse_start_time(self.start_time)
        return self


class Found(NamedTuple):
    """What one recording holds.

    Parameters
    ----------
    heard : Heard
    began : str
        When it began and what told so, in words.
    events : list of Event
        Sorted by start, end and class.
    """

    heard: Heard
    began: str
    events: list[Event]


class Outcome(NamedTuple):
    """How the scan of one recording went.

    Parameters
    ----------
    recording : str
    seconds : float
        Its length; 0 if it could not be read.
    events : int
        How many were found.
    error : str
        Why it could not be read; "" if it could.
    resumed : bool
        Whether it had been scanned before, and was not read again.
    """

    recording: str
    seconds: float
    events: int
    error: str = ""
    resumed: bool = False


def score_windows(
    path: str | Path, listener: Backend, hop: float | None = None
) -> Iterator[ScoredWindow]:
    """Hear a recording window by window, in one pass, in flat memory.

    A window is as long as the pictures that the model was trained on, and drawn as they were
    (:class:`spectro.listening.windower.Windower`).

    Parameters
    ----------
    path : str or Path
        Sound file of any length.
    listener : Backend
    hop : float or None
        Seconds from one window to the next; None means a window's length.

    Raises
    ------
    AudioError
        If the file cannot be decoded to its end.
    """
    card = listener.card
    walk = file_pictures(path, card.spectrogram, hop=hop, size=card.size)
    while batch := list(itertools.islice(walk, _BATCH)):
        levels = np.stack([one.levels for one in batch])
        for one, p, known in zip(batch, *listener(levels), strict=True):
            yield ScoredWindow(one.start, one.end, p, one.level, bool(known))


def scan_recording(path: str | Path, listener: Backend, settings: ScanSettings) -> Found:
    """Find the events of one recording.

    Raises
    ------
    AudioError
        If the file cannot be decoded to its end.
    """
    told = settings.start_time
    began = beginning(path, None if told is None else parse_start_time(told))
    origin = Origin(str(path), began.time, settings.site, settings.model)
    end = 0.0

    def walk() -> Iterator[ScoredWindow]:
        nonlocal end
        for window in score_windows(path, listener, settings.hop):
            end = window.end
            yield window

    events = list(find_events(walk(), listener.card.labels, settings.events, origin))
    events.sort(key=lambda event: (event.start, event.end, event.label))
    return Found(Heard(str(path), end, _rate(path)), str(began), events)


def _rate(path: str | Path) -> int:
    """Return a recording's own sampling rate in Hz."""
    try:
        with sf.SoundFile(path) as sound:
            return int(sound.samplerate)
    except (OSError, sf.SoundFileError) as error:
        raise AudioError(f"{path}: cannot be opened any more ({error})") from None


def scan(
    recordings: Sequence[str],
    out: str | Path,
    load: Callable[[], Backend],
    settings: ScanSettings,
    executor: Executor | None = None,
) -> Iterator[Outcome]:
    """Scan recordings that were not scanned before; yield how each went, in any order.

    Parameters
    ----------
    recordings : sequence of str
        Sound files. One that cannot be read costs itself only, and is tried again the next time.
    out : str or Path
        Folder of the results; a scan of the same recordings with the same settings goes on there.
    load : callable
        Gives the listener; called once in each process, and pickled where `executor` needs that.
    settings : ScanSettings
    executor : concurrent.futures.Executor or None
        Threads, processes or a cluster; None scans here.
    """
    left = []
    for recording in recordings:
        found = kept(recording, out, settings)
        if found is None:
            left.append(recording)
        else:
            yield _outcome(found, resumed=True)
    work = functools.partial(_scan_jobs, out=str(out), load=load, settings=settings)
    if executor is None:
        for recording in left:
            yield from work([recording])
        return
    for outcomes in completed(executor, work, left, len(left)):
        yield from outcomes


def _outcome(found: Found, *, resumed: bool = False) -> Outcome:
    heard = found.heard
    return Outcome(heard.recording, heard.duration, len(found.events), resumed=resumed)


def _scan_jobs(
    recordings: list[str], *, out: str, load: Callable[[], Backend], settings: ScanSettings
) -> list[Outcome]:
    return [_scan_job(recording, out, load, settings) for recording in recordings]


def _scan_job(
    recording: str, out: str, load: Callable[[], Backend], settings: ScanSettings
) -> Outcome:
    """Scan one recording and keep what was found; of a bad one, say why it is."""
    listener = _loaded(load)
    try:
        about = _about(recording)  # before it is read: it may be growing
        found = scan_recording(recording, listener, settings)
    except AudioError as error:
        return Outcome(recording, 0.0, 0, error=" ".join(str(error).split()))
    except OSError as error:
        why = f"{recording}: cannot be read ({error.strerror or error})"
        return Outcome(recording, 0.0, 0, error=why)
    _keep(found, about, out, settings)
    return _outcome(found)


@functools.lru_cache(maxsize=1)
def _loaded(load: Callable[[], Backend]) -> Backend:
    return load()


def _about(recording: str) -> list[int]:
    """Return the size and the time of change by which a file is known again."""
    about = os.stat(recording)
    return [about.st_size, about.st_mtime_ns]


def _part(recording: str, out: str | Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.abspath(recording))).hexdigest()[:32]
    return Path(out) / _PARTS / name[:2] / f"{name}.json"


def _keep(found: Found, about: list[int], out: str, settings: ScanSettings) -> None:
    whole = {
        "path": os.path.abspath(found.heard.recording),
        "about": about,
        "settings": settings.identity,
        "heard": found.heard[1:],
        "began": found.began,
        "events": [event[1:] for event in found.events],
    }
    write_text(_part(found.heard.recording, out), json.dumps(whole))


def kept(recording: str, out: str | Path, settings: ScanSettings) -> Found | None:
    """Return what was found in a recording before; None if it must be scanned.

    That is so if it was not scanned, has changed, was scanned with other settings, or if what was
    kept is damaged.
    """
    try:
        whole = json.loads(_part(recording, out).read_text(encoding="utf-8"))
        if whole["path"] != os.path.abspath(recording) or whole["about"] != _about(recording):
            return None
        if whole["settings"] != settings.identity:
            return None
        events = [Event(recording, *values) for values in whole["events"]]
        return Found(Heard(recording, *whole["heard"]), str(whole["began"]), events)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def heard_in(recordings: Iterable[str], out: str | Path, settings: ScanSettings) -> Iterator[Found]:
    """Give what was found in each recording, in order, without those that could not be read.

    The tables are written from this: they do not depend on how often a scan was interrupted, nor on
    who scanned what.

    Raises
    ------
    DatasetError
        If the folder of the results cannot be read.
    """
    if not Path(out).is_dir():
        raise DatasetError(f"{out}: is no folder; scan into it first")
    for recording in recordings:
        found = kept(recording, out, settings)
        if found is not None:
            yield found
