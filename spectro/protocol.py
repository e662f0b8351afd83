"""What a score was measured on, in words, so that nobody takes it for another number."""

from __future__ import annotations

from spectro.datasets.table import leaks_in_words
from spectro.design import in_words
from spectro.rendered import RenderedSet
from spectro.run import Run

__all__ = ["lines"]


def lines(run: Run, rendered: RenderedSet) -> list[str]:
    """Say in lines what the finished folds of a run were trained and scored on."""
    finished, whole = run.finished_folds, rendered.dataset["folds"]
    said = [
        f"{len(finished)} of the {len(whole)} folds of {rendered.dataset['name']} scored "
        f"({', '.join(map(str, finished))}), each by a network trained on "
        f"{len(rendered.folds) - 1 - (run.config.inner_fold is not None)} other folds in "
        f"{_of_folds(run, 'precision')}; last epoch, nothing chosen on the scored fold",
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


def _of_folds(run: Run, name: str) -> str:
    """Say what the folds had in common, or all that they had where settings were chosen by fold."""
    common = {**run.record, "weights": run.record["weights"]["detail"]}[name]
    values = (run.fold_record(fold).get(name, common) for fold in run.finished_folds)
    return "; ".join(dict.fromkeys(values))


def _by_design(run: Run) -> list[str]:
    folds = run.finished_folds if "candidates" in run.design else []
    return in_words(run.design, {fold: run.fold_record(fold)["chosen"] for fold in folds})
