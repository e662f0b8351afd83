"""What the JSON files of a run say: checked once, when they are read."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from spectro.models.weights import Weights
from spectro.pictures.rendered import About
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.environment import Environment
from spectro.plumbing.settings import Record
from spectro.plumbing.words import percent
from spectro.training.settings import TrainConfig

__all__ = [
    "Design",
    "FoldRecord",
    "Head",
    "Origin",
    "OwnLearner",
    "PictureFolder",
    "RunRecord",
    "ScoredDataset",
    "Scores",
]

Share = Annotated[float, Field(ge=0, le=1)]
_MOST_LABELS = 10_000  # a confusion matrix of so many takes 800 MB
_SHA256 = re.compile(r"sha256 [0-9a-f]{64}")
Interval = tuple[float, float]
Row = dict[str, Any]


class Origin(Record):
    """Where training starts.

    Parameters
    ----------
    source : "imagenet", "sounds", "file", "random" or "own"
        Kind of the weights; "own" are what a Learner of the user's own starts from.
    detail : str
        Their name, or the file with its SHA-256, or why they are random.
    instead : str or None
        Why it is another network than is usual, where none was asked for and it is.
    """

    omitted: ClassVar[frozenset[str]] = frozenset({"instead"})

    source: Literal["imagenet", "sounds", "file", "random", "own"]
    detail: str
    instead: str | None = None

    @classmethod
    def of(cls, weights: Weights) -> Origin:
        """Describe weights that were found."""
        return cls(source=weights.source, detail=weights.detail, instead=weights.instead or None)

    def same_start(self, other: Origin) -> bool:
        """Tell whether both start alike: from the same file, or both by chance."""
        if self.source != other.source:
            return False
        if self.source == "random" or self.detail == other.detail:
            return True
        file = _SHA256.findall(self.detail)  # the same in a package's next version
        return bool(file) and file == _SHA256.findall(other.detail)


class PictureFolder(Record):
    """The rendered set that a run was trained on: its folder and its identity."""

    folder: str
    identity: str


class ScoredDataset(About):
    """The dataset of a run, with the number of its clips."""

    clips: int = Field(ge=0)


class OwnLearner(Record):
    """A Learner of the user's own.

    Parameters
    ----------
    name, fit : str
        Names of the functions that make and train it; `fit` is empty where the phases train it.
    source : str
        Their source.
    """

    name: str
    fit: str = ""
    source: str = ""


class Design(Record):
    """What makes a run other than a plain cross-validation.

    Parameters
    ----------
    share : float or None
        Trained on this share, above 0 and at most 1, of the training clips.
    candidates : dict of str to TrainConfig, or None
        Settings that each fold's were chosen from (nested cross-validation).
    inner_folds : dict of int to tuple of int, or None
        For each fold those on which its settings were chosen.
    learner : OwnLearner or None
        What made the networks, where the user did.
    random_folds : bool or None
        True where folds were drawn at random, for comparison, so that they leak.
    """

    omitted: ClassVar[frozenset[str]] = frozenset(
        {"share", "candidates", "inner_folds", "learner", "random_folds"}
    )

    share: float | None = Field(None, gt=0, le=1)
    candidates: dict[str, TrainConfig] | None = None
    inner_folds: dict[int, tuple[int, ...]] | None = None
    learner: OwnLearner | None = None
    random_folds: bool | None = None

    @property
    def learner_name(self) -> str:
        """How the user's own networks were made and trained, in code."""
        if self.learner is None:
            return ""
        return f"{self.learner.name}(dls)" + (f", {self.learner.fit}" if self.learner.fit else "")

    def in_words(self, chosen: dict[int, str]) -> list[str]:
        """Say in lines what a score of such a run means.

        Parameters
        ----------
        chosen : dict of int to str
            Name of the candidate that was chosen for each finished fold.
        """
        lines = []
        if self.random_folds:
            lines.append(
                "A RANDOM SPLIT, NOT AN HONEST SCORE: folds were drawn at random, so that the "
                "networks are scored on recordings that they have heard"
            )
        if self.learner is not None:
            lines.append(
                f"the networks are the user's own ({self.learner_name}); what they chose by are "
                "training clips, and the scored fold was looked at once, to score it"
            )
        if self.share is not None:
            share = f"{100 * self.share:g} %"
            lines.append(f"trained on {share} of the training clips, drawn by whole recordings")
        if self.candidates is not None:
            by_fold = ", ".join(f"{fold}: {name}" for fold, name in chosen.items())
            lines.append(
                f"nested: for each fold one of {len(self.candidates)} settings was chosen by "
                "training and scoring on its training folds alone, and nothing of the scored fold "
                f"was looked at ({by_fold})"
            )
        return lines


class RunRecord(Record):
    """What ``run.json`` says: everything that all folds of a run have in common.

    Parameters
    ----------
    train : TrainConfig
        Settings of training.
    weights : Origin
        Where training starts.
    precision : str
        Arithmetic of training.
    spectrogram : SpectrogramConfig
        Settings of the pictures.
    dataset : ScoredDataset
        Where the clips come from.
    rendered : PictureFolder
        The pictures.
    labels : tuple of str
        Classes, in the order of the probability columns.
    design : Design or None
        What makes the run other than a plain cross-validation; None where nothing does.
    environment : Environment
        What began the run.
    """

    omitted: ClassVar[frozenset[str]] = frozenset({"design"})

    train: TrainConfig
    weights: Origin
    precision: Literal["fp32", "bf16", "fp16"]
    spectrogram: SpectrogramConfig
    dataset: ScoredDataset
    rendered: PictureFolder
    labels: tuple[str, ...] = Field(min_length=1, max_length=_MOST_LABELS)
    design: Design | None = None
    environment: Environment

    @field_validator("labels")
    @classmethod
    def _differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) < len(labels):
            raise ValueError("a class is named twice")
        return labels


class Head(Record):
    """The linear head of a probe."""

    kind: str
    C: float
    features: int


class FoldRecord(Record):
    """What ``fold.json`` says of a finished fold.

    Parameters
    ----------
    fold : int
        Its number.
    accuracy : float
        Share of its clips, 0 to 1, that were named right.
    train_clips, scored_clips : int
        Clips learned from and scored.
    seconds : float
        Time it took.
    device, precision : str or None
        Where and in which arithmetic it was trained.
    environment : Environment or None
        What trained it.
    inner_fold, inner_accuracy : int, float, or None
        The training fold that was set aside to tune by, and the accuracy on it.
    gpus : int or None
        How many shared the training.
    threads : tuple of int, or None
        Numbers of threads it was trained with, in order: one, unless it was changed on the way.
    chosen, chosen_at, weights : str, float, str, or None
        In a nested run: the candidate, its mean accuracy on the inner folds, where it started.
    train_recordings : int or None
        In a learning curve: recordings learned from.
    head : Head or None
        Of a probe.
    """

    omitted: ClassVar[frozenset[str]] = frozenset(
        {
            *("device", "precision", "environment", "inner_fold", "inner_accuracy", "gpus"),
            *("threads", "chosen", "chosen_at", "weights", "train_recordings", "head"),
        }
    )

    fold: int
    accuracy: Share
    train_clips: int = Field(ge=0)
    scored_clips: int = Field(ge=0)
    seconds: float = Field(ge=0)
    device: str | None = None
    precision: str | None = None
    environment: Environment | None = None
    inner_fold: int | None = None
    inner_accuracy: Share | None = None
    gpus: int | None = Field(None, ge=1)
    threads: tuple[int, ...] | None = None
    chosen: str | None = None
    chosen_at: float | None = None
    weights: str | None = None
    train_recordings: int | None = None
    head: Head | None = None


class Scores(Record):
    """What ``scores.json`` says of all finished folds together.

    Parameters
    ----------
    protocol : tuple of str
        What was trained and scored, in words.
    clips : int
        Clips scored.
    accuracy, macro_f1 : float
        Over all clips, 0 to 1, and their 95 % intervals over source recordings.
    fold_mean, fold_std : float
        Mean and sample standard deviation of the folds' accuracies; None for one fold.
    folds, classes, groups : tuple of dict
        A row a fold, a class, and a group of recordings that belong together, such as a speaker.
    confusion : tuple of tuple of int
        Clips by true class (row) and predicted class (column).
    random_split : dict or None
        ``fold_mean``, ``fold_std`` and ``clips`` of a split that leaks, trained for comparison.
    """

    omitted: ClassVar[frozenset[str]] = frozenset({"random_split"})

    protocol: tuple[str, ...] = ()
    clips: int = Field(ge=1)
    accuracy: Share
    accuracy_interval: Interval
    macro_f1: Share
    macro_f1_interval: Interval
    fold_mean: Share
    fold_std: float | None
    folds: tuple[Row, ...]
    classes: tuple[Row, ...]
    confusion: tuple[tuple[int, ...], ...]
    groups: tuple[Row, ...] = ()
    random_split: Row | None = None

    def __str__(self) -> str:
        """Write accuracy and macro F1 with their intervals, in a line."""
        shares = (
            f"{name} {percent(share)} (95 %: {percent(low)} to {percent(high)})"
            for name, share, (low, high) in (
                ("accuracy", self.accuracy, self.accuracy_interval),
                ("macro F1", self.macro_f1, self.macro_f1_interval),
            )
        )
        return f"all {self.clips:,} clips together: {', '.join(shares)}"

    def __repr__(self) -> str:
        """Show no more than that line, as a notebook does."""
        return f"<Scores: {self}>"
