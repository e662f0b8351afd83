"""``spectro scan``: recordings of any number and length become events."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.table import Table
from rich.text import Text

from spectro.cli import console
from spectro.cli.listening.event_flags import EVENTS, EventFlags, event_options
from spectro.cli.options import RUNNING, Workers, with_options
from spectro.plumbing.words import counted, percent

if TYPE_CHECKING:
    from spectro.listening.backends import BackendName
    from spectro.listening.events.settings import EventSettings
    from spectro.listening.outputs import Results
    from spectro.listening.outputs.tracks import Tracks
    from spectro.listening.scan import Outcome, ScanSettings
    from spectro.models.card import ModelCard

__all__ = ["scan"]

_OUTPUT = "Output"
_NAMED = 30  # failures printed; all of them are in recordings.csv
_FEW = 5  # recordings of which each gets a line


@with_options(
    events=event_options(
        "on", "off", "extent", "smoothing", "smooth_windows", "min_length", "merge_gap",
        "level_gate", build=EventFlags.of,
    )
)  # fmt: skip
def scan(
    model: Annotated[Path, typer.Argument(help="Model folder, or run.")],
    recordings: Annotated[
        list[str], typer.Argument(help="Sound files, folders of them, patterns as 'n*/*.wav'.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the results; a scan goes on there.")],
    hop: Annotated[
        Optional[float],
        typer.Option(
            help="Seconds from window to window; default, a site's, or a window's length."
        ),
    ] = None,
    backend: Annotated[
        str, typer.Option(help="auto, torch, onnx or int8; auto takes an export that is there.")
    ] = "auto",
    site: Annotated[
        Optional[str],
        typer.Option(
            help="Thresholds of this site, by spectro thresholds.", rich_help_panel=EVENTS
        ),
    ] = None,
    start_time: Annotated[
        Optional[str],
        typer.Option(help="When the recording began, as 2026-05-01T04:30:00+02:00."),
    ] = None,
    formats: Annotated[
        Optional[list[str]],
        typer.Option(
            "--format",
            help="csv (always), jsonl, parquet, audacity or raven; may be repeated.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    evidence: Annotated[
        int,
        typer.Option(
            min=0,
            max=10_000,
            help="Clips and pictures of so many events a class: the surest, and the border's.",
            rich_help_panel=_OUTPUT,
        ),
    ] = 0,
    store: Annotated[
        Optional[Path],
        typer.Option(
            help="SQLite file that the events go into too, for spectro events.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    page: Annotated[
        bool,
        typer.Option("--page", help="One HTML page of one recording.", rich_help_panel=_OUTPUT),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON.", rich_help_panel=_OUTPUT)
    ] = False,
    workers: Workers = None,
    scheduler: Annotated[
        Optional[str],
        typer.Option(
            help="Dask scheduler to scan on, as tcp://host:8786.", rich_help_panel=RUNNING
        ),
    ] = None,
    events: EventFlags,
) -> None:
    """Find the events in recordings of hours and days: what sounds when, and how surely.

    A recording is read as a stream, in windows of the model's length. Windows become events by
    thresholds with hysteresis. A scan that was stopped goes on where it was, file by file; a file
    that cannot be read costs itself, and is tried again the next time.
    """
    from spectro.listening.outputs import Results, failed, write_tables
    from spectro.listening.recordings import find_recordings
    from spectro.plumbing.files import check_writable, sweep

    listener = _Listener.of(model, backend)
    how = listener.settings(hop, site, start_time, events)
    asked = find_recordings(recordings, leave_out=out)
    _check(asked.paths, start_time, page, _known_formats(formats))
    for note in asked.notes:
        console.complain(note)
    out.mkdir(parents=True, exist_ok=True)
    check_writable(out)
    _check_store(store)
    sweep(out)
    paths = [os.path.abspath(path) for path in asked.paths] if scheduler else asked.paths
    tracks = _tracks(paths, out, listener.card, how) if page else None
    run = _Run(paths, str(out.absolute()) if scheduler else str(out), listener, how)
    outcomes, took = run.scan(workers, scheduler, tracks)
    results = Results(out, paths, how, listener.card, failed(outcomes)).with_lost()
    written = write_tables(results, _known_formats(formats))
    written += _extras(results, tracks, evidence)
    written += [] if store is None else _stored(store, results)
    _report(results, outcomes, took, written, json=json)
    _tell_stale(out, page, evidence, _known_formats(formats))
    if results.errors:
        raise typer.Exit(console.SOME_FAILED)


def _check_store(store: Path | None) -> None:
    """Find out before hours are heard whether events can be kept there."""
    if store is not None:
        from spectro.listening.events.store import EventStore

        EventStore(store).prepare()


def _tell_stale(out: Path, page: bool, evidence: int, formats: list[Any]) -> None:
    """Say what lies beside the tables and is of an earlier scan."""
    from spectro.listening.outputs import FILES

    asked = {"page.html": page, "evidence": bool(evidence)}
    asked |= {name: kind in formats for kind, names in FILES.items() for name in names}
    stale = [name for name, now in asked.items() if not now and (out / name).exists()]
    if stale:
        console.warn(f"of an earlier scan, not of this one: {', '.join(stale)} in {out}")


def _stored(store: Path, results: Results) -> list[Path]:
    """Add the events to a file of months, with the times in which the recordings were made."""
    from spectro.listening.events.store import EventStore, add_found

    add_found(EventStore(store), results.found(), results.settings)
    return [store]


def _known_formats(formats: list[str] | None) -> list[Any]:
    from spectro.errors import ConfigError
    from spectro.listening.outputs import FORMATS

    for name in formats or ():
        if name not in FORMATS:
            raise ConfigError(f"--format {name!r} is none of {', '.join(FORMATS)}")
    return list(formats or ())


def _check(paths: Sequence[str], start_time: str | None, page: bool, formats: list[Any]) -> None:
    """Refuse what cannot be before hours are spent on it."""
    from spectro.errors import ConfigError, MissingExtraError
    from spectro.plumbing.extras import is_installed

    for given, option in ((start_time is not None, "--start-time"), (page, "--page")):
        if given and len(paths) > 1:
            raise ConfigError(
                f"{option} is of one recording, and these are {len(paths):,}; "
                "scan them one by one, each with an --out of its own"
            )
    if "parquet" in formats and not is_installed("pyarrow"):
        raise MissingExtraError("parquet", "writing Parquet")


@dataclass(frozen=True)
class _Listener:
    """A model, and what runs it."""

    folder: Path
    backend: BackendName
    card: ModelCard
    name: str  # of the model: its hash

    @classmethod
    def of(cls, folder: Path, backend: str) -> _Listener:
        from spectro.listening.choice import card_of, choose_backend, name_of, remark_on

        if told := remark_on(folder):
            console.complain(told)
        chosen = choose_backend(folder, backend)
        return cls(folder, chosen, card_of(folder), name_of(folder))

    def settings(
        self, hop: float | None, site: str | None, start_time: str | None, flags: EventFlags
    ) -> ScanSettings:
        """Bring together what the command line, a site and the defaults say."""
        from spectro.listening.scan import ScanSettings
        from spectro.listening.windower import check_hop

        if site is None:
            events = flags.settings()
        else:
            base, hop = self._at(site, hop)
            events = flags.over_site(site, base)
        check_hop(hop, self.card.spectrogram)
        events.levels(self.card.labels)
        return ScanSettings(
            model=self.name, backend=self.backend, hop=hop, site=site or "",
            start_time=start_time, events=events,
        )  # fmt: skip

    def _at(self, site: str, hop: float | None) -> tuple[EventSettings, float]:
        """Read the thresholds of a site, and say where they do not fit."""
        from spectro.listening.thresholds.site import at_site

        found = at_site(
            self.folder, site, self.card.labels, model=self.name, hop=hop, backend=self.backend
        )
        for doubt in found.doubts:
            console.warn(doubt)
        return found.settings, found.hop


@dataclass(frozen=True)
class _Run:
    """One scan: of what, into where, with what."""

    paths: Sequence[str]
    out: str
    listener: _Listener
    how: ScanSettings

    def scan(
        self, workers: int | None, scheduler: str | None, tracks: Tracks | None
    ) -> tuple[list[Outcome], float]:
        """Scan with a progress bar; return how each recording went, and the seconds it took."""
        from spectro.listening.backends import open_backend
        from spectro.listening.recordings import known_seconds
        from spectro.listening.scan import scan as scanned

        folder = self.listener.folder.absolute() if scheduler else self.listener.folder
        load = functools.partial(open_backend, str(folder), self.listener.backend)
        pool, threads = _pool(len(self.paths), workers, scheduler)
        lengths = known_seconds(self.paths)
        began = time.perf_counter()
        outcomes = []
        with console.hearing(pool, len(self.paths), sum(lengths.values())) as (executor, show):
            watch = _Watch(show, tracks) if executor is None else None
            each = scanned(
                self.paths, self.out, load, self.how, executor, threads=threads,
                watch=None if watch is None else watch.window,
                tap=None if tracks is None else tracks.sound,
            )  # fmt: skip
            for outcome in each:
                outcomes.append(outcome)
                if watch is not None:
                    watch.over(lengths.get(outcome.recording, outcome.seconds))
                show(0.0 if watch else lengths.get(outcome.recording, outcome.seconds), 1)
        return outcomes, time.perf_counter() - began


class _Watch:
    """Follows the recording that is scanned in this process."""

    def __init__(self, show: console.Heard, tracks: Tracks | None) -> None:
        self._show, self._tracks, self._at = show, tracks, 0.0

    def window(self, window: Any) -> None:
        if self._tracks is not None:
            self._tracks.window(window)
        if window.start - self._at >= 1 or window.start < self._at:
            self._show(window.start - self._at, 0)
            self._at = window.start

    def over(self, seconds: float) -> None:
        """End a recording, however far it was heard."""
        self._show(seconds - self._at, 0)
        self._at = 0.0


def _pool(
    recordings: int, workers: int | None, scheduler: str | None
) -> tuple[AbstractContextManager[Executor | None], int]:
    """Choose who scans: a cluster, a process a recording, or threads that share one recording."""
    if scheduler is not None:
        from spectro.plumbing.cluster import connect

        return connect(scheduler), 1
    from spectro.plumbing.workers import pool, processors

    count = workers or processors()
    processes = min(count, recordings)
    if processes == 1:
        return nullcontext(None), count
    return pool(processes), max(1, count // processes)


def _tracks(paths: Sequence[str], out: Path, card: ModelCard, how: ScanSettings) -> Tracks:
    """Prepare what the page shows; if it was not kept before, the recording is read anew."""
    from spectro.listening.outputs.tracks import Tracks

    tracks = Tracks(paths[0], out, card, how)
    if not tracks.load():
        tracks.forget()
    return tracks


def _extras(results: Results, tracks: Tracks | None, quota: int) -> list[Path]:
    """Write evidence and page."""
    written = []
    if quota:
        from spectro.listening.outputs.evidence import write_evidence

        written.append(write_evidence(results, quota))
    if tracks is not None and not results.errors:
        from spectro.listening.outputs.page import write_page

        tracks.save()
        written.append(write_page(results, tracks))
    return written


def _report(
    results: Results,
    outcomes: Sequence[Outcome],
    took: float,
    written: Sequence[Path],
    *,
    json: bool,
) -> None:
    """Print what was heard, found and written, and, to the error stream, what could not be."""
    from spectro.listening.outputs import Summary

    about = Summary.of(results)
    fresh = sum(one.seconds for one in outcomes if not one.resumed and not one.error)
    if json:
        console.data({
            "recordings": about.recordings, "failed": results.errors, "hours": about.hours,
            "seconds": took, "real_time": fresh / took if fresh else None,
            "events": about.events, "start_times": about.sources,
            "files": [str(path) for path in written],
        })  # fmt: skip
    else:
        for line in _told(results, about.sources):
            console.say(line)
        _show_events(about.events)
        console.say(_pace(results, about.hours, fresh, took, outcomes))
        console.say(f"wrote {', '.join(str(path) for path in written)}")
    for line in _remarks(results, outcomes):
        console.complain(line)
    for recording in list(results.errors)[:_NAMED]:
        console.complain(results.errors[recording])
    if results.errors:
        console.complain(
            f"{len(results.errors):,} of {len(results.recordings):,} recordings could not be read, "
            f"all named in {results.out / 'recordings.csv'}; the next scan tries them again"
        )


def _remarks(results: Results, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Say what was heard in part only."""
    hop, window = results.settings.hop or 0, results.card.spectrogram.duration
    if hop > window * 1.001:
        yield (
            f"a window of {window:g} s every {hop:g} s: {percent(1 - window / hop)} of the sound "
            "lies between them and was not heard; choose a shorter --hop for all of it"
        )
    for one in [one for one in outcomes if one.changed][:_NAMED]:
        yield f"{one.recording}: changed while it was heard; scan again for all of it"


def _told(results: Results, sources: dict[str, int]) -> Iterator[str]:
    """Say when the recordings began, and what told so."""
    if len(results.recordings) <= _FEW:
        for one in results.found():
            yield f"{one.heard.recording}: {one.heard.duration:,.1f} s, {one.began}"
        return
    words = {"start-time": "--start-time", "comment": "the recorder's comment",
             "name": "the file name"}  # fmt: skip
    told = [
        f"{count:,} from {words.get(name, name)}"
        for name, count in sorted(sources.items())
        if name != "none"
    ]
    if sources.get("none"):
        told.append(f"{sources['none']:,} not known")
    yield f"time of day: {', '.join(told)}" if told else "time of day: nothing was read"


def _show_events(events: dict[str, int]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("class", no_wrap=True)
    table.add_column("events", justify="right")
    for label, count in sorted(events.items(), key=lambda item: -item[1]):
        if count:
            table.add_row(Text(console.shown(label)), f"{count:,}")
    if table.row_count:
        console.OUT.print(table)
    else:
        console.say("no events")


def _pace(
    results: Results, hours: float, fresh: float, took: float, outcomes: Sequence[Outcome]
) -> str:
    """Say how much was heard, and how fast."""
    resumed = sum(one.resumed for one in outcomes)
    hop = results.settings.hop or results.card.spectrogram.duration
    pace = f"{fresh / took:,.0f} x real time ({took:.1f} s)" if fresh else "nothing was heard anew"
    before = f", {resumed:,} of them scanned before" if resumed else ""
    heard = len(results.recordings) - len(results.errors)
    return (
        f"{hours:,.2f} h in {counted(heard, 'recording')}{before}: "
        f"{pace}; hop {hop:g} s, {results.settings.backend}"
    )
