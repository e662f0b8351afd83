"""Judge what a model heard: ``review``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from spectro.cli import console

if TYPE_CHECKING:
    from spectro.listening.review.detections import Detection

__all__ = ["review"]

_NAMED = 10  # events that are left out, and why


def review(
    detections: Annotated[
        Path,
        typer.Argument(
            help="Table of events of spectro scan, or folder of evidence of spectro listen."
        ),
    ],
    recordings: Annotated[
        Optional[Path],
        typer.Option(help="Folder of a table's recordings; by default its own."),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(help="CSV of verdicts; by default beside DETECTIONS, NAME.verdicts.csv."),
    ] = None,
    negative: Annotated[
        str, typer.Option(help="Label of clips that are not what the model heard.")
    ] = "background",
    model: Annotated[
        Optional[Path],
        typer.Option(
            help="Model folder whose classes can be chosen too; by default those of the events."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Judge events one by one on a page of this machine; the verdicts are clips to train on.

    Of a scan, give its events.csv and --recordings; of what was heard live, the folder that spectro
    listen --evidence wrote, or a copy of it: a listener goes on replacing clips in its own.
    spectro render, check and thresholds take the verdicts by --verdicts.
    """
    from spectro.listening.review.verdicts import Verdicts

    label = " ".join(negative.split())
    if not label:
        raise typer.BadParameter("name a class", param_hint="--negative")
    run, classes = _needed(), _classes(model)
    if detections.is_dir():
        found, left_out = _kept(detections, recordings)
    else:
        found, left_out = _scanned(detections, recordings or detections.absolute().parent)
    verdicts = Verdicts(out or _beside(detections))
    run.review(found, verdicts, label, classes, port=port, ready=lambda url: _ready(url, open_))
    console.say(f"{len(verdicts):,} verdicts in {verdicts.path}")
    if left_out:
        raise typer.Exit(console.SOME_FAILED)


def _classes(model: Path | None) -> tuple[str, ...]:
    from spectro.models.card import read_card

    return () if model is None else read_card(model).labels


def _beside(detections: Path) -> Path:
    """Return where verdicts go unless told."""
    if detections.is_file():
        return detections.with_suffix(".verdicts.csv")
    whole = detections if detections.name not in ("", "..") else detections.resolve()
    return whole.with_name(f"{whole.name or 'evidence'}.verdicts.csv")


def _kept(folder: Path, recordings: Path | None) -> tuple[list[Detection], bool]:
    """Read what a listener kept; tell whether some of it is left out."""
    from spectro.errors import DatasetError
    from spectro.listening.review.kept import read_kept

    if recordings is not None:
        raise typer.BadParameter(
            "is for a table of events; a folder of evidence holds its own clips",
            param_hint="--recordings",
        )
    kept = read_kept(folder)
    _complain(kept.problems, "events left out")
    if not kept.found:
        raise DatasetError(
            f"{folder}: holds no event that can be judged; name the folder that spectro listen "
            "--evidence was given, or the events.csv of a scan"
        )
    return kept.found, bool(kept.problems)


def _scanned(table: Path, folder: Path) -> tuple[list[Detection], bool]:
    """Read the events of a scan; tell whether some are left out."""
    from spectro.errors import DatasetError
    from spectro.listening.events.tables import read_csv
    from spectro.listening.review.detections import read_detections

    _check(table, folder)
    found = read_detections(read_csv(table), folder)
    lines = [f"{name}: is not below {folder}, and its events are left out" for name in found.absent]
    _complain(lines, "recordings; see --recordings")
    if not found.found:
        raise DatasetError(f"{table}: has no event to judge below {folder}; {_way_on(folder)}")
    return found.found, bool(found.absent)


def _complain(lines: list[str], what: str) -> None:
    for line in lines[:_NAMED]:
        console.complain(line)
    if len(lines) > _NAMED:
        console.complain(f"and {len(lines) - _NAMED:,} other {what}")


def _way_on(folder: Path) -> str:
    """Say how events whose recordings are not there can be judged."""
    from spectro.listening.review.kept import holds_evidence

    if holds_evidence(folder):
        return f"spectro review {folder} judges what spectro listen kept there"
    return "give --recordings FOLDER; of what was heard live, spectro review EVIDENCE"


def _check(table: Path, folder: Path) -> None:
    from spectro.errors import DatasetError
    from spectro.listening.events.store import is_store

    for path, there in ((table, table.exists()), (folder, folder.is_dir())):
        if not there:
            raise DatasetError(f"{path}: no such file or folder")
    if table.is_file() and is_store(table):
        raise DatasetError(
            f"{table}: is a file of events of months, without their sound; of what was heard live, "
            "spectro review EVIDENCE, the folder that spectro listen --evidence wrote; of scans, "
            f"spectro events {table} --csv FILE, and review that with --recordings FOLDER"
        )


def _ready(address: str, show: bool) -> None:
    console.say(f"judge at {address} (Ctrl-C ends it; every verdict is saved)")
    if show:
        typer.launch(address)


def _needed() -> Any:
    """Import what serves, or say how to install it."""
    from spectro.errors import MissingExtraError

    try:
        from spectro.listening.review import run
    except ImportError as error:
        if (error.name or "").startswith("spectro"):
            raise
        raise MissingExtraError("serve", "spectro review") from None
    return run
