"""On the fly: what trains is the PNG's very pixels, unless a training clip is to be changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from fastai.torch_core import set_seed

from spectro.clips.clip import Clip
from spectro.clips.table import Dataset, clip_table
from spectro.errors import AudioError, ConfigError
from spectro.models.weights import resolve
from spectro.pictures.render import render
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig
from spectro.training import data, from_sounds, own
from spectro.training.loop import learner
from spectro.training.loop.callbacks import to_settle_on
from spectro.training.settings import TrainConfig
from spectro.training.splits import Split
from spectro.training.train import train
from tests.conftest import SHORT_TRAINING

SR = 8_000
PICTURES = SpectrogramConfig(
    sr=SR, duration=0.5, n_fft=256, hop_length=128, n_mels=32, ref=1.0, channels="both"
)
FROM_SOUNDS = SHORT_TRAINING.replace(source="sounds", batch_size=16, arch="cnn4")
CHANGED = FROM_SOUNDS.replace(place=True, wave_shift=0.5, gain=6.0)


@pytest.fixture(scope="module")
def beeps(tmp_path_factory: pytest.TempPathFactory) -> RenderedSet:
    """16 beeps of two pitches in two long stereo files, each clip a part of one of them."""
    folder = tmp_path_factory.mktemp("beeps")
    rows = []
    for fold, pitch in ((1, 500), (2, 700)):
        time = np.arange(SR * 2) / SR
        left = 0.3 * np.sin(2 * np.pi * pitch * time * (1 + time))
        y = np.stack([left, 0.5 * left[::-1]], axis=1)
        path = folder / f"{pitch}.wav"
        sf.write(path, y, SR, subtype="FLOAT")
        rows += [
            {"path": path, "label": f"{k % 2}", "fold": fold, "group": path.stem,
             "start": k * 0.25, "end": k * 0.25 + 0.2}
            for k in range(8)
        ]  # fmt: skip
    dataset = Dataset("beeps", folder, clip_table(rows, folder), folds=(1, 2))
    render(dataset, folder / "pictures", PICTURES)
    return RenderedSet.load(folder / "pictures")


def loaders(beeps: RenderedSet, config: TrainConfig) -> Any:
    clips = beeps.clips
    train, valid = (clips[clips["fold"] == fold] for fold in (1, 2))
    return data.dataloaders(train, valid, beeps.labels, config, beeps.config)


def batch(dl: Any) -> torch.Tensor:
    return torch.Tensor(dl.one_batch()[0])


def plain(dls: Any) -> torch.Tensor:
    """All training clips in their order, through the training items' own transforms."""
    return torch.stack([item[0] for item in map(dls.train.do_item, range(len(dls.train_ds)))])


@pytest.mark.parametrize("size", [None, 48])
def test_without_changes_sounds_are_pixel_for_pixel_the_pictures(
    beeps: RenderedSet, size: int | None
) -> None:
    config = FROM_SOUNDS.replace(size=size)
    heard, seen = (loaders(beeps, config.replace(source=s)) for s in ("sounds", "pictures"))
    # Half of each picture is silence: that the parts of the long files are kept to shows here.
    assert torch.equal(plain(heard), plain(seen))
    assert torch.equal(batch(heard.valid), batch(seen.valid))
    set_seed(0)
    first = batch(heard.train)
    set_seed(0)
    assert torch.equal(first, batch(seen.train))


def test_only_training_clips_are_changed(beeps: RenderedSet) -> None:
    dls, seen = loaders(beeps, CHANGED), loaders(beeps, FROM_SOUNDS.replace(source="pictures"))
    assert torch.equal(batch(dls.valid), batch(seen.valid))
    test_items = data.to_predict(beeps.clips)
    assert torch.equal(batch(dls.test_dl(test_items)), batch(seen.test_dl(test_items)))
    first, second = plain(dls), plain(dls)
    for one, other, as_is in zip(first, second, plain(seen), strict=True):
        assert not torch.equal(one, as_is)
        assert not torch.equal(one, other), "drawn anew each time"


def test_the_same_seed_changes_alike(beeps: RenderedSet) -> None:
    def first_batch(seed: int) -> torch.Tensor:
        dls = loaders(beeps, CHANGED.replace(seed=seed))
        return batch(dls.train)

    assert torch.equal(first_batch(4), first_batch(4))
    assert not torch.equal(first_batch(4), first_batch(5))


@pytest.mark.parametrize("changes", [{"place": True}, {"wave_shift": 0.9}])
def test_nothing_beyond_the_ends_of_a_clip_is_heard(
    beeps: RenderedSet, changes: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    clip = beeps.clips.iloc[3]
    train = FROM_SOUNDS.replace(**changes)
    frames = 0.2 * SR / PICTURES.hop_length + PICTURES.n_fft / PICTURES.hop_length + 1
    for _ in range(10):
        image = from_sounds.augmented_image(
            clip["path"], PICTURES, train, clip["start"], clip["end"]
        )
        loud = (np.asarray(image)[..., 0] > 120).any(axis=0).sum()
        assert 0.2 * SR / PICTURES.hop_length - 2 <= loud <= frames


def test_place_reaches_the_whole_of_the_silence(beeps: RenderedSet) -> None:
    torch.manual_seed(0)
    clip = beeps.clips.iloc[0]
    train = FROM_SOUNDS.replace(place=True)
    starts = [
        int((np.asarray(image)[..., 0] > 120).any(axis=0).argmax())
        for _ in range(60)
        for image in [from_sounds.augmented_image(clip["path"], PICTURES, train, 0.0, 0.2)]
    ]
    room = 0.3 * SR / PICTURES.hop_length  # frames
    assert min(starts) <= 2
    assert max(starts) >= room - 3
    assert len(set(starts)) > 10


def test_a_shift_rolls_all_channels_alike_and_loses_nothing() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(200, dtype=np.float32).reshape(2, 100)
    shifts = set()
    for _ in range(300):
        rolled = from_sounds.change(y, rng, shift=0.1)
        by = int(rolled[0].argmin())
        assert np.array_equal(rolled, np.roll(y, by, axis=1))
        shifts.add(by if by < 50 else by - 100)
    assert shifts == set(range(-10, 11))


def test_a_gain_is_at_most_what_was_asked_either_way() -> None:
    rng = np.random.default_rng(0)
    y = np.ones((1, 4), dtype=np.float32)
    gains = [20 * np.log10(from_sounds.change(y, rng, gain=6.0)[0, 0]) for _ in range(300)]
    assert -6.01 < min(gains) < -5
    assert 5 < max(gains) < 6.01


def test_gain_shows_in_the_picture_as_so_many_decibels(
    beeps: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = beeps.clips.iloc[2]
    part = (clip["start"], clip["end"])
    as_is = np.asarray(from_sounds.plain_image(clip["path"], PICTURES, *part), dtype=int)[..., :2]
    monkeypatch.setattr(from_sounds, "change", lambda y, rng, **_: y * np.float32(10 ** (-10 / 20)))
    quieter = np.asarray(
        from_sounds.augmented_image(clip["path"], PICTURES, FROM_SOUNDS, *part), dtype=int
    )[..., :2]
    shown = (as_is > 100) & (as_is < 255)
    assert np.abs((as_is - quieter)[shown] - 10 / PICTURES.top_db * 255).max() <= 1


@pytest.mark.parametrize("change", [{"place": True}, {"wave_shift": 0.1}, {"gain": 3.0}])
def test_changes_of_the_sound_need_the_sound(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(change))} .*needs source"):
        TrainConfig(**change)


def test_gain_where_it_cannot_show_is_refused(beeps: RenderedSet) -> None:
    for relative in (PICTURES.replace(ref="max"), PICTURES.replace(db_range="auto")):
        with pytest.raises(ConfigError, match="gain changes nothing"):
            from_sounds.check([], relative, CHANGED)


def test_a_sound_that_is_gone_is_told_before_training(beeps: RenderedSet, tmp_path: Path) -> None:
    clips = beeps.clips.assign(path=str(tmp_path / "gone.wav"))
    with pytest.raises(AudioError, match=r"gone\.wav: no such file, and source"):
        data.dataloaders(clips, clips, beeps.labels, FROM_SOUNDS, beeps.config)
    pictures = FROM_SOUNDS.replace(source="pictures")
    data.dataloaders(clips, clips, beeps.labels, pictures, beeps.config)  # asks for no sound


def test_a_sound_at_a_url_is_not_fetched_to_train_on_it(beeps: RenderedSet) -> None:
    with pytest.raises(AudioError, match=r"trains on files, not on URLs; copy the sounds here"):
        from_sounds.check(["http://127.0.0.1:9/a.wav"], beeps.config, CHANGED)


def test_a_sound_to_be_scored_that_is_gone_is_told_before_training(
    beeps: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an inner fold it is drawn only when all is trained."""
    monkeypatch.setattr(learner, "fit", lambda *_: pytest.fail("trained"))
    gone = beeps.clips.assign(path="gone.wav")
    parts = Split(train=beeps.clips, watch=beeps.clips, score=gone)
    with pytest.raises(AudioError, match=r"gone\.wav: no such file, and source"):
        train(parts, beeps.labels, FROM_SOUNDS, resolve("none", "cnn4"), beeps.config)
    folds = beeps.clips.assign(fold=np.arange(len(beeps.clips)) % 3 + 1)
    folds.loc[folds["fold"] == 1, "path"] = "gone.wav"
    with pytest.raises(AudioError, match=r"gone\.wav: no such file, and source"):
        own.dataloaders(dataclasses.replace(beeps, clips=folds), 1, FROM_SOUNDS)


def test_the_settings_of_the_pictures_are_needed(beeps: RenderedSet) -> None:
    with pytest.raises(ConfigError, match="needs the settings"):
        data.dataloaders(beeps.clips, beeps.clips, beeps.labels, FROM_SOUNDS)


def test_items_have_no_part_where_the_table_has_none() -> None:
    table = pd.DataFrame({"image": ["a", "b"], "label": ["x", "y"], "path": ["a", "b"],
                          "start": [np.nan, 1.0], "end": [np.nan, np.nan]})  # fmt: skip
    first, second = data.to_predict(table)
    assert (first.clip, second.clip) == (Clip("a", None, None), Clip("b", 1.0, None))


def test_norms_settle_on_sounds_as_they_are(beeps: RenderedSet) -> None:
    dls = loaders(beeps, CHANGED)
    as_drawn = loaders(beeps, FROM_SOUNDS.replace(source="pictures"))
    (found,), (wanted,) = (next(iter(to_settle_on(d, 0))) for d in (dls, as_drawn))
    assert torch.equal(torch.Tensor(found), torch.Tensor(wanted))
