"""Several networks that judge together: which they are, what they say, and what a run keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from spectro.crossval import folds as crossval
from spectro.crossval.run import Run
from spectro.crossval.studies import budget
from spectro.listening.classifier import Classifier
from spectro.models.folder import load_model, predict_probabilities
from spectro.models.networks import build as network
from spectro.models.networks.build import Ensemble
from spectro.models.networks.gradcam import gradcam
from spectro.models.weights import resolve
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.spectrogram import network_pixels
from spectro.scores import plots
from spectro.scores.metrics import probability_columns
from spectro.training.loop.progress import Listener
from spectro.training.settings import Phase, TrainConfig
from spectro.training.splits import Split, split
from spectro.training.train import configs, train

TWO = TrainConfig(arch="cnn4", weights="none", batch_size=8, phases=(Phase(epochs=2),), members=2)


@pytest.fixture(scope="module")
def pair(rendered: RenderedSet, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two networks of cnn4, fold 1 trained, fold 2 watched."""
    config = TWO.replace(inner_fold=2)
    training = crossval.Training.open(tmp_path_factory.mktemp("runs") / "pair", rendered, config)
    run = training.run
    training.fold(1)
    crossval.score_run(run, rendered)
    return run


@given(st.integers(1, 5), st.integers(2, 6), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_its_softmax_is_the_mean_of_theirs(n: int, classes: int, seed: int) -> None:
    torch.manual_seed(seed)
    networks = [nn.Linear(3, classes) for _ in range(n)]
    x = 100 * torch.rand(7, 3)  # logits far apart: a naive sum of exponentials would overflow
    wanted = torch.stack([one(x).double().softmax(1) for one in networks]).mean(0)
    found = Ensemble(networks)(x).double().softmax(1)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_no_two_seeds_share_a_network() -> None:
    seeds = [one.seed for seed in range(4) for one in configs(TWO.replace(seed=seed))]
    assert seeds == list(range(8))
    assert configs(TWO.replace(members=1, seed=9)) == [TWO.replace(members=1, seed=9)]
    last = configs(TWO.replace(seed=2**32 - 1))
    assert all(0 <= one.seed < 2**32 and one.members == 1 for one in last)


def test_a_run_keeps_the_networks_that_each_seed_alone_would_train(
    pair: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    together, card = load_model(pair.fold_folder(1) / "model")
    assert isinstance(together, Ensemble)
    assert card.members == 2
    for seed, member in enumerate(together.members):
        alone = TWO.replace(members=1, seed=seed, inner_fold=2)
        training = crossval.Training.open(tmp_path / f"{seed}", rendered, alone)
        run = training.run
        training.fold(1)
        model, _ = load_model(run.fold_folder(1) / "model")
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(member.state_dict()[name], tensor, rtol=0, atol=0)
    assert not torch.equal(*(next(member.parameters()) for member in together.members))


def test_predictions_are_the_mean_of_the_networks_on_the_finished_pictures(
    pair: Run, rendered: RenderedSet
) -> None:
    together, card = load_model(pair.fold_folder(1) / "model")
    assert isinstance(together, Ensemble)
    parts = split(rendered.clips, 1)
    pixels = torch.stack(
        [
            torch.from_numpy(network_pixels(Image.open(image), card.size))
            for image in parts.score["image"]
        ]
    )
    each = [predict_probabilities(one.eval(), card, pixels) for one in together.members]
    found = pair.predictions()[probability_columns(pair.labels)].to_numpy()
    np.testing.assert_allclose(found, torch.stack(each).mean(0).numpy(), atol=1e-5)


def test_the_inner_accuracy_is_that_of_all_of_them_together(
    pair: Run, rendered: RenderedSet
) -> None:
    record = pair.fold_record(1)
    watched = rendered.clips[rendered.clips["fold"] == 2]
    judged = Classifier.load(pair.fold_folder(1) / "model").predict([*watched["path"]])
    right = (judged["label"].to_numpy() == watched["label"].to_numpy()).mean()
    assert record.inner_fold == 2
    assert record.inner_accuracy == pytest.approx(right)


def test_history_is_numbered_through_and_told_as_it_is_kept(rendered: RenderedSet) -> None:
    rows: list[dict[str, Any]] = []
    batches: list[tuple[int, int]] = []
    listener = Listener(batch=lambda *at: batches.append(at), epoch=rows.append)
    _, history = train(
        split(rendered.clips, 1), rendered.labels, TWO, resolve("none", "cnn4"), listener=listener
    )
    assert history["member"].tolist() == [1, 1, 2, 2]
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    pd.testing.assert_frame_equal(history, pd.DataFrame(rows))
    total = batches[0][1]
    assert batches == [(done, total) for done in range(1, total + 1)]
    assert total % 4 == 0


def test_what_is_said_of_a_run_says_how_many(pair: Run) -> None:
    assert "by 2 networks together, each trained on 1 other fold" in pair.scores().protocol[0]
    log = (pair.fold_folder(1) / "training.log").read_text()
    assert "2 networks, of each: cnn4, " in log
    readme = (pair.fold_folder(1) / "model" / "README.md").read_text()
    assert readme.startswith("# 2 cnn4s that together tell 3 sounds apart")
    assert json.loads((pair.folder / "run.json").read_text())["train"]["members"] == 2
    assert TWO.in_words == "2 networks of 2 epochs"
    assert TrainConfig().replace(members=1, phases=[{"epochs": 1}]).in_words == "1 epoch"


def test_gradcam_of_an_ensemble_is_the_mean_of_its_networks_maps() -> None:
    torch.manual_seed(0)
    together = network.build("cnn4", 3, members=2).eval()
    assert isinstance(together, Ensemble)
    pixels = torch.rand(2, 3, 64, 64)
    wanted = torch.stack([gradcam(one, pixels, [0, 2]) for one in together.members]).mean(0)
    found = gradcam(together, pixels, [0, 2])
    torch.testing.assert_close(found, wanted / wanted.amax(dim=(1, 2), keepdim=True))


def test_a_time_budget_counts_every_network() -> None:
    pace = budget.Pace(((1.0, 0.5),), 0.01)
    clips = pd.DataFrame({"x": range(80)})
    parts = Split(train=clips, watch=clips.head(8), score=clips.head(8))
    one = budget.seconds(pace, TWO.replace(members=1), parts)
    assert budget.seconds(pace, TWO.replace(members=3), parts) == pytest.approx(3 * one)


def test_curves_claim_no_accuracy_of_all_from_the_last_network(pair: Run) -> None:
    figure = plots.history({1: pair.history(1)}, "the inner fold")
    losses, accuracies = figure.axes
    assert [text.get_text() for text in accuracies.get_legend().get_texts()] == ["fold 1"]
    assert losses.get_xlabel() == accuracies.get_xlabel() == "epoch, of one network after another"
    alone = plots.history({1: pair.history(1).drop(columns="member")}, "the inner fold")
    assert "%" in alone.axes[1].get_legend().get_texts()[0].get_text()
    assert alone.axes[0].get_xlabel() == "epoch"
