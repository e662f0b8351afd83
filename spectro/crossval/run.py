"""A run: the folder that training writes and everything later reads.

::

    run.json               settings, seed, weights, dataset identity, versions, git commit
    fold3/history.csv      a row an epoch
    fold3/predictions.csv  a row a clip of fold 3, predicted by a network that never heard fold 3
    fold3/model/           that network: see spectro.models.folder
    fold3/training.log     model, data, optimiser and epochs, as a page to read
    fold3/fold.json        clips, seconds, precision, accuracy
    scores.json            scores of all finished folds together

A fold's folder appears whole, when the fold is finished: resuming trains the folds that are not
there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from spectro.errors import ModelError
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.environment import environment
from spectro.plumbing.files import is_taken, read_json, replacing_folder, write_text
from spectro.plumbing.paths import below, check_no_link, check_pictures, check_relative, place
from spectro.scores.metrics import probability_columns
from spectro.training.settings import TrainConfig

__all__ = [
    "Run",
    "accuracy",
    "default_run_folder",
    "latest_run",
    "out_of_fold",
    "write_predictions",
]

_RECORD, _SCORES = "run.json", "scores.json"


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes
    ----------
    folder : Path
        Where it lies.
    record : dict
        What ``run.json`` says.
    """

    folder: Path
    record: dict[str, Any]

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """Open a run that is there.

        Raises
        ------
        ModelError
            If the folder holds no run.
        """
        folder = Path(folder)
        if not (folder / _RECORD).is_file():
            raise ModelError(f"{folder}: holds no run; spectro train-fold makes one")
        return cls(folder, read_json(folder / _RECORD, ModelError))

    @classmethod
    def open(
        cls,
        folder: str | Path,
        rendered: RenderedSet,
        config: TrainConfig,
        weights: dict[str, str],
        precision: str,
        design: dict[str, Any] | None = None,
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
        weights : dict
            ``source`` and ``detail`` of what it starts from.
        precision : "fp32" or "bf16"
            What it trains in.
        design : dict or None
            What makes it other than a plain cross-validation, in plain values.

        Raises
        ------
        ModelError
            If the folder holds a run of other settings, pictures, weights or precision, or
            anything else.
        """
        folder = Path(folder)
        record = {
            "train": config.to_dict(),
            "weights": weights,
            "precision": precision,
            "spectrogram": rendered.config.to_dict(),
            "dataset": {**rendered.dataset, "clips": len(rendered.clips)},
            "rendered": {"folder": str(rendered.folder.resolve()), "identity": rendered.identity},
            "labels": rendered.labels,
            **({} if design is None else {"design": design}),
        }
        if not (folder / _RECORD).is_file():
            if is_taken(folder):
                raise ModelError(f"{folder}: is there and holds something else; name another --run")
            record["environment"] = environment()
            write_text(folder / _RECORD, json.dumps(record, indent=2) + "\n")
            return cls(folder, record)
        run = cls.load(folder)
        changed = [
            name
            for name in ("precision", "labels", "design")
            if run.record.get(name) != record.get(name)
        ]
        # Compared as settings, so that a record from before a setting has its default.
        changed += ["train"] if run.config != config else []
        changed += ["spectrogram"] if run.spectrogram != rendered.config else []
        if run.record["weights"]["source"] != weights["source"] or (
            weights["source"] != "random" and run.record["weights"] != weights
        ):  # why random ones were taken may be told otherwise the next time
            changed.append("weights")
        if run.record["rendered"]["identity"] != rendered.identity:
            changed.append("pictures")
        if changed:
            raise ModelError(
                f"{folder}: holds a run with other {' and '.join(changed)}; "
                "name another --run or remove that folder"
            )
        return run

    @property
    def labels(self) -> list[str]:
        """Classes, in the order of the probability columns."""
        return list(self.record["labels"])

    @property
    def config(self) -> TrainConfig:
        """Settings of training."""
        return TrainConfig(**self.record["train"])

    @property
    def spectrogram(self) -> SpectrogramConfig:
        """Settings of the pictures."""
        return SpectrogramConfig(**self.record["spectrogram"])

    @property
    def design(self) -> dict[str, Any]:
        """What makes this run other than a plain cross-validation; empty if nothing does."""
        return dict(self.record.get("design", {}))

    def trained_with(self, config: TrainConfig, weights: dict[str, str], precision: str) -> Run:
        """Return the same folder for training with other settings than ``run.json`` says.

        For folds whose settings were chosen for them; what is written of the fold says so.
        """
        changes = {"train": config.to_dict(), "weights": weights, "precision": precision}
        return Run(self.folder, {**self.record, **changes})

    @property
    def finished_folds(self) -> list[int]:
        """Folds that are trained and scored."""
        names = (path.parent.name for path in self.folder.glob("fold*/fold.json"))
        numbers = (name.removeprefix("fold") for name in names)
        return sorted(int(number) for number in numbers if number.lstrip("-").isdecimal())

    def fold_folder(self, fold: int) -> Path:
        """Return the folder of a fold."""
        return self.folder / f"fold{fold}"

    def fold_record(self, fold: int) -> dict[str, Any]:
        """Read ``fold.json`` of a finished fold."""
        return read_json(self.fold_folder(fold) / "fold.json", ModelError)

    @contextmanager
    def writing_fold(self, fold: int) -> Iterator[Path]:
        """Give a folder that becomes the fold's when the block ends well."""
        check_no_link(self.fold_folder(fold), ModelError)
        with replacing_folder(self.fold_folder(fold)) as temporary:
            yield temporary

    def history(self, fold: int) -> pd.DataFrame:
        """Read the training history of a fold, a row an epoch."""
        return pd.read_csv(self.fold_folder(fold) / "history.csv")

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
            If no fold is finished.
        """
        if not self.finished_folds:
            raise ModelError(f"{self.folder}: no fold is finished; run spectro train-fold")
        text = {"label": str, "predicted": str, "group": str}
        root, pictures = self.record["dataset"]["root"], self.record["rendered"]["folder"]
        tables = []
        for fold in self.finished_folds:
            file = self.fold_folder(fold) / "predictions.csv"
            table = pd.read_csv(
                file, dtype=text, keep_default_na=False, na_values={"start": [""], "end": [""]}
            )
            check_relative(table["path"], file, ModelError)
            check_pictures(table["image"], Path(pictures), file, ModelError)
            tables.append(table)
        predictions = pd.concat(tables, ignore_index=True)
        predictions["path"] = [os.path.join(root, path) for path in predictions["path"]]
        predictions["image"] = [os.path.join(pictures, image) for image in predictions["image"]]
        return predictions

    def write_scores(self, scores: dict[str, Any]) -> None:
        """Write ``scores.json``."""
        write_text(self.folder / _SCORES, json.dumps(scores, indent=2) + "\n")

    def scores(self) -> dict[str, Any]:
        """Read ``scores.json``."""
        return read_json(self.folder / _SCORES, ModelError)


def default_run_folder(parent: str | Path, rendered: RenderedSet, config: TrainConfig) -> Path:
    """Name a run after its dataset and recipe, and by a hash of all its settings and pictures."""
    both = hashlib.sha256((config.identity + rendered.identity).encode()).hexdigest()[:8]
    return Path(parent) / f"{rendered.dataset['name']}-{config.recipe}-{both}"


def latest_run(parent: str | Path) -> Run:
    """Open the run below `parent` that was scored last.

    Raises
    ------
    ModelError
        If there is none.
    """
    scored = sorted(Path(parent).glob(f"*/{_SCORES}"), key=lambda path: path.stat().st_mtime)
    if not scored:
        raise ModelError(f"{parent}: holds no scored run; make demo makes one")
    return Run.load(scored[-1].parent)


def out_of_fold(
    probabilities: npt.NDArray[np.float32], clips: pd.DataFrame, labels: list[str]
) -> pd.DataFrame:
    """Put clips and what was predicted for them side by side.

    Parameters
    ----------
    probabilities : np.ndarray [shape=(n_clips, n_classes)]
        In the order of `clips` and `labels`.
    """
    best = probabilities.argmax(axis=1)
    table = clips.assign(
        predicted=[labels[i] for i in best], probability=probabilities.max(axis=1)
    ).reset_index(drop=True)
    columns = pd.DataFrame(probabilities, columns=probability_columns(labels))
    return pd.concat([table, columns], axis=1)


def accuracy(predictions: pd.DataFrame) -> float:
    """Give the share of clips, 0 to 1, whose predicted class is theirs."""
    return float((predictions["predicted"] == predictions["label"]).mean())


def write_predictions(folder: Path, predictions: pd.DataFrame, rendered: RenderedSet) -> None:
    """Write ``predictions.csv``, paths relative to dataset and pictures, which may be moved."""
    root = place(rendered.dataset["root"])
    portable = predictions.assign(
        path=[below(path, root) for path in predictions["path"]],
        image=[below(image, rendered.folder) for image in predictions["image"]],
    )
    portable.to_csv(folder / "predictions.csv", index=False, lineterminator="\n")
