"""The command that examines a dataset before anything is drawn or trained: ``check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from spectro.cli import console, tables
from spectro.cli.interrupt import working
from spectro.cli.options import SOME_FAILED

if TYPE_CHECKING:
    from spectro.clips.check import Checkup

__all__ = ["check"]


def check(
    dataset: Annotated[
        str, typer.Argument(help="Folder of a dataset or CSV of clips, or its URL.")
    ],
    csv: Annotated[Optional[Path], typer.Option(help="CSV to write all findings to.")] = None,
    vitals: Annotated[
        Optional[Path], typer.Option(help="CSV to write what was measured of each clip to.")
    ] = None,
    quarantine: Annotated[
        Optional[Path],
        typer.Option(help="CSV to write clips to that render and training should leave out."),
    ] = None,
    layout: Annotated[
        str, typer.Option(help="auto, urbansound8k, esc50, spoken-digits, folder or sample.")
    ] = "auto",
    esc10: Annotated[bool, typer.Option("--esc10", help="Of ESC-50, only ESC-10.")] = False,
    n_folds: Annotated[Optional[int], typer.Option(help="Folds to make where none are.")] = None,
    fold_seed: Annotated[Optional[int], typer.Option(help="Seed of making them.")] = None,
    group_pattern: Annotated[
        Optional[str], typer.Option(help="Regular expression for the recording in a file name.")
    ] = None,
    folds_file: Annotated[Optional[Path], typer.Option(help="Where made folds are kept.")] = None,
    workers: Annotated[Optional[int], typer.Option(min=1, help="Processes; default, all.")] = None,
) -> None:
    """Look for broken, silent, clipped, doubled and leaking clips, before any training."""
    from spectro.clips import check as doctor
    from spectro.clips import datasets
    from spectro.clips import quarantine as leaving_out
    from spectro.plumbing.workers import pool

    if quarantine is not None:  # told before a minute of reading
        leaving_out.check_free(quarantine)
    clips = datasets.load(
        dataset,
        layout,
        esc10=esc10 or None,
        n_folds=n_folds,
        seed=fold_seed,
        group_pattern=group_pattern,
        folds_file=folds_file,
    )
    console.dataset(clips)
    told = "nothing is written; run it again to check all of them"
    n = len(clips.clips)
    with working(pool(workers), "checking", clips=n, told=told) as (executor, progress):
        checkup = doctor.check(clips, executor=executor, progress=progress)
    tables.checkup(_problems(checkup), _classes(checkup), _formats(checkup))
    if csv is not None:
        checkup.save(csv)
        console.say(f"all findings: {csv}")
    if vitals is not None:
        checkup.save_vitals(vitals)
        console.say(f"what was measured of each clip: {vitals}")
    if quarantine is not None:
        left_out = leaving_out.write(quarantine, checkup)
        console.say(f"{left_out:,} clips to leave out with --quarantine {quarantine}")
    console.say(_verdict(checkup, advise=quarantine is None))
    if checkup.count("error"):
        raise typer.Exit(SOME_FAILED)


def _verdict(checkup: Checkup, *, advise: bool) -> str:
    """Sum it up in a line."""
    n, errors, warnings = len(checkup.clips), checkup.count("error"), checkup.count("warning")
    if not errors and not warnings:
        return f"{n:,} clips, nothing is wrong with any"
    advice = "; --quarantine FILE writes down which to leave out" if errors and advise else ""
    return f"{n:,} clips, {errors:,} with errors and {warnings:,} with warnings{advice}"


def _problems(checkup: Checkup) -> list[dict[str, Any]]:
    """Count each problem and give an example; the worst first."""
    rows = []
    for problem, found in checkup.findings.groupby("problem", sort=False):
        first = found.iloc[0]
        where = f"{first['path']}: " if first["path"] else ""
        row = {"problem": problem, "severity": first["severity"], "count": len(found)}
        rows.append({**row, "example": f"{where}{first['detail']}"})
    return rows


def _classes(checkup: Checkup) -> list[dict[str, Any]]:
    """Say how much there is of each class, and how evenly the folds share it."""
    clips = checkup.clips
    folds = clips["fold"].unique()
    rows = []
    for label, own in clips.groupby("label"):
        in_fold = own["fold"].value_counts().reindex(folds, fill_value=0)
        rows.append(
            {
                "label": label,
                "clips": len(own),
                "share": len(own) / len(clips),
                "minutes": own["seconds"].sum() / 60,
                "in_a_fold": f"{in_fold.min():,} to {in_fold.max():,}",
            }
        )
    return rows


def _formats(checkup: Checkup) -> list[str]:
    """Say in which formats the clips come, the commonest first, and how long they are."""
    read = checkup.clips[checkup.clips["sr"].notna()]
    if read.empty:
        return []
    kinds = read.groupby(["container", "codec", "sr", "channels"]).size().reset_index(name="n")
    lines = [
        f"{kind.n:,} x {kind.container} {kind.codec}, {kind.sr:,} Hz, {kind.channels} ch."
        for kind in kinds.sort_values("n", ascending=False, kind="stable").itertuples()
    ]
    seconds = read["seconds"]
    span = f"{seconds.min():.2f} s to {seconds.max():.2f} s, half of them {seconds.median():.2f} s"
    return [*lines, f"{span} or longer, {seconds.sum() / 3600:.2f} hours in all"]
