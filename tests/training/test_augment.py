"""Augmentation: what may change in a picture, what may not, and which clips it reaches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fastai.callback.mixup import MixUp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import map_coordinates

from spectro.errors import ConfigError
from spectro.models.weights import Weights
from spectro.pictures import read
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig
from spectro.training import augment, data
from spectro.training.augment import (
    Background,
    BandGain,
    Crop,
    Masks,
    MixStyle,
    Shift,
    Transform,
    Warp,
)
from spectro.training.loop import learner
from spectro.training.loop.callbacks import Augment
from spectro.training.pixels import Colour, TensorLevels
from spectro.training.recipes import recipe
from spectro.training.settings import TrainConfig
from spectro.training.splits import split
from tests.conftest import SHORT_TRAINING

EVERY = (Shift(1.0), Shift(0.2), Masks(2, 2), Masks(1, 0, 0.5), Warp(0.3, 0.0), Warp(0.1, 0.2))
ALL_ON = SHORT_TRAINING.replace(
    crop=0.8,
    background=0.5,
    mixstyle=0.5,
    band_gain=0.1,
    shift=1.0,
    stretch=0.2,
    pitch=0.1,
    time_masks=2,
    freq_masks=2,
    mask_share=0.3,
)
ON_LEVELS = (BandGain(0.2), MixStyle(0.5), Background(0.5, 80.0))


def pictures(n: int = 16, height: int = 12, width: int = 20, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("change", EVERY, ids=repr)
def test_shape_type_and_input_stay_and_values_keep_their_bounds(change: Transform) -> None:
    x = pictures()
    before = x.clone()
    changed = change(x)
    assert torch.equal(x, before)
    assert (changed.shape, changed.dtype) == (x.shape, x.dtype)
    rounding = 1e-6
    assert (changed.amin(dim=(1, 2, 3)) >= x.amin(dim=(1, 2, 3)) - rounding).all()
    assert (changed.amax(dim=(1, 2, 3)) <= x.amax(dim=(1, 2, 3)) + rounding).all()
    assert not torch.equal(changed, x)


@pytest.mark.parametrize("change", EVERY, ids=repr)
def test_each_picture_has_a_draw_of_its_own_and_all_channels_the_same(change: Transform) -> None:
    torch.manual_seed(0)
    one = pictures(1)[:, :1]
    x = one.expand(32, 3, -1, -1)
    changed = change(x)
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert len({picture.numpy().tobytes() for picture in changed}) > 5


@pytest.mark.parametrize("change", EVERY, ids=repr)
def test_before_and_after_normalisation_are_the_same(change: Transform) -> None:
    x = pictures()
    torch.manual_seed(3)
    first = change(x) * 4.5 - 2
    torch.manual_seed(3)
    torch.testing.assert_close(change(x * 4.5 - 2), first, atol=1e-4, rtol=0)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.01, 1), width=st.integers(1, 40), seed=st.integers(0, 999))
def test_a_shift_is_numpys_roll_by_at_most_its_share(share: float, width: int, seed: int) -> None:
    x = pictures(8, 3, width, seed)
    torch.manual_seed(seed)
    for before, after in zip(x.numpy(), Shift(share)(x).numpy(), strict=True):
        farthest = round(share * width)
        rolled = (np.roll(before, by, axis=2) for by in range(-farthest, farthest + 1))
        assert any(np.array_equal(after, candidate) for candidate in rolled)


@settings(max_examples=30, deadline=None)
@example(stretch=0.0, pitch=0.25, shape=(8, 9), seed=293)
@given(
    stretch=st.floats(0, 0.5),
    pitch=st.floats(0, 0.3),
    shape=st.tuples(st.integers(8, 20), st.integers(8, 30)),
    seed=st.integers(0, 999),
)
def test_a_warp_is_scipys_interpolation_at_one_pace_and_one_height(
    stretch: float, pitch: float, shape: tuple[int, int], seed: int
) -> None:
    """Ramps in time and in frequency, as first channels, tell where each pixel came from."""
    height, width = shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    noise = pictures(8, height, width, seed)[:, :1]
    ramps = torch.from_numpy(np.stack([columns, rows]))[None].expand(8, -1, -1, -1)
    torch.manual_seed(seed)
    warped = Warp(stretch + 0.01, pitch)(torch.cat([ramps, noise], dim=1)).numpy()
    for before, (time, band, after) in zip(noise[:, 0].numpy(), warped, strict=True):
        inside = (time[0] > 1e-3) & (time[0] < width - 1 - 1e-3)  # not at the borders
        pace = np.polyfit(np.arange(width)[inside], time[0][inside], 1)[0]
        assert abs(pace - 1) <= stretch + 0.011
        middle = (band[:, 0] > 1e-3) & (band[:, 0] < height - 1 - 1e-3)
        rise = np.mean((band[:, 0] - rows[:, 0])[middle])
        assert abs(rise) <= pitch * height + 1e-3
        from_time, from_row = pace * (columns + 0.5) - 0.5, rows + rise
        wanted = map_coordinates(before, [from_row, from_time], order=1, mode="nearest")
        wanted[from_time > width - 0.5] = before.min()
        unsure = np.abs(from_time - (width - 0.5)) < 1e-2
        np.testing.assert_allclose(after[~unsure], wanted[~unsure], atol=2e-3)


def levels_of(x: torch.Tensor) -> TensorLevels:
    """Levels as a picture's file has them, of values from 0 to 1."""
    return TensorLevels((x * 255).round().byte())


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_filter_that_changes_nothing_gives_every_level_back(device: str) -> None:
    every = TensorLevels(torch.arange(256, device=device).byte().reshape(1, 1, 16, 16))
    changed = Augment([BandGain(1e-6)])(every, split_idx=0)
    assert type(changed) is TensorLevels
    assert torch.equal(changed, every)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0.01, 1), height=st.integers(6, 40), seed=st.integers(0, 999))
def test_a_filter_moves_each_band_alike_in_all_frames_along_numpys_interpolation(
    share: float, height: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(1, 256, (4, height, 9), generator=generator)
    levels[:, :, 3] = 0  # a frame of silence
    torch.manual_seed(seed)
    changed = BandGain(share)(levels[:, None] / 255)
    torch.manual_seed(seed)
    knots = share * (2 * torch.rand(4, 1, 6) - 1)
    places = np.linspace(0, height - 1, 6)
    for before, curve, after in zip(levels, knots[:, 0], changed, strict=True):
        gain = 255 * np.interp(np.arange(height), places, curve)[:, None]
        wanted = (before.numpy() + gain).clip(0, 255)
        wanted[:, 3] = 0
        np.testing.assert_allclose(255 * after[0], wanted, atol=0.01)


@pytest.mark.parametrize("change", [*ON_LEVELS, *EVERY], ids=repr)
@pytest.mark.parametrize("drawn", ["magma", "gray", "both"])
def test_a_changed_picture_is_one_that_could_lie_in_a_file(change: Transform, drawn: str) -> None:
    """Augmented levels are rounded as a picture's are, and coloured as it is."""
    x = pictures()[:, : 2 if drawn == "both" else 1]
    levels = levels_of(x)
    torch.manual_seed(5)
    changed = Augment([change])(levels, split_idx=0)
    torch.manual_seed(5)
    wanted = levels_of(change(levels.as_subclass(torch.Tensor) / 255))
    assert torch.equal(changed, wanted)
    assert not torch.equal(changed, levels)
    colours = Colour(drawn).colours(changed.as_subclass(torch.Tensor)).numpy()
    for picture, own in zip(colours, changed.numpy(), strict=True):
        found = read.picture_grey(Image.fromarray(picture), drawn)
        np.testing.assert_array_equal(found.transpose(2, 0, 1), own)


def test_every_filter_is_another() -> None:
    changed = BandGain(0.2)(pictures(1).expand(8, -1, -1, -1))
    assert len({picture.numpy().tobytes() for picture in changed}) == 8


@pytest.mark.parametrize("change", ON_LEVELS, ids=repr)
def test_levels_keep_shape_type_and_bounds_and_the_input_stays(change: Transform) -> None:
    x = pictures()
    x[:, :, :, 12:] = 0
    before = x.clone()
    changed = change(x)
    assert torch.equal(x, before)
    assert (changed.shape, changed.dtype) == (x.shape, x.dtype)
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert not torch.equal(changed, x)


def test_changes_follow_one_another() -> None:
    levels = levels_of(pictures()[:, :1])
    torch.manual_seed(1)
    wanted = levels.as_subclass(torch.Tensor) / 255
    for change in (*ON_LEVELS, *EVERY):
        wanted = change(wanted)
    torch.manual_seed(1)
    changed = Augment([*ON_LEVELS, *EVERY])(levels, split_idx=0)
    assert torch.equal(changed, levels_of(wanted))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), top_db=st.floats(40, 120))
def test_a_background_adds_power_and_lies_10_to_30_db_below(seed: int, top_db: float) -> None:
    """The second picture is all 0 dB, so the first tells how far below its own it came to lie."""
    x = torch.stack([torch.linspace(0, 1, 40).reshape(1, 1, 40), torch.ones(1, 1, 40)]).double()
    torch.manual_seed(seed)
    changed = Background(1.0, top_db)(x)[0, 0, 0]
    power = 10 ** ((x[0, 0, 0] - 1) * top_db / 10)
    added = (10 ** ((changed - 1) * top_db / 10) - power)[changed < 1]
    assert added.std() / added.mean() < 1e-6
    assert -30 <= 10 * torch.log10(added.mean()) <= -10


def test_a_background_lies_below_quiet_clips_too() -> None:
    """As pictures of a fixed reference have them; a label must stay that of the louder one."""
    torch.manual_seed(0)
    x = torch.stack([torch.full((1, 4, 6), 0.5), torch.full((1, 4, 6), 0.95)])
    x[:, :, 0, 0] = 0.0
    changed = Background(1.0, 80.0)(x)
    assert (changed[:, :, 1:] <= x[:, :, 1:] + 0.006).all(), "10 dB below adds 0.41 dB"
    low, high = 0.5 - 30 / 80, 0.5 - 10 / 80
    assert changed[0, 0, 0, 0] == 0, "there the other is silent"
    x[1, :, 0, 0] = 0.95
    assert low <= Background(1.0, 80.0)(x)[0, 0, 0, 0] <= high
    silent = torch.stack([torch.zeros(1, 4, 6), torch.full((1, 4, 6), 0.95)])
    assert torch.equal(Background(1.0, 80.0)(silent), silent)


def test_a_background_fills_silence_and_silence_fills_nothing() -> None:
    x = torch.zeros(2, 1, 4, 6)
    x[0, :, :, :3] = 0.9
    x[1, :, 0, 5] = 0.9
    torch.manual_seed(0)
    changed = Background(1.0, 80.0)(x)
    assert torch.equal(changed[0, :, 1:], x[0, :, 1:])
    assert torch.equal(changed[1, :, :, 3:], x[1, :, :, 3:])
    under = changed[1, :, :, :3]
    assert 0.9 - 30 / 80 <= under.min() == under.max() <= 0.9 - 10 / 80


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999))
def test_mixed_styles_have_means_and_deviations_between_those_of_two(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    centre, spread = (torch.rand(2, 1, 7, 1, generator=generator) for _ in range(2))
    noise = torch.rand(2, 1, 7, 500, generator=generator) - 0.5
    x = (0.35 + 0.3 * centre + (0.1 + 0.2 * spread) * noise).double()  # nothing is clipped
    torch.manual_seed(seed)
    changed = MixStyle(1.0)(x)
    for of in (lambda x: x.mean(dim=3), lambda x: x.std(dim=3, correction=0)):
        before, after = of(x)[:, 0], of(changed)[:, 0]
        own = (after - before.flip(0)) / (before - before.flip(0))
        torch.testing.assert_close(own, own[:, :1].expand_as(own), rtol=1e-6, atol=1e-6)
        assert (own >= 0.5 - 1e-6).all()
        assert (own <= 1 + 1e-6).all()
    first, second = ((y - y.mean(dim=3, keepdim=True))[0, 0] for y in (x, changed))
    for before, after in zip(first, second, strict=True):
        assert np.corrcoef(before, after)[0, 1] == pytest.approx(1)


def test_mixed_styles_leave_silence_and_steady_bands_at_peace() -> None:
    torch.manual_seed(0)
    x = pictures(8)[:, :1]
    x[:, :, :, 15:] = 0
    x[0, :, 3, :15] = 0.5  # a steady tone
    for _ in range(20):
        changed = MixStyle(1.0)(x)
        assert (changed[:, :, :, 15:] == 0).all()
        assert changed[0, 0, 3, :15].std() < 1e-6


@pytest.mark.parametrize("make", [MixStyle, lambda share: Background(share, 80.0)])
def test_that_share_of_pictures_is_changed(make: Any) -> None:
    torch.manual_seed(0)
    x = 0.3 + 0.7 * pictures(400)
    changed = (make(0.3)(x) != x).flatten(1).any(dim=1)
    assert changed.float().mean().item() == pytest.approx(0.3, abs=0.08)


def test_changes_are_made_in_this_order_and_know_the_range_of_the_pictures() -> None:
    changes = augment.transforms(ALL_ON, SpectrogramConfig(top_db=60.0))
    told = [repr(change).partition("(")[0] for change in changes]
    assert told == ["Crop", "Background", "MixStyle", "BandGain", "Warp", "Shift", "Masks"]
    assert repr(changes[1]) == "Background(share=0.5, top_db=60.0)"


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0.01, 1), width=st.integers(1, 40), seed=st.integers(0, 999), data=st.data())
def test_a_crop_is_a_stretch_of_the_picture_with_the_sound_in_it(
    share: float, width: int, seed: int, data: st.DataObject
) -> None:
    x = pictures(6, 3, width, seed) + 0.01
    first = data.draw(st.integers(0, width - 1))
    last = data.draw(st.integers(first, width - 1))
    x[..., :first] = 0
    x[..., last + 1 :] = 0
    torch.manual_seed(seed)
    kept = max(1, round(share * width))
    for before, after in zip(x, Crop(share)(x), strict=True):
        assert after.shape[2] == kept
        starts = [
            k
            for k in range(width - kept + 1)
            if torch.equal(before[..., k : k + kept], after)
            and (k <= first or k + kept <= last + 1)  # no silence before it, or none after
        ]
        assert starts
        frames = int((after.amax(dim=(0, 1)) > 0).sum())
        assert frames == min(kept, last + 1 - first)  # all of a short sound, else no silence


def test_crops_lie_anywhere_in_the_sound() -> None:
    x = torch.arange(1.0, 41.0).expand(4_000, 1, 2, 40).clone()
    x[..., 30:] = 0  # silence behind
    torch.manual_seed(0)
    starts = Crop(0.25)(x)[:, 0, 0, 0] - 1
    found = np.bincount(starts.long().numpy(), minlength=31)
    assert (found[:21] > 130).all() and found[:21].sum() == 4_000  # 190 each on the mean
    assert torch.equal(Crop(0.25)(torch.zeros(2, 1, 3, 40)), torch.zeros(2, 1, 3, 10))


def test_masks_cover_whole_stretches_with_the_mean_of_the_picture() -> None:
    torch.manual_seed(0)
    x = pictures(200, 40, 60)
    changed = Masks(1, 1, 0.25)(x)
    covered = (changed != x).all(dim=1)
    mean = x.mean(dim=(2, 3))
    for number in range(len(x)):
        frames, bands = covered[number].all(dim=0), covered[number].all(dim=1)
        assert torch.equal(covered[number], bands[:, None] | frames[None, :])
        assert frames.sum() <= 0.25 * 60 + 1
        assert bands.sum() <= 0.25 * 40 + 1
        for stretch in (frames, bands):  # one stretch: at most one way in
            assert (stretch.int().diff() == 1).sum() <= 1
        values = changed[number][:, covered[number]]
        torch.testing.assert_close(values, mean[number][:, None].expand_as(values))
    share = covered.float().mean().item()
    assert share == pytest.approx(1 - (1 - 0.125) ** 2, abs=0.03)  # widths are even from 0 to 1/4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Crop(0), "crop is 0"),
        (lambda: Crop(1.1), "crop is 1.1"),
        (lambda: TrainConfig(crop=-0.1), "crop"),
        (lambda: Shift(0), "shift is 0"),
        (lambda: Shift(1.5), "shift is 1.5"),
        (lambda: BandGain(0), "band_gain is 0"),
        (lambda: MixStyle(0), "mixstyle is 0"),
        (lambda: Background(1.1, 80.0), "background is 1.1"),
        (lambda: BandGain(1.1), "band_gain is 1.1"),
        (lambda: augment.transforms(ALL_ON, None), "needs the settings"),
        (lambda: TrainConfig(band_gain=-0.1), "band_gain"),
        (lambda: TrainConfig(background=2), "background"),
        (lambda: TrainConfig(mixstyle=-1), "mixstyle"),
        (lambda: Warp(0, 0), "one must be above 0"),
        (lambda: Warp(1, 0.1), "stretch is 1"),
        (lambda: Warp(0.1, float("nan")), "pitch nan"),
        (lambda: TrainConfig(stretch=1), "stretch"),
        (lambda: TrainConfig(pitch=-0.1), "pitch"),
        (lambda: Masks(0, 0), "ask for one or more"),
        (lambda: Masks(-1, 2), "-1 in time"),
        (lambda: Masks(1, 1, float("nan")), "mask_share is nan"),
        (lambda: TrainConfig(shift=1.5), "shift"),
        (lambda: TrainConfig(mixup=-1), "mixup"),
        (lambda: TrainConfig(time_masks=True), "time_masks"),
    ],
)
def test_what_cannot_be_is_refused_on_construction(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_plain_recipe_augments_nothing() -> None:
    plain = recipe("plain")
    assert augment.transforms(plain, SpectrogramConfig()) == []
    assert not plain.mixup


def test_training_batches_are_augmented_and_no_others(rendered: RenderedSet) -> None:
    parts = split(rendered.clips, 1)
    plain, changed = (
        data.dataloaders(parts.train, parts.watch, rendered.labels, config, rendered.config)
        for config in (SHORT_TRAINING, ALL_ON)
    )
    for first, second in zip(plain.valid, changed.valid, strict=True):
        assert torch.equal(first[0], second[0])
    items = data.to_predict(parts.score)
    assert torch.equal(plain.test_dl(items).one_batch()[0], changed.test_dl(items).one_batch()[0])
    pool = {x.numpy().tobytes() for x, _ in plain.train for x in x}
    assert not any(x.numpy().tobytes() in pool for x in changed.train.one_batch()[0])


def test_labels_stay_with_their_pictures(rendered: RenderedSet) -> None:
    """A roll keeps every value: sorted by row, a picture tells which clip it is."""
    parts = split(rendered.clips, 1)

    def told(config: TrainConfig) -> set[tuple[bytes, int]]:
        dls = data.dataloaders(parts.train, parts.watch, rendered.labels, config)
        batches = [(torch.Tensor(x).sort(dim=3).values, y) for x, y in dls.train]
        return {
            (picture.numpy().tobytes(), int(label))
            for x, y in batches
            for picture, label in zip(x, y, strict=True)
        }

    assert told(SHORT_TRAINING.replace(shift=1.0)) == told(SHORT_TRAINING)


def test_mixup_is_fastais_and_only_where_it_is_asked_for(rendered: RenderedSet) -> None:
    parts = split(rendered.clips, 1)
    for alpha in (0.0, 0.4):
        config = SHORT_TRAINING.with_last_phase(epochs=1).replace(arch="cnn4", mixup=alpha)
        dls = data.dataloaders(parts.train, parts.watch, rendered.labels, config)
        learn = learner.new_learner(dls, config, Weights("random", "as asked"))
        assert len(learn.cbs.filter(lambda cb: isinstance(cb, MixUp))) == bool(alpha)
        history = learner.fit(learn, config)
        assert np.isfinite(history["train_loss"]).all()


def test_the_same_seed_augments_alike(rendered: RenderedSet) -> None:
    parts = split(rendered.clips, 1)
    given = (parts.train, parts.watch, rendered.labels, ALL_ON, rendered.config)
    first, second = (data.dataloaders(*given).train.one_batch()[0] for _ in range(2))
    assert torch.equal(first, second)
