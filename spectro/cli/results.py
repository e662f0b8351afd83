"""Commands that look at what was trained: ``report``, ``runs``, ``compare``."""

from __future__ import annotations

import json as json_format
import os
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from spectro.cli import console, tables
from spectro.cli.options import RunsFolder

__all__ = ["compare", "report", "runs"]


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
    from spectro.plumbing.files import check_ours
    from spectro.report.write import write_report

    opened = latest_run("runs") if run is None else Run.load(run)
    if out is not None:
        check_ours(out, "<!doctype html>")
    with console.counting("examining", "clips") as progress:
        path = write_report(opened, out, progress=progress)
    console.say(f"report: {path}")
    if open_ and _has_browser():
        typer.launch(path.absolute().as_uri())


def _has_browser() -> bool:
    """Tell whether there is a screen for a browser: without one, starting it only complains."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def runs(
    folder: RunsFolder = Path("runs"),
    dataset: Annotated[Optional[str], typer.Option(help="Only runs on this dataset.")] = None,
    recipe: Annotated[Optional[str], typer.Option(help="Only runs of this recipe.")] = None,
    sort: Annotated[
        str, typer.Option(help="date, accuracy, macro_f1, dataset, recipe...")
    ] = "date",
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with all that is known.")
    ] = False,
) -> None:
    """List the runs that are there, with dataset, recipe, score and date."""
    from spectro.crossval.runs import list_runs, to_json

    found = list_runs(
        folder,
        dataset=dataset,
        recipe=recipe,
        sort=sort,
        damaged=lambda error: console.complain(str(error)),
    )
    if json:
        console.data(json_format.loads(to_json(found)), indent=2)
    elif found.empty:
        console.say(f"no run in {folder}" + (" that is asked for" if dataset or recipe else ""))
    else:
        tables.runs(found, folder)


def compare(
    run_a: Annotated[Path, typer.Argument(help="Run folder, the one before.")],
    run_b: Annotated[Path, typer.Argument(help="Run folder, the one after.")],
    csv: Annotated[
        Optional[Path], typer.Option(help="Write the clips that changed sides here.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Say whether one run is better than another, or whether that may be chance."""
    from spectro.crossval.run import Run
    from spectro.crossval.runs import compare_runs
    from spectro.plumbing.files import check_ours, write_text

    first, second = Run.load(run_a), Run.load(run_b)
    found = compare_runs(first, second, names=(run_a.name, run_b.name), seed=seed)
    if csv is not None:
        check_ours(csv, ",".join(found.moved.columns))
        write_text(csv, found.moved.to_csv(index=False, lineterminator="\n"))
    tables.comparison(found, (run_a.name, run_b.name))
    if csv is not None:
        console.say(f"clips that changed sides: {csv}")
