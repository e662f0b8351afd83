"""Comparison of two runs against scikit-learn, scipy, resampling one by one, and simulation."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score, recall_score

from spectro.crossval.run import Run
from spectro.crossval.runs import compare_runs
from spectro.errors import ModelError
from spectro.scores import comparison, metrics

CLASSES = ["car", "dog", "gun"]


def make_tables(
    seed: int, *, recordings: int = 40, first: float = 0.6, second: float = 0.75, clips: int = 8
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw two runs; how hard a recording is, both have to bear, each with luck of its own."""
    rng = np.random.default_rng(seed)
    rows = []
    for recording in range(recordings):
        label = CLASSES[recording % 3]
        ease, *luck = rng.normal(scale=0.15, size=3)
        for piece in range(rng.integers(1, clips + 1)):
            taken = [
                label
                if rng.uniform() < skill + ease + own
                else str(rng.choice([other for other in CLASSES if other != label]))
                for skill, own in zip((first, second), luck, strict=True)
            ]
            rows.append((f"r{recording}.wav", piece / 2, np.nan, label, f"r{recording}", *taken))
    columns = ["path", "start", "end", "label", "group", "first", "second"]
    both = pd.DataFrame(rows, columns=columns).assign(fold=1 + np.arange(len(rows)) % 5)
    plain = both.drop(columns=["first", "second"])
    return plain.assign(predicted=both["first"]), plain.assign(predicted=both["second"])


def macro_f1(table: pd.DataFrame) -> float:
    occurring = sorted({*table["label"], *table["predicted"]})
    return f1_score(
        table["label"], table["predicted"], labels=occurring, average="macro", zero_division=0
    )


# ---------------------------------------------------------------------------------- both at a time


def test_scores_and_their_changes_are_those_of_scikit_learn() -> None:
    first, second = make_tables(0)
    found = comparison.compare(first, second)
    accuracies = [accuracy_score(table["label"], table["predicted"]) for table in (first, second)]
    f1s = [macro_f1(table) for table in (first, second)]
    for change, expected in ((found.accuracy, accuracies), (found.macro_f1, f1s)):
        assert [change.first, change.second] == pytest.approx(expected)
        assert change.change == pytest.approx(expected[1] - expected[0])
        assert change.interval[0] < change.change < change.interval[1]


def test_class_changes_are_those_of_scikit_learn() -> None:
    first, second = make_tables(1)
    table = comparison.compare(first, second).classes.set_index("label")
    assert table.index.tolist() == CLASSES
    for name, function in (("recall", recall_score), ("f1", f1_score)):
        for side, predictions in (("first", first), ("second", second)):
            expected = function(predictions["label"], predictions["predicted"], average=None)
            np.testing.assert_allclose(table[f"{name}_{side}"], expected)
        change = table[f"{name}_second"] - table[f"{name}_first"]
        np.testing.assert_allclose(table[f"{name}_change"], change)
        assert (table[f"{name}_low"] <= change).all()
        assert (table[f"{name}_high"] >= change).all()
    assert table["clips"].to_dict() == first["label"].value_counts().to_dict()
    assert table["sources"].to_dict() == first.groupby("label")["group"].nunique().to_dict()


@pytest.mark.slow
def test_intervals_are_those_of_recordings_resampled_one_by_one() -> None:
    first, second = make_tables(2)
    gain = (second["predicted"] == second["label"]).astype(int) - (
        first["predicted"] == first["label"]
    )
    is_dog = (first["label"] == "dog").to_numpy()
    members = [np.flatnonzero(first["group"] == group) for group in first["group"].unique()]
    rng = np.random.default_rng(99)
    all_clips, dogs, f1s = [], [], []
    for draw in range(2_000):
        rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        all_clips.append(gain[rows].mean())
        dogs.append(gain[rows][is_dog[rows]].mean())
        if draw < 200:
            f1s.append(macro_f1(second.iloc[rows]) - macro_f1(first.iloc[rows]))
    found = comparison.compare(first, second)
    dog = found.classes.set_index("label").loc["dog"]
    for interval, values, tolerance in (
        (found.accuracy.interval, all_clips, 0.015),
        ((dog["recall_low"], dog["recall_high"]), dogs, 0.02),
        (found.macro_f1.interval, f1s, 0.04),
    ):
        np.testing.assert_allclose(interval, np.percentile(values, [2.5, 97.5]), atol=tolerance)


def test_what_is_hard_for_both_cancels_out() -> None:
    first, second = make_tables(3, recordings=60, first=0.5, second=0.5)
    hard = first["group"].isin([f"r{i}" for i in range(0, 60, 2)])
    for table in (first, second):  # half of the recordings fail whole in both
        table.loc[hard, "predicted"] = "owl"
    low, high = comparison.compare(first, second).accuracy.interval
    alone = metrics.bootstrap_interval(first, [*CLASSES, "owl"])["accuracy"]
    assert high - low < alone[1] - alone[0]


@pytest.mark.long
def test_the_interval_covers_the_true_difference() -> None:
    rng = np.random.default_rng(4)
    covered, draws, true = 0, 80, 0.1
    for _ in range(draws):
        recordings = np.repeat(np.arange(30), 5)
        plain = pd.DataFrame({"path": [f"{i}.wav" for i in range(150)], "start": 0.0, "end": 1.0})
        plain = plain.assign(label="dog", group=recordings.astype(str), fold=1)
        skill = rng.choice([0.2, 0.8], size=30)[recordings]  # half of them hard for both
        right = [rng.uniform(size=150) < skill + gain for gain in (0, true)]
        tables = [plain.assign(predicted=np.where(hits, "dog", "owl")) for hits in right]
        low, high = comparison.compare(*tables).accuracy.interval
        covered += low <= true <= high
    assert 0.88 <= covered / draws <= 0.99


# ------------------------------------------------------------------------------------- in words


def test_identical_runs_differ_by_exactly_nothing() -> None:
    first, _ = make_tables(5)
    found = comparison.compare(first, first.sample(frac=1, random_state=0))
    for change in (found.accuracy, found.macro_f1):
        assert (change.change, change.interval) == (0, (0, 0))
    assert (found.gained, found.lost, found.p_value, found.recordings_changed) == (0, 0, 1, 0)
    assert found.moved.empty
    changes = found.classes.filter(regex="change|low|high")
    assert (changes == 0).all(axis=None)
    assert found.verdict == "A and B are right on the very same clips"


def test_a_large_difference_is_more_than_noise_whichever_run_comes_first() -> None:
    first, second = make_tables(6, first=0.4, second=0.9)
    forth = comparison.compare(first, second, names=("old", "new"))
    back = comparison.compare(second, first, names=("new", "old"))
    low, high = (100 * end for end in forth.accuracy.interval)
    assert forth.verdict == (
        f"new is ahead by {100 * forth.accuracy.change:.1f} points "
        f"(95 %: {low:.1f} to {high:.1f}): more than noise"
    )
    assert back.verdict == forth.verdict
    assert back.accuracy.change == -forth.accuracy.change
    assert (back.gained, back.lost) == (forth.lost, forth.gained)


def test_a_small_difference_cannot_be_told_from_noise() -> None:
    found = comparison.compare(*make_tables(7, first=0.6, second=0.6))
    low, high = found.accuracy.interval
    assert low < 0 < high
    assert found.verdict.endswith("cannot be told from noise")


def one_clip_each(right: dict[str, tuple[int, int]]) -> list[pd.DataFrame]:
    """Ten clips a recording, of which the two runs have so many right."""
    rows = [(f"{name}-{i}.wav", 0.0, 1.0, "dog", name, 1) for name in right for i in range(10)]
    plain = pd.DataFrame(rows, columns=["path", "start", "end", "label", "group", "fold"])
    return [
        plain.assign(
            predicted=["dog" if i < n[side] else "owl" for n in right.values() for i in range(10)]
        )
        for side in (0, 1)
    ]


@pytest.mark.parametrize(("recordings", "told"), [(1, False), (2, False), (5, False), (6, True)])
def test_few_recordings_do_not_make_a_finding_of_many_clips(recordings: int, told: bool) -> None:
    found = comparison.compare(*one_clip_each({f"r{i}": (0, 9) for i in range(recordings)}))
    assert found.accuracy.interval[0] > 0
    assert found.p_value < 0.01
    assert found.recordings_changed == recordings
    assert found.verdict.endswith(": more than noise") is told


def test_gains_and_losses_that_even_out_are_told() -> None:
    found = comparison.compare(*one_clip_each({"a": (3, 5), "b": (5, 3), "c": (4, 4)}))
    assert found.verdict.startswith("A and B are right equally often (95 %: -")
    assert found.verdict.endswith("cannot be told from noise")
    assert (found.gained, found.lost, found.recordings_changed) == (2, 2, 2)


def test_a_class_of_one_recording_has_no_interval() -> None:
    first, second = make_tables(8)
    lone = first["path"] == "r0.wav"
    for table in (first, second):
        table.loc[lone, "label"] = "owl"
    classes = comparison.compare(first, second).classes.set_index("label")
    assert classes.loc["owl", "sources"] == 1
    assert classes.loc["owl", ["recall_low", "recall_high", "f1_low", "f1_high"]].isna().all()
    assert classes.drop("owl").notna().all(axis=None)


def test_draws_without_a_class_do_not_hide_its_change() -> None:
    rows = [(f"{i}.wav", 0.0, 1.0, "dog" if i < 30 else "owl", f"r{i}", 1) for i in range(32)]
    plain = pd.DataFrame(rows, columns=["path", "start", "end", "label", "group", "fold"])
    missed = plain.assign(predicted=plain["label"].replace("owl", "cat"))
    found = comparison.compare(missed, plain.assign(predicted=plain["label"]))
    owl = found.classes.set_index("label").loc["owl"]
    assert owl[["recall_change", "recall_low", "recall_high"]].tolist() == [1, 1, 1]
    assert owl[["f1_change", "f1_low", "f1_high"]].tolist() == [1, 1, 1]


# ------------------------------------------------------------------------------------- by clip


def test_mcnemar_is_the_exact_binomial_test_of_the_clips_that_moved() -> None:
    first, second = make_tables(9)
    found = comparison.compare(first, second)
    right = [table["predicted"] == table["label"] for table in (first, second)]
    lost, gained = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    assert (found.lost, found.gained) == (lost, gained)
    assert found.p_value == binomtest(min(lost, gained), lost + gained).pvalue
    assert comparison.mcnemar(0, 5) == pytest.approx(2 / 2**5)
    assert comparison.mcnemar(3, 3) == 1


def test_clips_that_changed_sides_are_listed_lost_ones_first() -> None:
    first, second = make_tables(10)
    found = comparison.compare(first, second)
    assert found.moved["move"].tolist() == ["lost"] * found.lost + ["gained"] * found.gained
    naive = first.merge(second, on=["path", "start"]).set_index(["path", "start"])
    for clip in found.moved.to_dict("records"):
        row = naive.loc[(clip["path"], clip["start"])]
        assert (clip["first"], clip["second"]) == (row["predicted_x"], row["predicted_y"])
        right = (clip["first"] == clip["label"], clip["second"] == clip["label"])
        assert right == ((True, False) if clip["move"] == "lost" else (False, True))


def test_only_clips_of_both_count_and_the_others_are_told() -> None:
    first, second = make_tables(11)
    found = comparison.compare(first.iloc[5:], second.iloc[:-3])
    assert (found.only_first, found.only_second) == (3, 5)
    assert found.clips == len(first) - 8
    assert found.notes[:2] == [
        "3 clips are only in A and do not count",
        "5 clips are only in B and do not count",
    ]
    whole = comparison.compare(first.iloc[5:-3], second.iloc[5:-3])
    assert found.accuracy == whole.accuracy
    assert found.macro_f1 == whole.macro_f1


def test_order_of_clips_does_not_matter() -> None:
    first, second = make_tables(12)
    expected = dataclasses.asdict(comparison.compare(first, second))
    found = dataclasses.asdict(comparison.compare(first[::-1], second.sample(frac=1)))
    for name, value in expected.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(found[name], value)
        else:
            assert found[name] == value, name


def test_folds_that_differ_are_told() -> None:
    first, second = make_tables(13)
    notes = comparison.compare(first, second.assign(fold=9), names=("A", "B")).notes
    assert notes[0].startswith(f"{len(first)} clips were scored in another fold by B than by A")
    assert not any("fold" in note for note in comparison.compare(first, second).notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(label="owl"), "r0.wav: its label is car in A and owl in B"),
        (lambda t: t.assign(group="x"), "r0.wav: its group is r0 in A and x in B"),
        (lambda t: t.assign(path="x" + t["path"]), "A and B have no clip in common"),
        (lambda t: pd.concat([t, t.head(1)]), "r0.wav: is twice in the predictions of B"),
    ],
)
def test_tables_that_contradict_are_refused(change, message: str) -> None:
    first, second = make_tables(14)
    with pytest.raises(ModelError, match=message):
        comparison.compare(first, change(second))


def test_runs_over_a_dataset_that_has_moved_are_matched(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "other")
    record = json.loads((tmp_path / "other" / "run.json").read_text())
    record["dataset"]["root"] = "/elsewhere/sample"
    record["rendered"]["folder"] = "/elsewhere/pictures"
    (tmp_path / "other" / "run.json").write_text(json.dumps(record))
    found = compare_runs(run, Run.load(tmp_path / "other"))
    assert found.clips == len(run.predictions())
    assert (found.only_first, found.only_second) == (0, 0)
    assert found.verdict == "A and B are right on the very same clips"
