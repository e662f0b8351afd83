"""``spectro score-events``: how well detected events agree with those that people marked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.table import Table
from rich.text import Text

from spectro.cli import console
from spectro.plumbing.words import counted, percent

if TYPE_CHECKING:
    from spectro.listening.events.label_files import Side, Sides
    from spectro.listening.events.scoring import ClassScore, EventScores

__all__ = ["score_events"]

_LATE = 0.1  # s that an event may end behind its recording: people's marks are not exact

_Labels = "a table of Raven, BirdNET or your own, Audacity labels, or a folder of them"


def score_events(
    truth: Annotated[Path, typer.Argument(help=f"What people marked: {_Labels}.")],
    detected: Annotated[Path, typer.Argument(help=f"What was detected: {_Labels}, or of a scan.")],
    collar: Annotated[
        Optional[float],
        typer.Option(
            min=0, help="Seconds that starts may differ, and ends; default, any overlap counts."
        ),
    ] = None,
    end_share: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="With --collar: share of its length that an end may be off."
        ),
    ] = 0.5,
    label: Annotated[
        Optional[str], typer.Option(help="Column of the tables that names the class.")
    ] = None,
    rename: Annotated[
        Optional[list[str]],
        typer.Option(help="FROM=TO, a class that the two sides name differently; FROM= drops it."),
    ] = None,
    durations: Annotated[
        Optional[list[Path]],
        typer.Option(
            help="All recordings listened to, for alarms an hour: sounds, folders, or a CSV with "
            "recording, duration."
        ),
    ] = None,
    marked_only: Annotated[
        bool,
        typer.Option(
            "--marked-only",
            help="Score only recordings that have a file of marks, which may be an empty one; by "
            "default, one without counts as one in which nothing sounds.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score detected events against marked ones: precision, recall, F1, false alarms an hour."""
    from spectro.listening.events import scoring
    from spectro.listening.events.durations import read_durations
    from spectro.listening.events.label_files import check_label_column, parse_renames, read_side
    from spectro.listening.events.label_files import together as brought_together

    if label is not None:
        check_label_column((truth, detected), label)
    marked, found = (read_side(side, label_column=label) for side in (truth, detected))
    asked, remarks = read_durations(durations) if durations else None, list[str]()
    if asked is None and found.scans:
        asked, remarks = _of_scans(marked, found)
    if marked_only:
        found, asked = _of_marked(marked, found, asked)
    sides = brought_together(marked.events, found.events, asked, parse_renames(rename or ()))
    scores = scoring.score_events(
        sides.truth, sides.detected, durations=sides.durations, collar=collar, end_share=end_share
    )
    if json:
        console.data({**_as_data(scores, sides), "notes": [*_remarks(scores, sides), *remarks]})
        return
    _show(scores)
    for line in [*_remarks(scores, sides), *remarks]:
        console.note(line)


def _of_scans(marked: Side, found: Side) -> tuple[dict[str, float] | None, list[str]]:
    """Take the lengths that a scan tells, if it heard all recordings that have marks."""
    from spectro.errors import DatasetError
    from spectro.listening.events.durations import read_durations, short_name

    lengths = read_durations(found.scans)
    heard = {short_name(name) for name in lengths}
    names = {one.recording for one in marked.events}
    unheard = sorted(name for name in names if short_name(name) not in heard)
    if names and len(unheard) == len(names):
        raise DatasetError(
            f"the scan heard none of the recordings that have marks, as {unheard[0]}: it heard "
            f"{', '.join(sorted(lengths)[:3])}; name them alike, or scan the recordings with marks"
        )
    if unheard:
        told = f"{_counted(len(unheard))} with marks that the scan did not hear, as {unheard[0]}"
        return None, [told]
    return lengths, [f"the scan heard {_counted(len(lengths))}"]


def _of_marked(
    marked: Side, found: Side, lengths: dict[str, float] | None
) -> tuple[Side, dict[str, float] | None]:
    """Leave out the events and the lengths of recordings without marks."""
    from spectro.listening.events.durations import short_name

    names = marked.recordings
    found = found._replace(events=[e for e in found.events if short_name(e.recording) in names])
    if lengths is not None:
        lengths = {name: seconds for name, seconds in lengths.items() if short_name(name) in names}
    return found, lengths


def _as_data(scores: EventScores, sides: Sides) -> dict[str, object]:
    return {
        "rule": scores.rule,
        "hours": scores.overall.hours,
        "recordings": len(_recordings(sides)),
        "overall": scores.overall.row(),
        "macro_f1": scores.macro_f1,
        "classes": [score.row() for score in scores.classes.values()],
    }


def _recordings(sides: Sides) -> set[str]:
    if sides.durations is not None:
        return set(sides.durations)
    return {one.recording for one in (*sides.truth, *sides.detected)}


def _show(scores: EventScores) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("class", overflow="fold")
    names = ("marked", "detected", "found", "precision", "recall", "F1", "false", "per hour")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for name, score in scores.classes.items():
        table.add_row(Text(console.shown(name)), *_cells(score))
    table.add_row(Text("all", style="bold"), *_cells(scores.overall))
    console.OUT.print(table)


def _cells(score: ClassScore) -> tuple[str, ...]:
    rate = score.alarms_per_hour
    return (
        *(f"{count:,}" for count in (score.marked, score.detected, score.found)),
        *(percent(share) for share in (score.precision, score.recall, score.f1)),
        f"{score.false_alarms:,}",
        "-" if rate is None else f"{rate:.3g}",
    )


def _remarks(scores: EventScores, sides: Sides) -> list[str]:
    """Say what the numbers mean, and what may be wrong with what they are made of."""
    marked = {one.recording for one in sides.truth}
    heard = {one.recording for one in sides.detected}
    hours = scores.overall.hours
    told = "" if hours is None else f", {hours:.3g} h"
    count = len(_recordings(sides))
    lines = [f"{_counted(count)}{told}; events are paired by: {scores.rule}"]
    if hours is None:
        lines.append("alarms an hour are not known: name all recordings with --durations")
    if unmarked := heard - marked:
        alarms = sum(one.recording in unmarked for one in sides.detected)
        lines.append(
            f"{_counted(len(unmarked))} with detected events and no marked one, as "
            f"{min(unmarked)}: their {counted(alarms, 'event')} count as false alarms; if nobody "
            "marked them, leave them out with --marked-only"
        )
    if sides.durations is None and marked - heard:
        lines.append(
            f"{_counted(len(marked - heard))} with marked events and no detected one, as "
            f"{min(marked - heard)}: all of these count as missed"
        )
    lines += _doubts(sides)
    missing = [name for name, score in scores.classes.items() if not score.detected]
    foreign = [name for name, score in scores.classes.items() if not score.marked]
    if missing and foreign:
        lines.append(
            f"never detected: {', '.join(missing)}; never marked: {', '.join(foreign)}; "
            "if two of them are one class, --rename FROM=TO"
        )
    return lines


def _doubts(sides: Sides) -> list[str]:
    """Name events that are listed twice, or end behind their recording."""
    lines = []
    for events, what in ((sides.truth, "marked"), (sides.detected, "detected")):
        again = len(events) - len(set(events))
        if again:
            lines.append(f"{counted(again, f'{what} event')} listed twice: each counts as another")
        known = sides.durations or {}
        late = [one for one in events if one.end > known.get(one.recording, one.end) + _LATE]
        if late:
            one = late[0]
            lines.append(
                f"{counted(len(late), f'{what} event')} behind the end of the recording, as "
                f"{one.label} to {one.end:g} s in {one.recording}, which has "
                f"{known[one.recording]:g} s: check --durations, and whose times these are"
            )
    return lines


def _counted(recordings: int) -> str:
    return "1 recording" if recordings == 1 else f"{recordings:,} recordings"
