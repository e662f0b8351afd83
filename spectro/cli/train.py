"""Commands that train: ``train-fold``, ``cross-validate``, ``probe``, ``lr-find``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from spectro.cli import console, steps
from spectro.cli.options import (
    Arch,
    BatchSize,
    ConfigFile,
    Epochs,
    Gpus,
    InnerFold,
    Members,
    Precision,
    Quarantine,
    Rate,
    Recipe,
    Rendered,
    RunFolder,
    RunsFolder,
    Seed,
    Size,
    TimeBudget,
    Track,
    WeightsSpec,
    train_config,
)

if TYPE_CHECKING:
    from spectro.pictures.rendered import RenderedSet

__all__ = ["cross_validate", "lr_find", "probe", "train_fold"]


def train_fold(
    rendered: Rendered,
    fold: Annotated[Optional[int], typer.Option(help="Fold to hold out and score.")] = None,
    random_share: Annotated[
        Optional[float],
        typer.Option(help="Instead of a fold: score this share of the clips, drawn at random."),
    ] = None,
    config: ConfigFile = None,
    recipe: Recipe = None,
    arch: Arch = None,
    weights: WeightsSpec = None,
    size: Size = None,
    batch_size: BatchSize = None,
    epochs: Epochs = None,
    members: Members = None,
    lr: Rate = None,
    precision: Precision = None,
    seed: Seed = None,
    quarantine: Quarantine = None,
    inner_fold: InnerFold = None,
    run: RunFolder = None,
    runs: RunsFolder = Path("runs"),
    track: Track = None,
    time_budget: TimeBudget = None,
    gpus: Gpus = 1,
) -> None:
    """Fine-tune a network on all folds but one, and score it on that one."""
    from spectro.training import progress as tracking
    from spectro.training import splits

    settings = train_config(
        config,
        recipe,
        epochs,
        lr,
        arch=arch,
        weights=weights,
        size=size,
        batch_size=batch_size,
        members=members,
        precision=precision,
        seed=seed,
        inner_fold=inner_fold,
    )
    steps.check_gpus(gpus, settings, track, time_budget)
    pictures, fold = _held_out(steps.load(rendered, quarantine), fold, random_share, settings.seed)
    splits.split(pictures.clips, fold, settings.inner_fold)  # a wrong fold is told at once
    tracking.check(track)
    kind = [] if time_budget is None else [f"{time_budget:g}min"]
    folder = steps.place(run, runs, pictures, settings, *kind)
    if time_budget is not None:
        settings = steps.fit_time(time_budget, pictures, settings, folder, fold)
    training = steps.open_run(pictures, settings, folder, track=track, n_gpus=gpus)
    record = steps.train(training, fold)
    steps.score(training.run, pictures)
    if record.inner_accuracy is not None:
        accuracy = console.percent(record.inner_accuracy)
        console.say(f"to tune by: inner fold {record.inner_fold}, accuracy {accuracy}")
    console.say(f"fold {fold}: accuracy {console.percent(record.accuracy)}, in {folder}")


def cross_validate(
    rendered: Rendered,
    config: ConfigFile = None,
    recipe: Recipe = None,
    arch: Arch = None,
    weights: WeightsSpec = None,
    size: Size = None,
    batch_size: BatchSize = None,
    epochs: Epochs = None,
    members: Members = None,
    lr: Rate = None,
    precision: Precision = None,
    seed: Seed = None,
    quarantine: Quarantine = None,
    run: RunFolder = None,
    runs: RunsFolder = Path("runs"),
    track: Track = None,
    compare_random_split: Annotated[
        bool,
        typer.Option("--compare-random-split", help="Show what a leaking split would claim."),
    ] = False,
    candidates: Annotated[
        Optional[Path],
        typer.Option(help="TOML file of settings to choose from on inner folds (nested)."),
    ] = None,
    inner_folds: Annotated[
        Optional[int], typer.Option(min=1, help="Inner folds of that; default, all.")
    ] = None,
    seeds: Annotated[
        Optional[int], typer.Option(min=2, help="Do all of it under so many seeds.")
    ] = None,
    scheduler: Annotated[
        Optional[str], typer.Option(help="Dask scheduler; a fold a worker, as tcp://host:8786.")
    ] = None,
    time_budget: TimeBudget = None,
    gpus: Gpus = 1,
) -> None:
    """Train and score every fold that is there; a finished fold is not trained again."""
    from spectro.training import progress as tracking
    from spectro.training import splits

    settings = train_config(
        config,
        recipe,
        epochs,
        lr,
        arch=arch,
        weights=weights,
        size=size,
        batch_size=batch_size,
        members=members,
        precision=precision,
        seed=seed,
    )
    rounds = steps.Rounds(candidates, inner_folds, scheduler, track, compare_random_split, gpus)
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
            time_budget, pictures, settings, first, pictures.folds[0], trainings
        )
    if seeds is None:
        accuracy = steps.cross_validate(pictures, settings, folder, rounds).scores().accuracy
    else:
        accuracy = steps.repeat(pictures, settings, folder, rounds, seeds)
    console.say(f"accuracy {console.percent(accuracy)}, in {folder}")


def probe(
    rendered: Rendered,
    config: ConfigFile = None,
    arch: Arch = None,
    weights: WeightsSpec = None,
    size: Size = None,
    precision: Precision = None,
    seed: Seed = None,
    quarantine: Quarantine = None,
    run: RunFolder = None,
    runs: RunsFolder = Path("runs"),
    cache: Annotated[
        Optional[Path], typer.Option(help="Folder that keeps features; by default RUNS/.features.")
    ] = None,
) -> None:
    """Score every fold by a linear head on a frozen network: a first honest score in a minute."""
    from spectro.crossval import probe as probing

    flags = {"arch": arch, "weights": weights, "size": size, "precision": precision, "seed": seed}
    settings = train_config(config, "probe", None, None, **flags).replace(phases=())
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
    console.say(f"accuracy {console.percent(accuracy)}, in {folder}")


def lr_find(
    rendered: Rendered,
    fold: Annotated[int, typer.Option(help="Fold to leave out; it is not looked at.")] = 1,
    config: ConfigFile = None,
    recipe: Recipe = None,
    arch: Arch = None,
    weights: WeightsSpec = None,
    size: Size = None,
    batch_size: BatchSize = None,
    precision: Precision = None,
    seed: Seed = None,
    quarantine: Quarantine = None,
    inner_fold: InnerFold = None,
    n_steps: Annotated[int, typer.Option("--steps", min=10, help="Batches to try.")] = 100,
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("lr-find.png"),
) -> None:
    """Plot loss against learning rate, on training folds only, and suggest a rate."""
    from spectro.crossval import budget as tuning
    from spectro.models.weights import resolve
    from spectro.pictures.plots import save
    from spectro.scores.plots import learning_rates

    settings = train_config(
        config,
        recipe,
        None,
        None,
        arch=arch,
        weights=weights,
        size=size,
        batch_size=batch_size,
        precision=precision,
        seed=seed,
        inner_fold=inner_fold,
    )
    pictures = steps.load(rendered, quarantine)
    start = resolve(settings.weights, settings.arch)
    steps.warn_of_chance(start, settings)
    lrs, losses, suggestion = tuning.find_lr(pictures, settings, start, fold, steps=n_steps)
    console.say(f"plot: {save(learning_rates(lrs, losses, suggestion), out)}")
    console.say(f"suggested: --lr {suggestion:.1e}")


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
