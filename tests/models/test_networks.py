"""The network is torchvision's body under fastai's head, whatever the ResNet."""

from __future__ import annotations

import pytest
import torch
import torchvision
from fastai.vision.learner import create_head

from spectro.errors import ConfigError
from spectro.models.card import IMAGENET_MEAN, IMAGENET_STD
from spectro.models.networks import build as network

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "arch",
    [
        "resnet18",
        "resnet34",
        "resnet50",
        "resnext50_32x4d",
        "convnext_tiny",
        "efficientnet_b0",
        "mobilenet_v3_small",
    ],
)
def test_networks_by_name_give_logits_for_any_picture_shape(arch: str) -> None:
    model = network.build(arch, 5).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 128, 173)).shape == (2, 5)
        assert model(torch.zeros(1, 3, 224, 224)).shape == (1, 5)


def test_the_body_computes_what_torchvision_computes() -> None:
    torch.manual_seed(0)
    whole = torchvision.models.resnet18(weights=None).eval()
    body = network.body("resnet18", whole.state_dict()).eval()
    x = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        assert torch.allclose(whole.fc(body(x).mean(dim=(2, 3))), whole(x), atol=1e-5)


def test_the_head_is_fastais() -> None:
    ours, theirs = network.head(512, 10), create_head(512, 10)
    theirs = theirs[:1] + theirs[2:]  # fastai flattens where ConcatPool already has
    x = torch.randn(4, 512, 4, 6)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    assert [m.p for m in ours if isinstance(m, torch.nn.Dropout)] == [
        m.p for m in theirs.modules() if isinstance(m, torch.nn.Dropout)
    ]
    with torch.inference_mode():
        pooled = create_head(512, 10)[:2](x)
        assert torch.allclose(ours.eval()(x), theirs[1:].eval()(pooled), atol=1e-6)


def test_layer_groups_hold_every_parameter_once() -> None:
    for arch, n_groups in (("resnet18", 3), ("convnext_tiny", 2)):
        model = network.build(arch, 3)
        groups = network.layer_groups(model)
        grouped = [id(p) for group in groups for p in group]
        assert len(groups) == n_groups
        assert sorted(grouped) == sorted(id(p) for p in model.parameters())


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
def test_a_network_with_heads_between_its_blocks_is_refused(arch: str) -> None:
    with pytest.raises(ConfigError, match=f"{arch} has no global pooling.*--arch timm/{arch}"):
        network.body(arch, None)


def test_a_network_without_global_pooling_is_refused() -> None:
    with pytest.raises(ConfigError, match="squeezenet1_0 has no global pooling"):
        network.body("squeezenet1_0")


def test_pictures_are_normalised_as_the_networks_own_weights_were_trained() -> None:
    assert network.statistics("efficientnet_v2_l") == ((0.5,) * 3, (0.5,) * 3)
    for arch in ("resnet18", "convnext_tiny", "efficientnet_b0", "cnn4"):
        assert network.statistics(arch) == (IMAGENET_MEAN, IMAGENET_STD)
