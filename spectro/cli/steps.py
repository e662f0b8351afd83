"""What commands that train have in common: load, open, train, score, each saying what it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from spectro.cli import console, tables
from spectro.errors import ConfigError
from spectro.plumbing.files import write_text
from spectro.plumbing.words import percent

if TYPE_CHECKING:
    from spectro.crossval.folds import Training
    from spectro.crossval.records import FoldRecord
    from spectro.crossval.run import Run
    from spectro.crossval.start import Start
    from spectro.pictures.rendered import RenderedSet
    from spectro.training.settings import TrainConfig

__all__ = [
    "Rounds",
    "check_gpus",
    "cross_validate",
    "fit_time",
    "load",
    "open_run",
    "place",
    "repeat",
    "score",
    "tell_of_start",
    "train",
]


@dataclasses.dataclass(frozen=True)
class Rounds:
    """How a cross-validation goes about it, beyond the settings of training."""

    candidates: Path | None = None
    inner_folds: int | None = None
    scheduler: str | None = None
    track: str | None = None
    compare_random_split: bool = False
    gpus: int = 1
    threads: int | None = None

    def check(self, minutes: float | None) -> None:
        """Refuse what does not go together, before anything is done."""
        if self.inner_folds is not None and self.candidates is None:
            raise ConfigError("--inner-folds says on how many folds --candidates are compared")
        if self.candidates is not None:
            others = {
                "--gpus": self.gpus > 1,
                "--scheduler": self.scheduler is not None,
                "--time-budget": minutes is not None,
                "--compare-random-split": self.compare_random_split,
            }
            for name, given in others.items():
                if given:
                    raise ConfigError(f"{name} does not go with --candidates")
        if self.scheduler is not None and self.gpus > 1:
            raise ConfigError("--gpus shares one fold; --scheduler gives each fold a worker")
        if self.scheduler is not None and minutes is not None:
            raise ConfigError("--time-budget times this machine, and --scheduler trains elsewhere")


def load(folder: Path, quarantine: Path | None) -> RenderedSet:
    """Read a rendered set, without the clips that are to be left out; say how many."""
    from spectro.pictures.rendered import RenderedSet

    pictures = RenderedSet.load(folder)
    if quarantine is None:
        return pictures

    kept = pictures.without(quarantine)
    for line in kept.dataset.notes[len(pictures.dataset.notes) :]:
        console.note(line)
    return kept


def place(
    folder: Path | None, runs: Path, rendered: RenderedSet, config: TrainConfig, *kind: str
) -> Path:
    """Return the run's folder: as asked, or one in `runs` named after settings and `kind`."""
    if folder is not None:
        return folder
    from spectro.crossval.run import default_run_folder

    plain = default_run_folder(runs, rendered, config)
    return plain.with_name("-".join([plain.name, *kind]))


def open_run(rendered: RenderedSet, config: TrainConfig, folder: Path, **options: Any) -> Training:
    """Open the run and say what it trains, in what arithmetic, from which weights."""
    from spectro.crossval.folds import Training

    training = Training.open(folder, rendered, config, **options)
    tell_of_start(training.begun)
    return training


def tell_of_start(begun: Start) -> None:
    """Say what is trained, in what arithmetic, from which weights."""
    config, weights = begun.config, begun.weights
    if weights.instead:
        ours = f"{config.arch} starts from our own weights" if weights.source == "sounds" else ""
        console.note(f"{weights.instead}; {ours or f'{config.arch} is trained'} instead")
    start = "random weights" if weights.source == "random" else weights.detail
    console.say(
        f"recipe {config.recipe}: {config.arch}, {config.in_words}, {begun.precision} "
        f"({begun.reason}), from {start}"
    )


def check_gpus(n: int, config: TrainConfig, track: str | None, minutes: float | None) -> None:
    """Refuse what does not go on several GPUs, before anything is done."""
    if n == 1:
        return
    from spectro.training.loop import several_gpus as gpus

    for name, given in {"--track": track, "--time-budget": minutes}.items():
        if given is not None:
            raise ConfigError(f"{name} does not go with --gpus")
    gpus.check(n, config.batch_size)


def train(training: Training, fold: int) -> FoldRecord:
    """Train a fold under a progress bar, or say that it is trained; return its record."""
    run = training.run
    if fold in run.finished_folds:
        console.note(f"fold {fold} is trained already")
    with console.training(f"fold {fold}", run.config.all_epochs) as listener:
        return training.fold(fold, listener)


def score(run: Run, rendered: RenderedSet) -> float:
    """Score the finished folds, draw them, print it all, report; return the accuracy."""
    from spectro.crossval.folds import score_run
    from spectro.crossval.plots import save_run

    scores = score_run(run, rendered)
    drawn = save_run(run)
    _report(run)
    tables.scores(scores)
    console.say(f"pictures: {', '.join(str(path) for path in drawn)}")
    return scores.accuracy


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


def cross_validate(
    rendered: RenderedSet,
    config: TrainConfig,
    folder: Path,
    rounds: Rounds,
    like: Iterable[Path] = (),
) -> Run:
    """Train every fold that is there and score them together; begin as runs of the same study."""
    if rounds.candidates is not None:
        run = _train_nested(rendered, config, folder, rounds)
    else:
        training = open_run(
            rendered,
            config,
            folder,
            like=like,
            track=rounds.track,
            n_gpus=rounds.gpus,
            n_threads=rounds.threads,
        )
        run = training.run
        if rounds.scheduler is not None:
            _train_elsewhere(training, rounds.scheduler)
        else:
            for fold in rendered.folds:
                train(training, fold)
        if rounds.compare_random_split:
            with console.training("random split", config.all_epochs) as listener:
                training.random_split(listener)
    score(run, rendered)
    return run


def repeat(
    rendered: RenderedSet, config: TrainConfig, folder: Path, rounds: Rounds, seeds: int
) -> float:
    """Cross-validate under several seeds, a run each; return the mean accuracy."""
    from spectro.crossval import runs as several

    several.check_free(folder)
    runs = []
    folders = {s: several.folder_of(folder, s) for s in range(config.seed, config.seed + seeds)}
    for seed, own in folders.items():
        console.say(f"seed {seed}")
        one = config.replace(seed=seed)
        runs.append(cross_validate(rendered, one, own, rounds, folders.values()))
    found = several.write(folder, runs)
    tables.table("seed", found["seeds"], ("accuracy", "macro_f1"))
    for name, title in (("accuracy", "accuracy"), ("macro_f1", "macro F1")):
        low, high = map(percent, found[f"{name}_interval"])
        mean, spread = (percent(found[f"{name}_{end}"]) for end in ("mean", "std"))
        console.say(f"mean {title} of {seeds} seeds: {mean} ± {spread} (95 %: {low} to {high})")
    console.note("± is the spread of the seeds; the interval is that of the recordings scored")
    return float(found["accuracy_mean"])


def _train_nested(rendered: RenderedSet, config: TrainConfig, folder: Path, rounds: Rounds) -> Run:
    """Choose settings for each fold on its training folds, and train it with them."""
    from spectro.crossval.studies.nested import Nested, read_candidates

    assert rounds.candidates is not None
    candidates = read_candidates(rounds.candidates, config)
    watch = partial(console.training, each_epoch=False)
    nested = Nested.open(
        folder,
        rendered,
        config,
        candidates,
        watch,
        inner=rounds.inner_folds,
        track=rounds.track,
        n_threads=rounds.threads,
        tell=tell_of_start,
    )
    run = nested.run
    write_text(run.folder / "candidates.toml", rounds.candidates.read_text(encoding="utf-8"))
    for fold in rendered.folds:
        record = nested.fold(fold)
        console.say(
            f"fold {fold}: {record.chosen} was best of {len(candidates)} on its inner folds "
            f"({percent(record.chosen_at or 0)}), and then scored "
            f"{percent(record.accuracy)}"
        )
    return run


def _train_elsewhere(training: Training, address: str) -> None:
    """Train the folds that are not trained yet on a cluster; end here if one fails."""
    from spectro.crossval.remote import train_folds
    from spectro.plumbing.cluster import connect

    run, rendered = training.run, training.pictures
    left = [fold for fold in rendered.folds if fold not in run.finished_folds]
    failed = False
    with connect(address, resource="GPU") as executor:
        for outcome in train_folds(training, left, executor):
            if outcome.record is None:
                failed = True
                console.complain(f"fold {outcome.fold}: {outcome.reason}")
                continue
            accuracy, time = percent(outcome.record.accuracy), outcome.record.seconds
            console.say(f"fold {outcome.fold}: accuracy {accuracy}, {time:.0f} s")
    if failed:
        if run.finished_folds:
            score(run, rendered)
        console.complain("the folds that are finished are kept; run it again to train the others")
        raise typer.Exit(1)


def fit_time(
    minutes: float,
    rendered: RenderedSet,
    config: TrainConfig,
    folder: Path,
    fold: int,
    trainings: int = 1,
    n_threads: int | None = None,
) -> TrainConfig:
    """Pick epochs and size so that it fits a time, or take those of the run that is there."""
    from spectro.crossval.run import Run
    from spectro.crossval.start import start
    from spectro.crossval.studies import budget
    from spectro.training import splits

    if Run.is_at(folder):
        before = Run.load(folder).config
        if not before.phases:
            raise ConfigError(f"{folder}: is a probe, which trains no network; name another --run")
        config = config.replace(size=before.size or 0)
        console.note("the time budget was settled when this run began")
        return config.with_last_phase(epochs=before.phases[-1].epochs)
    parts = splits.split(rendered.clips, fold, config.inner_fold)
    begun = start(config, rendered, folder, n_threads)
    timed = begun.config.replace(precision=begun.precision)
    height, width = rendered.config.shape
    fitted = budget.fit(
        minutes,
        trainings,
        timed,
        parts,
        config.size**2 if config.size else height * width,
        lambda settings: budget.measure(parts.train, rendered, settings, begun.weights),
    )
    console.say(fitted.in_words(minutes, trainings))
    return fitted.config.replace(arch=config.arch, precision=config.precision)
