"""Numbers as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectro.plumbing.words import hundredths, percent


@pytest.mark.parametrize(
    ("share", "digits", "shown"),
    [
        (0.0, 0, "0"), (0.0001, 0, "<1"), (0.00499, 0, "<1"), (0.005, 0, "1"), (0.0149, 0, "1"),
        (0.015, 0, "2"), (0.025, 0, "3"), (0.985, 0, "99"), (0.9949, 0, "99"), (0.995, 0, ">99"),
        (0.9999, 0, ">99"), (1.0, 0, "100"), (0.0005, 1, "0.1"), (0.0004, 1, "<0.1"),
        (0.9995, 1, ">99.9"), (0.9994, 1, "99.9"), (0.1235, 1, "12.4"), (1 / 200, 0, "1"),
    ],
)  # fmt: skip
def test_shares(share: float, digits: int, shown: str) -> None:
    assert hundredths(share, digits) == shown


@given(st.integers(0, 5_000), st.integers(1, 5_000))
def test_none_and_all_are_only_what_they_are(count: int, total: int) -> None:
    share = min(count, total) / total
    assert (hundredths(share, 0) == "0") == (share == 0)
    assert (hundredths(share, 0) == "100") == (share == 1)
    assert abs(float(hundredths(share).strip("<>")) - 100 * share) <= 0.1 + 1e-9


def test_what_is_no_number() -> None:
    assert percent(None) == "-"
    assert percent(math.nan) == "nan %"
