"""The command that asks whether more clips would help: ``learning-curve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from spectro.cli import console, steps, tables
from spectro.cli.options import (
    Arch,
    BatchSize,
    ConfigFile,
    Epochs,
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
    WeightsSpec,
    train_config,
)

if TYPE_CHECKING:
    from spectro.crossval.run import Run
    from spectro.pictures.rendered import RenderedSet
    from spectro.training.settings import TrainConfig

__all__ = ["learning_curve"]


def learning_curve(
    rendered: Rendered,
    fold: Annotated[
        Optional[int], typer.Option(help="Fold to hold out and score; default, each in turn.")
    ] = None,
    shares: Annotated[
        str, typer.Option(help="Shares of the training clips, as 0.25,0.5,1.")
    ] = "0.125,0.25,0.5,1",
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
) -> None:
    """Train on growing shares of the training clips, to see how many more would help."""
    from spectro.crossval.learning_curve import parse_shares
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
    from spectro.crossval.learning_curve import open_share, train_on_share

    training = open_share(folder, pictures, settings, share)
    steps.warn_of_chance(training.weights, settings)
    for fold in folds:
        what = f"share {share:g}, fold {fold}"
        with console.training(what, settings.all_epochs, each_epoch=False) as listener:
            train_on_share(training, fold, listener)
    score_run(training.run, pictures)
    return training.run


def _show(trained: list[Run], folds: list[int], folder: Path) -> None:
    """Put the shares together, write and draw the curve, print it."""
    from spectro.crossval import learning_curve
    from spectro.pictures.plots import save
    from spectro.scores import plots

    curve = learning_curve.measure(trained, folds)
    learning_curve.write(folder, curve)
    name = trained[0].record.dataset.name
    title = f"{name}, fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}"
    figure = plots.learning_curve(curve.points, curve.forecast, title)
    columns = ("train_clips", "train_recordings", "accuracy", "accuracy_low", "accuracy_high")
    tables.table("share", curve.points.to_dict("records"), (*columns, "macro_f1"))
    console.note(curve.said)
    console.say(f"curve: {save(figure, folder / 'learning-curve.png')}, and .csv")
