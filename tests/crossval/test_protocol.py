"""What a score says of itself: numbers that tell less than they seem to."""

from __future__ import annotations

import pandas as pd

from spectro.crossval.protocol import doubts
from spectro.scores.metrics import probability_columns, score

LABELS = ["cat", "dog"]


def predictions(sure: list[float], recordings: int) -> pd.DataFrame:
    """Clips of cats and dogs in turn, with the probability of the true class."""
    rows = []
    for i, p in enumerate(sure):
        truth = LABELS[i % 2]
        probabilities = [p, 1 - p] if truth == "cat" else [1 - p, p]
        rows.append(
            {
                "label": truth,
                "predicted": LABELS[probabilities.index(max(probabilities))],
                "fold": 1,
                "group": str(i % recordings),
                **dict(zip(probability_columns(LABELS), probabilities, strict=True)),
            }
        )
    return pd.DataFrame(rows)


def said(table: pd.DataFrame) -> list[str]:
    low, high = score(table, LABELS)["accuracy_interval"]
    return doubts(table, LABELS, (low, high))


def test_a_tiny_run_without_a_mistake_claims_nothing() -> None:
    [width, temperature] = said(predictions([0.8] * 8, 4))
    assert "has no width: every draw of 4 recordings scores alike" in width
    assert "up to 52.7 % of new ones may go wrong" in width
    assert "the temperature is 0.05, the end of what is tried (0.05 to 20)" in temperature


def test_one_recording_has_no_interval() -> None:
    [width] = said(predictions([0.8, 0.8, 0.4, 0.9, 0.3, 0.7], 1))
    assert width.endswith("every draw of 1 recording scores alike")


def test_what_is_always_wrong_has_a_temperature_at_the_end() -> None:
    assert any(
        "is 20, the end of what is tried" in line for line in said(predictions([0.1] * 8, 4))
    )


def test_a_plain_score_has_no_doubts() -> None:
    assert said(predictions([0.9, 0.8, 0.4, 0.7, 0.9, 0.3, 0.8, 0.6], 4)) == []
