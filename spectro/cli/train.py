"""Commands that train: one fold, every fold, a linear head, shares of the clips; rates to try."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from spectro.cli import console, steps, tables
from spectro.cli.options import (
    FOLDS,
    RUNNING,
    Gpus,
    Quarantine,
    Rendered,
    RunFolder,
    RunsFolder,
    ThreadCount,
    TimeBudget,
    Track,
    training,
    with_options,
)
from spectro.errors import ConfigError
from spectro.plumbing.words import percent
from spectro.training.settings import TrainConfig

if TYPE_CHECKING:
    from spectro.crossval.run import Run
    from spectro.pictures.rendered import RenderedSet

__all__ = ["cross_validate", "learning_curve", "lr_find", "probe", "train_fold"]

_START = ("arch", "weights", "size")
_FIT = (*_START, "batch_size", "epochs", "members", "lr", "precision", "seed")


@with_options(settings=training(*_FIT, "inner_fold"))
def train_fold(
    rendered: Rendered,
    *,
    fold: Annotated[
        Optional[int], typer.Option(help="Fold to hold out and score.", rich_help_panel=FOLDS)
    ] = None,
    random_share: Annotated[
        Optional[float],
        typer.Option(
            help="Instead of a fold: score this share of the clips, drawn at random.",
            rich_help_panel=FOLDS,
        ),
    ] = None,
    settings: TrainConfig,
    quarantine: Quarantine = None,
    run: RunFolder = None,
    runs: RunsFolder = Path("runs"),
    track: Track = None,
    time_budget: TimeBudget = None,
    gpus: Gpus = 1,
    threads: ThreadCount = None,
) -> None:
    """Fine-tune a network on all folds but one, and score it on that one."""
    from spectro.training import splits
    from spectro.training.loop import progress as tracking

    steps.check_gpus(gpus, settings, track, time_budget)
    pictures, fold = _held_out(steps.load(rendered, quarantine), fold, random_share, settings.seed)
    splits.split(pictures.clips, fold, settings.inner_fold)  # a wrong fold is told at once
    tracking.check(track)
    kind = [] if time_budget is None else [f"{time_budget:g}min"]
    folder = steps.place(run, runs, pictures, settings, *kind)
    if time_budget is not None:
        settings = steps.fit_time(time_budget, pictures, settings, folder, fold, n_threads=threads)
    training = steps.open_run(
        pictures, settings, folder, track=track, n_gpus=gpus, n_threads=threads
    )
    record = steps.train(training, fold)
    steps.score(training.run, pictures)
    if record.inner_accuracy is not None:
        accuracy = percent(record.inner_accuracy)
        console.say(f"to tune by: inner fold {record.inner_fold}, accuracy {accuracy}")
    console.say(f"fold {fold}: accuracy {percent(record.accuracy)}, in {folder}")


@with_options(settings=training(*_FIT))
def cross_validate(
    rendered: Rendered,
    *,
    settings: TrainConfig,
    quarantine: Quarantine = None,
    run: RunFolder = None,
    runs: RunsFolder = Path("runs"),
    track: Track = None,
    compare_random_split: Annotated[
        bool,
        typer.Option(
            "--compare-random-split",
            help="Show what a leaking split would claim.",
            rich_help_panel=FOLDS,
        ),
    ] = False,
    candidates: Annotated[
        Optional[Path],
        typer.Option(
            help="TOML file of settings to choose from on inner folds (nested).",
            rich_help_panel=FOLDS,
        ),
    ] = None,
    inner_folds: Annotated[
        Optional[int],
        typer.Option(min=1, help="Inner folds of that; default, all.", rich_help_panel=FOLDS),
    ] = None,
    seeds: Annotated[
        Optional[int],
        typer.Option(min=2, help="Do all of it under so many seeds.", rich_help_panel=RUNNING),
    ] = None,
    scheduler: Annotated[
        Optional[str],
        typer.Option(
            help="Dask scheduler; a fold a worker, as tcp://host:8786.", rich_help_panel=RUNNING
        ),
    ] = None,
    time_budget: TimeBudget = None,
    gpus: Gpus = 1,
    threads: ThreadCount = None,
) -> None:
    """Train and score every fold that is there; a finished fold is not trained again."""
    from spectro.training import splits
    from spectro.training.loop import progress as tracking

    rounds = steps.Rounds(
        candidates, inner_folds, scheduler, track, compare_random_split, gpus, threads
    )
    rounds.check(time_budget)
    steps.check_gpus(gpus, settings, track, time_budget)
    pictures = steps.load(rendered, quarantine)
    for fold in pictures.folds:  # what is wrong is told before hours of training
        splits.split(pictures.clips, fold, settings.inner_fold)
    if compare_random_split:
        splits.random_folds(pictures, seed=settings.seed)
    tracking.check(track)
    kind = [] if candidates is None else ["nested", candidates.stem]
    kind += [] if time_budget is None else [f"{time_budget:g}min"]
    folder = steps.place(run, runs, pictures, settings, *kind, *(["seeds"] if seeds else []))
    if time_budget is not None:
        trainings = len(pictures.folds) * (seeds or 1) * (2 if compare_random_split else 1)
        first = folder / f"seed{settings.seed}" if seeds else folder
        settings = steps.fit_time(
            time_budget, pictures, settings, first, pictures.folds[0], trainings, threads
        )
    if seeds is None:
        accuracy = steps.cross_validate(pictures, settings, folder, rounds).scores().accuracy
    else:
        accuracy = steps.repeat(pictures, settings, folder, rounds, seeds)
    console.say(f"accuracy {percent(accuracy)}, in {folder}")


@with_options(settings=training(*_START, "precision", "seed", recipe="probe"))
def probe(
    rendered: Rendered,
    *,
    settings: TrainConfig,
    quarantine: Quarantine = None,
    run: RunFolder = None,
    runs: RunsFolder = Path("runs"),
    cache: Annotated[
        Optional[Path],
        typer.Option(
            help="Folder that keeps features; by default RUNS/.features.", rich_help_panel=RUNNING
        ),
    ] = None,
) -> None:
    """Score every fold by a linear head on a frozen network: a first honest score in a minute."""
    from spectro.crossval.studies import probe as probing

    if settings.inner_fold is not None:
        raise ConfigError(
            "inner_fold: a probe chooses nothing by a fold of its own; leave it out of the settings"
        )
    settings = settings.replace(phases=())
    pictures = steps.load(rendered, quarantine)
    probing.check(pictures)
    folder = steps.place(run, runs, pictures, settings)
    training = steps.open_run(pictures, settings, folder)
    opened, start = training.run, training.weights
    with console.counting("features", "pictures") as progress:
        features, computed = probing.features_of(
            opened, pictures, start, cache or runs / ".features", progress
        )
    known = len(features) - computed
    console.say(f"features of {len(features):,} pictures: {computed:,} computed, {known:,} known")
    for fold in pictures.folds:
        probing.probe_fold(opened, pictures, features, fold)
    accuracy = steps.score(opened, pictures)
    console.say(f"accuracy {percent(accuracy)}, in {folder}")


@with_options(settings=training(*_START, "batch_size", "precision", "seed", "inner_fold"))
def lr_find(
    rendered: Rendered,
    *,
    fold: Annotated[
        int, typer.Option(help="Fold to leave out; it is not looked at.", rich_help_panel=FOLDS)
    ] = 1,
    settings: TrainConfig,
    quarantine: Quarantine = None,
    n_steps: Annotated[int, typer.Option("--steps", min=10, help="Batches to try.")] = 100,
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("lr-find.png"),
) -> None:
    """Plot loss against learning rate, on training folds only, and suggest a rate."""
    from spectro.crossval.start import start
    from spectro.crossval.studies import budget as tuning
    from spectro.pictures.plots import PNG, save
    from spectro.plumbing.files import check_ours
    from spectro.scores.plots import learning_rates

    check_ours(out, PNG)
    pictures = steps.load(rendered, quarantine)
    begun = start(settings, pictures)
    steps.tell_of_start(begun)
    settled = begun.config.replace(precision=begun.precision)
    lrs, losses, suggestion = tuning.find_lr(pictures, settled, begun.weights, fold, steps=n_steps)
    console.say(f"plot: {save(learning_rates(lrs, losses, suggestion), out)}")
    console.say(f"suggested: --lr {suggestion:.1e}")


@with_options(settings=training(*_FIT))
def learning_curve(
    rendered: Rendered,
    *,
    fold: Annotated[
        Optional[int],
        typer.Option(
            help="Fold to hold out and score; default, each in turn.", rich_help_panel=FOLDS
        ),
    ] = None,
    shares: Annotated[
        str, typer.Option(help="Shares of the training clips, as 0.25,0.5,1.")
    ] = "0.125,0.25,0.5,1",
    settings: TrainConfig,
    quarantine: Quarantine = None,
    run: RunFolder = None,
    runs: RunsFolder = Path("runs"),
) -> None:
    """Train on growing shares of the training clips, to see how many more would help."""
    from spectro.crossval.studies.learning_curve import parse_shares
    from spectro.training import splits

    wanted = parse_shares(shares)
    pictures = steps.load(rendered, quarantine)
    folds = pictures.folds if fold is None else [fold]
    for one in folds:  # what is wrong is told before hours of training
        splits.split(pictures.clips, one, settings.inner_fold)
    folder = steps.place(run, runs, pictures, settings, "learning-curve")
    trained = [_train_share(pictures, settings, folder, share, folds) for share in wanted]
    _show(trained, folds, folder)


def _train_share(
    pictures: RenderedSet, settings: TrainConfig, folder: Path, share: float, folds: list[int]
) -> Run:
    """Train the folds on one share, and write the share's own scores."""
    from spectro.crossval.folds import score_run
    from spectro.crossval.studies.learning_curve import open_share, train_on_share

    training = open_share(folder, pictures, settings, share)
    steps.tell_of_start(training.begun)
    for fold in folds:
        what = f"share {share:g}, fold {fold}"
        with console.training(what, settings.all_epochs, each_epoch=False) as listener:
            train_on_share(training, fold, listener)
    score_run(training.run, pictures)
    return training.run


def _show(trained: list[Run], folds: list[int], folder: Path) -> None:
    """Put the shares together, write and draw the curve, print it."""
    from spectro.crossval.studies import learning_curve
    from spectro.pictures.plots import save
    from spectro.scores import plots

    curve = learning_curve.measure(trained, folds)
    learning_curve.write(folder, curve)
    name = trained[0].record.dataset.name
    title = f"{name}, fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}"
    figure = plots.learning_curve(curve.points, curve.forecast, title)
    drawn = save(figure, folder / "learning-curve.png")
    columns = ("train_clips", "train_recordings", "accuracy", "accuracy_low", "accuracy_high")
    tables.table("share", curve.points.to_dict("records"), (*columns, "macro_f1"))
    console.note(curve.said)
    console.say(f"curve: {drawn}, and .csv")


def _held_out(
    pictures: RenderedSet, fold: int | None, share: float | None, seed: int
) -> tuple[RenderedSet, int]:
    """Hold out a fold, or a random share as fold 1, loudly."""
    from spectro.training import splits

    if (fold is None) == (share is None):
        raise typer.BadParameter("give either --fold or --random-share")
    if share is None:
        return pictures, int(fold or 0)
    console.warn(
        f"scoring {100 * share:g} % of the clips drawn at random: speakers and recordings sit on "
        "both sides, so this is not an honest score"
    )
    return splits.random_share(pictures, share, seed=seed), 1
