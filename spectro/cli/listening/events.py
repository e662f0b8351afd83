"""What was heard: ``events``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from spectro.cli import console
from spectro.plumbing.words import counted, percent

if TYPE_CHECKING:
    from spectro.listening.activity.choose import Heard
    from spectro.listening.events.finding import Event

__all__ = ["events"]


def events(
    file: Annotated[
        Path, typer.Argument(help="SQLite file of events, or a table that spectro scan wrote.")
    ],
    since: Annotated[
        Optional[str], typer.Option(help="From this time on, as 2026-05-01 or 2026-05-01T04:30.")
    ] = None,
    until: Annotated[Optional[str], typer.Option(help="Before this time.")] = None,
    label: Annotated[
        Optional[list[str]], typer.Option(help="Only this class; may be given again.")
    ] = None,
    site: Annotated[
        Optional[list[str]], typer.Option(help="Only this site; may be given again.")
    ] = None,
    min_probability: Annotated[
        float, typer.Option(min=0, max=1, help="Only events whose peak reaches this.")
    ] = 0.0,
    csv: Annotated[Optional[Path], typer.Option(help="Write the events here.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, a line an event.")] = False,
    picture: Annotated[
        Optional[Path],
        typer.Option(help="Draw activity by hour and day here, as SVG; unheard hours are hatched."),
    ] = None,
) -> None:
    """List, write or draw what was heard: by time, class, site and probability."""
    from spectro.listening.activity.choose import Choice, choose, read_events
    from spectro.listening.events.tables import csv_header, json_line, write_csv
    from spectro.plumbing.files import check_ours

    if picture is not None and picture.suffix.lower() != ".svg":
        raise typer.BadParameter("is drawn as SVG; name it .svg", param_hint="--picture")
    labels, sites = frozenset(label or ()), frozenset(site or ())
    asked = Choice(_time(since, "--since"), _time(until, "--until"), labels, sites, min_probability)
    found = read_events(file)
    heard = choose(found, asked)
    if asked.since or asked.until:
        _tell_untimed(choose(found, asked._replace(since=None, until=None)).events)
    if csv is not None:
        if csv.exists() and csv.samefile(file):
            raise typer.BadParameter("would replace the file that is read", param_hint="--csv")
        check_ours(csv, csv_header())
        write_csv(csv, heard.events)
        if not json:
            console.say(f"{counted(len(heard.events), 'event')}: {csv}")
    if picture is not None:
        _draw(picture, heard, file)
    if json:
        for event in heard.events:
            console.say(json_line(event).rstrip())
    elif csv is None and picture is None:
        _list(heard.events)


def _time(text: str | None, option: str) -> datetime | None:
    """Read a time without a zone: events are compared by the clock that wrote them."""
    from spectro.errors import ConfigError
    from spectro.listening.recorders import parse_start_time

    if text is None:
        return None
    try:
        time = parse_start_time(f"{text}T00:00" if len(text.strip()) == 10 else text)
    except ConfigError:
        time = None
    if time is None or time.tzinfo is not None:
        raise typer.BadParameter(
            "write it as 2026-05-01 or 2026-05-01T04:30, without a zone: by the recorder's clock",
            param_hint=option,
        )
    return time


def _tell_untimed(found: Sequence[Event]) -> None:
    """Say how many events are left out because they have no time."""
    untimed = sum(not event.begin_time for event in found)
    if untimed:
        one = counted(untimed, "event has", "events have")
        console.complain(f"{one} no time, and so are left out; spectro scan --start-time gives one")


def _draw(picture: Path, heard: Heard, file: Path) -> None:
    from spectro.listening.activity.counts import count
    from spectro.listening.activity.draw import activity_svg
    from spectro.plumbing.files import check_ours, write_text

    check_ours(picture, "<svg")
    write_text(picture, activity_svg(count(heard), f"What was heard: {file.name}"))
    console.say(f"activity: {picture}")


def _list(found: Sequence[Event]) -> None:
    """Print a table, and how many there are of each class."""
    from collections import Counter

    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("time", "class", "peak", "seconds", "site", "recording", "at"):
        numbers = name in ("peak", "seconds", "at")
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for event in found:
        cells = (
            event.begin_time.replace("T", " ")[:19] or "not known",
            event.label,
            percent(event.peak),
            f"{event.end - event.start:.1f}",
            event.site,
            event.recording,
            f"{event.start:.1f} s",
        )
        table.add_row(*(Text(console.shown(cell)) for cell in cells))
    if found:
        console.OUT.print(table)
    counts = Counter(event.label for event in found).most_common()
    told = ", ".join(f"{number:,} {console.shown(label)}" for label, number in counts)
    console.say(counted(len(found), "event") + (f": {told}" if told else ""))
