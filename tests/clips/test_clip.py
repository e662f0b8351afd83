"""A clip, and the one place where a table's NaN becomes None."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from spectro.clips.clip import Clip, clips_of


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": ["x", "y", "z"],
            "path": ["a.wav", "b.wav", "b.wav"],
            "start": [math.nan, 0.0, 1.5],
            "end": [math.nan, 1.5, math.nan],
        }
    )


def test_a_table_gives_its_clips_in_order_with_none_for_nan(table: pd.DataFrame) -> None:
    assert list(clips_of(table)) == [
        Clip("a.wav", None, None),
        Clip("b.wav", 0.0, 1.5),
        Clip("b.wav", 1.5, None),
    ]


def test_a_row_is_the_clip_that_the_table_has_there(table: pd.DataFrame) -> None:
    rows = [Clip.of(row) for _, row in table.iterrows()]
    assert rows == list(clips_of(table)) == [Clip.of(row) for row in table.to_dict("records")]


@pytest.mark.parametrize(
    ("clip", "name"),
    [
        (Clip("data/owl/1.wav"), "owl/1.wav"),
        (Clip("data/owl/1.wav", 0.0), "owl/1.wav (0 s to its end)"),
        (Clip("data/owl/1.wav", None, 2.5), "owl/1.wav (0 s to 2.5 s)"),
        (Clip("data/owl/1.wav", 1.25, 3), "owl/1.wav (1.25 s to 3 s)"),
        (Clip("database/1.wav"), "database/1.wav"),
        (Clip("/far/1.wav"), "/far/1.wav"),
    ],
)
@pytest.mark.parametrize("root", ["data", "data/", Path("data")])
def test_a_clip_is_named_below_its_root_and_by_its_part(
    clip: Clip, name: str, root: str | Path
) -> None:
    assert clip.name_in(root) == name
    assert clip.name_in() == clip.path + name.removeprefix(clip.path.removeprefix("data/"))
