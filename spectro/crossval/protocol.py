"""What a score was measured on, in words, so that nobody takes it for another number."""

from __future__ import annotations

from typing import Any

from spectro.clips.table import leaks_in_words
from spectro.crossval.run import Run
from spectro.pictures.rendered import RenderedSet

__all__ = ["in_words", "lines", "nested", "shared"]


def nested(
    candidates: dict[str, dict[str, Any]], inner_folds: dict[int, list[int]]
) -> dict[str, Any]:
    """Describe a run whose folds are trained with one of several settings, chosen for each.

    Parameters
    ----------
    candidates : dict of str to dict
        Settings by name.
    inner_folds : dict of int to list of int
        For each fold those on which its settings are chosen.
    """
    turns = {str(fold): inner for fold, inner in inner_folds.items()}  # as JSON gives it back
    return {"candidates": candidates, "inner_folds": turns}


def shared(share: float) -> dict[str, Any]:
    """Describe a run that trains on a share, above 0 and at most 1, of the training clips."""
    return {"share": share}


def in_words(design: dict[str, Any], chosen: dict[int, str]) -> list[str]:
    """Say in lines what a score of such a run means.

    Parameters
    ----------
    design : dict
        Of a run; empty for a plain one.
    chosen : dict of int to str
        Name of the candidate that was chosen for each finished fold.
    """
    lines = []
    if "share" in design:
        share = f"{100 * design['share']:g} %"
        lines.append(f"trained on {share} of the training clips, drawn by whole recordings")
    if "candidates" in design:
        by_fold = ", ".join(f"{fold}: {name}" for fold, name in chosen.items())
        lines.append(
            f"nested: for each fold one of {len(design['candidates'])} settings was chosen by "
            "training and scoring on its training folds alone, and nothing of the scored fold was "
            f"looked at ({by_fold})"
        )
    return lines


def lines(run: Run, rendered: RenderedSet) -> list[str]:
    """Say in lines what the finished folds of a run were trained and scored on."""
    if "random_share" in rendered.dataset:
        return _random_share(run, rendered)
    finished, whole = run.finished_folds, rendered.dataset["folds"]
    said = [
        f"{len(finished)} of the {len(whole)} folds of {rendered.dataset['name']} scored "
        f"({', '.join(map(str, finished))}), each by {_trained(run, rendered)}",
        *_by_design(run),
        f"started from {_of_folds(run, 'weights')}",
        *dict.fromkeys([*leaks_in_words(rendered.clips), *rendered.dataset["notes"]]),
    ]
    if rendered.n_failed:
        said.append(f"{rendered.n_failed:,} clips could not be decoded and are not scored")
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


def _trained(run: Run, rendered: RenderedSet) -> str:
    """Say what predicted a fold, and what it was trained on."""
    others = f"{len(rendered.folds) - 1 - (run.config.inner_fold is not None)} other folds"
    if not run.config.phases:
        return (
            f"a logistic regression fitted to {others}, on what a frozen {run.config.arch} makes "
            f"of a picture in {_of_folds(run, 'precision')}; nothing chosen on the scored fold"
        )
    return (
        f"{_networks(run)} trained on {others} in {_of_folds(run, 'precision')}; last epoch, "
        "nothing chosen on the scored fold"
    )


def _networks(run: Run) -> str:
    n = run.config.members
    return "a network" if n == 1 else f"{n} networks together, each"


def _random_share(run: Run, rendered: RenderedSet) -> list[str]:
    """Say of a random share that it is not an honest score, first of all."""
    groups = rendered.clips.groupby("group")["fold"].nunique()
    share, seed = rendered.dataset["random_share"], run.config.seed
    trained = f"{_networks(run)} trained on the others in {_of_folds(run, 'precision')}"
    return [
        f"A RANDOM SPLIT, NOT AN HONEST SCORE: {int((groups > 1).sum())} of {len(groups)} "
        "recordings or speakers sit on both sides, so the network is scored on what it has heard; "
        "spectro cross-validate scores it on what it has not",
        f"{100 * share:g} % of the clips of each class of {rendered.dataset['name']} scored, drawn "
        f"with seed {seed}, by {trained}; last epoch, nothing chosen on the scored clips",
        f"started from {_of_folds(run, 'weights')}",
    ]


def _of_folds(run: Run, name: str) -> str:
    """Say what the folds had in common, or all that they had where settings were chosen by fold."""
    common = {**run.record, "weights": run.record["weights"]["detail"]}[name]
    values = (run.fold_record(fold).get(name, common) for fold in run.finished_folds)
    return "; ".join(dict.fromkeys(values))


def _by_design(run: Run) -> list[str]:
    folds = run.finished_folds if "candidates" in run.design else []
    return in_words(run.design, {fold: run.fold_record(fold)["chosen"] for fold in folds})
