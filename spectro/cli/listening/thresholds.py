"""``spectro thresholds``: each class's threshold from a budget of false events an hour."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.table import Table
from rich.text import Text

from spectro.cli import console
from spectro.cli.listening.event_flags import event_options
from spectro.cli.options import Workers, with_options
from spectro.listening.events.settings import EventSettings
from spectro.plumbing.words import counted, percent

if TYPE_CHECKING:
    from spectro.listening.thresholds import Background
    from spectro.listening.thresholds.background import Scoring
    from spectro.listening.thresholds.confirmed import Stretches
    from spectro.listening.thresholds.site import CurvePoint, SiteThresholds

__all__ = ["thresholds"]


def _events(config: Path | None, ignore: list[str] | None, **flags: Any) -> EventSettings:
    base = EventSettings() if config is None else EventSettings.from_toml(config)
    least = [value for value in (flags["off"], flags["extent"]) if value is not None]
    on = max([base.on, *least])  # it is chosen here, and not below the others
    return base.replace(ignore=tuple(ignore) if ignore else None, **{**flags, "on": on})


@with_options(
    events=event_options(
        "off", "extent", "smoothing", "smooth_windows", "min_length", "merge_gap", "level_gate",
        build=_events,
    )
)  # fmt: skip
def thresholds(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    more: Annotated[
        Optional[list[str]], typer.Argument(metavar="FILES", help="More of --background.")
    ] = None,
    *,
    background: Annotated[
        list[str],
        typer.Option(help="Recordings, or folders of them, with no sound of the classes."),
    ],
    budget: Annotated[
        str, typer.Option(help="False events of each class: 0.5/hour, 12/day, a number an hour.")
    ],
    site: Annotated[str, typer.Option(help="Name of the place; spectro scan --site takes it.")],
    verdicts: Annotated[
        Optional[list[Path]],
        typer.Option(
            help="Table of spectro review: what it confirms in these recordings is no background; "
            "may be repeated."
        ),
    ] = None,
    hop: Annotated[
        Optional[float],
        typer.Option(help="Seconds between windows, as when scanning; default, a window's length."),
    ] = None,
    backend: Annotated[
        str, typer.Option(help="auto, torch, onnx or int8; auto takes an export that is there.")
    ] = "auto",
    unsupported: Annotated[
        bool, typer.Option("--unsupported", help="Go on with too few hours, and claim nothing.")
    ] = False,
    workers: Workers = None,
    json: Annotated[bool, typer.Option("--json", help="Print the thresholds as JSON.")] = False,
    events: EventSettings,
) -> None:
    """Choose each class's threshold from a budget of false alarms on your own background.

    Scores the recordings, makes events of them as a scan does, and takes the lowest threshold at
    which the false events an hour are within the budget, with 95 % confidence. Nothing is heard
    twice: with another budget, it takes a second.
    """
    from spectro.listening.choice import card_of, choose_backend, name_of, remark_on
    from spectro.listening.thresholds import choose_thresholds
    from spectro.listening.thresholds.background import Scoring
    from spectro.listening.thresholds.bounds import parse_budget
    from spectro.listening.thresholds.confirmed import read_confirmed
    from spectro.listening.thresholds.curve import save_curve

    rate, how = parse_budget(budget), choose_backend(model, backend)
    card = card_of(model)
    if told := remark_on(model):
        console.complain(told)
    events.levels(card.labels)
    recordings = _recordings([*background, *(more or [])], model)
    if not unsupported:
        _check_early(recordings, rate)
    step = card.spectrogram.duration if hop is None else hop
    raised = [label for label in card.labels if label not in events.ignore]
    confirmed = read_confirmed(verdicts or (), raised)
    scoring = Scoring(str(model), site, name_of(model), how, step)
    heard, failures = _hear(recordings, scoring, workers)
    for line in failures:
        console.complain(line)
    found = choose_thresholds(
        _cut(heard, confirmed),
        card.labels,
        site=site,
        budget=rate,
        hop=step,
        settings=events,
        detections=card.detections,
        unsupported=unsupported,
        model=scoring.model,
        backend=how,  # type: ignore[arg-type]
    )
    kept = [found.save(model), *save_curve(model, found)]
    _show(found, kept, events.ignore, json=json)
    if failures:
        raise typer.Exit(console.SOME_FAILED)


def _recordings(asked: list[str], model: Path) -> list[str]:
    """Find the recordings, and say what is not among them."""
    from spectro.listening.recordings import find_recordings

    found = find_recordings(asked, leave_out=model)
    for note in found.notes:
        console.complain(note)
    return found.paths


def _cut(heard: list[Background], confirmed: Stretches) -> list[Background]:
    """Cut out what was confirmed, and say how much that is, and which recordings are not there."""
    from spectro.listening.thresholds.confirmed import without

    left = [without(one, confirmed) for one in heard]
    hours = sum(one.hours for one in heard) - sum(one.hours for one in left)
    lost = sorted(set(confirmed) - {os.path.realpath(one.recording) for one in heard})
    if confirmed:
        console.report(f"{60 * hours:.1f} minutes hold confirmed sounds, and are no background")
    if lost:
        console.warn(
            f"{counted(len(lost), 'recording')} with confirmed sounds not among the background, "
            f"as {lost[0]}: were they moved?"
        )
    return [one for one in left if one.hours > 0]


def _check_early(recordings: Sequence[str], rate: float) -> None:
    """Refuse a budget that so many hours cannot support before they are heard."""
    from spectro.listening.recordings import known_seconds
    from spectro.listening.thresholds import check_budget

    known = known_seconds(recordings)
    if len(known) == len(recordings):  # else what can be read, and how long it is, is told later
        check_budget(sum(known.values()) / 3600, rate)


def _hear(
    recordings: Sequence[str], scoring: Scoring, workers: int | None
) -> tuple[list[Background], list[str]]:
    """Score the recordings; return those that could be read, and what is wrong with the others."""
    from spectro.listening.thresholds.background import hear
    from spectro.plumbing.workers import pool

    found: dict[str, Background] = {}
    failures = []
    with (
        nullcontext() if workers == 1 else pool(workers) as executor,
        console.counting("hearing", "recordings") as show,
    ):
        for n, (told, one) in enumerate(hear(recordings, scoring.load, scoring, executor), 1):
            if one is None:
                failures.append(told.error)
            else:
                found[told.recording] = one
            show(n, len(recordings))
    return [found[name] for name in recordings if name in found], sorted(failures)


def _show(
    found: SiteThresholds, kept: Sequence[Path], ignored: Sequence[str], *, json: bool
) -> None:
    """Print thresholds with what they cost and keep, and what is claimed of them."""
    if json:
        console.data({**found.to_dict(), "files": [str(path) for path in kept]})
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("class", no_wrap=True)
    bound = f"at most ({found.confidence:.0%})"
    for name in ("threshold", "alarms", "an hour", bound, "detections kept"):
        table.add_column(name, justify="right")
    for label, evidence in found.classes.items():
        table.add_row(Text(console.shown(label)), *_cells(evidence.chosen))
    console.OUT.print(table)
    _claim(found, ignored)
    for path in kept:
        console.note(f"wrote {path}")


def _cells(point: CurvePoint | None) -> tuple[str, ...]:
    if point is None:
        return "never raised", "-", "-", "-", "-"
    rates = (f"{point.per_hour:.3g}", f"{point.bound:.3g}")
    return f"{point.on:.4f}", f"{point.events:,}", *rates, percent(point.kept)


def _claim(found: SiteThresholds, ignored: Sequence[str]) -> None:
    """Say what was heard, what is claimed of it, and what is not."""
    from spectro.listening.thresholds.bounds import hours_needed, poisson_upper

    chosen = [e.chosen for e in found.classes.values() if e.chosen is not None]
    events = sum(point.events for point in chosen)
    most = poisson_upper(events, found.confidence) / found.hours
    console.say(
        f"{found.hours:.3g} h of background in {counted(len(found.recordings), 'recording')}, hop "
        f"{found.hop:g} s: all classes together {events:,} alarms, {events / found.hours:.3g} an "
        f"hour (at most {most:.3g})"
    )
    if not found.supported:
        needed = hours_needed(found.budget, found.confidence)
        console.warn(
            f"{found.hours:.3g} h cannot support {found.budget:g} an hour, which takes "
            f"{needed:.3g} h: no class raised an alarm here, and nothing is claimed beyond that"
        )
    never = [name for name, e in found.classes.items() if not e.chosen and name not in ignored]
    for label in never:
        console.warn(
            f"no threshold holds {label} within the budget: it is never raised; leave it out with "
            f"--ignore, allow a higher --budget, or review what it was raised on"
        )
    if chosen and all(point.kept is None for point in chosen):
        console.note(
            "what share of detections a threshold keeps is not known: the model's card has no "
            "out-of-fold probabilities; spectro train-final writes them"
        )
