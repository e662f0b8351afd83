"""Names that are read back from tables never lead out of the folder that holds the table."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from spectro.clips import datasets
from spectro.crossval import folds as crossval
from spectro.crossval.records import FoldRecord
from spectro.crossval.run import Run
from spectro.errors import ModelError, RenderError
from spectro.pictures.rendered import RenderedSet
from tests.conftest import SHORT_TRAINING, SMALL_PICTURES


@pytest.fixture
def pictures(rendered: RenderedSet, tmp_path: Path) -> Path:
    """A copy of a rendered set that a test may spoil, beside a canary."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "canary.png").write_bytes(b"precious")
    return Path(shutil.copytree(rendered.folder, tmp_path / "pictures"))


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "victim" / "canary.png"


def add_picture(table: Path, image: str) -> None:
    """Add a row to a table of clips that names another picture."""
    clips = pd.read_csv(table, dtype=str, keep_default_na=False)
    extra = clips.iloc[[0]].assign(image=image, path="fold1/no-such-clip.wav")
    pd.concat([clips, extra]).to_csv(table, index=False)


def spectro(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "spectro"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


OUTSIDE = [
    "../victim/canary.png", "fold1/../../victim/canary.png", "ABSOLUTE", "fold1/./canary.png",
    "fold1", "fold1/", "", "fold1\\..\\canary.png", "fold1//canary.png", "spectrogram.json",
]  # fmt: skip


@pytest.mark.parametrize("image", OUTSIDE)
@pytest.mark.parametrize("table", ["clips.csv", ".clips.previous.csv"])
def test_rendering_removes_nothing_outside(
    pictures: Path, canary: Path, sample_root: Path, image: str, table: str
) -> None:
    if table != "clips.csv":
        shutil.copy(pictures / "clips.csv", pictures / table)
    add_picture(pictures / table, str(canary) if image == "ABSOLUTE" else image)
    before = {path: path.read_bytes() for path in pictures.rglob("*.*") if path.is_file()}
    from spectro.pictures.render import render

    with pytest.raises(RenderError, match=f"{table}: names a picture outside the folder"):
        render(datasets.load(sample_root), pictures, SMALL_PICTURES)
    assert canary.read_bytes() == b"precious"
    assert before == {path: path.read_bytes() for path in before}


def test_the_command_ends_in_one_line(pictures: Path, canary: Path, sample_root: Path) -> None:
    add_picture(pictures / "clips.csv", "../victim/canary.png")
    options = ("--n-mels", "64", "--hop-length", "1024")
    done = spectro("render", sample_root, "--out", pictures, *options)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "clips.csv: names a picture outside the folder" in done.stderr
    assert canary.exists()


def test_a_fold_that_is_a_link_is_not_written_through(
    pictures: Path, canary: Path, sample_root: Path
) -> None:
    from spectro.pictures.render import render

    shutil.rmtree(pictures / "fold2")
    (pictures / "fold2").symlink_to(canary.parent, target_is_directory=True)
    with pytest.raises(RenderError, match="fold2: is a symbolic link"):
        render(datasets.load(sample_root), pictures, SMALL_PICTURES)
    assert [path.name for path in canary.parent.iterdir()] == ["canary.png"]
    with pytest.raises(RenderError, match="fold2: is a symbolic link"):
        RenderedSet.load(pictures)


def test_a_picture_that_is_a_link_is_not_read(pictures: Path, canary: Path) -> None:
    picture = next((pictures / "fold1").iterdir())
    picture.unlink()
    picture.symlink_to(canary)
    with pytest.raises(RenderError, match="is a symbolic link"):
        RenderedSet.load(pictures)


def test_a_set_that_names_pictures_or_sounds_outside_is_not_loaded(pictures: Path) -> None:
    add_picture(pictures / "clips.csv", "../victim/canary.png")
    with pytest.raises(RenderError, match=r"clips\.csv: names a picture outside"):
        RenderedSet.load(pictures)
    table = pd.read_csv(pictures / "clips.csv").iloc[:-1]
    table.assign(path="../" + table["path"]).to_csv(pictures / "clips.csv", index=False)
    with pytest.raises(RenderError, match=r"clips\.csv: the path .* leads out of the dataset"):
        RenderedSet.load(pictures)


@pytest.mark.parametrize("column", ["image", "path"])
def test_predictions_name_nothing_outside(run: Run, tmp_path: Path, column: str) -> None:
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    file = folder / "fold1" / "predictions.csv"
    table = pd.read_csv(file)
    table.loc[1, column] = "../" + table.loc[1, column]
    table.to_csv(file, index=False)
    with pytest.raises(ModelError, match=r"predictions\.csv: .* out"):
        Run.load(folder).predictions()


def test_a_fold_of_a_run_that_is_a_link_is_not_replaced(
    rendered: RenderedSet, tmp_path: Path
) -> None:
    training = crossval.Training.open(tmp_path / "run", rendered, SHORT_TRAINING)
    opened = training.run
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "canary.txt").write_text("precious")
    opened.fold_folder(2).symlink_to(tmp_path / "victim", target_is_directory=True)
    record = FoldRecord(fold=2, accuracy=1, train_clips=1, scored_clips=1, seconds=1)
    with pytest.raises(ModelError, match="fold2: is a symbolic link"), opened.writing_fold(record):
        pytest.fail("was opened for writing")
    assert (tmp_path / "victim" / "canary.txt").read_text() == "precious"


def test_a_scratch_folder_that_is_a_link_is_left_alone(tmp_path: Path) -> None:
    from spectro.plumbing.files import sweep

    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "canary.txt").write_text("precious")
    one, other = (tmp_path / "set" / f".spectro-{n:032x}" for n in (1, 2))
    other.mkdir(parents=True)
    one.symlink_to(tmp_path / "victim", target_is_directory=True)
    (other / "lock").symlink_to(tmp_path / "victim" / "canary.txt")
    sweep(tmp_path / "set")
    assert [path.name for path in (tmp_path / "victim").iterdir()] == ["canary.txt"]
    assert (tmp_path / "victim" / "canary.txt").read_text() == "precious"
