"""The pictures of a run: its curves and its confusion matrix."""

from __future__ import annotations

from pathlib import Path

from spectro.crossval.run import Run
from spectro.pictures.plots import save
from spectro.plumbing.words import percent
from spectro.scores.plots import confusion, history

__all__ = ["save_run"]


def save_run(run: Run) -> list[Path]:
    """Draw a run's training curves, if it has any, and confusion matrix; return their paths."""
    scores = run.scores()
    title = f"{run.record.dataset.name}: {percent(scores.accuracy)} of {scores.clips:,}"
    matrix = confusion(scores.confusion, run.labels, title)
    drawn = [save(matrix, run.folder / "confusion.png")]
    if run.config.phases:
        curves = {fold: run.history(fold) for fold in run.finished_folds}
        drawn.insert(0, save(history(curves, run.watched), run.folder / "training.png"))
    return drawn
