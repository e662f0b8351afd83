"""The probe: features that depend on nothing but picture and body, and a score that is honest."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from PIL import Image
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression
from torch import nn
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.crossval import folds as crossval
from spectro.crossval.run import Run
from spectro.crossval.runs import compare_runs, list_runs
from spectro.crossval.studies import probe
from spectro.errors import ConfigError, RenderError
from spectro.models.card import IMAGENET_MEAN, IMAGENET_STD
from spectro.models.networks import build as network
from spectro.models.networks import features
from spectro.models.weights import resolve
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.spectrogram import network_pixels
from spectro.report.write import write_report
from spectro.scores.metrics import probability_columns
from spectro.training.recipes import recipe
from spectro.training.settings import TrainConfig

CPU = torch.device("cpu")
PROBE = recipe("probe").replace(weights="none", precision="fp32")


def tiny_body(seed: int = 0) -> nn.Sequential:
    """A body of one convolution: quick, and its features can be computed by hand."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU())


def features_of(
    images: list[str], cache: Path, body: nn.Sequential | None = None, **about: Any
) -> tuple[Any, int]:
    body = body or tiny_body()
    told = {"arch": "resnet18", "size": None, "precision": "fp32", **about}
    identity = features.body_identity(told["arch"], body, told["size"], told["precision"])
    return features.pooled_features(images, body, identity, cache, device=CPU)


@pytest.fixture
def images(rendered: RenderedSet, tmp_path: Path) -> list[str]:
    """Copies of all pictures, which a test may change."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    return [
        str(shutil.copy(image, folder / f"{number}.png"))
        for number, image in enumerate(rendered.clips["image"])
    ]


@pytest.fixture(scope="module")
def probed(rendered: RenderedSet, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the probe over all folds, scored."""
    folder = tmp_path_factory.mktemp("runs")
    training = crossval.Training.open(folder / "probe", rendered, PROBE)
    run = training.run
    found, _ = probe.features_of(run, rendered, training.weights, folder / "cache")
    for fold in rendered.folds:
        probe.probe_fold(run, rendered, found, fold)
    crossval.score_run(run, rendered)
    return run


def test_features_are_maximum_and_mean_of_what_the_body_makes_of_a_picture(
    images: list[str], tmp_path: Path
) -> None:
    found, _ = features_of(images[:3], tmp_path)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    for image, row in zip(images, found, strict=False):
        x = (torch.from_numpy(network_pixels(Image.open(image), None)) - mean) / std
        with torch.no_grad():
            maps = tiny_body()(x[None])[0]
        expected = torch.cat([maps.amax((1, 2)), maps.mean((1, 2))])
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_features_of_a_picture_do_not_depend_on_the_others(
    images: list[str], tmp_path: Path, precision: str
) -> None:
    torch.manual_seed(0)
    body = network.body("resnet18")
    together = features.extract(images, body, features.reader(32), precision, CPU)
    backwards = features.extract(images[::-1], body, features.reader(32), precision, CPU)[::-1]
    alone = features.extract(images[4:5], body, features.reader(32), precision, CPU)
    np.testing.assert_array_equal(together, backwards)
    np.testing.assert_array_equal(together[4], alone[0])
    assert body.training  # it is left as it was


def test_a_second_call_computes_nothing_and_gives_the_same(
    images: list[str], tmp_path: Path
) -> None:
    first, computed = features_of(images, tmp_path)
    again, recomputed = features_of(images[::-1], tmp_path)
    assert computed == len(set(map(_content, images)))
    assert recomputed == 0
    np.testing.assert_array_equal(first, again[::-1])


def _content(image: str) -> bytes:
    return Path(image).read_bytes()


def test_a_changed_picture_is_computed_again_and_alone(images: list[str], tmp_path: Path) -> None:
    before, _ = features_of(images, tmp_path)
    Image.fromarray(255 - np.asarray(Image.open(images[5]).convert("RGB"))).save(images[5])
    after, computed = features_of(images, tmp_path)
    assert computed == 1
    changed = (before != after).any(axis=1)
    assert changed.nonzero()[0].tolist() == [5]
    fresh, _ = features_of(images, tmp_path / "resnet34")
    np.testing.assert_array_equal(after, fresh)


def test_another_weight_size_or_arithmetic_takes_nothing_from_the_cache(
    images: list[str], tmp_path: Path
) -> None:
    first, n = features_of(images, tmp_path)
    one_weight = tiny_body()
    with torch.no_grad():
        one_weight[0].weight[0, 0, 0, 0] += 0.25
    for change in ({"body": one_weight}, {"size": 48}, {"precision": "bf16"}, {"arch": "resnet34"}):
        _, computed = features_of(images, tmp_path, **change)  # type: ignore[arg-type]
        assert computed == n, change
    again, computed = features_of(images, tmp_path)
    assert computed == 0, "the first is still there"
    np.testing.assert_array_equal(first, again)
    assert len(list(tmp_path.glob("*.safetensors"))) == 5


def test_a_cache_under_the_name_of_another_body_is_not_believed(
    images: list[str], tmp_path: Path
) -> None:
    features_of(images, tmp_path, tiny_body(1))
    (foreign,) = tmp_path.glob("*.safetensors")
    mine, n = features_of(images, tmp_path)
    (own,) = set(tmp_path.glob("*.safetensors")) - {foreign}
    shutil.copy(foreign, own)
    again, computed = features_of(images, tmp_path)
    assert computed == n
    np.testing.assert_array_equal(mine, again)


@pytest.mark.parametrize("keep", [0, 100, -40])
def test_a_damaged_cache_is_made_anew(images: list[str], tmp_path: Path, keep: int) -> None:
    first, n = features_of(images, tmp_path)
    (cache,) = tmp_path.glob("*.safetensors")
    cache.write_bytes(cache.read_bytes()[:keep])
    again, computed = features_of(images, tmp_path)
    assert computed == n
    np.testing.assert_array_equal(first, again)


def test_what_is_no_picture_is_named(images: list[str], tmp_path: Path) -> None:
    Path(images[3]).write_text("no picture")
    with pytest.raises(RenderError, match=r"3\.png: is no picture"):
        features_of(images, tmp_path)
    Image.new("RGB", (20, 20)).save(images[3])
    with pytest.raises(RenderError, match=r"3\.png: is 20 x 20 pixels, unlike"):
        features_of(images, tmp_path)


def test_a_picture_that_is_a_pipe_or_far_too_large_is_refused_at_once(
    images: list[str], tmp_path: Path
) -> None:
    path = Path(images[2])
    with path.open("ab") as file:
        file.truncate(1 << 32)  # zeros that take no room
    with pytest.raises(RenderError, match=r"2\.png: is no picture \(larger than"):
        features_of(images, tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RenderError, match=r"2\.png: is no picture \(it is no regular file"):
        features_of(images, tmp_path)


def test_a_cache_of_fewer_rows_than_it_names_is_made_anew(
    images: list[str], tmp_path: Path
) -> None:
    first, n = features_of(images, tmp_path)
    (cache,) = tmp_path.glob("*.safetensors")
    with safe_open(cache, framework="numpy") as file:
        about, tensors = (
            file.metadata(),
            {name: file.get_tensor(name) for name in ("pictures", "features")},
        )
    tensors["features"] = tensors["features"][1:].copy()
    safetensors.numpy.save_file(tensors, cache, about)
    again, computed = features_of(images, tmp_path)
    assert computed == n
    np.testing.assert_array_equal(first, again)


def test_the_head_is_scikit_learns_fitted_to_the_other_folds_alone(
    probed: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    found, _ = features_of_run(probed, rendered, tmp_path)
    labels, folds = rendered.clips["label"].to_numpy(), rendered.clips["fold"].to_numpy()
    for fold in rendered.folds:
        others = found[folds != fold]
        mean, std = others.mean(axis=0, dtype=float), others.std(axis=0, dtype=float)
        z = (found - mean) / np.where(std > 0, std, 1)
        head = LogisticRegression(C=probe.C, max_iter=1_000, tol=1e-4)
        head.fit(z[folds != fold], labels[folds != fold])
        expected = head.predict_proba(z[folds == fold])
        mine = probed.predictions().query("fold == @fold")[probability_columns(probed.labels)]
        np.testing.assert_allclose(mine, expected, atol=2e-3)


def features_of_run(run: Run, rendered: RenderedSet, cache: Path) -> tuple[Any, int]:
    training = crossval.Training.open(run.folder, rendered, PROBE)
    return probe.features_of(run, rendered, training.weights, cache)


def test_labels_of_the_scored_fold_change_nothing_that_is_predicted_for_it(
    probed: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    found, _ = features_of_run(probed, rendered, tmp_path)
    clips = rendered.clips.copy()
    scored = clips["fold"] == 2
    clips.loc[scored, "label"] = clips.loc[scored, "label"].to_numpy()[::-1]
    lying = dataclasses.replace(rendered, clips=clips)
    training = crossval.Training.open(tmp_path / "run", lying, PROBE)
    run = training.run
    probe.probe_fold(run, lying, found, 2)
    columns = probability_columns(probed.labels)
    honest = probed.predictions().query("fold == 2")[columns]
    np.testing.assert_array_equal(run.predictions()[columns], honest)


def test_a_class_that_the_other_folds_lack_gets_no_probability() -> None:
    rng = np.random.default_rng(0)
    shown = rng.normal(size=(20, 3)).astype(np.float32)
    head = probe.new_head().fit(shown, ["car"] * 10 + ["siren"] * 10)
    found = probe.probabilities(head, shown, ["car", "dog", "siren"])
    assert found[:, 1].tolist() == [0] * 20
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


def test_the_run_is_one_like_any_other(probed: Run, rendered: RenderedSet, run: Run) -> None:
    assert probed.finished_folds == rendered.folds
    assert {path.name for path in probed.fold_folder(1).iterdir()} == {
        "fold.json", "predictions.csv"}  # fmt: skip
    assert sorted(probed.predictions()["path"]) == sorted(rendered.clips["path"])
    (listed,) = list_runs(probed.folder).to_dict("records")
    assert (listed["recipe"], listed["epochs"], listed["folds"]) == ("probe", 0, 3)
    assert listed["accuracy"] == probed.scores().accuracy > 0.5, "a third would be chance"
    told = " ".join(probed.scores().protocol)
    assert "a logistic regression fitted to 2 other folds, on what a frozen resnet18" in told
    assert "epoch" not in told
    assert compare_runs(run, probed).clips == 12
    page = write_report(probed, probed.folder / "report.html").read_text()
    assert "spectro probe" in page
    assert "no longer" not in page, "what a probe never had is not missing"


def test_random_bodies_are_alike_for_one_seed_only(rendered: RenderedSet, tmp_path: Path) -> None:
    weights = resolve("none", "resnet18")
    bodies = [probe._body(PROBE.replace(seed=seed), weights)[0].weight for seed in (3, 3, 4)]
    assert torch.equal(bodies[0], bodies[1])
    assert not torch.equal(bodies[0], bodies[2])


def test_a_probe_trains_no_network(rendered: RenderedSet, tmp_path: Path) -> None:
    training = crossval.Training.open(tmp_path / "run", rendered, PROBE)
    with pytest.raises(ConfigError, match="trains no network; run spectro probe"):
        training.fold(1)
    with pytest.raises(ConfigError, match="no epochs"):
        PROBE.with_last_phase(epochs=3)
    words = ["train-fold", str(rendered.folder), "--fold", "1", "--run", str(tmp_path / "run")]
    with pytest.raises(ConfigError, match="run: is a probe, which trains no network"):
        CliRunner().invoke(app, [*words, "--time-budget", "5"], catch_exceptions=False)


def test_an_inner_fold_is_refused_which_a_probe_would_learn_from(
    rendered: RenderedSet, tmp_path: Path
) -> None:
    toml = tmp_path / "inner.toml"
    toml.write_text(PROBE.replace(inner_fold=2).to_toml())
    words = ["probe", str(rendered.folder), "--config", str(toml), "--runs", str(tmp_path / "runs")]
    with pytest.raises(ConfigError, match="inner_fold: a probe chooses nothing"):
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert not (tmp_path / "runs").exists()


def test_folds_that_cannot_be_probed_are_told_first(rendered: RenderedSet) -> None:
    one_class = rendered.clips[(rendered.clips["fold"] == 1) | (rendered.clips["label"] == "siren")]
    with pytest.raises(ConfigError, match="fold 1: all clips of the other folds are siren"):
        probe.check(dataclasses.replace(rendered, clips=one_class))


@pytest.mark.long
def test_the_command_keeps_features_and_starts_from_a_file(
    rendered: RenderedSet, tmp_path: Path
) -> None:
    """In real processes: weights from a file, a cache that the second call reads."""
    torch.manual_seed(1)
    net = network.body("resnet18")
    names = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    state = {
        f"{names[int(key.split('.')[0])]}.{key.split('.', 1)[1]}": tensor
        for key, tensor in net.state_dict().items()
    }
    safetensors.torch.save_file(state, tmp_path / "start.safetensors")
    toml = tmp_path / "both.toml"
    toml.write_text(TrainConfig(weights="start.safetensors", precision="fp32").to_toml())
    told = []
    for name in ("one", "two"):
        words = ["probe", rendered.folder, "--config", toml, "--run", name]
        command = [str(Path(sys.executable).parent / "spectro"), *map(str, words)]
        quiet = {**os.environ, "PYTHONWARNINGS": "ignore", "COLUMNS": "100"}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=tmp_path, env=quiet
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)
    assert "recipe probe: resnet18, frozen, fp32 (as asked), from start.safetensors" in told[0]
    assert "features of 36 pictures: 36 computed" in told[0]
    assert "features of 36 pictures: 0 computed" in told[1]
    tables = [pd.read_csv(p) for p in sorted(tmp_path.glob("*/fold2/predictions.csv"))]
    pd.testing.assert_frame_equal(*tables)
    assert Run.load(tmp_path / "one").record.weights.source == "file"
    assert (tmp_path / "one" / "confusion.png").is_file()
    assert [p.name for p in (tmp_path / "runs").iterdir()] == [".features"]
