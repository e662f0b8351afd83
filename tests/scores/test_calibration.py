"""Calibration against scikit-learn, a loop over bins, and a network of known overconfidence."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from spectro.crossval.run import Run
from spectro.errors import ConfigError, ModelError
from spectro.scores import calibration as cal

on_any_set = settings(max_examples=40, deadline=None)


def overconfident(
    seed: int, clips: int = 4_000, classes: int = 5, temperature: float = 2.5
) -> tuple[np.ndarray, np.ndarray]:
    """Draw truths from calibrated probabilities, and give them sharpened by a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=1.5, size=(clips, classes))
    honest = softmax(logits, axis=1)
    truth = (honest.cumsum(axis=1) > rng.uniform(size=(clips, 1))).argmax(axis=1)
    return truth, softmax(logits * temperature, axis=1)


@st.composite
def scored_sets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Any few clips with float32 probabilities, as a network gives them; some surely wrong."""
    seed, clips = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 30))
    classes, sharpness = draw(st.integers(2, 5)), draw(st.sampled_from([0, 1, 5, 200]))
    rng = np.random.default_rng(seed)
    logits = (sharpness * rng.normal(size=(clips, classes))).astype(np.float32)
    return rng.integers(classes, size=clips), softmax(logits, axis=1)


def as_table(truth: np.ndarray, probabilities: np.ndarray, **columns: object) -> pd.DataFrame:
    labels = [f"c{i}" for i in range(probabilities.shape[1])]
    table = pd.DataFrame(probabilities, columns=[f"p_{label}" for label in labels])
    return table.assign(label=[labels[i] for i in truth], **columns)


# ------------------------------------------------------------------------------- the measurements


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_bins_are_those_of_scikit_learns_calibration_curve(bins: int) -> None:
    truth, probabilities = overconfident(0)
    table = cal.reliability(truth, probabilities, bins=bins).bins
    right, confidence = probabilities.argmax(axis=1) == truth, probabilities.max(axis=1)
    accuracy, claimed = calibration_curve(right, confidence, n_bins=bins)
    filled = table[table["count"] > 0]
    np.testing.assert_allclose(filled["accuracy"], accuracy)
    np.testing.assert_allclose(filled["confidence"], claimed)
    assert len(table) == bins
    assert table["count"].sum() == len(truth)
    assert table.loc[table["count"] == 0, ["confidence", "accuracy"]].isna().all(axis=None)


@on_any_set
@given(scored_sets(), st.integers(1, 20))
def test_calibration_error_is_that_of_a_loop_over_bins(
    scored: tuple[np.ndarray, np.ndarray], bins: int
) -> None:
    truth, probabilities = scored
    error = 0.0
    edges = np.linspace(0, 1, bins + 1)
    for low, high in itertools.pairwise(edges):
        inside = [i for i, p in enumerate(probabilities) if low < min(p.max(), 1) <= high]
        if inside:
            right = np.mean([probabilities[i].argmax() == truth[i] for i in inside])
            claimed = np.mean([float(probabilities[i].max()) for i in inside])
            error += len(inside) / len(truth) * abs(right - claimed)
    found = cal.reliability(truth, probabilities, bins=bins)
    assert found.ece == pytest.approx(error, abs=1e-9)
    assert 0 <= found.ece <= 1


def test_likelihood_and_brier_score_are_those_of_scikit_learn() -> None:
    truth, probabilities = overconfident(1, temperature=1.2)
    found = cal.reliability(truth, probabilities)
    each = [brier_score_loss(truth == k, probabilities[:, k]) for k in range(5)]
    assert found.brier == pytest.approx(sum(each))
    assert found.nll == pytest.approx(log_loss(truth, probabilities))
    assert found.accuracy == pytest.approx(np.mean(probabilities.argmax(axis=1) == truth))
    assert found.confidence == pytest.approx(probabilities.max(axis=1).mean())


def test_a_network_that_is_sure_and_right_has_no_error() -> None:
    truth = np.array([0, 1, 2, 1])
    found = cal.reliability(truth, np.eye(3)[truth])
    assert (found.ece, found.brier, found.nll, found.accuracy) == (0, 0, 0, 1)


def test_a_network_that_is_sure_and_wrong_has_every_error_and_no_infinite_one() -> None:
    found = cal.reliability([0, 1], [[0, 1], [1, 0]])
    assert (found.ece, found.brier, found.accuracy) == (1, 2, 0)
    assert 80 < found.nll < 100


def test_on_the_edge_a_clip_belongs_to_the_lower_bin() -> None:
    assert cal.reliability([0], [[0.5, 0.5]], bins=2).bins["count"].tolist() == [1, 0]


def test_no_bins_are_refused() -> None:
    with pytest.raises(ConfigError, match="bins=0"):
        cal.reliability([0], [[1, 0]], bins=0)


# ------------------------------------------------------------------------------------ temperature


@on_any_set
@given(scored_sets(), st.floats(0.05, 20))
def test_a_temperature_changes_no_label(
    scored: tuple[np.ndarray, np.ndarray], temperature: float
) -> None:
    _, probabilities = scored
    scaled = cal.apply_temperature(probabilities, temperature)
    best = probabilities.argmax(axis=1)
    np.testing.assert_array_equal(scaled[np.arange(len(best)), best], scaled.max(axis=1))
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    assert (scaled >= 0).all()
    claims = scaled.max(axis=1) - probabilities.max(axis=1)
    assert (claims * (1 - temperature) >= -1e-6).all()  # hotter is humbler


@on_any_set
@given(scored_sets())
def test_temperature_one_changes_nothing(scored: tuple[np.ndarray, np.ndarray]) -> None:
    _, probabilities = scored
    np.testing.assert_allclose(cal.apply_temperature(probabilities, 1), probabilities, atol=1e-6)


def test_a_temperature_on_probabilities_is_one_on_logits() -> None:
    logits = np.random.default_rng(0).normal(scale=4, size=(50, 6))
    scaled = cal.apply_temperature(softmax(logits, axis=1), 3.7)
    np.testing.assert_allclose(scaled, softmax(logits / 3.7, axis=1))


@pytest.mark.parametrize("temperature", [0.4, 1, 2.5, 6])
def test_the_temperature_of_a_network_is_found(temperature: float) -> None:
    truth, probabilities = overconfident(2, temperature=temperature)
    found = cal.fit_temperature(truth, probabilities)
    assert found == pytest.approx(temperature, rel=0.06)
    tried = [
        log_loss(truth, cal.apply_temperature(probabilities, found * factor))
        for factor in (0.99, 1, 1.01)
    ]
    assert tried[1] == min(tried)


@pytest.mark.parametrize(
    ("truth", "probabilities", "expected"),
    [
        ([0, 1], [[0.9, 0.1], [0.2, 0.8]], 0.05),  # right throughout: as sure as can be
        ([1, 0], [[0.9, 0.1], [0.2, 0.8]], 20),  # wrong throughout: as unsure as can be
        ([0, 1], [[0.5, 0.5], [0.5, 0.5]], 1),  # no temperature matters
        ([1, 0], [[1, 0], [0, 1]], 20),  # wrong, and sure to the last bit
        ([0, 1], [[1, 0], [0, 1]], 1),
    ],
)
def test_temperatures_stay_in_bounds(truth: list, probabilities: list, expected: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cal.fit_temperature(truth, probabilities) == pytest.approx(expected, rel=1e-3)


def test_one_sure_mistake_does_not_outweigh_the_rest() -> None:
    truth, probabilities = overconfident(3, temperature=2)
    truth, probabilities = np.append(truth, 0), np.vstack([probabilities, np.eye(5)[4]])
    assert cal.fit_temperature(truth, probabilities) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("temperature", [0, -1, float("nan")])
def test_a_temperature_is_above_zero(temperature: float) -> None:
    with pytest.raises(ConfigError, match="temperature="):
        cal.apply_temperature([[0.5, 0.5]], temperature)


# ------------------------------------------------------------------------------------ cross-fitted


def test_each_fold_takes_the_temperature_of_the_others() -> None:
    truth, probabilities = overconfident(4, clips=600)
    folds, groups = np.arange(600) % 3 + 1, np.arange(600)
    scaled, temperatures = cal.cross_fitted(truth, probabilities, folds, groups)
    assert scaled is not None
    assert list(temperatures) == ["fold 1", "fold 2", "fold 3"]
    for fold in (1, 2, 3):
        others = folds != fold
        expected = cal.fit_temperature(truth[others], probabilities[others])
        assert temperatures[f"fold {fold}"] == expected
        np.testing.assert_array_equal(
            scaled[~others], cal.apply_temperature(probabilities[~others], expected)
        )


def test_the_scored_fold_has_no_say_in_its_temperature() -> None:
    truth, probabilities = overconfident(5, clips=300)
    folds, groups = np.arange(300) % 2, np.arange(300)
    _, before = cal.cross_fitted(truth, probabilities, folds, groups)
    truth[folds == 1] = 0  # all else than what it was
    _, after = cal.cross_fitted(truth, probabilities, folds, groups)
    assert after["fold 1"] == before["fold 1"]
    assert after["fold 0"] != before["fold 0"]


def test_a_recording_in_two_folds_is_not_fitted_on_where_it_is_scored() -> None:
    truth, probabilities = overconfident(6, clips=200)
    folds, groups = np.repeat([1, 2], 100), np.arange(200)
    groups[100] = groups[0]
    _, temperatures = cal.cross_fitted(truth, probabilities, folds, groups)
    fitted_on = np.arange(101, 200)
    expected = cal.fit_temperature(truth[fitted_on], probabilities[fitted_on])
    assert temperatures["fold 1"] == expected


@pytest.mark.parametrize("folds", [np.ones(400, dtype=int), np.arange(400) % 4])
def test_recordings_are_halved_where_folds_do_not_part_them(folds: np.ndarray) -> None:
    truth, probabilities = overconfident(7, clips=400)
    groups = np.array([f"r{i}" for i in np.arange(400) // 4])  # in each of the four folds, or one
    scaled, temperatures = cal.cross_fitted(truth, probabilities, folds, groups)
    assert scaled is not None
    assert list(temperatures) == ["half 1", "half 2"]
    ratio = np.log(probabilities[:, 0] / probabilities[:, 1]) / np.log(scaled[:, 0] / scaled[:, 1])
    taken = pd.Series(ratio).groupby(groups).agg(["min", "max"])
    np.testing.assert_allclose(taken["min"], taken["max"])  # a recording has one temperature
    each = [np.isclose(taken["min"], temperature).sum() for temperature in temperatures.values()]
    assert each == [50, 50]


def test_one_recording_leaves_nothing_to_fit_on() -> None:
    truth, probabilities = overconfident(8, clips=50)
    ones = np.ones(50, dtype=int)
    assert cal.cross_fitted(truth, probabilities, ones, ones) == (None, {})
    table = as_table(truth, probabilities, fold=1, group="only")
    assert cal.calibration(table, [f"c{i}" for i in range(5)]).after is None


# -------------------------------------------------------------------------------------------- runs


def test_a_run_is_judged_before_and_after() -> None:
    truth, probabilities = overconfident(9)
    table = as_table(truth, probabilities, fold=np.arange(4_000) % 5, group=np.arange(4_000))
    found = cal.calibration(table, [f"c{i}" for i in range(5)])
    assert found.after is not None
    assert found.before.confidence > found.before.accuracy + 0.1
    assert found.after.ece < 0.03 < 0.1 < found.before.ece
    assert found.after.nll < found.before.nll
    assert found.after.accuracy == found.before.accuracy
    assert found.temperature == pytest.approx(2.5, rel=0.06)
    assert all(t == pytest.approx(2.5, rel=0.1) for t in found.temperatures.values())


def test_a_calibrated_network_is_left_nearly_alone() -> None:
    truth, probabilities = overconfident(10, temperature=1)
    table = as_table(truth, probabilities, fold=np.arange(4_000) % 5, group=np.arange(4_000))
    found = cal.calibration(table, [f"c{i}" for i in range(5)])
    assert found.before.ece < 0.03
    assert found.temperature == pytest.approx(1, rel=0.06)


def test_predictions_of_a_trained_run_are_judged(run: Run) -> None:
    predictions = run.predictions()
    found = cal.calibration(predictions, run.labels)
    right = predictions["predicted"] == predictions["label"]
    assert found.before.accuracy == pytest.approx(right.mean())
    assert found.before.confidence == pytest.approx(predictions["probability"].mean(), abs=1e-6)
    assert found.after is not None
    assert list(found.temperatures) == ["half 1", "half 2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="p_c1"), "do not know p_c1"),
        (lambda t: t.assign(label="owl"), "do not know owl"),
        (lambda t: t.head(0), "hold no clip"),
        (lambda t: t.assign(p_c0=np.nan), "not between 0 and 1"),
        (lambda t: t.assign(p_c0=1.5), "not between 0 and 1"),
    ],
)
def test_predictions_that_cannot_be_judged_are_refused(change, message: str) -> None:
    table = as_table(*overconfident(11, clips=10, classes=2), fold=1, group="a")
    with pytest.raises(ModelError, match=message):
        cal.calibration(change(table), ["c0", "c1"])
