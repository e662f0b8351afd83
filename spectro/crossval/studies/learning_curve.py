"""A learning curve: the same folds scored after training on growing shares of the training clips.

::

    share0.25/ share0.5/ ...   a run a share, without its models
    learning-curve.csv         a row a share: clips, recordings, accuracy with its interval
    learning-curve.json        the power law through them, and what it says
    learning-curve.png

What is scored is the same whole folds for every share. A smaller share lies in every larger one.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spectro.crossval.folds import Training
from spectro.crossval.records import Design, FoldRecord
from spectro.crossval.run import Run
from spectro.errors import ConfigError
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.files import write_text
from spectro.plumbing.words import percent
from spectro.scores import metrics
from spectro.scores.forecast import Forecast, forecast
from spectro.training.loop.progress import Listener
from spectro.training.settings import TrainConfig

__all__ = ["Curve", "draw", "measure", "open_share", "parse_shares", "train_on_share", "write"]


@dataclasses.dataclass(frozen=True)
class Curve:
    """A learning curve.

    Attributes
    ----------
    points : pandas.DataFrame
        A row a share: ``share``, ``train_clips`` and ``train_recordings`` (mean over folds),
        ``scored_clips``, ``accuracy``, ``accuracy_low``, ``accuracy_high``, ``macro_f1``.
    forecast : Forecast or None
        The law through them, if the curve says that clips help.
    said : str
        What it says of more clips, in words.
    """

    points: pd.DataFrame
    forecast: Forecast | None
    said: str


def parse_shares(text: str) -> list[float]:
    """Read shares as "0.25,0.5,1"; return them in rising order.

    Raises
    ------
    ConfigError
        If one is not above 0 and at most 1, or there are two alike.
    """
    try:
        shares = sorted(float(part) for part in text.split(","))
    except ValueError:
        shares = []
    if not shares or not all(0 < share <= 1 for share in shares) or len({*shares}) < len(shares):
        raise ConfigError(f"--shares {text}: write as 0.25,0.5,1, each above 0, none twice")
    return shares


def draw(clips: pd.DataFrame, share: float, *, seed: int) -> pd.DataFrame:
    """Draw a share of the clips of each class, by whole source recordings.

    Recordings stand in one random order for all classes, and each class takes from its beginning
    as many as come nearest to its share of clips, at least one. So a larger share holds every
    smaller one, and where a recording has clips of several classes (a speaker, say), all of them
    come in about the same order.

    Parameters
    ----------
    clips : pandas.DataFrame
        Clips to draw from, with ``label`` and ``group``.
    share : float
        Above 0 and at most 1.
    seed : int
        Of the order.
    """
    names = np.sort(clips["group"].unique())
    shuffled = np.random.default_rng(seed).permutation(names)
    place = clips["group"].map({name: rank for rank, name in enumerate(shuffled)})
    taken = pd.Series(False, index=clips.index)
    for _, places in place.groupby(clips["label"]):
        sizes = places.value_counts().sort_index()
        nearest = int(np.argmin(np.abs(sizes.cumsum().to_numpy() - share * len(places))))
        taken[places.index] = places <= sizes.index[nearest]
    return clips[taken]


def open_share(
    folder: str | Path, pictures: RenderedSet, config: TrainConfig, share: float
) -> Training:
    """Start or resume the run of a share below `folder`; see :meth:`Training.open`."""
    own, others = Path(folder) / f"share{share:g}", sorted(Path(folder).glob("share*"))
    return Training.open(own, pictures, config, Design(share=share), others, keep_models=False)


def train_on_share(training: Training, fold: int, listener: Listener | None = None) -> FoldRecord:
    """Train on the run's share of all other folds, and score the whole of this one.

    Returns
    -------
    record : FoldRecord
        With ``train_recordings``.
    """
    run, clips = training.run, training.pictures.clips
    held_out = clips["fold"] == fold
    drawn = draw(clips[~held_out], run.design.share or 1.0, seed=run.config.seed)
    part = pd.concat([clips[held_out], drawn]).sort_index().reset_index(drop=True)
    pictures = dataclasses.replace(training.pictures, clips=part)
    own = dataclasses.replace(training, pictures=pictures)
    return own.fold(fold, listener, train_recordings=int(drawn["group"].nunique()))


def measure(runs: list[Run], folds: list[int]) -> Curve:
    """Put the runs of growing shares together and say what more clips would bring.

    Parameters
    ----------
    runs : list of Run
        Of :func:`open_share`, by rising share, with the same folds finished.
    folds : list of int
        Those to score.
    """
    rows, errors = [], []
    for run in runs:
        row, drawn = _point(run, folds)
        rows.append(row)
        errors.append(1 - drawn)
    points = pd.DataFrame(rows)
    n, accuracy = (points[name].to_numpy(float) for name in ("train_clips", "accuracy"))
    found = forecast(n, 1 - accuracy, np.stack(errors))
    if isinstance(found, str):
        return Curve(points, None, found)
    return Curve(points, found, _in_words(found))


def _point(run: Run, folds: list[int]) -> tuple[dict[str, Any], metrics.Floats]:
    """Score one share, and each bootstrap draw of the recordings, the same draws for each share."""
    predictions = run.predictions()
    predictions = predictions[predictions["fold"].isin(folds)]
    records = pd.DataFrame([dict(run.fold_record(fold)) for fold in folds])
    draws = metrics.accuracies(metrics.resampled(predictions, run.labels))
    low, high = metrics.interval(draws)
    tallies = metrics.Tallies.of(metrics.confusion(predictions, run.labels))
    row = {
        "share": run.design.share,
        "train_clips": round(records["train_clips"].mean()),
        "train_recordings": round(records["train_recordings"].mean()),
        "scored_clips": len(predictions),
        "accuracy": float(metrics.accuracies(tallies)),
        "accuracy_low": float(low),
        "accuracy_high": float(high),
        "macro_f1": float(metrics.macro_f1s(tallies)),
    }
    return row, draws


def _in_words(found: Forecast) -> str:
    low, high = (f"{100 * end:.1f}" for end in found.interval)
    floor = "" if found.c == 0 else f" + {found.c:.2f}"
    return (
        f"twice the training clips ({found.n_clips:,} to {found.more_clips:,}) would bring about "
        f"{percent(found.accuracy)} (95 %: {low} to {high}), from "
        f"{percent(1 - found.a - found.c)} by the same law: errors = {found.a:.2f} (n / "
        f"{found.n_clips:,})^-{found.b:.2f}{floor}. That is one draw of clips under one seed, and "
        "holds only if the new ones are new recordings of the same kind"
    )


def write(folder: str | Path, curve: Curve) -> None:
    """Write ``learning-curve.csv`` and ``learning-curve.json``."""
    folder = Path(folder)
    table = curve.points.to_csv(index=False, lineterminator="\n")
    write_text(folder / "learning-curve.csv", table)
    law = dataclasses.asdict(curve.forecast) if curve.forecast else None
    about = {"said": curve.said, "power_law": law}
    write_text(folder / "learning-curve.json", json.dumps(about, indent=2) + "\n")
