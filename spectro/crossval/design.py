"""What makes a run other than a plain cross-validation: settings chosen by fold, fewer clips.

It stands in ``run.json`` as ``design``, and is told with every score.
"""

from __future__ import annotations

from typing import Any

__all__ = ["in_words", "nested", "shared"]


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
