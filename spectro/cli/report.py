"""The command that writes a run's report: ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from spectro import console

__all__ = ["report"]


def report(
    run: Annotated[Path, typer.Argument(help="Run folder, as training wrote it.")],
    out: Annotated[
        Optional[Path], typer.Option(help="File to write; by default report.html in the run.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write one HTML file with all there is to say of a run: scores, mistakes, sounds, data."""
    from spectro.report.write import write_report
    from spectro.run import Run

    with console.counting("examining", "clips") as progress:
        path = write_report(Run.load(run), out, progress=progress)
    console.say(f"report: {path}")
    if open_:
        typer.launch(path.absolute().as_uri())
