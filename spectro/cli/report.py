"""The command that writes a run's report: ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from spectro.cli import console

__all__ = ["report"]


def report(
    run: Annotated[
        Optional[Path], typer.Argument(help="Run folder; by default the one scored last in runs.")
    ] = None,
    out: Annotated[
        Optional[Path], typer.Option(help="File to write; by default report.html in the run.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write one HTML file with all there is to say of a run: scores, mistakes, sounds, data."""
    from spectro.crossval.run import Run, latest_run
    from spectro.report.write import write_report

    opened = latest_run("runs") if run is None else Run.load(run)
    with console.counting("examining", "clips") as progress:
        path = write_report(opened, out, progress=progress)
    console.say(f"report: {path}")
    if open_:
        typer.launch(path.absolute().as_uri())
