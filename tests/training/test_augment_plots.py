"""The figure of augmentations: what its rows and columns are."""

from __future__ import annotations

import numpy as np
import torch

from spectro.pictures.read import read_levels
from spectro.pictures.rendered import RenderedSet
from spectro.training.augment.plots import augmented
from spectro.training.settings import TrainConfig


def test_a_row_a_change_alone_from_the_pictures_as_they_are_to_all_together(
    rendered: RenderedSet,
) -> None:
    torch.manual_seed(0)
    some = rendered.clips.drop_duplicates("label").head(3)
    config = TrainConfig(shift=1.0, background=1.0, time_masks=2, mixup=0.4)
    figure = augmented(some, config, rendered.config)
    rows = np.array(figure.axes).reshape(-1, 3)
    named = [row[0].get_ylabel() for row in rows]
    assert named == ["as they are", "shift", "background", "time_masks", "all together"]
    assert [axis.get_title() for axis in rows[0]] == list(some["label"])
    shown = [[np.asarray(axis.images[0].get_array()) for axis in row] for row in rows]
    for picture, levels in zip(shown[0], read_levels([*some["image"]], None), strict=True):
        np.testing.assert_array_equal(picture, levels)
    for row in shown[1:]:
        assert not all(map(np.array_equal, row, shown[0]))
    for picture, rolled in zip(shown[0], shown[1], strict=True):  # alone: a roll keeps every value
        np.testing.assert_array_equal(np.sort(picture, axis=1), np.sort(rolled, axis=1))


def test_without_augmentation_two_rows_of_the_same(rendered: RenderedSet) -> None:
    some = rendered.clips.head(1)
    first, second = augmented(some, TrainConfig(), rendered.config).axes
    np.testing.assert_array_equal(first.images[0].get_array(), second.images[0].get_array())
