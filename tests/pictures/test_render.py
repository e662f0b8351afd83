"""Rendering: every clip's own picture, told failures, and runs that go on where they stopped."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spectro.clips.datasets import Dataset
from spectro.clips.table import clip_table
from spectro.errors import RenderError
from spectro.pictures import render as rendering
from spectro.pictures.names import image_names
from spectro.pictures.render import RenderSummary, render
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import clip_image
from spectro.plumbing import workers

SR = 8_000
CONFIG = SpectrogramConfig(sr=SR, duration=0.25, n_fft=256, hop_length=64, n_mels=16)
TABLE = ["path", "label", "fold", "group", "start", "end"]


def write_tone(path: Path, hz: float = 500.0, *, seconds: float = 0.3) -> Path:
    """Write a tone; another `hz` makes another picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(round(seconds * SR)) / SR
    sf.write(path, 0.5 * np.sin(2 * np.pi * hz * t), SR, format="WAV", subtype="PCM_16")
    return path


def set_time(path: Path, second: int) -> None:
    """Set a modification time, so that no test depends on how fine the clock is."""
    os.utime(path, ns=(second * 10**9, second * 10**9))


def make_dataset(root: Path, rows: Iterable[tuple[Any, ...]], **about: Any) -> Dataset:
    """Make a dataset of rows (path below the root, label, fold) or (..., start, end)."""
    keys = ("path", "label", "fold", "start", "end")
    clips = [dict(zip(keys, row, strict=False)) for row in rows]
    for clip in clips:
        clip["group"] = clip["path"]
        clip["path"] = str(root / clip["path"])
    table = clip_table(clips, root)
    folds = tuple(sorted(set(table["fold"].tolist())))
    return Dataset(**{"name": "tones", "root": root, "clips": table, "folds": folds, **about})


ROWS = [("low/a.wav", "low", 1), ("low/b.wav", "low", 2), ("high/c.wav", "high", 1)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folder with the three tones of `ROWS`."""
    root = tmp_path / "sounds"
    for hz, (path, _, _) in zip((300, 600, 2_000), ROWS, strict=True):
        write_tone(root / path, hz)
    return root


@pytest.fixture
def dataset(root: Path) -> Dataset:
    return make_dataset(root, ROWS)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


def counts(summary: RenderSummary) -> tuple[int, int, int, int]:
    """Drawn now, already there, dropped, failed."""
    failed = len(summary.failures)
    return summary.rendered, summary.already_there, summary.dropped, failed


def pictures(out: Path) -> list[str]:
    """List every PNG in the rendered set, hidden ones too."""
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Content and modification time of every file below `folder`."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def assert_shows(clips: pd.DataFrame, config: SpectrogramConfig = CONFIG) -> None:
    """Compare every picture of a loaded set with its clip's own."""
    for clip in clips.itertuples():
        start, end = (None if np.isnan(x) else x for x in (clip.start, clip.end))
        expected = clip_image(clip.path, config, start=start, end=end)
        with Image.open(clip.image) as image:
            np.testing.assert_array_equal(pixels(image), pixels(expected), err_msg=clip.image)


# -------------------------------------------------------------------------------- what is written


def test_every_clip_becomes_its_picture_in_the_folder_of_its_fold(
    dataset: Dataset, out: Path
) -> None:
    summary = render(dataset, out, CONFIG)
    assert counts(summary) == (3, 0, 0, 0)
    assert pictures(out) == ["fold1/a.png", "fold1/c.png", "fold2/b.png"]
    for name, fold in (("a", 1), ("c", 1), ("b", 2)):
        (path,) = (path for path in dataset.clips["path"] if Path(path).stem == name)
        with Image.open(out / f"fold{fold}" / f"{name}.png") as image:
            expected = clip_image(path, CONFIG)
            assert image.mode == expected.mode == "P"
            assert image.size == (CONFIG.n_frames, CONFIG.n_mels)
            np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
            np.testing.assert_array_equal(pixels(image), pixels(expected))


def test_settings_are_written_as_they_are(dataset: Dataset, out: Path) -> None:
    render(dataset, out, CONFIG)
    text = (out / "spectrogram.json").read_text(encoding="utf-8")
    assert SpectrogramConfig.from_json(text) == CONFIG
    assert json.loads(text)["n_mels"] == 16


def test_dataset_is_described(root: Path, out: Path) -> None:
    about = {
        "folds": (1, 2, 3),
        "notes": ("one of 3 folds is away", "Käuzchen"),
        "absent": ("x.wav",),
        "licence": "CC0",
        "citation": "Me, 2020.",
    }
    render(make_dataset(root, ROWS, **about), out, CONFIG)
    written = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    expected = {"name": "tones", "root": str(root.resolve()), **about}
    assert written == json.loads(json.dumps(expected))


def test_clips_csv_is_the_clip_table_with_pictures_and_relative_paths(
    dataset: Dataset, out: Path
) -> None:
    render(dataset, out, CONFIG)
    table = pd.read_csv(out / "clips.csv")
    assert list(table.columns) == [*TABLE, "image"]
    assert list(table["path"]) == ["high/c.wav", "low/a.wav", "low/b.wav"]
    assert list(table["image"]) == ["fold1/c.png", "fold1/a.png", "fold2/b.png"]
    assert list(table["label"]) == ["high", "low", "low"]
    assert list(table["fold"]) == [1, 1, 2]


def test_without_failures_failures_csv_has_only_its_header(dataset: Dataset, out: Path) -> None:
    summary = render(dataset, out, CONFIG)
    assert summary.failures.empty
    assert (out / "failures.csv").read_text() == ",".join([*TABLE, "reason"]) + "\n"


def test_nothing_else_is_left_in_the_folder(dataset: Dataset, out: Path) -> None:
    render(dataset, out, CONFIG)
    assert sorted(path.name for path in out.iterdir()) == [
        "clips.csv", "dataset.json", "failures.csv", "fold1", "fold2", "spectrogram.json"
    ]  # fmt: skip


def test_folder_that_is_there_and_empty_is_taken(dataset: Dataset, out: Path) -> None:
    out.mkdir()
    assert counts(render(dataset, out, CONFIG)) == (3, 0, 0, 0)


# ---------------------------------------------------------------------------------- reading it back


def test_rendered_set_is_read_back(root: Path, out: Path) -> None:
    write_tone(root / "rec.wav", 900)
    rows = [*ROWS, ("rec.wav", "low", 3, 0.1), ("rec.wav", "high", 3, 0.0, 0.1)]
    dataset = make_dataset(root, rows, licence="CC0")
    render(dataset, out, CONFIG)
    loaded = RenderedSet.load(str(out))
    assert loaded.folder == out
    assert loaded.config == CONFIG
    assert loaded.labels == ["high", "low"]
    assert loaded.folds == [1, 2, 3]
    assert all(type(fold) is int for fold in loaded.folds)
    assert loaded.dataset.name == "tones"
    assert loaded.dataset.licence == "CC0"
    pd.testing.assert_frame_equal(loaded.clips[TABLE], dataset.clips, check_dtype=False)
    assert_shows(loaded.clips)


LABELS = ["nan", "NA", "None", "1", "007", "True", "Grünspecht", 'say "hi", ok', "a\nb"]


@pytest.mark.parametrize("labels", [LABELS, ["1", "007"], ["nan", "inf"], ["True", "False"]])
def test_labels_and_groups_stay_text(root: Path, out: Path, labels: list[str]) -> None:
    dataset = make_dataset(root, [(ROWS[i % 3][0], label, i) for i, label in enumerate(labels)])
    clips = dataset.clips.assign(group=dataset.clips["label"])
    render(make_dataset(root, ROWS, clips=clips, folds=tuple(range(9))), out, CONFIG)
    loaded = RenderedSet.load(out)
    assert loaded.labels == sorted(labels)
    assert list(loaded.clips["label"]) == list(loaded.clips["group"]) == list(clips["label"])


def test_clips_outside_the_root_are_found_again(root: Path, out: Path, tmp_path: Path) -> None:
    outside = write_tone(tmp_path / "elsewhere" / "x.wav", 1_500)
    render(make_dataset(root, [*ROWS, (str(outside), "far", 1)]), out, CONFIG)
    loaded = RenderedSet.load(out)
    assert str(outside) in set(loaded.clips["path"])
    assert_shows(loaded.clips)


def test_root_that_is_relative_is_found_from_anywhere(
    root: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    render(make_dataset(Path(root.name), ROWS), out.name, CONFIG)
    monkeypatch.chdir("/")
    loaded = RenderedSet.load(out)
    assert_shows(loaded.clips)


def test_folder_may_be_called_as_a_fold_is(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    render(dataset, "fold1", CONFIG)
    assert_shows(RenderedSet.load("fold1").clips)


def test_moved_folder_still_opens(dataset: Dataset, out: Path, tmp_path: Path) -> None:
    render(dataset, out, CONFIG)
    before = RenderedSet.load(out).identity
    moved = tmp_path / "other" / "place"
    moved.parent.mkdir()
    out.rename(moved)
    loaded = RenderedSet.load(moved)
    assert_shows(loaded.clips)
    assert loaded.identity == before
    assert counts(render(dataset, moved, CONFIG)) == (0, 3, 0, 0)


def test_moved_sounds_are_found_and_not_drawn_again(
    root: Path, dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    render(dataset, out, CONFIG)
    before = RenderedSet.load(out).identity
    moved = root.rename(tmp_path / "moved")
    assert counts(render(make_dataset(moved, ROWS), out, CONFIG)) == (0, 3, 0, 0)
    loaded = RenderedSet.load(out)
    assert_shows(loaded.clips)
    assert loaded.identity == before


def test_identity_is_that_of_settings_and_clips(
    root: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def identity(name: str, dataset: Dataset, config: SpectrogramConfig) -> str:
        render(dataset, tmp_path / name, config)
        return RenderedSet.load(tmp_path / name).identity

    first = identity("one", dataset, CONFIG)
    assert identity("two", dataset, CONFIG) == first
    assert identity("one", dataset, CONFIG) == first
    assert identity("three", dataset, CONFIG.replace(top_db=60.0)) != first
    assert identity("four", make_dataset(root, ROWS[:2]), CONFIG) != first
    relabelled = [("low/a.wav", "other", 1), *ROWS[1:]]
    assert identity("five", make_dataset(root, relabelled), CONFIG) != first
    monkeypatch.chdir(tmp_path)
    assert RenderedSet.load("one").identity == first
    assert len(first) == 16
    assert set(first) <= set("0123456789abcdef")


def test_parts_keep_their_times_and_identity_over_loads(root: Path, out: Path) -> None:
    write_tone(root / "rec.wav", 900, seconds=2)
    rows = [("rec.wav", "x", 1, i / 7, i / 7 + 1 / 3) for i in range(5)]
    dataset = make_dataset(root, rows)
    render(dataset, out, CONFIG)
    loaded = RenderedSet.load(out)
    np.testing.assert_allclose(loaded.clips["start"], dataset.clips["start"], rtol=1e-12)
    np.testing.assert_allclose(loaded.clips["end"], dataset.clips["end"], rtol=1e-12)
    assert counts(render(dataset, out, CONFIG)) == (0, 5, 0, 0)
    assert RenderedSet.load(out).identity == loaded.identity


@pytest.mark.parametrize("name", ["nowhere", "empty", "file.txt"])
def test_folder_without_pictures_says_how_to_make_them(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").touch()
    with pytest.raises(RenderError, match=rf"{name}: no rendered pictures.*spectro render"):
        RenderedSet.load(tmp_path / name)


def test_unfinished_rendering_says_so(dataset: Dataset, out: Path) -> None:
    render(dataset, out, CONFIG)
    (out / "clips.csv").unlink()
    with pytest.raises(RenderError, match="did not finish; run spectro render again"):
        RenderedSet.load(out)
    assert counts(render(dataset, out, CONFIG)) == (0, 3, 0, 0)
    assert len(RenderedSet.load(out).clips) == 3


# --------------------------------------------------------------------------------- the second time


def test_second_run_draws_nothing_anew(dataset: Dataset, out: Path) -> None:
    render(dataset, out, CONFIG)
    before = snapshot(out)
    assert counts(render(dataset, out, CONFIG)) == (0, 3, 0, 0)
    after = snapshot(out)
    assert {name: content for name, (_, content) in after.items()} == {
        name: content for name, (_, content) in before.items()
    }
    assert all(after[name] == before[name] for name in after if name.endswith(".png"))


@pytest.mark.parametrize("second", [10**9, 2 * 10**9], ids=["older", "newer"])
def test_changed_clip_is_drawn_again(root: Path, dataset: Dataset, out: Path, second: int) -> None:
    render(dataset, out, CONFIG)
    before = (out / "fold1" / "a.png").read_bytes()
    set_time(write_tone(root / "low" / "a.wav", 3_000), second)
    assert counts(render(dataset, out, CONFIG)) == (1, 2, 0, 0)
    assert (out / "fold1" / "a.png").read_bytes() != before
    assert_shows(RenderedSet.load(out).clips)


def test_added_clip_is_added(root: Path, dataset: Dataset, out: Path) -> None:
    render(dataset, out, CONFIG)
    write_tone(root / "high" / "new.wav", 2_500)
    larger = make_dataset(root, [*ROWS, ("high/new.wav", "high", 3)])
    assert counts(render(larger, out, CONFIG)) == (1, 3, 0, 0)
    loaded = RenderedSet.load(out)
    assert len(loaded.clips) == 4
    assert_shows(loaded.clips)


@pytest.mark.parametrize("step", [100, 10**7, 2 * 10**9])
def test_a_disk_of_coarse_times_keeps_what_is_drawn(
    root: Path, dataset: Dataset, out: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As exFAT and FAT; a clip that changed is drawn again there, too."""
    real = os.utime

    def coarse(path: Path, times: None = None, *, ns: tuple[int, int] | None = None) -> None:
        now = path.stat().st_mtime_ns
        real(path, ns=tuple(one // step * step for one in ns or (now, now)))

    for number, path in enumerate(sorted(root.rglob("*.wav"))):
        real(path, ns=(10**18 + 12_345_678_901 * number,) * 2)
    monkeypatch.setattr(rendering.os, "utime", coarse)
    n = len(dataset.clips)
    assert counts(render(dataset, out, CONFIG))[:2] == (n, 0)
    assert counts(render(dataset, out, CONFIG))[:2] == (0, n)
    changed = Path(dataset.clips["path"].iloc[0])
    real(changed, ns=(2 * 10**18, 2 * 10**18))
    assert counts(render(dataset, out, CONFIG))[:2] == (1, n - 1)


def test_added_clip_of_the_same_name_changes_no_other_picture(
    root: Path, dataset: Dataset, out: Path
) -> None:
    render(dataset, out, CONFIG)
    write_tone(root / "high" / "a.wav", 2_500)
    render(make_dataset(root, [*ROWS, ("high/a.wav", "high", 1)]), out, CONFIG)
    loaded = RenderedSet.load(out)
    assert sorted(pictures(out)) == sorted(
        Path(image).relative_to(out).as_posix() for image in loaded.clips["image"]
    )
    assert len(pictures(out)) == 4
    assert_shows(loaded.clips)


def test_removed_clips_picture_is_dropped(root: Path, dataset: Dataset, out: Path) -> None:
    render(dataset, out, CONFIG)
    assert counts(render(make_dataset(root, ROWS[1:]), out, CONFIG)) == (0, 2, 1, 0)
    assert pictures(out) == ["fold1/c.png", "fold2/b.png"]
    assert len(RenderedSet.load(out).clips) == 2


def test_clip_in_another_fold_moves_its_picture(root: Path, dataset: Dataset, out: Path) -> None:
    render(dataset, out, CONFIG)
    moved = make_dataset(root, [("low/a.wav", "low", 2), *ROWS[1:]])
    assert render(moved, out, CONFIG).dropped == 1
    assert pictures(out) == ["fold1/c.png", "fold2/a.png", "fold2/b.png"]
    assert_shows(RenderedSet.load(out).clips)


@pytest.mark.parametrize(
    ("before", "after"),
    [((0.0, 0.1), (0.1, 0.2)), ((0.0, 0.1), (0.0, 0.05)), ((None, None), (0.15, None))],
)
def test_part_whose_times_changed_is_drawn_again(
    tmp_path: Path, out: Path, before: tuple[Any, Any], after: tuple[Any, Any]
) -> None:
    root = tmp_path / "sweep"
    root.mkdir()
    t = np.arange(round(0.3 * SR)) / SR
    sf.write(root / "rec.wav", 0.5 * np.sin(2 * np.pi * (200 + 4_000 * t) * t), SR)
    render(make_dataset(root, [("rec.wav", "x", 1, *before)]), out, CONFIG)
    render(make_dataset(root, [("rec.wav", "x", 1, *after)]), out, CONFIG)
    assert_shows(RenderedSet.load(out).clips)


def test_clips_of_one_name_and_time_that_swap_folds_keep_their_own_pictures(
    tmp_path: Path, out: Path
) -> None:
    root = tmp_path / "sounds"
    for label, hz in (("low", 300), ("high", 2_000)):  # archives often give all files one time
        set_time(write_tone(root / label / "1.wav", hz), 10**9)
    render(make_dataset(root, [("low/1.wav", "low", 1), ("high/1.wav", "high", 2)]), out, CONFIG)
    render(make_dataset(root, [("low/1.wav", "low", 2), ("high/1.wav", "high", 1)]), out, CONFIG)
    assert_shows(RenderedSet.load(out).clips)


def test_leftover_of_an_interrupted_write_is_no_picture(dataset: Dataset, out: Path) -> None:
    render(dataset, out, CONFIG)
    (out / "clips.csv").unlink()
    done = out / "fold1" / "a.png"
    leftover = done.rename(out / "fold1" / ".0123456789abcdef.part.png")
    leftover.write_bytes(leftover.read_bytes()[:50])
    assert counts(render(dataset, out, CONFIG)) == (1, 2, 0, 0)
    loaded = RenderedSet.load(out)
    assert leftover.name not in {Path(image).name for image in loaded.clips["image"]}
    assert_shows(loaded.clips)


# ------------------------------------------------------------------------------------ broken clips


def write_empty(path: Path) -> None:
    path.touch()


def write_truncated(path: Path) -> None:
    whole = write_tone(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def write_words(path: Path) -> None:
    path.write_text("this is no sound\n" * 100)


def write_no_samples(path: Path) -> None:
    sf.write(path, np.zeros(0), SR)


def write_no_ogg_page(path: Path) -> None:
    sf.write(path, 0.1 * np.random.default_rng(0).standard_normal(SR), SR, format="OGG")
    path.write_bytes(path.read_bytes()[:5_000])
    assert sf.info(path).frames == 0


def write_nan(path: Path) -> None:
    samples = np.zeros(SR, dtype=np.float32)
    samples[100] = np.nan
    sf.write(path, samples, SR, subtype="FLOAT")


def write_folder(path: Path) -> None:
    path.mkdir()


def write_nothing(path: Path) -> None:
    assert not path.exists()


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (write_empty, "is empty (0 bytes)"),
    "truncated": (write_truncated, "truncated, its header promises"),
    "words": (write_words, "cannot be decoded ("),
    "no-samples": (write_no_samples, "has no samples"),
    "no-ogg-page": (write_no_ogg_page, "truncated in the middle of an Ogg page"),
    "nan": (write_nan, "holds NaN or infinite samples"),
    "folder": (write_folder, "is a folder, not a sound file"),
    "gone": (write_nothing, "no such file"),
}


def test_broken_clips_are_told_by_name_and_reason_and_stop_nothing(root: Path, out: Path) -> None:
    rows = list(ROWS)
    for name, (write, _) in BROKEN.items():
        write(root / f"{name}.wav")
        rows.append((f"{name}.wav", "broken", 1))
    dataset = make_dataset(root, rows)
    summary = render(dataset, out, CONFIG)
    assert counts(summary) == (3, 0, 0, len(BROKEN))
    assert pictures(out) == ["fold1/a.png", "fold1/c.png", "fold2/b.png"]
    table = pd.read_csv(out / "failures.csv", keep_default_na=False)
    assert list(table.columns) == [*TABLE, "reason"]
    assert list(table["path"]) == sorted(f"{name}.wav" for name in BROKEN)
    for name, reason in zip(table["path"], table["reason"], strict=True):
        assert reason.startswith(BROKEN[Path(name).stem][1]), name
    assert list(summary.failures["reason"]) == list(table["reason"])
    assert set(summary.failures["path"]) == {str(root / f"{name}.wav") for name in BROKEN}
    loaded = RenderedSet.load(out)
    assert len(loaded.clips) == 3
    assert_shows(loaded.clips)


def test_part_behind_the_end_of_its_file_is_a_failure(root: Path, out: Path) -> None:
    dataset = make_dataset(root, [*ROWS, ("low/a.wav", "low", 1, 60, 64)])
    summary = render(dataset, out, CONFIG)
    assert list(summary.failures["start"]) == [60]
    (reason,) = summary.failures["reason"]
    assert reason.startswith("no sound between 60 s and ")
    assert reason.endswith("the file lasts 0.300 s")
    assert len(RenderedSet.load(out).clips) == 3


def test_broken_clips_are_told_again_and_the_others_left_alone(root: Path, out: Path) -> None:
    write_words(root / "low" / "z.wav")
    dataset = make_dataset(root, [*ROWS, ("low/z.wav", "low", 1)])
    render(dataset, out, CONFIG)
    assert counts(render(dataset, out, CONFIG)) == (0, 3, 0, 1)


@pytest.mark.parametrize("finished", [True, False])
def test_clip_that_broke_loses_its_picture(
    root: Path, dataset: Dataset, out: Path, finished: bool
) -> None:
    render(dataset, out, CONFIG)
    if not finished:
        (out / "clips.csv").unlink()
    write_words(root / "low" / "a.wav")
    set_time(root / "low" / "a.wav", 10**9)
    summary = render(dataset, out, CONFIG)
    assert (summary.rendered, summary.already_there, len(summary.failures)) == (0, 2, 1)
    assert pictures(out) == ["fold1/c.png", "fold2/b.png"]
    assert len(RenderedSet.load(out).clips) == 2


def test_clip_that_vanished_loses_its_picture(root: Path, dataset: Dataset, out: Path) -> None:
    render(dataset, out, CONFIG)
    (root / "low" / "a.wav").unlink()
    assert len(render(dataset, out, CONFIG).failures) == 1
    assert pictures(out) == ["fold1/c.png", "fold2/b.png"]


def test_clip_that_was_mended_gets_its_picture(root: Path, dataset: Dataset, out: Path) -> None:
    path = root / "low" / "a.wav"
    write_words(path)
    render(dataset, out, CONFIG)
    set_time(write_tone(path, 300), 10**9)
    assert counts(render(dataset, out, CONFIG)) == (1, 2, 0, 0)
    assert pd.read_csv(out / "failures.csv").empty
    assert_shows(RenderedSet.load(out).clips)


def test_dataset_without_one_good_clip_is_rendered_as_failures(tmp_path: Path, out: Path) -> None:
    write_words(tmp_path / "a.wav")
    summary = render(make_dataset(tmp_path, [("a.wav", "x", 1)]), out, CONFIG)
    assert counts(summary) == (0, 0, 0, 1)
    loaded = RenderedSet.load(out)
    assert loaded.labels == loaded.folds == []


# ----------------------------------------------------------------------- two settings never mix


def test_other_settings_are_refused_by_name_and_nothing_is_touched(
    dataset: Dataset, out: Path
) -> None:
    render(dataset, out, CONFIG)
    before = snapshot(out)
    with pytest.raises(RenderError) as caught:
        render(dataset, out, CONFIG.replace(n_mels=8, pad="loop"))
    message = str(caught.value)
    assert str(out) in message
    assert "n_mels 16 there, 8 asked" in message
    assert "pad zero there, loop asked" in message
    assert "top_db" not in message
    assert snapshot(out) == before


def test_other_dataset_is_refused_by_name_and_nothing_is_touched(
    root: Path, dataset: Dataset, out: Path
) -> None:
    render(dataset, out, CONFIG)
    before = snapshot(out)
    with pytest.raises(RenderError, match="dataset tones there, birds asked"):
        render(make_dataset(root, ROWS, name="birds"), out, CONFIG)
    assert snapshot(out) == before


@pytest.mark.parametrize("name", ["thesis.tex", ".hidden", "sub/deep.txt", "clips.csv"])
def test_folder_that_holds_something_else_is_refused_untouched(
    dataset: Dataset, out: Path, name: str
) -> None:
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("ten years of work")
    before = snapshot(out)
    with pytest.raises(RenderError, match="holds something else; name another --out"):
        render(dataset, out, CONFIG)
    assert snapshot(out) == before


def test_file_in_the_place_of_the_folder_is_refused_untouched(dataset: Dataset, out: Path) -> None:
    out.write_text("ten years of work")
    with pytest.raises(RenderError, match=out.name):
        render(dataset, out, CONFIG)
    assert out.read_text() == "ten years of work"


def test_the_folder_of_the_sounds_is_refused_untouched(root: Path, dataset: Dataset) -> None:
    before = snapshot(root)
    with pytest.raises(RenderError, match="holds something else"):
        render(dataset, root, CONFIG)
    assert snapshot(root) == before


# ------------------------------------------------------------------------------ a picture a clip


@pytest.mark.parametrize("names", [("1.wav", "1.wav"), ("a.wav", "A.wav"), ("a.b.wav", "a.B.wav")])
def test_clips_of_one_name_in_two_classes_get_their_own_pictures(
    tmp_path: Path, out: Path, names: tuple[str, str]
) -> None:
    root = tmp_path / "sounds"
    write_tone(root / "low" / names[0], 300)
    write_tone(root / "high" / names[1], 2_000)
    rows = [(f"low/{names[0]}", "low", 1), (f"high/{names[1]}", "high", 1)]
    render(make_dataset(root, rows), out, CONFIG)
    loaded = RenderedSet.load(out)
    assert loaded.clips["image"].str.lower().is_unique
    assert_shows(loaded.clips)


def test_clips_of_one_name_in_two_formats_get_their_own_pictures(tmp_path: Path, out: Path) -> None:
    write_tone(tmp_path / "x" / "a.wav", 300)
    sf.write(tmp_path / "x" / "a.flac", np.sin(np.arange(2_400) * 2.0) / 2, SR)
    render(make_dataset(tmp_path, [("x/a.wav", "x", 1), ("x/a.flac", "x", 1)]), out, CONFIG)
    loaded = RenderedSet.load(out)
    assert loaded.clips["image"].is_unique
    assert_shows(loaded.clips)


def test_dots_in_names_are_kept_apart(tmp_path: Path, out: Path) -> None:
    for hz, name in ((300, "rec.1.wav"), (2_000, "rec.2.wav")):
        write_tone(tmp_path / "x" / name, hz)
    render(make_dataset(tmp_path, [(f"x/rec.{i}.wav", "x", 1) for i in (1, 2)]), out, CONFIG)
    assert pictures(out) == ["fold1/rec.1.png", "fold1/rec.2.png"]
    assert_shows(RenderedSet.load(out).clips)


@pytest.mark.parametrize(
    "parts",
    [
        [(0.0, 0.1), (0.1, 0.2), (0.2, None)],
        [(None, None), (0.15, 0.25)],
        [(0.0, 0.05), (0.0, 0.2)],
        [(0.1, 0.2), (0.1001, 0.2)],
    ],
    ids=["in a row", "whole and part", "of one start", "within a millisecond"],
)
def test_parts_of_one_file_get_a_picture_each(
    tmp_path: Path, out: Path, parts: list[tuple[Any, Any]]
) -> None:
    root = tmp_path / "sweep"
    root.mkdir()
    t = np.arange(round(0.3 * SR)) / SR
    sf.write(root / "rec.wav", 0.5 * np.sin(2 * np.pi * (200 + 4_000 * t) * t), SR)
    dataset = make_dataset(root, [("rec.wav", "x", 1, *part) for part in parts])
    assert counts(render(dataset, out, CONFIG)) == (len(parts), 0, 0, 0)
    loaded = RenderedSet.load(out)
    assert loaded.clips["image"].is_unique
    assert_shows(loaded.clips)


def test_clip_listed_twice_is_named(root: Path, out: Path) -> None:
    with pytest.raises(RenderError, match=r"low/a\.wav: is listed twice"):
        render(make_dataset(root, [*ROWS, ROWS[0]]), out, CONFIG)
    assert not out.exists()


def test_part_listed_twice_is_named(root: Path, out: Path) -> None:
    rows = [("low/a.wav", "low", 1, 0.1, 0.2), ("low/./a.wav", "high", 1, 0.1, 0.2)]
    rows += [("low/a.wav", "low", 1, None, None), ("low/a.wav", "low", 1, 0.1, None)]
    told = (
        r"low/a\.wav: is listed twice \(0\.1 s to 0\.2 s\), as low in fold 1 and as high in "
        r"fold 1; keep one of the two rows in the table \(spectro check names all such clips\)"
    )
    with pytest.raises(RenderError, match=told):
        render(make_dataset(root, rows), out, CONFIG)
    rows += [("low/b.wav", "low", 1, None, None)] * 3
    with pytest.raises(RenderError, match="and 2 other clips like it; keep one of the two rows"):
        render(make_dataset(root, rows), out, CONFIG)


@pytest.mark.parametrize(
    "paths",
    [
        ("x/a.wav", "x/A.wav"),
        ("Owl/1.wav", "owl/1.wav"),
        ("a__b/c.wav", "a/b/c.wav"),
        ("x/a.wav", "y/a.wav", "x__a.wav.wav"),
    ],
)
def test_any_two_files_get_two_pictures(paths: tuple[str, ...]) -> None:
    dataset = make_dataset(Path("/data"), [(path, "x", 1) for path in paths])
    names = image_names(dataset.clips, dataset.root)
    assert len({name.lower() for name in names}) == len(paths)


PART = st.sampled_from(["a", "A", "b", "a__b", "a@0.000", ".a", "a b", "ü"])
CLIP = st.tuples(
    st.lists(PART, min_size=1, max_size=3).map("/".join),
    st.sampled_from([".wav", ".WAV", ".flac"]),
    st.integers(1, 2),
    st.sampled_from([0.5, 1.0, None]),
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(CLIP, min_size=1, max_size=8, unique=True))
def test_pictures_are_unlike_each_other_on_any_disk(clips: list[tuple[Any, ...]]) -> None:
    rows = [(f"{path}{suffix}", "x", fold, start) for path, suffix, fold, start in clips]
    dataset = make_dataset(Path("/data"), rows)
    names = image_names(dataset.clips, dataset.root)
    assert len({name.lower() for name in names}) == len(rows)
    for name, fold in zip(names, dataset.clips["fold"], strict=True):
        folder, _, file = name.partition("/")
        assert folder == f"fold{fold}"
        assert file.endswith(".png")
        assert "/" not in file


def test_names_stay_short_where_nothing_collides() -> None:
    dataset = make_dataset(Path("/data"), [("x/a.wav", "x", 1), ("y/a.wav", "y", 2)])
    assert image_names(dataset.clips, dataset.root) == ["fold1/a.png", "fold2/a.png"]


# --------------------------------------------------------------------------- executors, progress


def make_many(root: Path, n: int) -> Dataset:
    rows = [(f"x/{i:02}.wav", "x", 1 + i % 3) for i in range(n)]
    for i, (path, _, _) in enumerate(rows):
        write_tone(root / path, 200 + 50 * i)
    return make_dataset(root, rows)


def contents(out: Path) -> dict[str, bytes]:
    return {name: content for name, (_, content) in snapshot(out).items()}


def test_one_thread_and_many_write_the_same_bytes(tmp_path: Path) -> None:
    dataset = make_many(tmp_path / "sounds", 40)
    render(dataset, tmp_path / "default", CONFIG)
    for threads in (1, 4):
        with ThreadPoolExecutor(threads) as executor:
            render(dataset, tmp_path / str(threads), CONFIG, executor=executor)
    expected = contents(tmp_path / "default")
    assert sum(name.endswith(".png") for name in expected) == 40
    assert contents(tmp_path / "1") == expected
    assert contents(tmp_path / "4") == expected


@pytest.mark.long
def test_processes_write_the_same_bytes_and_tell_the_same_failures(tmp_path: Path) -> None:
    dataset = make_many(tmp_path / "sounds", 40)
    write_words(tmp_path / "sounds" / "x" / "07.wav")
    render(dataset, tmp_path / "threads", CONFIG)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        summary = render(dataset, tmp_path / "processes", CONFIG, executor=executor)
    assert counts(summary) == (39, 0, 0, 1)
    assert contents(tmp_path / "processes") == contents(tmp_path / "threads")


def test_executor_of_the_caller_stays_open(dataset: Dataset, out: Path) -> None:
    with ThreadPoolExecutor(1) as executor:
        render(dataset, out, CONFIG, executor=executor)
        assert executor.submit(int, "7").result() == 7


def test_progress_counts_up_to_all_clips(tmp_path: Path, out: Path) -> None:
    dataset = make_many(tmp_path / "sounds", 50)
    write_words(tmp_path / "sounds" / "x" / "07.wav")
    calls: list[tuple[int, int]] = []
    render(dataset, out, CONFIG, progress=lambda done, total: calls.append((done, total)))
    done = [done for done, _ in calls]
    assert {total for _, total in calls} == {50}
    assert len(done) > 1, "progress is seen while it goes on"
    assert done == sorted(set(done))
    assert done[-1] == 50


class OneAtATime(Executor):
    """Runs a task only when somebody waits, and remembers how many tasks were kept."""

    def __init__(self) -> None:
        self.kept: dict[Future[Any], tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        self.most = 0
        self.sizes: list[int] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.kept[future] = (fn, args)
        self.most = max(self.most, len(self.kept))
        self.sizes.append(len(args[0]))
        return future

    def wait(self, futures: set[Future[Any]], **_: Any) -> tuple[set[Any], set[Any]]:
        future, (fn, args) = self.kept.popitem()  # the last first: order must not matter
        future.set_result(fn(*args))
        return {future}, futures - {future}


@pytest.mark.parametrize(("batch", "ahead", "most"), [(1, 5, 5), (4, 2, 2), (4, 64, 8)])
def test_no_more_tasks_are_kept_than_allowed(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, batch: int, ahead: int, most: int
) -> None:
    executor = OneAtATime()
    monkeypatch.setattr(workers, "wait", executor.wait)
    monkeypatch.setattr(workers, "_BATCHES", 30 // batch)
    monkeypatch.setattr(workers, "_AHEAD", ahead)
    summary = render(make_many(tmp_path / "sounds", 30), out, CONFIG, executor=executor)
    assert counts(summary) == (30, 0, 0, 0)
    assert executor.most == most
    assert max(executor.sizes) == batch
    assert_shows(RenderedSet.load(out).clips)


# ---------------------------------------------------------------------------------- when disks fail


class FullDisk:
    """Writes so many pictures, then fails in the middle of the next."""

    def __init__(self, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = room
        self.write = Path.write_bytes
        monkeypatch.setattr(Path, "write_bytes", lambda path, data: self(path, bytes(data)))

    def __call__(self, path: Path, data: bytes) -> int:
        if path.suffix == ".png":
            self.room -= 1
        if self.room < 0:
            self.write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return self.write(path, data)


def test_full_disk_is_one_error_and_what_is_done_stays(
    dataset: Dataset, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FullDisk(2, monkeypatch)
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(RenderError, match=r"No space left on device.*run it again to go on"),
    ):
        render(dataset, out, CONFIG, executor=executor)
    assert len(pictures(out)) == 2
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]
    with pytest.raises(RenderError, match="did not finish"):
        RenderedSet.load(out)
    monkeypatch.undo()
    assert counts(render(dataset, out, CONFIG)) == (1, 2, 0, 0)
    assert_shows(RenderedSet.load(out).clips)


def test_write_error_of_the_picture_library_is_told_in_its_words(
    dataset: Dataset, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise OSError("encoder error -2 when writing image file")  # Pillow's, without an errno

    monkeypatch.setattr(rendering, "save_png", fails)
    with pytest.raises(RenderError, match="encoder error -2"):
        render(dataset, out, CONFIG)


@pytest.mark.parametrize("name", ["dataset.json", "failures.csv", "clips.csv"])
def test_run_that_failed_at_a_table_goes_on(
    dataset: Dataset, out: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(RenderError, match=rf"{name}: cannot write \(No space left on device\)"):
        render(dataset, out, CONFIG)
    with pytest.raises(RenderError):
        RenderedSet.load(out)
    monkeypatch.undo()
    render(dataset, out, CONFIG)
    assert_shows(RenderedSet.load(out).clips)


@pytest.mark.parametrize(
    "named",
    [
        "http://127.0.0.1:9/s", "simplecache::http://127.0.0.1:9/x", "s3://bucket/x",
        "reference://x", "gs://bucket/x", "sftp://127.0.0.1/x", "nowhere://x",
    ],
)  # fmt: skip
def test_the_place_that_pictures_say_they_are_of_is_not_asked_over_a_network(
    dataset: Dataset, out: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    render(dataset, out, CONFIG)
    about = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    (out / "dataset.json").write_text(json.dumps({**about, "root": named}), encoding="utf-8")
    asked: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address) or [])
    with pytest.raises(RenderError, match=rf"was rendered otherwise \(dataset {re.escape(named)}"):
        render(dataset, out, CONFIG)
    assert not asked


@pytest.mark.parametrize("named", ["http://[::1", "x\0y", "", "x" * 5_000])
def test_a_place_that_is_none_is_told(dataset: Dataset, out: Path, named: str) -> None:
    render(dataset, out, CONFIG)
    about = json.loads((out / "dataset.json").read_text(encoding="utf-8"))
    (out / "dataset.json").write_text(json.dumps({**about, "root": named}), encoding="utf-8")
    for use in (lambda: render(dataset, out, CONFIG), lambda: RenderedSet.load(out)):
        with pytest.raises(RenderError, match=r"dataset\.json: root is .*: it can be no") as error:
            use()
        assert len(str(error.value)) < 400


def test_place_that_cannot_be_written_is_an_error(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RenderError, match="cannot write"):
        render(dataset, tmp_path / "file" / "pictures", CONFIG)


def test_a_bug_is_not_taken_for_a_broken_clip(
    dataset: Dataset, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Image.Image:
        raise ZeroDivisionError

    monkeypatch.setattr(rendering, "load_extent", broken)
    with pytest.raises(ZeroDivisionError):
        render(dataset, out, CONFIG)
    assert not (out / "clips.csv").exists()


def test_failed_second_run_leaves_the_first_readable(
    root: Path, dataset: Dataset, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render(dataset, out, CONFIG)
    set_time(write_tone(root / "low" / "a.wav", 3_000), 10**9)
    FullDisk(0, monkeypatch)
    with pytest.raises(RenderError):
        render(dataset, out, CONFIG)
    loaded = RenderedSet.load(out)
    for image in loaded.clips["image"]:
        with Image.open(image) as picture:
            picture.load()


def test_rendered_set_survives_copying_to_another_disk(
    dataset: Dataset, out: Path, tmp_path: Path
) -> None:
    render(dataset, out, CONFIG)
    copied = tmp_path / "copied"
    shutil.copytree(out, copied)  # as cp -a: times are kept
    assert counts(render(dataset, copied, CONFIG)) == (0, 3, 0, 0)
    assert RenderedSet.load(copied).identity == RenderedSet.load(out).identity


class StopsAtOnce(Executor):
    """An executor that is interrupted before it has drawn anything."""

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt


def test_an_interruption_never_leaves_a_clip_with_anothers_picture(
    root: Path, dataset: Dataset, out: Path
) -> None:
    render(dataset, out, CONFIG)
    before = RenderedSet.load(out).identity
    with pytest.raises(KeyboardInterrupt):  # nothing moves: the pictures can still be used
        render(dataset, out, CONFIG, executor=StopsAtOnce())
    assert RenderedSet.load(out).identity == before

    clips = dataset.clips.copy()
    clips.loc[:1, "label"] = clips.loc[:1, "label"].to_numpy()[::-1] + "x"
    changed = replace(dataset, clips=clips)
    with pytest.raises(KeyboardInterrupt):
        render(changed, out, CONFIG, executor=StopsAtOnce())
    with pytest.raises(RenderError, match="did not finish"):
        RenderedSet.load(out)
    render(changed, out, CONFIG)
    assert set(clips["label"]) == set(RenderedSet.load(out).clips["label"])
    assert not list(out.glob(".clips*"))
