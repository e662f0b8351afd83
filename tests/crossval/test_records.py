"""Records of runs that somebody damaged: one line that names file and field, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from spectro.crossval.records import FoldRecord, Origin, RunRecord
from spectro.crossval.run import Run
from spectro.crossval.runs import list_runs
from spectro.errors import ModelError, RenderError
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing.files import check_writable


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Path:
    """A copy of a run that a test may damage."""
    return Path(shutil.copytree(run.folder, tmp_path / "run"))


def change(file: Path, edit: Callable[[Any], Any]) -> None:
    record = json.loads(file.read_text())
    edit(record)
    file.write_text(json.dumps(record))


def test_a_record_is_read_back_as_it_was_written(run: Run) -> None:
    again = RunRecord.read(run.folder / "run.json", ModelError)
    assert again == run.record
    assert again.to_text() == (run.folder / "run.json").read_text()
    fold = run.folder / "fold1" / "fold.json"
    assert FoldRecord.read(fold, ModelError).to_text() == fold.read_text()
    assert run.scores().to_text() == (run.folder / "scores.json").read_text()


@pytest.mark.parametrize(
    "field",
    [
        "train",
        "weights",
        "precision",
        "spectrogram",
        "dataset",
        "rendered",
        "labels",
        "environment",
    ],
)
def test_a_field_that_is_missing_is_named(copy: Path, field: str) -> None:
    change(copy / "run.json", lambda record: record.pop(field))
    with pytest.raises(ModelError, match=rf"run\.json: {field} is missing; restore it"):
        Run.load(copy)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("labels", "siren", "labels is 'siren'"),
        ("labels", [], r"labels is \[\]"),
        ("precision", "int4", "precision is 'int4'"),
        ("weights", {"source": "moon", "detail": ""}, "weights: source is 'moon'"),
        ("dataset", {"name": "x", "root": 3, "folds": [1], "clips": 1}, "dataset: root is 3"),
        (
            "dataset",
            {"name": "x" * 9_999, "root": "", "folds": [1], "clips": 1},
            "dataset: name is",
        ),
        ("train", {"lr": 3}, "unknown setting lr"),
        ("environment", [], r"environment is \[\]"),
    ],
)
def test_a_field_that_is_wrong_is_named(copy: Path, field: str, value: Any, told: str) -> None:
    change(copy / "run.json", lambda record: record.update({field: value}))
    with pytest.raises(ModelError, match=told) as caught:
        Run.load(copy)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("text", ["", "[", "[1]", "{", "[" * 200_000, "\0", '{"a": NaN}', "null"])
@pytest.mark.parametrize("name", ["run.json", "scores.json", "fold1/fold.json"])
def test_what_is_no_record_is_one_line(copy: Path, name: str, text: str) -> None:
    (copy / name).write_text(text)
    with pytest.raises(ModelError, match=name) as caught:
        opened = Run.load(copy)
        opened.scores()
        opened.fold_record(1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda text: "", "cannot be read"),
        (lambda text: text.splitlines()[0] + "\n", "holds no row"),
        (lambda text: text.replace("label", "lable", 1), "has no column label"),
        (lambda text: text.replace(",siren,", ",nope,"), "'nope' is no class of this run"),
        (lambda text: text.replace("p_siren", "p_other", 1), "has no column p_siren"),
        (lambda text: text + '"unfinished', "cannot be read"),
        (
            lambda text: text.replace("probability", "x", 1).replace("p_siren", "probability", 1),
            "column",
        ),
    ],
)
def test_damaged_predictions_are_one_line(
    copy: Path, edit: Callable[[str], str], told: str
) -> None:
    file = copy / "fold1" / "predictions.csv"
    file.write_text(edit(file.read_text()))
    with pytest.raises(ModelError, match=told) as caught:
        Run.load(copy).predictions()
    assert "\n" not in str(caught.value)


def drop(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[1:]


def repeat(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table.iloc[1:], table.iloc[-1:]])


def move(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(fold=2)


def praise(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(predicted=table["label"])


def relabel(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label=table["predicted"].map({"siren": "jackhammer"}).fillna("siren"))


def boast(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(probability=1.0)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (drop, "holds 11 clips, and 12 were scored"),
        (repeat, "is predicted twice"),
        (move, "holds clips of fold 2, not 1"),
        (praise, "predicts another class than its probabilities do|right, and fold.json says"),
        (relabel, r"has \d+\.\d % right, and fold.json says"),
        (boast, "predicts another class than its probabilities do"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_predictions_that_were_changed_are_no_score(
    copy: Path, edit: Callable[[pd.DataFrame], pd.DataFrame], told: str
) -> None:
    file = copy / "fold1" / "predictions.csv"
    edit(pd.read_csv(file)).to_csv(file, index=False)
    with pytest.raises(ModelError, match=told) as caught:
        Run.load(copy).predictions()
    assert str(file) in str(caught.value)
    with pytest.raises(ModelError, match=r"predictions\.csv"):
        list_runs(copy)


def test_a_fold_copied_into_another_is_no_fold(copy: Path) -> None:
    shutil.copytree(copy / "fold1", copy / "fold2")
    with pytest.raises(ModelError, match="fold2: is a copy of fold 1, not fold 2; remove it"):
        Run.load(copy).predictions()
    change(copy / "fold2" / "fold.json", lambda record: record.update(fold=2))
    file = copy / "fold2" / "predictions.csv"
    pd.read_csv(file).assign(fold=2).to_csv(file, index=False)
    with pytest.raises(ModelError, match="is predicted twice"):
        Run.load(copy).predictions()


@pytest.mark.parametrize("value", ["nan", "", "inf", "-0.1", "2", "much"])
def test_a_probability_that_is_none_is_refused(copy: Path, value: str) -> None:
    file = copy / "fold1" / "predictions.csv"
    lines = file.read_text().splitlines()
    cells = lines[1].split(",")
    lines[1] = ",".join([*cells[:-1], value])
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ModelError, match=r"predictions\.csv: .*number"):
        Run.load(copy).predictions()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "epoch\n1\n",
        "epoch,train_loss,valid_loss,accuracy\n1,a,b,c\n",
        *(
            f"epoch,train_loss,valid_loss,accuracy\n1,2,2,0.1\n{epoch},2,2,0.1\n"
            for epoch in ("nan", "inf", "0", "-1", "1", "1.5", "1e300")
        ),
    ],
)
def test_a_damaged_history_is_one_line(copy: Path, text: str) -> None:
    (copy / "fold1" / "history.csv").write_text(text)
    with pytest.raises(ModelError, match=r"history\.csv: "):
        Run.load(copy).history(1)


def test_one_damaged_run_does_not_hide_the_others(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(run.folder, tmp_path / name)
    change(tmp_path / "a" / "run.json", lambda record: record.pop("labels"))
    told: list[ModelError] = []
    assert [Path(folder).name for folder in list_runs(tmp_path, damaged=told.append)["run"]] == [
        "b"
    ]
    assert len(told) == 1
    assert "labels is missing" in str(told[0])
    with pytest.raises(ModelError, match="labels is missing"):
        list_runs(tmp_path)


@pytest.mark.parametrize("name", ["fold--1", "fold1.bak", "foldx", "fold"])
def test_folders_with_other_names_are_no_folds(copy: Path, name: str) -> None:
    shutil.copytree(copy / "fold1", copy / name)
    assert Run.load(copy).finished_folds == [1]


def test_a_run_inside_a_run_is_not_reached_through_a_link(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (copy / "nested").symlink_to(tmp_path / "victim", target_is_directory=True)
    with pytest.raises(ModelError, match="nested: is a symbolic link"):
        Run.load(copy).inner("nested", "fold1", "a")


def test_a_rendered_set_without_a_field_is_one_line(rendered: RenderedSet, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(rendered.folder, tmp_path / "pictures"))
    change(folder / "dataset.json", lambda record: record.pop("root"))
    with pytest.raises(RenderError, match=r"dataset\.json: root is missing"):
        RenderedSet.load(folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs another user")
def test_a_folder_that_may_not_be_written_to_is_told_before_training(
    tmp_path: Path,
) -> None:
    """Asked as an ordinary user: root may write anywhere."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionError) as caught:
            check_writable(folder)
    finally:
        os.seteuid(0)
    assert caught.value.filename == str(folder)
    check_writable(folder)
    assert not list(folder.iterdir())


def test_a_start_is_known_by_its_file_not_by_the_version_of_its_package() -> None:
    old, new, other = (
        Origin(
            source="imagenet", detail=f"lite, from the package x 0.{version}, sha256 {digit * 64}"
        )
        for version, digit in ((1, "a"), (2, "a"), (2, "b"))
    )
    assert old.same_start(new) and not old.same_start(other)
    assert not old.same_start(Origin(source="file", detail=old.detail))
    named = [Origin(source="imagenet", detail=f"ResNet18_Weights.V{n}") for n in (1, 2)]
    assert named[0].same_start(named[0]) and not named[0].same_start(named[1])
    assert Origin(source="random", detail="as asked").same_start(Origin(source="random", detail=""))
