"""How to reproduce a run: the commands say everything that they need."""

from __future__ import annotations

import dataclasses

import pytest

from spectro.crossval.records import Design, OwnLearner
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


def test_why_it_is_another_network_is_told_where_it_is(run: Run) -> None:
    told = dict(origin.tell(run)["about"])
    assert "Why that network" not in told
    weights = run.record.weights.replace(instead="those of resnet18 cannot be had")
    changed = dataclasses.replace(run, record=run.record.replace(weights=weights))
    assert dict(origin.tell(changed)["about"])["Why that start"] == weights.instead
    assert '"instead"' not in run.record.to_text()
    assert '"instead": "those of' in changed.record.to_text()


def test_folders_of_one_name_are_told_apart(run: Run) -> None:
    record = run.record
    same = record.replace(
        dataset=record.dataset.replace(root="/here/birds"),
        rendered=record.rendered.replace(folder="/pictures/birds"),
    )
    folder = run.folder.with_name("birds")
    commands = origin.tell(dataclasses.replace(run, record=same, folder=folder))["commands"]
    assert commands[0].startswith("spectro render birds --out birds-pictures ")
    assert commands[-1] == "spectro report birds-run"


def test_a_function_without_a_name_is_no_command(run: Run) -> None:
    own = OwnLearner(name="make", fit="<lambda>", source="...")
    design = run.record.replace(design=Design(learner=own))
    told = "\n".join(origin.tell(dataclasses.replace(run, record=design))["commands"])
    assert "make_learner=make, fit=..." in told and "<" not in told


def test_a_design_that_says_nothing_is_no_traceback(run: Run) -> None:
    changed = dataclasses.replace(run, record=run.record.model_copy(update={"design": Design()}))
    assert "--inner-folds 1" in origin.tell(changed)["commands"][1]
