"""The probe: a linear head on features of a frozen body, cross-validated over all folds.

While the body does not change, nor does what it makes of a picture: the body runs once over all
clips, and every fold costs a logistic regression. A first honest score in a minute, and a place to
try settings; what it loses against fine-tuning is in ``docs/benchmarks.md``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from spectro.crossval.folds import measured
from spectro.crossval.predictions import out_of_fold, write_predictions
from spectro.crossval.records import FoldRecord, Head
from spectro.crossval.run import Run
from spectro.errors import ConfigError
from spectro.models.networks import build as networks
from spectro.models.networks.features import body_identity, extract, pooled_features, reader
from spectro.models.weights import Weights
from spectro.pictures.rendered import RenderedSet
from spectro.training.data import device
from spectro.training.settings import TrainConfig
from spectro.training.splits import split

__all__ = ["C", "check", "features_of", "new_head", "probabilities", "probe_fold", "score_body"]

C = 0.1
"""Inverse strength of the head's L2 penalty, on standardised features.

Fixed: over a hundredfold (0.01 to 1) the accuracy on inner folds moved by less than a point, with
pretrained and random bodies alike, so that choosing it inside each fold costs five times the fits
and gains nothing (``docs/benchmarks.md``).
"""

Floats = npt.NDArray[np.float32]


def check(rendered: RenderedSet, folds: Sequence[int] | None = None) -> None:
    """Check the folds, or those named alone, before features are computed.

    Raises
    ------
    ConfigError
        If there is one fold alone, or the others of a fold hold one class only.
    """
    folds = rendered.folds if folds is None else folds
    clips = rendered.clips[rendered.clips["fold"].isin(list(folds))]
    for fold in folds:
        labels = split(clips, fold).train["label"].unique()
        if len(labels) < 2:
            raise ConfigError(f"fold {fold}: all clips of the other folds are {labels[0]}")


def features_of(
    run: Run,
    rendered: RenderedSet,
    weights: Weights,
    cache: Path,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Floats, int]:
    """Return the features of every clip; those that the cache lacks are computed.

    Parameters
    ----------
    run : Run
        Gives architecture, picture size, seed and precision.
    rendered : RenderedSet
        Pictures of all folds.
    weights : Weights
        Of the body.
    cache : Path
        Folder of the caches; see :mod:`spectro.models.networks.features`.
    progress : callable or None
        Called with the number of pictures computed and of those to compute.

    Returns
    -------
    features : np.ndarray [shape=(n_clips, n_features)], float32
        In the order of ``rendered.clips``.
    computed : int
        How many were not in the cache.
    """
    body = _body(run.config, weights)
    return pooled_features(
        rendered.clips["image"].tolist(),
        body,
        body_identity(run.config.arch, body, run.config.size, run.record.precision),
        cache,
        device=device(),
        progress=progress,
    )


def _body(config: TrainConfig, weights: Weights) -> torch.nn.Sequential:
    """Build the body; the same seed gives the same random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return networks.body(config.arch, weights.state)


def probe_fold(run: Run, rendered: RenderedSet, features: Floats, fold: int) -> FoldRecord:
    """Fit a head to all folds but one and predict that one; a finished fold is left as it is.

    Parameters
    ----------
    run : Run
        Where results go.
    rendered : RenderedSet
        Gives labels and folds.
    features : np.ndarray [shape=(n_clips, n_features)]
        Of :func:`features_of`.
    fold : int
        The fold to hold out and score.

    Returns
    -------
    record : FoldRecord
        What ``fold.json`` says, ``head`` too.
    """
    if fold in run.finished_folds:
        return run.fold_record(fold)
    started = time.perf_counter()
    parts = split(rendered.clips, fold)
    held_out = (rendered.clips["fold"] == fold).to_numpy()
    head = new_head().fit(features[~held_out], parts.train["label"])
    scored = probabilities(head, features[held_out], run.labels)
    predictions = out_of_fold(scored, parts.score, run.labels)
    own = Head(kind="logistic regression", C=C, features=features.shape[1])
    seconds = time.perf_counter() - started
    record = measured(run, fold, parts, predictions, seconds, head=own)
    with run.writing_fold(record) as folder:
        write_predictions(folder, predictions, rendered)
    return record


def score_body(
    body: torch.nn.Sequential, arch: str, rendered: RenderedSet, folds: Sequence[int]
) -> float:
    """Probe a body on some folds, each by a head fitted to the others of these; keep nothing.

    Parameters
    ----------
    body : torch.nn.Sequential
        Left as it is.
    arch : str
        Its network.
    rendered : RenderedSet
        Pictures; those of other folds are not opened.
    folds : sequence of int
        Two or more.

    Returns
    -------
    accuracy : float
        Of all their clips, from 0 to 1.
    """
    clips = rendered.clips[rendered.clips["fold"].isin(list(folds))]
    where, stats = next(body.parameters()).device, networks.statistics(arch)
    images = clips["image"].tolist()
    features = extract(images, body, reader(None), "fp32", where, statistics=stats)
    right = 0
    for fold in folds:
        held_out = (clips["fold"] == fold).to_numpy()
        head = new_head().fit(features[~held_out], clips["label"][~held_out])
        right += int((head.predict(features[held_out]) == clips["label"][held_out]).sum())
    return right / len(clips)


def new_head() -> Pipeline:
    """Return the linear head of a probe, to be fitted to features."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1_000))


def probabilities(head: Pipeline, features: Floats, labels: list[str]) -> Floats:
    """Return the probability of each of `labels`; 0 for a class that the head was not fitted on.

    Returns
    -------
    probabilities : np.ndarray [shape=(n_clips, n_classes)], float32
    """
    known = pd.DataFrame(head.predict_proba(features), columns=head.classes_)
    return known.reindex(columns=labels, fill_value=0.0).to_numpy(np.float32)
