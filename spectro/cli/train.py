"""Commands that train: ``train-fold``, ``cross-validate``, ``probe``, ``lr-find``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from spectro import console
from spectro.cli.options import (
    Arch,
    BatchSize,
    ConfigFile,
    Epochs,
    InnerFold,
    Precision,
    Quarantine,
    Rate,
    Recipe,
    Rendered,
    RunFolder,
    RunsFolder,
    Seed,
    Size,
    Track,
    WeightsSpec,
    train_config,
)

if TYPE_CHECKING:
    from spectro.config import TrainConfig
    from spectro.rendered import RenderedSet
    from spectro.run import Run
    from spectro.weights import Weights

__all__ = ["cross_validate", "lr_find", "probe", "train_fold"]


def train_fold(
    rendered: Rendered,
    fold: Annotated[int, typer.Option(help="Fold to hold out and score.")],
    config: ConfigFile = None,
    recipe: Recipe = None,
    arch: Arch = None,
    weights: WeightsSpec = None,
    size: Size = None,
    batch_size: BatchSize = None,
    epochs: Epochs = None,
    lr: Rate = None,
    precision: Precision = None,
    seed: Seed = None,
    quarantine: Quarantine = None,
    inner_fold: InnerFold = None,
    run: RunFolder = None,
    runs: RunsFolder = Path("runs"),
    track: Track = None,
) -> None:
    """Fine-tune a network on all folds but one, and score it on that one."""
    from spectro import splits, tracking

    settings = train_config(
        config,
        recipe,
        epochs,
        lr,
        arch=arch,
        weights=weights,
        size=size,
        batch_size=batch_size,
        precision=precision,
        seed=seed,
        inner_fold=inner_fold,
    )
    pictures = _load(rendered, quarantine)
    splits.split(pictures.clips, fold, settings.inner_fold)  # a wrong fold is told at once
    tracking.check(track)
    record, start = _open(pictures, settings, run, runs)
    accuracy = _train(record, pictures, start, fold, track)
    _score(record, pictures)
    console.say(f"fold {fold}: accuracy {console.percent(accuracy)}, in {record.folder}")


def cross_validate(
    rendered: Rendered,
    config: ConfigFile = None,
    recipe: Recipe = None,
    arch: Arch = None,
    weights: WeightsSpec = None,
    size: Size = None,
    batch_size: BatchSize = None,
    epochs: Epochs = None,
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
) -> None:
    """Train and score every fold that is there; a finished fold is not trained again."""
    from spectro import splits, tracking

    settings = train_config(
        config,
        recipe,
        epochs,
        lr,
        arch=arch,
        weights=weights,
        size=size,
        batch_size=batch_size,
        precision=precision,
        seed=seed,
    )
    pictures = _load(rendered, quarantine)
    for fold in pictures.folds:  # what is wrong is told before hours of training
        splits.split(pictures.clips, fold, settings.inner_fold)
    if compare_random_split:
        splits.random_folds(pictures, seed=settings.seed)
    tracking.check(track)
    record, start = _open(pictures, settings, run, runs)
    for fold in pictures.folds:
        _train(record, pictures, start, fold, track)
    if compare_random_split:
        from spectro import crossval

        with console.training("random split", settings.epochs) as listener:
            crossval.train_random_split(record, pictures, start, listener)
    accuracy = _score(record, pictures)
    console.say(f"accuracy {console.percent(accuracy)}, in {record.folder}")


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
    from spectro import probe as probing

    flags = {"arch": arch, "weights": weights, "size": size, "precision": precision, "seed": seed}
    settings = train_config(config, "probe", None, None, **flags).replace(phases=())
    pictures = _load(rendered, quarantine)
    probing.check(pictures)
    record, start = _open(pictures, settings, run, runs)
    with console.counting("features", "pictures") as progress:
        features, computed = probing.features_of(
            record, pictures, start, cache or runs / ".features", progress
        )
    known = len(features) - computed
    console.say(f"features of {len(features):,} pictures: {computed:,} computed, {known:,} known")
    for fold in pictures.folds:
        probing.probe_fold(record, pictures, features, fold)
    accuracy = _score(record, pictures)
    console.say(f"accuracy {console.percent(accuracy)}, in {record.folder}")


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
    steps: Annotated[int, typer.Option(min=10, help="Batches to try.")] = 100,
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("lr-find.png"),
) -> None:
    """Plot loss against learning rate, on training folds only, and suggest a rate."""
    from spectro import crossval, plots
    from spectro.weights import resolve

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
    )
    pictures = _load(rendered, quarantine)
    start = resolve(settings.weights, settings.arch)
    _warn_of_chance(start, settings)
    lrs, losses, suggestion = crossval.find_lr(pictures, settings, start, fold, steps=steps)
    console.say(f"plot: {plots.save(plots.learning_rates(lrs, losses, suggestion), out)}")
    console.say(f"suggested: --lr {suggestion:.1e}")


def _load(folder: Path, quarantine: Path | None) -> RenderedSet:
    """Read a rendered set, without the clips that are to be left out; say how many."""
    from spectro.rendered import RenderedSet

    pictures = RenderedSet.load(folder)
    if quarantine is None:
        return pictures
    from spectro.quarantine import apply_to_rendered

    kept = apply_to_rendered(pictures, quarantine)
    for line in kept.dataset["notes"][len(pictures.dataset["notes"]) :]:
        console.note(line)
    return kept


def _open(
    rendered: RenderedSet, config: TrainConfig, folder: Path | None, runs: Path
) -> tuple[Run, Weights]:
    """Open the run and say what it trains, in what arithmetic, from which weights."""
    from spectro import crossval, run

    place = folder or run.default_run_folder(runs, rendered, config)
    opened, weights = crossval.open_run(place, rendered, config)
    _warn_of_chance(weights, config)
    schedule = f"{config.epochs} epochs" if config.phases else "frozen"
    console.say(
        f"recipe {config.recipe}: {config.arch}, {schedule}, "
        f"{crossval.precision_in_words(config)}, from "
        f"{'random weights' if weights.source == 'random' else weights.detail}"
    )
    return opened, weights


def _warn_of_chance(weights: Weights, config: TrainConfig) -> None:
    """Say loudly that "auto" had to start from random weights."""
    if weights.source == "random" and config.weights == "auto":
        console.warn(weights.detail)


def _train(
    run: Run, rendered: RenderedSet, weights: Weights, fold: int, track: str | None
) -> float:
    """Train a fold under a progress bar, or say that it is trained; return its accuracy."""
    from spectro import crossval

    if fold in run.finished_folds:
        console.note(f"fold {fold} is trained already")
    with console.training(f"fold {fold}", run.config.epochs) as listener:
        record = crossval.train_fold(run, rendered, weights, fold, listener, track=track)
    return float(record["accuracy"])


def _score(run: Run, rendered: RenderedSet) -> float:
    """Score the finished folds, draw them, print it all, report; return the accuracy."""
    from spectro import crossval, plots

    scores = crossval.score_run(run, rendered)
    console.scores(scores)
    console.say(f"pictures: {', '.join(str(path) for path in plots.save_run(run))}")
    _report(run)
    return float(scores["accuracy"])


def _report(run: Run) -> None:
    """Write the run's report, or say in a line why not: the training is done either way."""
    from spectro.report.write import write_report

    try:
        with console.counting("examining", "clips") as progress:
            console.say(f"report: {write_report(run, progress=progress)}")
    except Exception as error:
        told = str(getattr(error, "strerror", None) or error)
        why = " ".join(told.split()) or type(error).__name__
        console.warn(f"no report could be written ({why}); spectro report {run.folder} tries again")
