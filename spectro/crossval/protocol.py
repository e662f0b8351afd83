"""What a score was measured on, in words: the protocol lines of ``scores.json``."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from spectro.clips.table import leaking_groups, leaks_in_words
from spectro.crossval.run import Run
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.words import counted, percent
from spectro.scores.calibration import fit_temperature, temperature_in_doubt
from spectro.scores.metrics import probability_columns

__all__ = ["doubts", "lines", "of_folds"]

_NO_WIDTH = 1e-9


def lines(run: Run, rendered: RenderedSet) -> list[str]:
    """Describe what the finished folds of a run were trained and scored on, a line each."""
    if rendered.dataset.random_share is not None:
        return _random_share(run, rendered)
    finished, whole = run.finished_folds, rendered.dataset.folds
    said = [
        f"{len(finished)} of the {counted(len(whole), 'fold')} of {rendered.dataset.name} scored "
        f"({', '.join(map(str, finished))}), each by {_trained(run, rendered)}",
        *_by_design(run),
        f"started from {of_folds(run, 'weights')}",
        *dict.fromkeys([*leaks_in_words(rendered.clips), *rendered.dataset.notes]),
    ]
    if rendered.n_failed:
        are = (
            "clip could not be decoded and is"
            if rendered.n_failed == 1
            else ("clips could not be decoded and are")
        )
        said.append(f"{rendered.n_failed:,} {are} not scored")
    if len(rendered.folds) < len(whole):
        said.append(
            f"only {len(rendered.folds)} of {len(whole)} folds are on disk: this is NOT the "
            f"{len(whole)}-fold number and must not be compared with it"
        )
    elif len(finished) < len(whole):
        said.append(
            f"folds not trained yet: {len(whole) - len(finished)}; this is NOT the "
            f"{len(whole)}-fold number"
        )
    return said


def doubts(
    predictions: pd.DataFrame, labels: Sequence[str], accuracy: tuple[float, float]
) -> list[str]:
    """Say which numbers of a score tell less than they seem to.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Out of fold, of all clips that were scored.
    labels : sequence of str
    accuracy : tuple of float
        Its interval over recordings.
    """
    said = []
    recordings, right = (
        predictions["group"].nunique(),
        predictions["predicted"] == predictions["label"],
    )
    if accuracy[1] - accuracy[0] < _NO_WIDTH:
        bound = 1 - 0.05 ** (1 / recordings)
        sure = f"; without a mistake in so few, up to {percent(bound)} of new ones may go wrong"
        said.append(
            f"the interval of the accuracy has no width: every draw of "
            f"{counted(recordings, 'recording')} scores alike{sure if right.all() else ''}"
        )
    truth = pd.Index(labels).get_indexer(pd.Index(predictions["label"]))
    probabilities = predictions[probability_columns(list(labels))].to_numpy(dtype=float)
    doubt = temperature_in_doubt(fit_temperature(truth, probabilities))
    return [*said, doubt] if doubt else said


def _trained(run: Run, rendered: RenderedSet) -> str:
    """Say what predicted a fold, and what it was trained on."""
    n_others = len(rendered.folds) - 1 - run.sets_aside
    others = counted(n_others, "other fold")
    if not run.config.phases:
        return (
            f"a logistic regression fitted to {others}, on what a frozen {run.config.arch} makes "
            f"of a picture in {of_folds(run, 'precision')}; nothing chosen on the scored fold"
        )
    return (
        f"{_networks(run)} trained on {others} in {of_folds(run, 'precision')}; last epoch, "
        "nothing chosen on the scored fold"
    )


def _networks(run: Run) -> str:
    candidates = run.design.candidates or {}
    configs = [candidates.get(name, run.config) for name in run.chosen.values()] or [run.config]
    n = sorted({config.members for config in configs})
    if n == [1]:
        return "a network"
    return f"{' or '.join(map(str, n))} networks together, each"


def _random_share(run: Run, rendered: RenderedSet) -> list[str]:
    """Describe a random share; the first line says that it is not an honest score."""
    shared, of = len(leaking_groups(rendered.clips)), rendered.clips["group"].nunique()
    leak = (
        f"{shared:,} of {of:,} recordings or speakers sit on both sides, so the network is scored "
        "on what it has heard; spectro cross-validate scores it on what it has not"
        if shared
        else "each clip counts as a recording of its own, which cannot be checked here; if several "
        "were cut from one, the network is scored on what it has heard"
    )
    share, seed = rendered.dataset.random_share or 0.0, run.config.seed
    trained = f"{_networks(run)} trained on the others in {of_folds(run, 'precision')}"
    return [
        f"A RANDOM SPLIT, NOT AN HONEST SCORE: {leak}",
        f"{100 * share:g} % of the clips of each class of {rendered.dataset.name} scored, drawn "
        f"with seed {seed}, by {trained}; last epoch, nothing chosen on the scored clips",
        f"started from {of_folds(run, 'weights')}",
    ]


def of_folds(run: Run, name: str) -> str:
    """Give what all folds share, or each value where settings were chosen by fold.

    Parameters
    ----------
    run : Run
    name : "weights" or "precision"
    """
    record = run.record
    common = {"weights": record.weights.detail, "precision": record.precision}[name]
    values = [getattr(run.fold_record(fold), name) or common for fold in run.finished_folds]
    return "; ".join(dict.fromkeys(values or [common]))


def _by_design(run: Run) -> list[str]:
    if run.design.candidates is None:
        return run.design.in_words({})
    return run.design.in_words(run.chosen)
