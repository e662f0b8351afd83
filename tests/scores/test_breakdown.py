"""Class intervals against recordings resampled one by one; recordings against a count by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, precision_recall_fscore_support

from spectro.scores import breakdown, metrics

CLASSES = ["car", "dog", "gun"]
COLUMNS = ["label", "predicted", "group"]
SCORES = ["precision", "recall", "f1"]


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    """Recordings of unlike sizes that are each recognised well or badly as a whole."""
    rng = np.random.default_rng(7)
    rows = []
    for recording in range(36):
        label, skill = CLASSES[recording % 3], rng.choice([0.2, 0.95])
        for _ in range(rng.integers(1, 13)):
            predicted = label if rng.uniform() < skill else str(rng.choice(CLASSES))
            rows.append((label, predicted, f"r{recording}"))
    return pd.DataFrame(rows, columns=COLUMNS)


# ---------------------------------------------------------------------------------------- classes


def test_class_scores_are_those_of_scikit_learn(predictions: pd.DataFrame) -> None:
    table = breakdown.by_class(predictions, CLASSES)
    expected = precision_recall_fscore_support(
        predictions["label"], predictions["predicted"], labels=CLASSES
    )
    assert table["label"].tolist() == CLASSES
    np.testing.assert_allclose(table[[*SCORES, "clips"]].to_numpy().T, expected)
    assert table["sources"].tolist() == [12, 12, 12]
    for name in SCORES:
        assert (table[f"{name}_low"] < table[name]).all()
        assert (table[f"{name}_high"] > table[name]).all()


def test_class_intervals_are_those_of_recordings_resampled_one_by_one(
    predictions: pd.DataFrame,
) -> None:
    rng = np.random.default_rng(1234)
    code = {label: place for place, label in enumerate(CLASSES)}
    truth, claims = (predictions[name].map(code).to_numpy() for name in ("label", "predicted"))
    members = [np.flatnonzero(predictions["group"] == g) for g in predictions["group"].unique()]
    values: list = []
    for _ in range(2_000):
        rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        t, p = truth[rows], claims[rows]
        hits = np.bincount(t[t == p], minlength=3)
        support, claimed = np.bincount(t, minlength=3), np.bincount(p, minlength=3)
        values.append([hits / claimed, hits / support, 2 * hits / (support + claimed)])
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    table = breakdown.by_class(predictions, CLASSES)
    for place, name in enumerate(SCORES):
        np.testing.assert_allclose(table[f"{name}_low"], low[place], atol=0.035)
        np.testing.assert_allclose(table[f"{name}_high"], high[place], atol=0.035)


def test_intervals_say_nothing_where_one_recording_alone_speaks() -> None:
    rows = [("dog", "dog", f"r{i}") for i in range(9)] + [("owl", "owl", "owls")] * 5
    rows += [("dog", "owl", "r0"), ("dog", "cat", "r1")]
    table = breakdown.by_class(pd.DataFrame(rows, columns=COLUMNS), ["cat", "dog", "elk", "owl"])
    table = table.set_index("label")
    known = table[[f"{name}_low" for name in SCORES]].notna()
    assert known.loc["dog"].tolist() == [True, True, True]
    assert known.loc["owl"].tolist() == [True, False, True]  # two claimed, one such recording
    assert known.loc["cat"].tolist() == [False, False, False]
    assert known.loc["elk"].tolist() == [False, False, False]
    assert table.loc["elk", ["clips", "sources", *SCORES]].tolist() == [0] * 5
    assert (table["precision_high"].notna() == known["precision_low"]).all()


def test_draws_without_a_class_do_not_pull_its_interval_down() -> None:
    rows = [("dog", "dog", f"r{i}") for i in range(30)] + [("owl", "owl", f"o{i}") for i in (1, 2)]
    table = breakdown.by_class(pd.DataFrame(rows, columns=COLUMNS), ["dog", "owl"])
    assert (table[[f"{name}_low" for name in SCORES]] == 1).all(axis=None)


def test_recall_of_all_classes_together_is_the_accuracy(predictions: pd.DataFrame) -> None:
    table = breakdown.by_class(predictions.assign(fold=1), CLASSES)
    scores = metrics.score(predictions.assign(fold=1), CLASSES)
    assert np.average(table["recall"], weights=table["clips"]) == pytest.approx(scores["accuracy"])


# ------------------------------------------------------------------------------------- recordings


def test_recordings_are_counted(predictions: pd.DataFrame) -> None:
    sources = breakdown.by_source(predictions)
    assert sorted(sources["group"]) == sorted(predictions["group"].unique())
    for row in sources.to_dict("records"):
        clips = predictions[predictions["group"] == row["group"]]
        wrong = clips.loc[clips["predicted"] != row["label"], "predicted"]
        assert (row["clips"], row["right"]) == (len(clips), len(clips) - len(wrong))
        assert row["accuracy"] == pytest.approx(1 - len(wrong) / len(clips))
        most = sorted(Counter(wrong).items(), key=lambda item: (-item[1], item[0]))
        assert (row["taken_for"], row["taken_for_clips"]) == (most[0] if most else ("", 0))


def test_recordings_that_fail_whole_come_first(predictions: pd.DataFrame) -> None:
    rows = [("dog", "owl", "small")] + [("dog", "cat", "large")] * 3
    rows += [("dog", "owl", "half")] * 9 + [("dog", "dog", "half")] * 9
    rows += [("dog", "dog", "b"), ("dog", "dog", "a"), ("owl", "owl", "a")]
    sources = breakdown.by_source(pd.DataFrame(rows, columns=COLUMNS))
    assert sources["group"].tolist() == ["large", "small", "half", "a", "a", "b"]
    assert sources["taken_for"].tolist() == ["cat", "owl", "owl", "", "", ""]
    assert sources["label"].tolist() == ["dog", "dog", "dog", "dog", "owl", "dog"]
    failed = breakdown.by_source(predictions)["right"] == 0
    assert failed.is_monotonic_decreasing


def test_order_of_clips_does_not_matter(predictions: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        breakdown.by_source(predictions[::-1]), breakdown.by_source(predictions)
    )
    pd.testing.assert_frame_equal(
        breakdown.by_class(predictions[::-1], CLASSES), breakdown.by_class(predictions, CLASSES)
    )


def test_a_perfect_run_has_nothing_taken_for_anything() -> None:
    right = pd.DataFrame([("dog", "dog", "a"), ("owl", "owl", "b")], columns=COLUMNS)
    sources = breakdown.by_source(right)
    assert sources["taken_for"].tolist() == ["", ""]
    assert sources["taken_for_clips"].tolist() == [0, 0]


def test_clips_that_changed_sides_are_told_by_recording() -> None:
    columns = ["path", "group", "label", "first", "second", "move"]
    rows = [
        ("a1", "a", "dog", "dog", "cat", "lost"),
        ("b1", "b", "cat", "dog", "cat", "gained"),
        ("c1", "c", "dog", "cat", "dog", "gained"),
        ("a2", "a", "dog", "dog", "owl", "lost"),
        ("c2", "c", "dog", "cat", "dog", "gained"),
    ]
    moves = breakdown.by_move(pd.DataFrame(rows, columns=columns))
    assert moves[["clips", "move", "group", "second", "path"]].to_numpy().tolist() == [
        [2, "gained", "c", "dog", "c1"],
        [1, "lost", "a", "cat", "a1"],
        [1, "lost", "a", "owl", "a2"],
        [1, "gained", "b", "cat", "b1"],
    ]
    assert breakdown.by_move(pd.DataFrame([], columns=columns)).empty


def test_by_loss_sorts_by_the_cross_entropy_of_each_clip() -> None:
    rng = np.random.default_rng(0)
    labels = ["a b", "c", "d"]
    p = rng.dirichlet(np.ones(3), size=50)
    p[7] = [0, 1, 0]
    truth = rng.choice(labels, size=50)
    truth[7] = "d"
    table = pd.DataFrame(p, columns=[f"p_{label}" for label in labels]).assign(label=truth)
    ranked = breakdown.by_loss(table)
    assert ranked.index[0] == 7, "the truth had no probability at all"
    for row, clip in ranked.iloc[1:].iterrows():
        assert clip["loss"] == pytest.approx(log_loss([truth[row]], p[[row]], labels=labels))
    assert ranked["loss"].is_monotonic_decreasing
    assert np.isfinite(ranked["loss"]).all()
