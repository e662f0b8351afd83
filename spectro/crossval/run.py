"""A run: the folder that training writes and everything later reads.

::

    run.json               settings, seed, weights, dataset identity, versions, git commit
    fold3/history.csv      a row an epoch
    fold3/predictions.csv  a row a clip of fold 3, predicted by a network that never heard fold 3
    fold3/model/           that network: see spectro.models.folder
    fold3/training.log     model, data, optimiser and epochs, as a page to read
    fold3/fold.json        clips, seconds, precision, accuracy
    scores.json            scores of all finished folds together
    calibration.json       what to do to the probabilities of the folds' networks
    final/                 a model trained on all folds: see spectro.crossval.final.train

A fold's folder appears whole, when the fold is finished: resuming trains the folds that are not
there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from spectro.crossval.predictions import (
    check_fold,
    check_once,
    read_history,
    read_predictions,
)
from spectro.crossval.records import (
    Design,
    FoldRecord,
    Origin,
    PictureFolder,
    RunRecord,
    ScoredDataset,
    Scores,
)
from spectro.errors import ModelError
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.environment import environment
from spectro.plumbing.files import (
    check_writable,
    claim_text,
    is_taken,
    replacing_folder,
    scratch,
    sweep,
    write_text,
)
from spectro.plumbing.paths import check_no_link
from spectro.plumbing.words import counted, first_change
from spectro.training.settings import TrainConfig

__all__ = ["RANDOM", "RECORD", "Run", "default_run_folder", "latest_run"]

RECORD = "run.json"
RANDOM = "random-split"
"""Folder, inside a run, of the run that is split at random for comparison."""

_SCORES, _FOLD = "scores.json", "fold.json"
_FOLD_NAME = re.compile(r"fold(-?\d+)")


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes
    ----------
    folder : Path
        Where it lies.
    record : RunRecord
        What ``run.json`` says.

    Examples
    --------
    >>> import tempfile
    >>> from spectro import RenderedSet, Run, SpectrogramConfig, TrainConfig, cross_validate
    >>> from spectro import load_dataset, render, write_sample
    >>> folder = tempfile.mkdtemp()
    >>> sounds = write_sample(folder, sources=1, slices=1, folds=2, classes=("siren", "dog_bark"))
    >>> _ = render(load_dataset(sounds), f"{folder}/pictures", SpectrogramConfig(n_mels=32))
    >>> config = TrainConfig(arch="cnn4", weights="none", batch_size=2, phases=[{"epochs": 1}])
    >>> run = cross_validate(RenderedSet.load(f"{folder}/pictures"), f"{folder}/run", config)
    >>> Run.load(f"{folder}/run").predictions()[["label", "fold"]].value_counts().tolist()
    [1, 1, 1, 1]
    """

    folder: Path
    record: RunRecord

    def __repr__(self) -> str:
        """Name the folder, and how far it is: the record would fill a screen."""
        done, planned = len(self.finished_folds), len(self.record.dataset.folds)
        return f"<Run {self.folder}: {done} of {counted(planned, 'fold')} trained and scored>"

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """Open a run that is there.

        Raises
        ------
        ModelError
            If the folder holds no run, or its record is damaged.
        """
        folder = Path(folder)
        if not cls.is_at(folder):
            raise ModelError(f"{folder}: {_no_run(folder)}")
        return cls(folder, RunRecord.read(folder / RECORD, ModelError))

    @staticmethod
    def is_at(folder: Path) -> bool:
        """Tell whether a folder holds a run."""
        return (folder / RECORD).is_file()

    @classmethod
    def open(
        cls,
        folder: str | Path,
        rendered: RenderedSet,
        config: TrainConfig,
        weights: Origin,
        precision: str,
        design: Design | None = None,
    ) -> Run:
        """Start a run, or go on with the one that is there.

        Parameters
        ----------
        folder : str or Path
            Where it lies.
        rendered : RenderedSet
            Its pictures.
        config : TrainConfig
            Its settings.
        weights : Origin
            What it starts from.
        precision : "fp32", "bf16" or "fp16"
            What it trains in.
        design : Design or None
            What makes it other than a plain cross-validation.

        Raises
        ------
        ModelError
            If the folder holds a run of other settings, pictures, weights or precision, or
            anything else; or if it cannot be written to.
        """
        folder = Path(folder)
        asked = RunRecord(
            train=config,
            weights=weights,
            precision=precision,
            spectrogram=rendered.config,
            dataset=ScoredDataset(**dict(rendered.dataset), clips=len(rendered.clips)),
            rendered=PictureFolder(
                folder=str(rendered.folder.resolve()), identity=rendered.identity
            ),
            labels=tuple(rendered.labels),
            design=design,
            environment=environment(),
        )
        sweep(folder)  # what a killed process left half written
        if cls.is_at(folder):
            run = cls.load(folder)
            run._check_same(asked)
            check_writable(folder)  # told before hours of training, not after
            return run._moved(asked)
        if is_taken(folder):
            raise ModelError(f"{folder}: is there and holds something else; name another --run")
        folder.mkdir(parents=True, exist_ok=True)
        with scratch(folder) as own:
            begun = claim_text(folder / RECORD, asked.to_text(), inside=own)
        run = cls.load(folder)
        if not begun:  # by another process, a moment ago
            run._check_same(asked)
        return run

    def _check_same(self, asked: RunRecord) -> None:
        """Refuse to go on with other settings, pictures, weights or precision."""
        there = self.record
        same = {
            "precision": there.precision == asked.precision,
            "labels": there.labels == asked.labels,
            "design": there.design == asked.design,
            "train": there.train == asked.train,
            "spectrogram": there.spectrogram == asked.spectrogram,
            "weights": there.weights.same_start(asked.weights),
            "pictures": there.rendered.identity == asked.rendered.identity,
        }
        changed = [name for name, alike in same.items() if not alike]
        if changed:
            settings = there.train.differences(asked.train) + there.spectrogram.differences(
                asked.spectrogram
            )
            if not same["design"] and there.design and asked.design:
                before, now = (one.learner for one in (there.design, asked.design))
                if before and now and (line := first_change(before.source, now.source)):
                    settings.append(line)
            which = f" ({'; '.join(settings)})" if settings else ""
            raise ModelError(
                f"{self.folder}: holds a run with other {' and '.join(changed)}{which}; "
                "name another --run or remove that folder"
            )

    def _moved(self, asked: RunRecord) -> Run:
        """Write down where dataset and pictures lie now, if they were moved since."""
        dataset = self.record.dataset.replace(root=asked.dataset.root)
        changes = {"dataset": dataset, "rendered": asked.rendered}
        now = self.record.model_copy(update=changes)
        if now != self.record:
            write_text(self.folder / RECORD, now.to_text())
        return Run(self.folder, now)

    @property
    def labels(self) -> list[str]:
        """Classes, in the order of the probability columns."""
        return list(self.record.labels)

    @property
    def config(self) -> TrainConfig:
        """Settings of training."""
        return self.record.train

    @property
    def spectrogram(self) -> SpectrogramConfig:
        """Settings of the pictures."""
        return self.record.spectrogram

    @property
    def design(self) -> Design:
        """What makes this run other than a plain cross-validation."""
        return self.record.design or Design()

    @property
    def leaks(self) -> bool:
        """Whether clips were drawn at random, so that others of their recordings were heard."""
        earlier = self.folder.name == RANDOM and Run.is_at(self.folder.parent)  # did not write it
        share = self.record.dataset.random_share
        return bool(self.design.random_folds) or earlier or share is not None

    @property
    def sets_aside(self) -> bool:
        """Whether a training fold is set aside to tune by."""
        records = map(self.fold_record, self.finished_folds)
        return self.config.inner_fold is not None or any(r.inner_fold is not None for r in records)

    @property
    def watched(self) -> str:
        """What the accuracy of the training curves was measured on."""
        if self.sets_aside:
            return "the inner fold"
        return "the training clips" if self.design.learner else "the scored fold"

    def trained_with(self, config: TrainConfig, weights: Origin, precision: str) -> Run:
        """Return the same folder for training with other settings than ``run.json`` says.

        For folds whose settings were chosen for them; what is written of the fold says so.
        """
        changes = {"train": config, "weights": weights, "precision": precision}
        return Run(self.folder, self.record.model_copy(update=changes))

    @property
    def finished_folds(self) -> list[int]:
        """Folds that are trained and scored."""
        names = (path.parent.name for path in self.folder.glob(f"fold*/{_FOLD}"))
        return sorted(int(found[1]) for found in map(_FOLD_NAME.fullmatch, names) if found)

    def inner(self, *names: str) -> Path:
        """Name the folder of a run inside this one; it must not be reached through a link.

        Raises
        ------
        ModelError
            If a folder on the way is a symbolic link.
        """
        folder = self.folder
        for name in names:
            folder = folder / name
            check_no_link(folder, ModelError)
        return folder

    def fold_folder(self, fold: int) -> Path:
        """Return the folder of a fold."""
        return self.folder / f"fold{fold}"

    def fold_record(self, fold: int) -> FoldRecord:
        """Read ``fold.json`` of a finished fold."""
        record = FoldRecord.read(self.fold_folder(fold) / _FOLD, ModelError)
        if record.fold != fold:
            raise ModelError(
                f"{self.fold_folder(fold)}: is a copy of fold {record.fold}, not fold {fold}; "
                "remove it, and train the fold anew"
            )
        return record

    @property
    def chosen(self) -> dict[int, str]:
        """Name of the candidate that was chosen for each finished fold of a nested run."""
        records = (self.fold_record(fold) for fold in self.finished_folds)
        return {record.fold: record.chosen or "not known" for record in records}

    @contextmanager
    def writing_fold(self, record: FoldRecord) -> Iterator[Path]:
        """Give a folder that becomes the fold's, with its record, when the block ends well."""
        target = self.fold_folder(record.fold)
        check_no_link(target, ModelError)
        with replacing_folder(target) as temporary:
            yield temporary
            write_text(temporary / _FOLD, record.to_text())

    def history(self, fold: int) -> pd.DataFrame:
        """Read the training history of a fold, a row an epoch.

        Raises
        ------
        ModelError
            If the table cannot be read, or lacks a column; or the run is a probe.
        """
        if not self.config.phases:
            raise ModelError(
                f"{self.folder}: is a probe, which trains no network: it has no curves"
            )
        return read_history(self.fold_folder(fold) / "history.csv")

    def predictions(self) -> pd.DataFrame:
        """Read the out-of-fold predictions of all finished folds.

        Returns
        -------
        predictions : pandas.DataFrame
            The clip table plus ``image``, ``predicted``, ``probability`` (of the predicted class)
            and a column ``p_<label>`` a class; `path` and `image` as one can open them.

        Raises
        ------
        ModelError
            If no fold is finished, or a table is damaged, changed, or another fold's.
        """
        if not self.finished_folds:
            raise ModelError(f"{self.folder}: no fold is finished; run spectro train-fold")
        root, pictures = self.record.dataset.root, Path(self.record.rendered.folder)
        tables = []
        for fold in self.finished_folds:
            table = read_predictions(self.fold_folder(fold), self.labels, root, pictures)
            file = self.fold_folder(fold) / "predictions.csv"
            check_fold(table, self.labels, self.fold_record(fold), file)
            tables.append(table)
        whole: pd.DataFrame = pd.concat(tables, ignore_index=True)
        check_once(whole, self.folder)
        return whole

    @property
    def is_scored(self) -> bool:
        """Whether ``scores.json`` is there."""
        return (self.folder / _SCORES).is_file()

    @property
    def changed(self) -> float:
        """When the run was last scored, or else begun, in seconds since 1970."""
        return (self.folder / (_SCORES if self.is_scored else RECORD)).stat().st_mtime

    def write_scores(self, scores: Scores) -> None:
        """Write ``scores.json``."""
        write_text(self.folder / _SCORES, scores.to_text())

    def scores(self) -> Scores:
        """Read ``scores.json``."""
        return Scores.read(self.folder / _SCORES, ModelError)


def _no_run(folder: Path) -> str:
    """Say why a folder is no run, and where one may be."""
    if seeds := sorted(folder.glob(f"seed*/{RECORD}")):
        return f"holds {len(seeds)} runs, one a seed; name one, as {seeds[0].parent}"
    return "holds no run; spectro train-fold makes one"


def default_run_folder(parent: str | Path, rendered: RenderedSet, config: TrainConfig) -> Path:
    """Name a run after its dataset and recipe, and by a hash of all its settings and pictures."""
    both = hashlib.sha256((config.identity + rendered.identity).encode()).hexdigest()[:8]
    return Path(parent) / f"{rendered.dataset.name}-{config.recipe}-{both}"


def latest_run(parent: str | Path, *, trained: bool = False) -> Run:
    """Open the run below `parent` that was scored last.

    Parameters
    ----------
    parent : str or Path
        Folder of runs.
    trained : bool
        Only of those that trained networks: a probe, whose network stays as it is, is passed over.

    Raises
    ------
    ModelError
        If there is none.
    """
    scored = sorted(Path(parent).glob(f"*/{_SCORES}"), key=lambda path: path.stat().st_mtime)
    for path in reversed(scored):
        run = Run.load(path.parent)
        if run.config.phases or not trained:
            return run
    what = "no scored run that trained networks" if scored else "no scored run"
    raise ModelError(f"{parent}: holds {what}; make demo makes one")
