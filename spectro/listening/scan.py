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
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from spectro.clips.decode import open_part
from spectro.errors import AudioError, DatasetError, ModelError
from spectro.listening.backends import Answer, Backend
from spectro.listening.events.annotations import Heard
from spectro.listening.events.finding import (
    Event,
    Origin,
    ScoredWindow,
    find_events,
    is_event,
)
from spectro.listening.events.settings import EventSettings
from spectro.listening.recorders import beginning, parse_start_time
from spectro.listening.unread import unread
from spectro.listening.windower import Picture, Tap, file_pictures
from spectro.plumbing.files import read_bounded, write_text
from spectro.plumbing.paths import place
from spectro.plumbing.settings import Settings
from spectro.plumbing.workers import completed

__all__ = [
    "Found",
    "Outcome",
    "ScanSettings",
    "about_recording",
    "forget",
    "heard_in",
    "kept",
    "part_of",
    "scan",
    "scan_recording",
    "score_windows",
]

_BATCH = 8  # windows: more are not faster, and take more memory
_PARTS = ".scan"
_MOST_BYTES = 1 << 28  # of what is kept of one recording: a million events

Watch = Callable[[ScoredWindow], None]

_Asked = tuple[list[Picture], npt.NDArray[np.uint8]]
_Answered = tuple[list[Picture], Answer]


class ScanSettings(Settings):
    """All that decides which events a recording gives; :attr:`identity` names it.

    Parameters
    ----------
    model : str
        Hash of the model.
    backend : str
        What runs it: eight bits give other probabilities than 32.
    hop : float or None
        Seconds from one window to the next; None means a window's length.
    site : str
        Copied into the events.
    start_time : str or None
        When the recordings began, before all that they say themselves.
    events : EventSettings
    """

    table: ClassVar[str] = "scan"

    # 2: windows are cut from one resampled stream
    format: int = Field(2, ge=2, le=2)
    model: str = ""
    backend: str = ""
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
    source : str
        What told so: "start-time", "GUANO", "comment", "name" or "none".
    events : list of Event
        Sorted by start, end and class.
    begin : datetime or None
        When it began; without a zone if none is stated; None if nothing tells.
    """

    heard: Heard
    began: str
    source: str
    events: list[Event]
    begin: datetime | None


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
    changed : bool
        Whether it changed while it was read: the next scan reads it again.
    """

    recording: str
    seconds: float
    events: int
    error: str = ""
    resumed: bool = False
    changed: bool = False


def score_windows(
    path: str | Path,
    listener: Backend,
    hop: float | None = None,
    *,
    threads: int = 1,
    tap: Tap | None = None,
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
    threads : int
        How many ask the network, while this one draws; 1 does all in this one. The probabilities
        are the same.
    tap : callable or None
        Given the resampled waveform as it comes, shape (channels, n).

    Raises
    ------
    AudioError
        If the file cannot be decoded to its end.
    ModelError
        If the network gives no numbers.
    """
    card = listener.card
    walk = file_pictures(path, card.spectrogram, hop=hop, size=card.size, tap=tap)
    batches = iter(lambda: list(itertools.islice(walk, _BATCH)), [])
    asked = ((batch, np.stack([one.levels for one in batch])) for batch in batches)
    for batch, answer in _answers(asked, listener, threads):
        if not np.isfinite(answer.probabilities).all():
            raise ModelError(
                f"{card.arch} gives no numbers for {path}: the model is damaged; "
                "take another copy, or train it anew"
            )
        for one, p, known in zip(batch, *answer, strict=True):
            yield ScoredWindow(one.start, one.end, p, one.level, bool(known))


def _answers(asked: Iterator[_Asked], listener: Backend, threads: int) -> Iterator[_Answered]:
    """Ask the network about batches, in order; several at a time, but never far ahead."""
    if threads == 1:
        for batch, levels in asked:
            yield batch, listener(levels)
        return
    waiting: deque[tuple[list[Picture], Future[Answer]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for batch, levels in asked:
            waiting.append((batch, pool.submit(listener, levels)))
            if len(waiting) > threads:
                first, answer = waiting.popleft()
                yield first, answer.result()
        for first, answer in waiting:
            yield first, answer.result()


def scan_recording(
    path: str | Path,
    listener: Backend,
    settings: ScanSettings,
    *,
    threads: int = 1,
    watch: Watch | None = None,
    tap: Tap | None = None,
) -> Found:
    """Find the events of one recording.

    Parameters
    ----------
    path : str or Path
    listener : Backend
    settings : ScanSettings
    threads, tap
        As for :func:`score_windows`.
    watch : callable or None
        Given each scored window.

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
        for window in score_windows(path, listener, settings.hop, threads=threads, tap=tap):
            end = window.end
            if watch is not None:
                watch(window)
            yield window

    events = list(find_events(walk(), listener.card.labels, settings.events, origin))
    events.sort(key=lambda event: (event.start, event.end, event.label))
    with open_part(place(path)) as part:
        heard = Heard(str(path), end, part.sr)
    return Found(heard, str(began), began.source, events, began.time)


def scan(
    recordings: Sequence[str],
    out: str | Path,
    load: Callable[[], Backend],
    settings: ScanSettings,
    executor: Executor | None = None,
    *,
    threads: int = 1,
    watch: Watch | None = None,
    tap: Tap | None = None,
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
    threads : int
        How many of each process ask the network (:func:`score_windows`).
    watch, tap : callable or None
        Without an executor: as for :func:`scan_recording`.
    """
    left = []
    for recording in recordings:
        found = kept(recording, out, settings)
        if found is None:
            left.append(recording)
        else:
            yield _outcome(found, resumed=True)
    if executor is None:
        for recording in left:
            yield _scan_job(recording, str(out), load, settings, threads, watch, tap)
        return
    work = functools.partial(
        _scan_jobs, out=str(out), load=load, settings=settings, threads=threads
    )
    for outcomes in completed(executor, work, left, len(left)):
        yield from outcomes


def _outcome(found: Found, *, resumed: bool = False) -> Outcome:
    heard = found.heard
    return Outcome(heard.recording, heard.duration, len(found.events), resumed=resumed)


def _scan_jobs(
    recordings: list[str],
    *,
    out: str,
    load: Callable[[], Backend],
    settings: ScanSettings,
    threads: int,
) -> list[Outcome]:
    return [_scan_job(recording, out, load, settings, threads) for recording in recordings]


def _scan_job(
    recording: str,
    out: str,
    load: Callable[[], Backend],
    settings: ScanSettings,
    threads: int = 1,
    watch: Watch | None = None,
    tap: Tap | None = None,
) -> Outcome:
    """Scan one recording and keep what was found; of a bad one, say why it is."""
    found = kept(recording, out, settings)  # another process may have scanned it by now
    if found is not None:
        return _outcome(found, resumed=True)
    listener = _loaded(load)
    try:
        about = about_recording(recording)  # before it is read: it may be growing
        found = scan_recording(recording, listener, settings, threads=threads, watch=watch, tap=tap)
        changed = about != about_recording(recording)
    except AudioError as error:
        return Outcome(recording, 0.0, 0, error=" ".join(str(error).split()))
    except OSError as error:
        return Outcome(recording, 0.0, 0, error=unread(recording, error))
    _keep(found, about, out, settings)
    return _outcome(found)._replace(changed=changed)


@functools.lru_cache(maxsize=1)
def _loaded(load: Callable[[], Backend]) -> Backend:
    return load()


def about_recording(recording: str) -> list[int]:
    """Return the size and the time of change by which a file is known again."""
    about = os.stat(recording)
    return [about.st_size, about.st_mtime_ns]


def part_of(recording: str, out: str | Path) -> Path:
    """Return the file in which what was found in a recording is kept."""
    name = hashlib.sha256(os.fsencode(os.path.abspath(recording))).hexdigest()[:32]
    return Path(out) / _PARTS / name[:2] / f"{name}.json"


def forget(recording: str, out: str | Path) -> None:
    """Have a recording scanned anew the next time."""
    part_of(recording, out).unlink(missing_ok=True)


def _keep(found: Found, about: list[int], out: str, settings: ScanSettings) -> None:
    whole = {
        "path": os.path.abspath(found.heard.recording),
        "about": about,
        "settings": settings.identity,
        "heard": found.heard[1:],
        "began": found.began,
        "source": found.source,
        "begin": found.begin and found.begin.isoformat(),
        "events": [event[1:] for event in found.events],
    }
    write_text(part_of(found.heard.recording, out), json.dumps(whole))


def kept(
    recording: str, out: str | Path, settings: ScanSettings, *, as_it_was: bool = False
) -> Found | None:
    """Return what was found in a recording before; None if it must be scanned.

    That is so if it was not scanned, has changed, was scanned with other settings, or if what was
    kept is damaged. `as_it_was`, what was found counts though the file has changed since, or gone.
    """
    try:
        whole = json.loads(read_bounded(part_of(recording, out), _MOST_BYTES).decode())
        if (whole["path"], whole["settings"]) != (os.path.abspath(recording), settings.identity):
            return None
        if not as_it_was and whole["about"] != about_recording(recording):
            return None
        return _read(recording, whole, settings)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, AudioError):
        return None


def _read(recording: str, whole: dict[str, Any], settings: ScanSettings) -> Found:
    """Check what was kept, each value by its kind; raise ValueError or the like if damaged."""
    events = [Event(recording, *values) for values in whole["events"]]
    heard, told = Heard(recording, *whole["heard"]), (whole["began"], whole["source"])
    if not all(map(is_event, events)) or not all(isinstance(text, str) for text in told):
        raise ValueError("an event in it is damaged")
    if not (0 <= heard.duration < math.inf and type(heard.sr) is int and heard.sr > 0):
        raise ValueError("its length or rate is damaged")
    if "begin" in whole:
        begin = None if whole["begin"] is None else datetime.fromisoformat(whole["begin"])
        return Found(heard, *told, events, begin)
    return Found(heard, *told, events, _begin_again(recording, settings.start_time))


def _begin_again(recording: str, told: str | None) -> datetime | None:
    """Find it out anew, where an earlier version kept it in words alone."""
    stated = None if told is None else parse_start_time(told)
    try:
        return beginning(recording, stated).time
    except AudioError:
        return stated  # it is gone by now


def heard_in(recordings: Iterable[str], out: str | Path, settings: ScanSettings) -> Iterator[Found]:
    """Give what was found in each recording, in order, without those that were never read.

    The tables are written from this: they do not depend on how often a scan was interrupted, nor on
    who scanned what. A recording that changed while it was heard counts as it was.

    Raises
    ------
    DatasetError
        If the folder of the results cannot be read.
    """
    if not Path(out).is_dir():
        raise DatasetError(f"{out}: is no folder; scan into it first")
    for recording in recordings:
        found = kept(recording, out, settings, as_it_was=True)
        if found is not None:
            yield found
