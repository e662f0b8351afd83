"""The benchmark of bare steps: real processes, few and small steps."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = Path(__file__).parents[2] / "benchmarks" / "steps.py"


@pytest.mark.slow
def test_ways_take_turns_and_the_first_is_held_against_itself() -> None:
    ways = "in fp32", "freed memory returned", "channels before rows"
    small = [
        "--arch",
        "cnn4",
        "--size",
        "32",
        "32",
        "--batch-size",
        "4",
        "--steps",
        "1",
        "--warm-up",
        "1",
        "--rounds",
        "3",
    ]
    done = subprocess.run(
        [sys.executable, STEPS, *small, "--only", *ways], capture_output=True, text=True, check=True
    )
    machine, _, head, *rows = done.stdout.splitlines()
    assert machine.endswith("cnn4, 32 x 32, batches of 4, one thread")
    assert "times in fp32" in head and len(rows) == len(ways)
    for row, way in zip(rows, ways, strict=True):
        spread = r"([\d.]+) \(([\d.]+)-([\d.]+)\)"
        found = re.fullmatch(rf"{way} +{spread} +{spread} +\d+", row)
        assert found, row
        rate, low, high, ratio, least, most = map(float, found.groups())
        assert 0 < low <= rate <= high and 0 < least <= ratio <= most
    assert "1.00 (1.00-1.00)" in rows[0]
