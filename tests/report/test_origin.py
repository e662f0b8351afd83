"""How to reproduce a run: the commands say everything that they need."""

from __future__ import annotations

import dataclasses

import pytest

from spectro.crossval.run import Run
from spectro.report import origin


@pytest.mark.parametrize(
    ("reading", "flags"),
    [
        (None, ""),
        (
            {"group_pattern": r"^(rec\d+) x", "seed": 3},
            r" --group-pattern '^(rec\d+) x' --fold-seed 3",
        ),
        ({"layout": "folder", "esc10": True}, " --layout folder --esc10"),
        ({"folds_file": "/home/me/folds.csv"}, " --folds-file folds.csv"),
        ({"x; rm -r .": "y", "layout": "$(touch x)"}, " --layout '$(touch x)'"),
        ({"path_column": "filename"}, " --path-column filename"),
    ],
)
def test_the_options_of_reading_are_part_of_it(
    run: Run, reading: dict[str, object] | None, flags: str
) -> None:
    dataset = run.record.dataset.replace(reading=reading)
    changed = dataclasses.replace(run, record=run.record.replace(dataset=dataset))
    first = origin.tell(changed)["commands"][0]
    assert first == f"spectro render UrbanSound8K --out sample --config settings.toml{flags}"
