"""Grad-CAM against a computation by hand, and against sounds whose evidence has a known place."""

from __future__ import annotations

import dataclasses

import librosa
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from spectro.crossval.run import Run
from spectro.models.card import IMAGENET_MEAN, IMAGENET_STD
from spectro.models.folder import load_model, predict_probabilities
from spectro.models.networks import build as network
from spectro.models.networks.gradcam import gradcam, overlay
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import network_pixels, spectrogram_image

pytestmark = pytest.mark.slow


def small_body(*, channels: int = 16) -> nn.Sequential:
    """Three convolutions that each halve the picture: a cell to eight pixels."""
    layers: list[nn.Module] = []
    before = 3
    for width, kernel in ((channels, 5), (2 * channels, 3), (4 * channels, 3)):
        convolution = nn.Conv2d(before, width, kernel, stride=2, padding=kernel // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers)


def small_network(seed: int, classes: int = 3) -> nn.Sequential:
    torch.manual_seed(seed)
    body = small_body()
    return nn.Sequential(body, network.head(network.n_features(body), classes)).eval()


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand((4, 3, 48, 70), generator=torch.Generator().manual_seed(0))


# ------------------------------------------------------------------------------------- by hand


def test_maps_are_those_computed_by_hand(pixels: torch.Tensor) -> None:
    net, classes = small_network(0), [2, 0, 1, 1]
    kept: list[torch.Tensor] = []
    net[0].register_forward_hook(lambda _module, _inputs, features: kept.append(features))
    maps = gradcam(net, pixels, classes)
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    for picture, wanted, found in zip(pixels, classes, maps, strict=True):
        kept.clear()
        logit = net(((picture - mean) / std)[None])[0, wanted]
        (gradient,) = torch.autograd.grad(logit, kept[0])
        evidence = np.zeros(kept[0].shape[2:], dtype=np.float32)
        for k in range(kept[0].shape[1]):
            evidence += float(gradient[0, k].mean()) * kept[0][0, k].detach().numpy()
        # A cell to eight pixels, the first on pixel 0.
        down = np.array([np.interp(np.arange(48) / 8, range(6), v) for v in evidence.clip(0).T]).T
        expected = np.array([np.interp(np.arange(70) / 8, range(9), v) for v in down])
        np.testing.assert_allclose(found, expected / expected.max(), atol=1e-4)


def test_a_picture_s_map_does_not_depend_on_its_batch(pixels: torch.Tensor) -> None:
    net, classes = small_network(1), torch.tensor([0, 1, 2, 0])
    alone = [gradcam(net, pixels[[i]], classes[[i]])[0] for i in range(len(pixels))]
    torch.testing.assert_close(gradcam(net, pixels, classes), torch.stack(alone))


def test_pictures_are_normalised_as_told(pixels: torch.Tensor) -> None:
    net = small_network(2)
    plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    expected = gradcam(net, (pixels - 0.5) / 0.25, [0] * 4, **plain)
    found = gradcam(net, pixels, [0] * 4, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    torch.testing.assert_close(found, expected)


def test_where_nothing_speaks_for_a_class_the_map_is_empty(pixels: torch.Tensor) -> None:
    top = nn.Sequential(network.ConcatPool(), nn.Linear(6, 2, bias=False))
    nn.init.ones_(top[1].weight)
    top[1].weight.data[1] = -1
    net = nn.Sequential(nn.Identity(), top)
    maps = gradcam(net, pixels, [0, 1, 0, 1], mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    torch.testing.assert_close(maps.amax(dim=(1, 2)), torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert (maps >= 0).all()


# ---------------------------------------------------------------------------------- any network


@pytest.mark.parametrize(
    "arch",
    [
        "resnet18",
        "convnext_tiny",
        "efficientnet_b0",
        "mobilenet_v3_small",
        "regnet_y_400mf",
        pytest.param("vgg11", marks=pytest.mark.long),  # half a GB, most of it cut off
    ],
)
def test_networks_by_name_can_be_asked(arch: str) -> None:
    torch.manual_seed(0)
    net = network.build(arch, 4).eval()
    maps = gradcam(net, torch.rand(2, 3, 64, 87), [3, 1])
    assert maps.shape == (2, 64, 87)
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    assert maps.isfinite().all()
    for strongest in maps.amax(dim=(1, 2)).tolist():
        assert strongest == 0 or strongest == pytest.approx(1)


class OneCell(nn.Module):
    """Silence all feature maps but for the cell in their middle."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        kept = torch.zeros_like(features)
        row, column = (size // 2 for size in features.shape[2:])
        kept[:, :, row, column] = features[:, :, row, column].abs()
        return kept


@pytest.mark.parametrize(
    ("arch", "shape"),
    [
        ("resnet18", (192, 192)),
        ("convnext_tiny", (192, 192)),
        ("efficientnet_b0", (192, 192)),
        ("mobilenet_v3_small", (192, 192)),
        # Its cells look farther: in a small picture the edge cuts off a part of what they see.
        ("tf_efficientnet_lite0", (768, 768)),
        pytest.param("vgg11", (192, 192), marks=pytest.mark.long),
    ],
)
def test_a_cell_is_drawn_where_the_network_looks_from_it(arch: str, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(*network.body(arch), OneCell()).eval()
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    top = nn.Linear(network.n_features(body), 1, bias=False)
    nn.init.ones_(top.weight)
    pixels = torch.rand(1, 3, *shape, requires_grad=True)
    plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    (heat,) = gradcam(
        nn.Sequential(body, nn.Sequential(*pooled, top)), pixels.detach(), [0], **plain
    )
    (gradient,) = torch.autograd.grad(body(pixels).sum(), pixels)
    looked_at = gradient.square().sum(dim=(0, 1))
    for axis in (0, 1):
        drawn, seen = (
            float((weights.sum(dim=axis) * torch.arange(shape[1 - axis])).sum() / weights.sum())
            for weights in (heat, looked_at)
        )
        assert drawn == pytest.approx(seen, abs=4)  # half a cell is 16


def test_a_network_is_left_as_it_was(pixels: torch.Tensor) -> None:
    net = small_network(3).train()
    net[0][1].eval()
    net[0][0].weight.requires_grad_(False)
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)

    def seen() -> dict[str, object]:
        return {
            "state": {name: t.clone() for name, t in net.state_dict().items()},
            "grads": [p.grad.clone() for p in net.parameters()],
            "requires": [p.requires_grad for p in net.parameters()],
            "modes": [m.training for m in net.modules()],
            "hooks": [
                len(hooks)
                for m in net.modules()
                for hooks in (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks)
            ],
        }

    before = seen()
    gradcam(net, pixels, [0, 1, 2, 0])
    torch.testing.assert_close(seen(), before, rtol=0, atol=0)


def test_maps_do_not_depend_on_the_mode_or_on_frozen_weights(pixels: torch.Tensor) -> None:
    net = small_network(4)
    expected = gradcam(net, pixels, [0, 1, 2, 0])
    with torch.inference_mode():
        torch.testing.assert_close(gradcam(net, pixels, [0, 1, 2, 0]), expected)
    torch.testing.assert_close(gradcam(net.train(), pixels, [0, 1, 2, 0]), expected)
    net.requires_grad_(False)
    torch.testing.assert_close(gradcam(net, pixels, [0, 1, 2, 0]), expected)


def test_the_mode_is_put_back_after_a_failure(pixels: torch.Tensor) -> None:
    net = small_network(5).train()
    with pytest.raises(RuntimeError):
        gradcam(net, pixels, [99] * 4)
    assert all(module.training for module in net.modules())


def test_a_saved_model_can_be_asked(run: Run) -> None:
    model, card = load_model(run.fold_folder(1) / "model")
    images = [Image.open(path) for path in run.predictions()["image"].head(3)]
    pixels = torch.from_numpy(np.stack([network_pixels(image, card.size) for image in images]))
    predicted = predict_probabilities(model, card, pixels).argmax(dim=1)
    maps = gradcam(model, pixels, predicted, mean=card.mean, std=card.std)
    assert maps.shape == pixels[:, 0].shape
    for image, heat in zip(images, maps, strict=True):
        assert overlay(image, heat).size == image.size


# ------------------------------------------------------------------------- evidence in its place

KINDS = ("tone", "warble", "nothing")  # the last, so that each sound must be known by itself
BURST = 0.35  # s
# Against a fixed loudness: below a clip's own maximum, noise alone would be brighter everywhere.
PICTURE = SpectrogramConfig(n_mels=64, duration=2.0, ref=100.0)


@dataclasses.dataclass(frozen=True)
class Scene:
    """Pictures of noise with one burst, what each is, and where it is: time in s, pitch in Hz."""

    pixels: torch.Tensor
    kinds: torch.Tensor
    starts: np.ndarray
    pitches: np.ndarray


def make_scene(seed: int, clips: int, config: SpectrogramConfig, kinds: int) -> Scene:
    rng = np.random.default_rng(seed)
    t = np.arange(config.n_samples) / config.sr
    kind = rng.integers(kinds, size=clips)
    starts = rng.uniform(0.05, config.duration - BURST - 0.05, size=clips)
    pitches = np.exp(rng.uniform(np.log(500), np.log(5_000), size=clips))
    pictures = []
    for k, start, pitch in zip(kind, starts, pitches, strict=True):
        wobble = 0.3 * pitch / 12 * np.sin(2 * np.pi * 12 * t) if KINDS[k] == "warble" else 0
        y = np.sin(2 * np.pi * pitch * t + wobble) * ((t >= start) & (t < start + BURST))
        y *= 0 if KINDS[k] == "nothing" else 0.5
        y += 0.02 * rng.normal(size=len(t))
        pictures.append(network_pixels(spectrogram_image(y.astype(np.float32), config), None))
    return Scene(torch.from_numpy(np.stack(pictures)), torch.from_numpy(kind), starts, pitches)


def train(net: nn.Sequential, scene: Scene, *, steps: int) -> None:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    optimizer = torch.optim.AdamW(net.train().parameters(), lr=1e-3)
    for _ in range(steps):
        some = torch.randint(len(scene.kinds), (16,))
        logits = net((scene.pixels[some] - mean) / std)
        nn.functional.cross_entropy(logits, scene.kinds[some]).backward()
        optimizer.step()
        optimizer.zero_grad()
    net.eval()


def localisation(
    net: nn.Sequential, scene: Scene, config: SpectrogramConfig, margin: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Say of each clip which share of its map's mass lies in a window around the burst.

    Then the window's share of the picture, and whether the strongest place lies in it. The window
    is the burst and `margin` pixels around it, a cell of the network.
    """
    maps = gradcam(net, scene.pixels, scene.kinds).numpy()
    bands = librosa.mel_frequencies(config.n_mels + 2, fmax=config.sr / 2)[1:-1]
    rows, columns = np.indices(maps.shape[1:])
    band, time = bands[::-1][rows], columns * config.hop_length / config.sr
    slack = margin * config.hop_length / config.sr
    found = []
    for heat, start, pitch in zip(maps, scene.starts, scene.pitches, strict=True):
        lowest, highest = np.searchsorted(bands, [0.7 * pitch, 1.3 * pitch])
        low, high = max(lowest - margin, 0), min(highest + margin, len(bands) - 1)
        window = (band >= bands[low]) & (band <= bands[high])
        window &= (time >= start - slack) & (time <= start + BURST + slack)
        mass = heat[window].sum() / max(heat.sum(), 1e-9)
        found.append((mass, window.mean(), window.flat[heat.argmax()]))
    mass, area, peaks = np.array(found).T
    return mass, area, peaks


@pytest.fixture(scope="module")
def held_out() -> Scene:
    return make_scene(1, 60, PICTURE, kinds=2)


@pytest.fixture(scope="module")
def trained() -> nn.Sequential:
    net = small_network(1)
    train(net, make_scene(0, 256, PICTURE, kinds=3), steps=80)
    return net


def test_the_map_lies_where_the_sound_is(trained: nn.Sequential, held_out: Scene) -> None:
    mass, area, peaks = localisation(trained, held_out, PICTURE, margin=8)
    assert area.mean() < 0.2
    assert mass.mean() > 0.5
    assert (mass > 1.5 * area).mean() > 0.85
    assert peaks.mean() > 0.85


def test_the_map_of_another_class_lies_elsewhere(trained: nn.Sequential, held_out: Scene) -> None:
    other = dataclasses.replace(held_out, kinds=(held_out.kinds + 1) % 3)
    mass, _, _ = localisation(trained, held_out, PICTURE, margin=8)
    elsewhere, _, _ = localisation(trained, other, PICTURE, margin=8)
    assert elsewhere.mean() < mass.mean() - 0.15


@pytest.mark.parametrize("seed", range(3))
def test_the_map_of_a_random_network_does_not(seed: int, held_out: Scene) -> None:
    mass, area, _ = localisation(small_network(seed), held_out, PICTURE, margin=8)
    assert mass.mean() < 0.4
    assert (mass > 1.5 * area).mean() < 0.7


@pytest.mark.long
def test_the_map_of_a_resnet_lies_where_the_sound_is() -> None:
    config = SpectrogramConfig(n_mels=128, duration=4.0, ref=100.0)
    held_out = make_scene(1, 40, config, kinds=2)
    torch.manual_seed(0)
    net = network.build("resnet18", 3).eval()
    train(net, make_scene(0, 256, config, kinds=3), steps=60)
    mass, area, peaks = localisation(net, held_out, config, margin=32)
    assert mass.mean() > 1.6 * area.mean()
    assert (mass > area).mean() > 0.9
    assert peaks.mean() > 0.85


# --------------------------------------------------------------------------------------- overlays


def test_no_evidence_leaves_the_picture_grey(run: Run) -> None:
    image = Image.open(run.predictions()["image"].iloc[0])
    width, height = image.size
    plain = overlay(image, np.zeros((height, width)))
    assert plain.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(plain), np.asarray(image.convert("L").convert("RGB")))


def test_evidence_is_coloured_and_the_rest_is_not() -> None:
    image = Image.fromarray(np.full((20, 30), 128, dtype=np.uint8))
    heat = np.zeros((20, 30))
    heat[5:15, 10:20] = 1
    laid = np.asarray(overlay(image, torch.from_numpy(heat)), dtype=int)
    spread = laid.max(axis=2) - laid.min(axis=2)
    assert (spread[heat == 0] == 0).all()
    assert (spread[heat == 1] > 60).all()
    assert (laid[heat == 1, 0] > laid[heat == 1, 2]).all()  # warm


def test_more_evidence_is_brighter() -> None:
    ramp = np.tile(np.linspace(0, 1, 100), (4, 1))
    laid = overlay(Image.new("L", (100, 4), 40), ramp).convert("L")
    assert (np.diff(np.asarray(laid, dtype=int)[0]) >= -1).all()
    assert laid.getpixel((99, 0)) > laid.getpixel((0, 0)) + 40


def test_a_map_of_another_size_is_stretched_to_the_picture() -> None:
    heat = np.array([[0.0, 1.0]])
    laid = np.asarray(overlay(Image.new("RGB", (90, 50)), heat), dtype=int)
    assert laid.shape == (50, 90, 3)
    assert laid[:, :20].sum() == 0
    assert (laid[:, -20:, 0] > 100).all()
