"""Judge what a model heard: ``review``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from spectro.cli import console

__all__ = ["review"]


def review(
    detections: Annotated[Path, typer.Argument(help="Table of events that spectro scan wrote.")],
    recordings: Annotated[
        Optional[Path],
        typer.Option(help="Folder of the recordings; by default the table's own."),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(help="CSV of verdicts; by default beside the table, NAME.verdicts.csv."),
    ] = None,
    negative: Annotated[
        str, typer.Option(help="Label of clips that are not what the model heard.")
    ] = "background",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    open_: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
) -> None:
    """Judge events one by one on a page of this machine; the verdicts are clips to train on."""
    from spectro.listening.events.tables import read_csv
    from spectro.listening.review.detections import read_detections
    from spectro.listening.review.verdicts import Verdicts

    label = " ".join(negative.split())
    if not label:
        raise typer.BadParameter("name a class", param_hint="--negative")
    run = _needed()
    folder = recordings or detections.absolute().parent
    _check(detections, folder)
    found = read_detections(read_csv(detections), folder)
    verdicts = Verdicts(out or detections.with_suffix(".verdicts.csv"))
    for name in found.absent[:10]:
        console.complain(f"{name}: is not below {folder}, and its events are left out")
    if len(found.absent) > 10:
        console.complain(f"and {len(found.absent) - 10:,} other recordings; see --recordings")
    if not found.found:
        from spectro.errors import DatasetError

        raise DatasetError(
            f"{detections}: has no event to judge below {folder}; give --recordings FOLDER"
        )
    run.review(found.found, verdicts, label, port=port, ready=lambda url: _ready(url, open_))
    console.say(f"{len(verdicts):,} verdicts in {verdicts.path}")
    if found.absent:
        raise typer.Exit(console.SOME_FAILED)


def _check(detections: Path, folder: Path) -> None:
    from spectro.errors import DatasetError
    from spectro.listening.events.store import is_store

    for path, there in ((detections, detections.exists()), (folder, folder.is_dir())):
        if not there:
            raise DatasetError(f"{path}: no such file or folder")
    if detections.is_file() and is_store(detections):
        raise DatasetError(
            f"{detections}: is a file of events of months; spectro events {detections} --csv FILE "
            "makes a table of those to judge"
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
