"""Shared data: a tiny sample, its pictures, and one trained run, each made once a session."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# OpenMP threads wait for each other: on a busy machine two are thirty times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell has what it starts with & ignore Ctrl-C, and so would the commands that are tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import matplotlib as mpl
import pytest

from spectro.clips import datasets
from spectro.clips.sample.write import write_sample
from spectro.crossval.run import Run
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig
from spectro.training.settings import Phase, TrainConfig

mpl.use("Agg")

CLASSES = ("air_conditioner", "jackhammer", "siren")

# A quarter of the default picture: enough to tell these three apart, and quick to train on.
SMALL_PICTURES = SpectrogramConfig(n_mels=64, hop_length=1024)
SHORT_TRAINING = TrainConfig(
    recipe="test", weights="none", batch_size=8, phases=(Phase(epochs=6, lr=3e-3),)
)


@pytest.fixture(autouse=True)
def no_downloads(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests off the network and off the user's own cache of weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.getbasetemp() / "torch-home"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def sample_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 synthesised clips in UrbanSound8K's layout: 3 classes, 3 folds, 2 sources, 2 slices."""
    folder = tmp_path_factory.mktemp("data")
    return write_sample(folder, sources=2, slices=2, folds=3, classes=CLASSES)


@pytest.fixture(scope="session")
def rendered(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> RenderedSet:
    """Small pictures of the tiny sample."""
    from spectro.pictures.render import render

    out = tmp_path_factory.mktemp("rendered") / "sample"
    render(datasets.load(sample_root), out, SMALL_PICTURES)
    return RenderedSet.load(out)


@pytest.fixture(scope="session")
def run(rendered: RenderedSet, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with fold 1 trained and scored."""
    from spectro.crossval import folds as crossval

    training = crossval.Training.open(
        tmp_path_factory.mktemp("runs") / "tiny", rendered, SHORT_TRAINING
    )
    opened = training.run
    training.fold(1)
    crossval.score_run(opened, rendered)
    return opened
