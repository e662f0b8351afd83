"""Which score tells unknown sounds: against naive recomputation, class by class."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from spectro.errors import ModelError
from spectro.scores import unknown

LABELS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Logits of 80 clips by 3 networks, larger for the true class; some clips are loud."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 80)
    logits = rng.normal(0, 1, (80, 3, 4))
    logits[np.arange(80), :, truth] += rng.normal(2.5, 1.5, (80, 1))
    return truth, logits


def naive_auroc(known: list[float], foreign: list[float]) -> float:
    """The share of pairs in which the known clip scores higher; equals count half."""
    pairs = [(a > b) + 0.5 * (a == b) for a in known for b in foreign]
    return sum(pairs) / len(pairs)


def naive_score(method: str, logits: np.ndarray, keep: list[int], temperature: float) -> float:
    """The score of one clip, from the logits of its networks, shape (members, classes)."""
    if method == "energy":
        return float(np.mean([np.log(sum(np.exp(row[k]) for k in keep)) for row in logits]))
    mean = np.mean([softmax(row) for row in logits], axis=0)
    powers = [mean[k] ** (1 / temperature) for k in keep]
    return max(powers) / sum(powers)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_each_class_is_left_out_in_turn(
    drawn: tuple[np.ndarray, np.ndarray], temperature: float
) -> None:
    truth, logits = drawn
    probabilities = softmax(logits, axis=2).mean(axis=1)
    found = unknown.choose(truth, LABELS, probabilities, temperature, logits)
    for method, by_class in found.by_class.items():
        for out, label in enumerate(LABELS):
            keep = [k for k in range(4) if k != out]
            scores = [naive_score(method, clip, keep, temperature) for clip in logits]
            known = [s for s, t in zip(scores, truth, strict=True) if t != out]
            foreign = [s for s, t in zip(scores, truth, strict=True) if t == out]
            assert by_class[label] == pytest.approx(naive_auroc(known, foreign))
    means = {name: np.mean([*by_class.values()]) for name, by_class in found.by_class.items()}
    assert found.method == max(means, key=means.__getitem__)
    assert found.auroc == pytest.approx(means[found.method])
    scores = [naive_score(found.method, clip, [0, 1, 2, 3], temperature) for clip in logits]
    kept = np.mean(np.array(scores) >= found.threshold - 1e-12)
    assert 0.95 <= kept < 0.95 + 2 / 80


def test_the_method_that_tells_more_is_taken() -> None:
    """All clips are equally sure, and only the known ones have large logits; then the reverse."""
    truth = np.repeat([0, 1, 2], 20)
    probabilities = np.tile([0.4, 0.3, 0.3], (60, 1))
    logits = np.zeros((60, 1, 3))
    logits[np.arange(60), 0, (truth + 1) % 3] = 5  # what is left when its own logit is dropped
    assert unknown.choose(truth, ["a", "b", "c"], probabilities, 1.0, -logits).method == "energy"
    sure = softmax(np.random.default_rng(0).normal(0, 3, (60, 3)), axis=1)
    flat = np.zeros((60, 1, 3))
    chosen = unknown.choose(truth, ["a", "b", "c"], sure, 1.0, flat)
    assert set(chosen.by_class["energy"].values()) == {0.5}


def test_without_logits_only_the_probability_is_looked_at(
    drawn: tuple[np.ndarray, np.ndarray],
) -> None:
    truth, logits = drawn
    found = unknown.choose(truth, LABELS, softmax(logits, axis=2).mean(axis=1))
    assert (found.method, [*found.by_class]) == ("probability", ["probability"])


def test_one_class_cannot_be_left_out() -> None:
    with pytest.raises(ModelError, match="only one class"):
        unknown.choose([0, 0], ["a", "b"], [[0.9, 0.1], [0.8, 0.2]])
