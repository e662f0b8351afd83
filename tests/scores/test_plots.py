"""Pictures of scores: what is drawn of many classes, and how large it may be."""

from __future__ import annotations

import numpy as np

from spectro.scores import plots
from spectro.scores.breakdown import most_confused


def test_the_most_confused_classes_are_chosen_in_their_order() -> None:
    counts = np.diag([9, 9, 9, 9])
    counts[1, 3], counts[2, 0] = 5, 1
    assert most_confused(counts, 2) == [1, 3]
    assert most_confused(counts, 3) == [0, 1, 3]
    assert most_confused(counts, 9) == [0, 1, 2, 3]


def test_a_confusion_matrix_of_many_classes_is_no_larger_than_can_be_read() -> None:
    rng = np.random.default_rng(0)
    labels = [f"species {n}" for n in range(300)]
    figure = plots.confusion(rng.integers(0, 5, (300, 300)), labels, "all folds")
    axis = figure.axes[0]
    assert axis.get_title() == "all folds, the 60 most confused of 300 classes"
    assert len(axis.get_xticks()) == 60
    assert max(figure.get_size_inches()) < 22
    few = plots.confusion(np.eye(10, dtype=int), labels[:10])
    assert few.axes[0].get_title() == "" and len(few.axes[0].get_xticks()) == 10
    np.testing.assert_allclose(few.get_size_inches(), [0.62 * 10 + 3, 0.62 * 10 + 2.2])
