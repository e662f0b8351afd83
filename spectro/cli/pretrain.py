"""The command ``pretrain``: a network learns from synthesised sounds, before any recording."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from spectro.cli import console
from spectro.cli.options import PRETRAINING, RUNNING, Gpus, with_options
from spectro.errors import ConfigError
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.words import counted, percent
from spectro.training.pretraining.settings import OF_DRAWING, PretrainConfig

if TYPE_CHECKING:
    from spectro.pictures.rendered import RenderedSet
    from spectro.training.pretraining.checkpoint import Checkpoint, LogRow
    from spectro.training.pretraining.pretrain import Probe

__all__ = ["pretrain"]

PROBE = "Probe"


@with_options(settings=PRETRAINING)
def pretrain(
    *,
    out: Annotated[
        Path, typer.Option(help="Folder for the network; one that is there is gone on with.")
    ],
    settings: tuple[PretrainConfig, SpectrogramConfig],
    gpus: Gpus = 1,
    every: Annotated[
        int, typer.Option(min=1, help="Sounds between two lines.", rich_help_panel=RUNNING)
    ] = 2_000,
    time_budget: Annotated[
        Optional[float],
        typer.Option(
            min=0.01,
            help="Minutes after which it stops; run it again to go on.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    probe: Annotated[
        Optional[Path],
        typer.Option(
            help="Rendered set; each line then tells what a linear head on the network reaches.",
            rich_help_panel=PROBE,
        ),
    ] = None,
    fold: Annotated[
        Optional[list[int]],
        typer.Option(
            help="Fold to probe, by a head fitted to the others named; repeatable.",
            rich_help_panel=PROBE,
        ),
    ] = None,
) -> None:
    """Train a network on synthesised sounds alone, to start from with --weights."""
    from spectro.training.pretraining import several_gpus
    from spectro.training.pretraining.pretrain import WEIGHTS

    config, spectrogram = settings
    several_gpus.check(gpus, config)
    done = several_gpus.run(
        out,
        config,
        spectrogram,
        gpus,
        every=every,
        seconds=math.inf if time_budget is None else 60 * time_budget,
        probe=_probe(probe, fold or [], config, spectrogram),
        told=_tell,
    )
    console.say(f"wrote {out / WEIGHTS}: --arch {config.arch} --weights {out / WEIGHTS}")
    if not done:
        console.note("the time is over before all sounds were heard; the same command goes on")


def _probe(
    folder: Path | None, folds: list[int], config: PretrainConfig, spectrogram: SpectrogramConfig
) -> Probe | None:
    """Return what scores a network on a rendered set, having checked that it can."""
    if folder is None:
        if folds:
            raise ConfigError("--fold says on which folds of --probe to score; name one")
        return None
    from spectro.crossval.studies.probe import check, score_body
    from spectro.pictures.rendered import RenderedSet
    from spectro.training.pretraining.pretrain import Probe

    pictures = RenderedSet.load(folder)
    # A network takes pictures of any length; only the scale must be that which it learned.
    free = ("duration", *OF_DRAWING) if config.drawing == "new" else ("duration",)
    theirs = {name: getattr(pictures.config, name) for name in free}
    other = spectrogram.replace(**theirs).differences(pictures.config)
    if other:
        raise ConfigError(
            f"{folder}: its pictures are drawn otherwise ({'; '.join(other)}); give the same "
            "settings to both"
        )
    chosen = _folds(pictures, folds)
    check(pictures, chosen)
    score = partial(score_body, arch=config.arch, rendered=pictures, folds=chosen)
    return Probe(score, f"folds {', '.join(map(str, chosen))} of {pictures.folder.name}")


def _folds(pictures: RenderedSet, asked: list[int]) -> list[int]:
    folds = sorted(set(asked)) or pictures.folds
    absent = [fold for fold in folds if fold not in pictures.folds]
    if absent:
        raise ConfigError(
            f"{pictures.folder}: has no fold {absent[0]}; there are "
            f"{', '.join(map(str, pictures.folds))}"
        )
    if len(folds) < 2:
        raise ConfigError("a probe fits its head to other folds than the scored one; name two")
    return folds


def _tell(message: object) -> None:
    """Print how it begins, or a row of the log."""
    from spectro.training.pretraining.checkpoint import Checkpoint, LogRow

    match message:
        case Checkpoint():
            _tell_beginning(message)
        case LogRow():
            _tell_row(message)


def _tell_beginning(about: Checkpoint) -> None:
    config = about.config
    console.say(
        f"{config.arch}, {counted(config.sounds, 'synthesised sound')} of "
        f"{about.spectrogram.duration:g} s, objective {config.objective}, {about.precision}, "
        f"from {about.start}"
    )
    if about.steps:
        console.say(f"goes on after {about.steps * config.batch_size:,} sounds")


def _tell_row(row: LogRow) -> None:
    parts = {"present": row.present, "places": row.places, "pairs": row.pairs}
    told = [f"{name} {value:.3f}" for name, value in parts.items() if value is not None]
    score = "" if row.score is None else f"  probe {percent(row.score)}"
    rate = row.sounds / row.seconds if row.seconds else 0.0
    console.say(f"{row.sounds:>11,} sounds  {'  '.join(told)}  {rate:,.0f} sounds/s{score}")
