"""Every score against scikit-learn, and the intervals against resampling recordings one by one."""

from __future__ import annotations

import json
import tracemalloc
import warnings
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from spectro.scores import metrics

LABELS = ["1", "dog bark", "nan", "Über", "siren"]
COLUMNS = ["label", "predicted", "fold", "group"]

# Up to five classes, of which truth and predictions may each lack some; folds of any size.
PREDICTIONS = st.lists(
    st.tuples(
        st.sampled_from(LABELS),
        st.sampled_from(LABELS),
        st.sampled_from([1, 2, 3, 10]),
        st.sampled_from(["a", "b", "c", "d"]),
    ),
    min_size=1,
    max_size=30,
).map(lambda rows: pd.DataFrame(rows, columns=COLUMNS))

on_any_predictions = settings(max_examples=30, deadline=None)


def make_predictions(
    rng: np.random.Generator, groups: int, *, largest: int = 12, labels: list[str] | None = None
) -> pd.DataFrame:
    """Draw recordings of unlike sizes that are each recognised well or badly as a whole."""
    names = labels or ["car", "dog", "gun"]
    rows = []
    for group in range(groups):
        label = names[group % len(names)]
        skill = rng.choice([0.2, 0.95])
        for _ in range(rng.integers(1, largest + 1)):
            predicted = label if rng.uniform() < skill else str(rng.choice(names))
            rows.append((label, predicted, 1 + group % 5, f"r{group}"))
    return pd.DataFrame(rows, columns=COLUMNS)


def macro_f1(truth: pd.Series, predicted: pd.Series) -> float:
    """Let scikit-learn average over the classes that occur, which is its own default."""
    occurring = sorted({*truth, *predicted})
    return f1_score(truth, predicted, labels=occurring, average="macro", zero_division=0)


# ----------------------------------------------------------------------------- against scikit-learn


@on_any_predictions
@given(PREDICTIONS)
def test_scores_over_all_clips_are_those_of_scikit_learn(predictions: pd.DataFrame) -> None:
    truth, predicted = predictions["label"], predictions["predicted"]
    scores = metrics.score(predictions, LABELS)
    assert scores["clips"] == len(predictions)
    assert scores["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert scores["macro_f1"] == pytest.approx(macro_f1(truth, predicted))
    expected = confusion_matrix(truth, predicted, labels=LABELS)
    np.testing.assert_array_equal(scores["confusion"], expected)
    np.testing.assert_array_equal(metrics.confusion(predictions, LABELS), expected)


@on_any_predictions
@given(PREDICTIONS)
def test_scores_of_each_class_are_those_of_scikit_learn(predictions: pd.DataFrame) -> None:
    classes = metrics.score(predictions, LABELS)["classes"]
    expected = precision_recall_fscore_support(
        predictions["label"], predictions["predicted"], labels=LABELS, zero_division=0
    )
    assert [row["label"] for row in classes] == LABELS
    for column, values in zip(("precision", "recall", "f1", "clips"), expected, strict=True):
        np.testing.assert_allclose([row[column] for row in classes], values)


@on_any_predictions
@given(PREDICTIONS)
def test_scores_of_each_fold_are_those_of_scikit_learn(predictions: pd.DataFrame) -> None:
    folds = metrics.score(predictions, LABELS)["folds"]
    assert [row["fold"] for row in folds] == sorted(set(predictions["fold"]))
    for row in folds:
        part = predictions[predictions["fold"] == row["fold"]]
        assert row["clips"] == len(part)
        assert row["accuracy"] == pytest.approx(accuracy_score(part["label"], part["predicted"]))
        assert row["macro_f1"] == pytest.approx(macro_f1(part["label"], part["predicted"]))


@on_any_predictions
@given(PREDICTIONS)
def test_fold_mean_and_spread_are_those_of_the_fold_accuracies(predictions: pd.DataFrame) -> None:
    scores = metrics.score(predictions, LABELS)
    hits = predictions["label"] == predictions["predicted"]
    accuracies = [hits[predictions["fold"] == fold].mean() for fold in set(predictions["fold"])]
    assert scores["fold_mean"] == pytest.approx(np.mean(accuracies))
    if len(accuracies) == 1:
        assert scores["fold_std"] is None
    else:
        assert scores["fold_std"] == pytest.approx(np.std(accuracies, ddof=1))


@on_any_predictions
@given(PREDICTIONS, st.randoms(use_true_random=False))
def test_order_of_clips_does_not_matter(predictions: pd.DataFrame, random: Random) -> None:
    shuffled = predictions.sample(frac=1, random_state=random.randrange(2**32))
    assert metrics.score(shuffled, LABELS) == metrics.score(predictions, LABELS)


@on_any_predictions
@given(PREDICTIONS)
def test_intervals_are_ordered_shares(predictions: pd.DataFrame) -> None:
    scores = metrics.score(predictions, LABELS)
    for name in ("accuracy_interval", "macro_f1_interval"):
        low, high = scores[name]
        assert 0 <= low <= high <= 1


def test_rows_of_the_confusion_matrix_are_the_truth() -> None:
    rows = [("dog", "cat", 1, "a")] * 3 + [("cat", "cat", 1, "b")]
    predictions = pd.DataFrame(rows, columns=COLUMNS)
    assert metrics.score(predictions, ["cat", "dog"])["confusion"] == [[1, 0], [3, 0]]


def test_macro_f1_counts_only_classes_that_occur() -> None:
    rows = [("dog", "dog", 1, "a"), ("cat", "cat", 1, "b"), ("cat", "cow", 1, "c")]
    predictions = pd.DataFrame(rows, columns=COLUMNS)
    scores = metrics.score(predictions, ["bee", "cat", "cow", "dog", "owl"])
    # dog 1, cat 2/3, and cow 0 as it was claimed; bee and owl are no part of it
    assert scores["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_fold_numbers_are_in_order_of_size() -> None:
    rows = [("dog", "dog", fold, "a") for fold in (10, 2, 1)]
    table = metrics.fold_table(pd.DataFrame(rows, columns=COLUMNS), ["dog", "owl"])
    assert [row["fold"] for row in table] == [1, 2, 10]


def test_scores_can_be_written_as_json() -> None:
    scores = metrics.score(make_predictions(np.random.default_rng(0), 10), ["car", "dog", "gun"])
    assert json.loads(json.dumps(scores)) == scores


def test_one_class_alone_is_scored_without_a_warning() -> None:
    predictions = pd.DataFrame([("dog", "dog", k, f"r{k}") for k in (1, 2)], columns=COLUMNS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = metrics.score(predictions, ["dog"])
    assert (scores["accuracy"], scores["macro_f1"], scores["confusion"]) == (1, 1, [[2]])


# ------------------------------------------------------------------------------------- intervals


def resample_one_by_one(
    predictions: pd.DataFrame, by: pd.Series, draws: int = 2_000
) -> dict[str, np.ndarray]:
    """Draw whole units of `by` with replacement, put their clips together, and score those."""
    rng = np.random.default_rng(1234)
    names = sorted({*predictions["label"], *predictions["predicted"]})
    truth = predictions["label"].map(names.index).to_numpy()
    predicted = predictions["predicted"].map(names.index).to_numpy()
    members = [np.flatnonzero(by == unit) for unit in by.unique()]
    accuracies, f1s = [], []
    for _ in range(draws):
        drawn = rng.integers(len(members), size=len(members))
        rows = np.concatenate([members[i] for i in drawn])
        t, p = truth[rows], predicted[rows]
        accuracies.append(np.mean(t == p))
        occurring = np.union1d(t, p)
        f1s.append(
            np.mean([2 * np.sum((t == k) & (p == k)) / (sum(t == k) + sum(p == k))
                     for k in occurring])
        )  # fmt: skip
    return {
        "accuracy": np.percentile(accuracies, [2.5, 97.5]),
        "macro_f1": np.percentile(f1s, [2.5, 97.5]),
    }


TOLERANCE = 0.015  # five times what 2,000 draws leave open here


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return make_predictions(np.random.default_rng(7), 30)


def test_intervals_are_those_of_resampled_recordings(predictions: pd.DataFrame) -> None:
    found = metrics.bootstrap_interval(predictions, ["car", "dog", "gun"])
    expected = resample_one_by_one(predictions, predictions["group"])
    for name in ("accuracy", "macro_f1"):
        np.testing.assert_allclose(found[name], expected[name], atol=TOLERANCE)


def test_intervals_are_not_those_of_resampled_clips(predictions: pd.DataFrame) -> None:
    found = metrics.bootstrap_interval(predictions, ["car", "dog", "gun"])
    clips = resample_one_by_one(predictions, pd.Series(predictions.index), draws=500)
    for name in ("accuracy", "macro_f1"):
        low, high = found[name]
        assert low < clips[name][0] - TOLERANCE
        assert high > clips[name][1] + TOLERANCE


def test_score_gives_these_intervals(predictions: pd.DataFrame) -> None:
    labels = ["car", "dog", "gun"]
    scores = metrics.score(predictions, labels, seed=3)
    intervals = metrics.bootstrap_interval(predictions, labels, seed=3)
    assert scores["accuracy_interval"] == intervals["accuracy"]
    assert scores["macro_f1_interval"] == intervals["macro_f1"]


def test_intervals_are_wider_for_large_recordings_than_for_single_clips() -> None:
    rows = [("dog", "dog" if group < 7 else "owl", 1, f"r{group}") for group in range(10)] * 20
    large = pd.DataFrame(rows, columns=COLUMNS)
    single = large.assign(group=[str(i) for i in range(len(large))])
    widths = [
        high - low
        for table in (large, single)
        for low, high in [metrics.bootstrap_interval(table, ["dog", "owl"])["accuracy"]]
    ]
    # Ten recordings rather than two hundred: the square root of twenty.
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(20), rel=0.15)


@pytest.mark.parametrize("seed", range(5))
def test_intervals_hold_the_score_itself(seed: int) -> None:
    scores = metrics.score(make_predictions(np.random.default_rng(seed), 25), ["car", "dog", "gun"])
    for name in ("accuracy", "macro_f1"):
        low, high = scores[f"{name}_interval"]
        assert low < scores[name] < high


def test_intervals_depend_on_the_seed_alone(predictions: pd.DataFrame) -> None:
    labels = ["car", "dog", "gun"]
    first = metrics.bootstrap_interval(predictions, labels, seed=0)
    assert metrics.bootstrap_interval(predictions, labels, seed=0) == first
    assert metrics.bootstrap_interval(predictions, labels) == first
    assert metrics.bootstrap_interval(predictions, labels, seed=1) != first


def test_intervals_do_not_depend_on_the_order_of_clips(predictions: pd.DataFrame) -> None:
    labels = ["car", "dog", "gun"]
    backwards = metrics.bootstrap_interval(predictions[::-1], labels)
    assert backwards == metrics.bootstrap_interval(predictions, labels)


def test_one_recording_leaves_nothing_to_resample() -> None:
    rows = [("dog", "dog", 1, "only"), ("dog", "owl", 1, "only"), ("owl", "owl", 1, "only")]
    scores = metrics.score(pd.DataFrame(rows, columns=COLUMNS), ["dog", "owl"])
    for name in ("accuracy", "macro_f1"):
        assert scores[f"{name}_interval"] == pytest.approx([scores[name]] * 2)


@pytest.mark.parametrize(("predicted", "share"), [(["dog", "owl"], 1.0), (["owl", "dog"], 0.0)])
def test_all_right_and_all_wrong_leave_no_doubt(predicted: list[str], share: float) -> None:
    rows = [(("dog", "owl")[i % 2], predicted[i % 2], 1 + i % 3, f"r{i}") for i in range(20)]
    scores = metrics.score(pd.DataFrame(rows, columns=COLUMNS), ["dog", "owl"])
    assert scores["accuracy"] == scores["macro_f1"] == share
    assert scores["accuracy_interval"] == scores["macro_f1_interval"] == [share, share]


def test_class_that_no_draw_holds_does_not_count_in_that_draw() -> None:
    # The one owl is missed in about a third of the draws, and is right where it is drawn: a class
    # counted as 0 there would pull the lower end of F1 down to a half.
    rows = [("dog", "dog", 1, f"r{i}") for i in range(20)] + [("owl", "owl", 1, "owl")]
    intervals = metrics.bootstrap_interval(pd.DataFrame(rows, columns=COLUMNS), ["dog", "owl"])
    assert intervals["macro_f1"] == [1, 1]


def test_draws_are_those_of_one_call_whatever_is_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"label": rng.choice(LABELS, 300), "predicted": rng.choice(LABELS, 300)})
    table["group"] = [f"r{n // 3}" for n in range(300)]
    few = metrics.resampled(table, LABELS, seed=3)
    monkeypatch.setattr(metrics, "_AT_ONCE", 2_000)
    for part, whole in zip(few, metrics.resampled(table, LABELS, seed=3), strict=True):
        np.testing.assert_array_equal(part, whole)
    monkeypatch.setattr(metrics, "_AT_ONCE", 300)  # which does not divide them
    for part, whole in zip(few, metrics.resampled(table, LABELS, seed=3), strict=True):
        np.testing.assert_array_equal(part, whole)


def test_a_recording_a_clip_takes_little_memory() -> None:
    n = 40_000
    table = pd.DataFrame({"label": ["a", "b"] * (n // 2), "predicted": "a"})
    table["group"] = [f"r{k}" for k in range(n)]
    tracemalloc.start()
    metrics.resampled(table, ["a", "b"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6  # 2,000 draws of them at once are 1.3 GB


def test_many_classes_and_recordings_take_little_memory() -> None:
    """A confusion matrix for each draw, or for each recording, would take gigabytes."""
    rng = np.random.default_rng(0)
    names = [f"species {n}" for n in range(1_000)]
    truth = rng.choice(names, 4_000)
    predicted = np.where(rng.uniform(size=4_000) < 0.7, truth, rng.choice(names, 4_000))
    table = pd.DataFrame({"label": truth, "predicted": predicted, "fold": 1})
    table["group"] = [f"r{n // 2}" for n in range(4_000)]
    tracemalloc.start()
    low, high = metrics.bootstrap_interval(table, names)["accuracy"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert low < (truth == predicted).mean() < high
    assert peak < 400e6
