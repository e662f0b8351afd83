"""Exports give what torch gives, say what they are, and are kept only then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from spectro.crossval.run import Run
from spectro.errors import ModelError
from spectro.models.card import ModelCard, read_card
from spectro.models.exports import float32 as export
from spectro.models.exports import int8 as quantize
from spectro.models.exports.float32 import export_onnx
from spectro.models.exports.int8 import export_int8
from spectro.models.exports.probes import PROBES, probe_pictures
from spectro.models.folder import load_model, predict_probabilities, save_model
from spectro.models.networks import build as networks
from spectro.pictures.read import read_levels
from spectro.pictures.settings import SpectrogramConfig

CARD = ModelCard(
    arch="cnn4",
    labels=("a", "b", "c"),
    spectrogram=SpectrogramConfig(n_mels=32, duration=1.0),
    mean=(0.2, 0.3, 0.4),
    std=(0.5, 0.6, 0.7),
)


def pictures(card: ModelCard, n: int = 40) -> np.ndarray:
    height, width = (card.size, card.size) if card.size else card.spectrogram.shape
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def saved(folder: Path, card: ModelCard = CARD) -> Path:
    """Save a network whose batch norms have seen something, so that it tells pictures apart."""
    torch.manual_seed(0)
    model = networks.build(card.arch, len(card.labels), card.members)
    levels = torch.from_numpy(pictures(card)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        model.train()(levels)
    save_model(folder, model.eval(), card)
    return folder


@pytest.fixture(scope="module")
def trained(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A trained model's folder with its export, and the pictures of clips it did not hear."""
    folder = tmp_path_factory.mktemp("export") / "model"
    shutil.copytree(run.fold_folder(1) / "model", folder)
    levels = read_levels(run.predictions()["image"].tolist(), read_card(folder).size)
    export_onnx(folder, levels)
    return folder, levels


@pytest.mark.parametrize(
    "card",
    [
        CARD,
        CARD.replace(members=3),
        CARD.replace(size=48),
        CARD.replace(spectrogram={**CARD.spectrogram.to_dict(), "channels": "both"}),
    ],
    ids=["one", "three", "resized", "two channels"],
)
def test_an_export_gives_what_torch_gives(tmp_path: Path, card: ModelCard) -> None:
    folder, asked = saved(tmp_path, card), pictures(card)
    about = export_onnx(folder, asked)
    assert about.compared == len(asked) + len(PROBES)
    assert about.difference < 1e-5
    session = onnxruntime.InferenceSession(about.path)
    model, _ = load_model(folder)
    for n in (1, 7, 40):
        (found,) = session.run(None, {"levels": asked[:n]})
        pixels = torch.from_numpy(asked[:n]).permute(0, 3, 1, 2).float() / 255
        expected = predict_probabilities(model, card, pixels).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert len({*found.argmax(1)}) > 1  # the network tells them apart


def test_an_export_says_what_it_is(tmp_path: Path) -> None:
    about = export_onnx(saved(tmp_path), pictures(CARD))
    proto = onnx.load(about.path)
    onnx.checker.check_model(proto, full_check=True)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", about.opset)]
    said = {entry.key: entry.value for entry in proto.metadata_props}
    assert (said["sample_rate"], said["sample_duration"]) == ("22050", "1")
    assert json.loads(said["classes"]) == ["a", "b", "c"]
    assert ModelCard.from_json(said["spectro"]) == CARD
    (asked,) = proto.graph.input
    dims = asked.type.tensor_type.shape.dim
    assert dims[0].dim_param  # a batch of any size
    assert [dim.dim_value for dim in dims[1:]] == [32, 44, 3]


@pytest.mark.parametrize("fault", [0.01, float("nan")])
def test_an_export_that_differs_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: float
) -> None:
    folder = saved(tmp_path)
    real = export._Listener.forward
    monkeypatch.setattr(export._Listener, "forward", lambda self, x: (real(self, x)[0] + fault,))
    with pytest.raises(ModelError, match=r"model\.onnx: is not kept: .* differ from torch's"):
        export_onnx(folder, pictures(CARD))
    assert not list(folder.glob("*onnx*"))


@pytest.mark.parametrize(
    "wrong", [lambda x: x[:, :-1], lambda x: x.astype(np.float32), lambda x: x[:0]]
)
def test_pictures_of_another_model_are_refused(tmp_path: Path, wrong: object) -> None:
    folder = saved(tmp_path)
    with pytest.raises(ModelError, match="compared on pictures of shape"):
        export_onnx(folder, wrong(pictures(CARD)))  # type: ignore[operator]


@pytest.mark.slow
def test_eight_bits_say_what_float_says(trained: tuple[Path, np.ndarray]) -> None:
    folder, levels = trained
    about = export_int8(folder, levels, levels, most_lost=0.1)
    assert about.path == folder / "model.int8.onnx"
    assert about.agreement >= 0.9
    assert 0 < about.difference < 0.5
    assert about.path.stat().st_size < 0.3 * (folder / "model.onnx").stat().st_size
    answers = [
        np.concatenate([session.run(None, {"levels": one[np.newaxis]})[0] for one in levels])
        for session in map(
            onnxruntime.InferenceSession, (folder / "model.onnx", folder / "model.int8.onnx")
        )
    ]
    same = answers[0].argmax(1) == answers[1].argmax(1)
    assert same.mean() == pytest.approx(about.agreement)
    weights = [i for i in onnx.load(about.path).graph.initializer if i.dims[1:] == [64, 3, 3]]
    assert len(weights) >= 4
    assert {i.data_type for i in weights} == {onnx.TensorProto.INT8}
    leftovers = {p.name for p in folder.iterdir()} - {"model.onnx", "model.int8.onnx"}
    named = {"model.json", "model.safetensors", "README.md", "trained-on.txt", "verify.json"}
    assert leftovers == named


def test_depthwise_convolutions_and_those_before_stay_in_float32(tmp_path: Path) -> None:
    groups = {"stem": 1, "first": 8, "wide": 1, "second": 8, "last": 1}
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], [name], name=name, group=number)
        for name, number in groups.items()
    ]
    for kept, some in ((["stem", "first", "second"], nodes), ([], [nodes[0], nodes[2]])):
        graph = onnx.helper.make_graph(some, "g", [], [])
        onnx.save(onnx.helper.make_model(graph), tmp_path / "graph.onnx")
        assert quantize._kept_in_float32(tmp_path / "graph.onnx") == kept


@pytest.mark.long
def test_eight_bits_of_a_network_with_clipped_activations(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    card = CARD.replace(arch="timm/tf_efficientnet_lite0")
    save_model(tmp_path, networks.build(card.arch, len(card.labels)).eval(), card)
    levels = pictures(card)
    export_onnx(tmp_path, levels)
    export_int8(tmp_path, levels, levels, most_lost=0.2)
    graph = onnx.load(tmp_path / "model.int8.onnx").graph
    kinds = {i.name: i.data_type for i in graph.initializer}
    depthwise = [
        node for node in graph.node if any(a.name == "group" and a.i > 1 for a in node.attribute)
    ]
    assert len(depthwise) == 16
    assert {kinds[node.input[1]] for node in depthwise} == {onnx.TensorProto.FLOAT}


def test_eight_bits_that_lose_too_much_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, levels = saved(tmp_path), pictures(CARD)
    export_onnx(folder, levels)
    dark = np.zeros_like(levels[:1])  # the scales of silence do not fit clips
    monkeypatch.setattr(quantize, "_DRIFT", 1.0)
    with pytest.raises(ModelError, match=r"is not kept: \d+\.\d% of 40 labels change, more than 1"):
        export_int8(folder, dark, levels)
    monkeypatch.setattr(quantize, "_DRIFT", 0.0)
    with pytest.raises(ModelError, match="is not kept: a probability of silence changes by"):
        export_int8(folder, dark, levels, most_lost=1.0)
    assert {p.name for p in folder.glob("*.onnx")} == {"model.onnx"}
    assert not list(folder.glob(".*"))


def test_eight_bits_come_after_float(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    with pytest.raises(ModelError, match=r"has no model\.onnx"):
        export_int8(folder, pictures(CARD), pictures(CARD))


def test_sounds_to_be_deaf_to_are_drawn_as_clips_are() -> None:
    levels = probe_pictures(CARD)
    assert levels.shape == (len(PROBES), *CARD.spectrogram.shape, 3)
    assert np.array_equal(levels, probe_pictures(CARD))
    silence, loud = levels[0], levels[1]
    assert len(np.unique(silence.reshape(-1, 3), axis=0)) == 1
    assert loud.std() > 10
    hum = levels[4].astype(int).sum(axis=2).mean(axis=1)  # rows from high to low
    assert hum.argmax() > 24
