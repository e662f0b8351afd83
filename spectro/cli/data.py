"""Commands that make data and draw it: ``sample``, ``render``."""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from spectro.cli import console
from spectro.cli.interrupt import working
from spectro.cli.options import (
    SOME_FAILED,
    ConfigFile,
    Quarantine,
    Recipe,
    spectrogram_config,
)
from spectro.cli.picture import (
    Channels,
    Cmap,
    DbRange,
    Duration,
    Fmax,
    Fmin,
    HopLength,
    NFft,
    NMels,
    Pad,
    Ref,
    Sr,
    TopDb,
    WinLength,
)

if TYPE_CHECKING:
    from spectro.clips.datasets import Dataset
    from spectro.pictures.render import RenderSummary
    from spectro.pictures.settings import SpectrogramConfig

__all__ = ["render", "sample"]

_NAMED = 30  # failures printed; all of them are in failures.csv


def sample(
    folder: Annotated[Path, typer.Argument(help="Where to put it.")] = Path("data/sample"),
    seed: Annotated[int, typer.Option(help="Another seed makes other sounds.")] = 0,
    sources: Annotated[int, typer.Option(help="Recordings of each class in each fold.")] = 3,
    slices: Annotated[int, typer.Option(help="Clips of each recording.")] = 3,
    folds: Annotated[int, typer.Option(help="Folds.")] = 10,
) -> None:
    """Synthesise a small dataset in UrbanSound8K's layout, to try everything on."""
    from spectro.clips.sample.write import write_sample

    with console.counting("synthesising", "clips") as progress:
        root = write_sample(
            folder, seed=seed, sources=sources, slices=slices, folds=folds, progress=progress
        )
    console.say(f"sample dataset: {root}")


def render(
    dataset: Annotated[
        str, typer.Argument(help="Folder of a dataset or CSV of clips, or its URL.")
    ],
    out: Annotated[str, typer.Option(help="Folder for the pictures, or its URL.")],
    layout: Annotated[
        str, typer.Option(help="auto, urbansound8k, esc50, spoken-digits, folder or sample.")
    ] = "auto",
    config: ConfigFile = None,
    recipe: Recipe = None,
    sr: Sr = None,
    duration: Duration = None,
    n_fft: NFft = None,
    win_length: WinLength = None,
    hop_length: HopLength = None,
    n_mels: NMels = None,
    fmin: Fmin = None,
    fmax: Fmax = None,
    ref: Ref = None,
    top_db: TopDb = None,
    db_range: DbRange = None,
    pad: Pad = None,
    cmap: Cmap = None,
    channels: Channels = None,
    esc10: Annotated[bool, typer.Option("--esc10", help="Of ESC-50, only ESC-10.")] = False,
    n_folds: Annotated[Optional[int], typer.Option(help="Folds to make where none are.")] = None,
    fold_seed: Annotated[Optional[int], typer.Option(help="Seed of making them.")] = None,
    group_pattern: Annotated[
        Optional[str], typer.Option(help="Regular expression for the recording in a file name.")
    ] = None,
    folds_file: Annotated[Optional[Path], typer.Option(help="Where made folds are kept.")] = None,
    quarantine: Quarantine = None,
    workers: Annotated[
        Optional[int], typer.Option(min=1, help="Processes; default, all processors.")
    ] = None,
    scheduler: Annotated[
        Optional[str], typer.Option(help="Dask scheduler to draw on, as tcp://host:8786.")
    ] = None,
) -> None:
    """Draw every clip of a dataset as a mel-spectrogram PNG, a folder a fold."""
    from spectro.clips import datasets

    settings = spectrogram_config(
        config,
        recipe,
        sr=sr,
        duration=duration,
        n_fft=n_fft,
        win_length=win_length,
        hop_length=hop_length,
        n_mels=n_mels,
        fmin=fmin,
        fmax=fmax,
        ref=ref,
        top_db=top_db,
        db_range=db_range,
        pad=pad,
        cmap=cmap,
        channels=channels,
    )
    clips = datasets.load(
        dataset,
        layout,
        esc10=esc10 or None,
        n_folds=n_folds,
        seed=fold_seed,
        group_pattern=group_pattern,
        folds_file=folds_file,
    )
    clips = _without(clips, quarantine)
    console.dataset(clips)
    summary = _draw(clips, out, settings, _pool(workers, scheduler))
    _report(summary, out)
    if len(summary.failures) < len(clips.clips):
        _glance(out, settings, anew=bool(summary.rendered or summary.dropped))
    if len(summary.failures):
        raise typer.Exit(SOME_FAILED)


def _draw(
    dataset: Dataset,
    out: str,
    settings: SpectrogramConfig,
    workers: AbstractContextManager[Executor],
) -> RenderSummary:
    """Draw with a progress bar; Ctrl-C ends it with what was done."""
    from spectro.pictures.render import render

    told = "what is done is kept, run it again to go on"
    n = len(dataset.clips)
    with working(workers, "rendering", clips=n, told=told) as (pool, progress):
        return render(dataset, out, settings, executor=pool, progress=progress)


def _without(dataset: Dataset, quarantine: Path | None) -> Dataset:
    """Leave out the clips that a quarantine names."""
    if quarantine is None:
        return dataset
    from spectro.clips.quarantine import apply

    return apply(dataset, quarantine)


def _pool(workers: int | None, scheduler: str | None) -> AbstractContextManager[Executor]:
    """Choose where to draw."""
    if scheduler is not None:
        from spectro.plumbing.cluster import connect

        return connect(scheduler)
    from spectro.plumbing.workers import pool

    return pool(workers)


def _glance(out: str, settings: SpectrogramConfig, *, anew: bool) -> None:
    """Draw a few pictures of each class into one."""
    from spectro.plumbing.paths import place

    glance = place(out) / "examples.png"
    if anew or not glance.exists():
        from spectro.pictures.plots import examples, save
        from spectro.pictures.rendered import RenderedSet

        save(examples(RenderedSet.load(out).clips, settings), glance)
    console.say(f"a glance at each class: {glance}")


def _report(summary: RenderSummary, out: str) -> None:
    """Print what was drawn and, to the error stream, what could not be."""
    console.say(
        f"rendered {summary.rendered:,}, already there {summary.already_there:,}, dropped "
        f"{summary.dropped:,}, failed {len(summary.failures):,} in {summary.seconds:.1f} s: {out}"
    )
    for failure in summary.failures.head(_NAMED).itertuples():
        console.complain(f"{failure.path}: {failure.reason}")
    if len(summary.failures):
        console.complain(f"{len(summary.failures):,} clips failed, all named in {out}/failures.csv")
