"""Commands that make a model to put to work: ``train-final``, ``export``, ``verify``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from spectro.cli import console, steps
from spectro.cli.options import RUNNING, Gpus, Quarantine
from spectro.plumbing.words import percent

if TYPE_CHECKING:
    from spectro.crossval.final.export import Pictures
    from spectro.crossval.run import Run
    from spectro.models.card import ModelCard
    from spectro.models.exports.float32 import Exported
    from spectro.pictures.rendered import RenderedSet

__all__ = ["export", "train_final", "verify"]

Model = Annotated[Path, typer.Argument(help="Model folder, as RUN/final.")]


def train_final(
    run: Annotated[
        Optional[Path], typer.Argument(help="Run folder; by default the one scored last in runs.")
    ] = None,
    out: Annotated[
        Optional[Path], typer.Option(help="Model folder to write; by default RUN/final.")
    ] = None,
    quarantine: Quarantine = None,
    gpus: Gpus = 1,
    threads: Annotated[
        Optional[int],
        typer.Option(
            min=1, help="Threads that train; default, as the run's.", rich_help_panel=RUNNING
        ),
    ] = None,
) -> None:
    """Train one network on all folds of a run: the model to put to work. Exports it too."""
    from spectro.crossval.final.train import train_final as train_on_all
    from spectro.crossval.run import Run, latest_run

    opened = latest_run("runs") if run is None else Run.load(run)
    steps.check_gpus(gpus, opened.config, None, None)
    pictures = steps.load(Path(opened.record.rendered.folder), quarantine)
    started = time.perf_counter()
    trained = train_on_all(
        opened,
        pictures,
        out,
        watch=console.training,
        n_gpus=gpus,
        n_threads=threads,
    )
    if trained.evidence is None:
        console.note(f"{trained.folder} is trained already")
    else:
        clips = f"{len(pictures.clips):,} clips of {len(pictures.folds)} folds"
        console.say(f"trained on {clips}, {time.perf_counter() - started:.0f} s")
        console.note("the accuracy above is on clips it trains on, which tells nothing of others")
    _tell_card(trained.card)
    _export_if_possible(trained.folder, opened, quarantine)
    console.say(f"model: {trained.folder}")


def _tell_card(card: ModelCard) -> None:
    """Say what to expect of a model, and what it makes of sounds it was not trained on."""
    from spectro.models.calibrated import HIGHEST, LOWEST

    scores = card.scores
    low, high = map(percent, scores["accuracy_interval"])
    console.say(
        f"to expect, from out of fold: accuracy {percent(scores['accuracy'])} "
        f"(95 %: {low} to {high}), on {scores['clips']:,} clips; temperature {card.temperature:.3g}"
    )
    if card.temperature in (LOWEST, HIGHEST):
        console.warn(
            "the temperature is at the end of its range: out of fold nearly all clips were right, "
            "or nearly none, so probabilities mean little; more clips tell more"
        )
    if card.unknown is not None:
        console.say(
            f"unknown: {card.unknown.method} below {card.unknown.threshold:.3g}, which keeps "
            f"{percent(card.unknown.kept)} of the clips; AUROC {card.unknown.auroc:.3f} "
            "with classes left out in turn"
        )
    if card.steady is not None:
        spared = ", ".join(card.steady.spared)
        but = f", but for what is heard as {spared}" if spared else ""
        what = (
            "steady noise and hum, by their pictures"
            if card.steady.still
            else ("steady noise, by its picture")
        )
        console.say(f"unknown: {what}{but}")
    for name, answer in scores["probes"].items():
        console.say(f"  {name}: {answer}")


def _export_if_possible(folder: Path, run: Run, quarantine: Path | None) -> None:
    """Export in float32, unless the packages are not there or it was done; the model stays."""
    from spectro.crossval.final.export import export as write_exports
    from spectro.crossval.final.export import pictures_of
    from spectro.errors import MissingExtraError, ModelError

    if (folder / "model.onnx").is_file():
        return
    try:
        pictures = pictures_of(folder, _set(None, run, quarantine), run)
        for exported in write_exports(folder, pictures):
            _tell_export(exported)
    except MissingExtraError as error:
        console.warn(f"not exported: {error}; then run spectro export {folder}")
    except ModelError as error:
        console.warn(f"not exported: {error}")


def export(
    model: Model,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also in eight bits, if it loses no more than it may.")
    ] = False,
    most_lost: Annotated[
        float,
        typer.Option(min=0, max=1, help="Accuracy out of fold that eight bits may lose, 0 to 1."),
    ] = 0.01,
    pictures: Annotated[
        Optional[Path],
        typer.Option(help="Rendered set to compare on; by default that of the model's run."),
    ] = None,
    run: Annotated[
        Optional[Path],
        typer.Option(
            help="The model's run, if the model does not lie in it.", rich_help_panel=RUNNING
        ),
    ] = None,
    quarantine: Quarantine = None,
) -> None:
    """Export a model for ONNX Runtime, kept only if it answers as torch does."""
    from spectro.crossval.final.export import export as write_exports
    from spectro.crossval.final.export import pictures_of, run_beside
    from spectro.crossval.run import Run
    from spectro.models.card import read_card

    read_card(model)  # a folder that is none is told at once
    opened = run_beside(model) if run is None else Run.load(run)
    clips = pictures_of(model, _set(pictures, opened, quarantine), opened)
    with console.counting("folds' networks", "networks") as progress:
        for exported in write_exports(
            model, clips, int8=int8, most_lost=most_lost, progress=progress
        ):
            _tell_export(exported)
    _tell_stand_ins(clips, int8)


def _set(pictures: Path | None, run: Run | None, quarantine: Path | None) -> RenderedSet | None:
    """Read the pictures that were named, or the run's without what is left out."""
    if pictures is not None:
        return steps.load(pictures, quarantine)
    if run is None or quarantine is None:
        return None
    return steps.load(Path(run.record.rendered.folder), quarantine)


def _tell_export(exported: Exported) -> None:
    """Say what was written and how it compares."""
    size = exported.path.stat().st_size / 1e6
    change = exported.change
    if change is None:
        console.say(
            f"{exported.path}: {size:.1f} MB, opset {exported.opset}; on {exported.compared} "
            "pictures, silence, noise and hum among them, one at a time and 32 at once: "
            f"the same labels, probabilities within {exported.difference:.1g} of torch's"
        )
        return
    told = f"{exported.agreement:.1%} of the labels are the same"
    if change.lost is not None:
        told = (
            f"accuracy {percent(change.before)} in float32, {percent(change.after)} in eight bits"
        )
    console.say(
        f"{exported.path}: {size:.1f} MB; on {change.clips:,} clips out of fold: {told}; "
        f"{change.ms_before:.1f} ms a picture in float32, {change.ms_after:.1f} ms in eight bits, "
        "on one thread"
    )
    if change.ms_after >= change.ms_before:
        console.note("eight bits are not faster than float32 on this processor: prefer model.onnx")


def _tell_stand_ins(clips: Pictures, int8: bool) -> None:
    if int8 and clips.unheard.empty:
        console.note(
            "the model was trained on every fold, so accuracy is that of the folds' networks, "
            "each on the fold it was not trained on"
        )


def verify(model: Model) -> None:
    """Check that this machine gets the answers that a model gave where it was exported."""
    from spectro.listening.verify import verify as compare

    stages = compare(model)
    different = [stage for stage in stages if not stage.is_same]
    for stage in stages:
        if stage.is_same:
            console.say(f"{stage.name}: the same ({stage.said})")
        else:
            console.complain(f"{stage.name}: DIFFERS: {stage.said}")
    if different:
        console.complain(
            "this machine answers otherwise than the one that exported the model: install the "
            "versions it had (constraints.txt of that spectro), or score the model here, "
            "spectro score-events, before it is relied on"
        )
        raise typer.Exit(1)
