"""Levels become the very pixels that fastai makes of a PNG, to the bit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from fastai.data.transforms import IntToFloatTensor, Normalize
from fastai.torch_core import TensorImage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spectro.models.card import IMAGENET_MEAN, IMAGENET_STD
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.spectrogram import network_levels
from spectro.training import data
from spectro.training.pixels import Colour, TensorLevels
from spectro.training.resample import resized
from spectro.training.splits import split
from tests.conftest import SHORT_TRAINING
from tests.pictures.test_read import drawn, levels

HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(16, 90), width=st.integers(16, 200), high=st.integers(32, 260),
    wide=st.integers(16, 260), seed=st.integers(0, 99),
)  # fmt: skip
def test_resizing_gives_pillows_bytes(
    height: int, width: int, high: int, wide: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    found = resized(torch.from_numpy(pixels), high, wide).numpy()
    for one, ours in zip(pixels, found, strict=True):
        theirs = Image.fromarray(one).resize((wide, high), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(ours, np.asarray(theirs))


@pytest.mark.parametrize("mode", ["magma", "gray", "both"])
@pytest.mark.parametrize("size", [None, 24, 224])
@pytest.mark.parametrize("statistics", [(IMAGENET_MEAN, IMAGENET_STD), HALF])
def test_pixels_are_fastais_to_the_bit(mode: str, size: int | None, statistics: tuple) -> None:  # type: ignore[type-arg]
    grey = levels(mode, 40, 57)
    rgb = network_levels(drawn(grey, mode), size)  # a test of the pictures: these are fastai's
    image = TensorImage(torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None])
    wanted = Normalize.from_stats(*statistics, cuda=False)(IntToFloatTensor()(image))
    given = TensorLevels(torch.from_numpy(grey.transpose(2, 0, 1).copy())[None])
    colour = Colour(mode, size, *statistics)
    found = colour(given)
    assert torch.equal(found, wanted)
    assert type(found) is TensorImage
    assert found.is_contiguous(memory_format=torch.channels_last)
    shown = colour.decode(found)  # in colours, for show_batch
    np.testing.assert_array_equal((255 * shown[0]).round().permute(1, 2, 0), rgb)
    assert torch.equal(pickle.loads(pickle.dumps(colour))(given), wanted)


def test_a_batch_is_shown_in_the_colours_of_its_pictures(rendered: RenderedSet) -> None:
    parts = split(rendered.clips, 1)
    dls = data.dataloaders(parts.train, parts.watch, rendered.labels, SHORT_TRAINING)
    pixels, _ = dls.valid.decode(dls.valid.one_batch())
    for clip, picture in zip(dls.valid.items, pixels, strict=False):
        rgb = np.asarray(Image.open(clip.image).convert("RGB"))
        np.testing.assert_array_equal((255 * picture).round().permute(1, 2, 0), rgb)
    dls.show_batch(max_n=2)


def test_a_cropped_second_is_as_wide_as_a_whole_pictures(rendered: RenderedSet) -> None:
    parts, config = split(rendered.clips, 1), SHORT_TRAINING.replace(crop=0.5, size=40)
    dls = data.dataloaders(parts.train, parts.watch, rendered.labels, config, rendered.config)
    assert dls.train.one_batch()[0].shape[2:] == (40, 20)  # half of the time, half of the width
    assert dls.valid.one_batch()[0].shape[2:] == (40, 40)
    assert dls.test_dl(dls.train.items).one_batch()[0].shape[2:] == (40, 40)  # to settle on
    dls.show_batch(max_n=2)


def test_a_network_of_timm_gets_pictures_as_its_registry_says(rendered: RenderedSet) -> None:
    pytest.importorskip("timm")
    parts, config = split(rendered.clips, 1), SHORT_TRAINING.replace(arch="tf_efficientnet_lite0")
    dls = data.dataloaders(parts.train, parts.watch, rendered.labels, config)
    (batch, _), clip = dls.valid.one_batch(), dls.valid.items[0]
    rgb = np.asarray(Image.open(clip.image).convert("RGB"), dtype=np.float32).transpose(2, 0, 1)
    np.testing.assert_allclose(batch[0], (rgb / 255 - 0.5) / 0.5, atol=1e-6)
