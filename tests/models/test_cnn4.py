"""cnn4: the network of four convolutions, wherever a network goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from spectro.errors import ConfigError, ModelError
from spectro.models import packaged, weights
from spectro.models.card import ModelCard
from spectro.models.folder import load_model, save_model
from spectro.models.networks import build as network
from spectro.models.networks.gradcam import gradcam
from spectro.pictures.settings import SpectrogramConfig


def test_its_layers_are_those_that_its_name_promises() -> None:
    model = network.build("cnn4", 10)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [8, 16, 32, 64]
    assert [c.kernel_size for c in convolutions] == [(5, 5), (3, 3), (3, 3), (3, 3)]
    assert {c.stride for c in convolutions} == {(2, 2)}
    assert [[type(layer) for layer in block] for block in model[0]] == [
        [nn.Conv2d, nn.ReLU, nn.BatchNorm2d]
    ] * 4
    assert [type(layer) for layer in model[1]] == [nn.AdaptiveAvgPool2d, nn.Flatten, nn.Linear]
    assert sum(p.numel() for p in model.parameters()) == 25_802


def test_its_weights_start_as_kaiming_says() -> None:
    torch.manual_seed(0)
    convolution = network.body("cnn4")[3][0]
    expected = np.sqrt(2 / (1 + 0.1**2) / (32 * 9))
    assert float(convolution.weight.detach().std()) == pytest.approx(expected, rel=0.05)
    assert not convolution.bias.any()


@pytest.mark.parametrize("shape", [(64, 345), (128, 173), (33, 47)])
def test_it_takes_any_picture(shape: tuple[int, int]) -> None:
    model = network.build("cnn4", 3).eval()
    pixels = torch.rand(2, 3, *shape)
    assert model(pixels).shape == (2, 3)
    heat = gradcam(model, pixels, [0, 2])
    assert heat.shape == (2, *shape)
    assert float(heat.max()) <= 1


def test_it_has_a_body_and_a_head_to_learn_at_rates_of_their_own() -> None:
    model = network.build("cnn4", 3)
    groups = network.layer_groups(model)
    assert [sum(p.numel() for p in group) for group in groups] == [
        sum(p.numel() for p in part.parameters()) for part in model
    ]


def test_a_model_folder_gives_it_back(tmp_path: Path) -> None:
    model = network.build("cnn4", 2)
    save_model(tmp_path, model, ModelCard(arch="cnn4", labels=("a", "b"),
                                          spectrogram=SpectrogramConfig()))  # fmt: skip
    loaded, card = load_model(tmp_path)
    assert card.arch == "cnn4"
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(loaded(x), model.eval()(x))


def test_imagenet_has_no_weights_of_it() -> None:
    with pytest.raises(ConfigError, match="no ImageNet weights of cnn4; use --weights sounds"):
        weights.resolve("imagenet", "cnn4")


def test_a_file_of_its_body_is_where_it_starts(tmp_path: Path) -> None:
    torch.manual_seed(7)
    written = network.library_state("cnn4", network.body("cnn4"))
    half = {k: t.half() if t.is_floating_point() else t for k, t in written.items()}
    save_file(half, tmp_path / "weights.safetensors")
    start = weights.resolve(str(tmp_path / "weights.safetensors"), "cnn4")
    assert start.source == "file"
    found = network.body("cnn4", start.state).state_dict()
    for name, tensor in written.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-3, rtol=1e-3)
    less = {name: t for name, t in half.items() if name != "3.2.weight"}
    save_file(less, tmp_path / "less.safetensors")
    with pytest.raises(ModelError, match=r"does not fit cnn4: 1 tensors.*3\.2\.weight"):
        weights.resolve(str(tmp_path / "less.safetensors"), "cnn4")


def test_auto_starts_from_our_own_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    if packaged.SOUNDS["cnn4"].find() is not None:
        assert weights.resolve("auto", "cnn4").source == "sounds"
    monkeypatch.setattr(packaged._Package, "find", lambda self: None)
    with pytest.raises(ModelError, match=r"our weights of cnn4 cannot be had.*--weights none"):
        weights.resolve("auto", "cnn4")
    assert weights.resolve("none", "cnn4").detail == "random weights, as asked"
