"""Pictures are read whole, of the shape they should have, or not at all."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from spectro.clips import datasets
from spectro.errors import RenderError
from spectro.pictures.colors import palette
from spectro.pictures.read import drawn_as, n_bytes, n_channels, read_grey, read_levels
from spectro.pictures.render import render
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.spectrogram import _two_channels, network_levels, save_png
from tests.conftest import SMALL_PICTURES


def picture(path: Path, height: int = 16, width: int = 20) -> str:
    rng = np.random.default_rng(0)
    save_png(Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8)), path)
    return str(path)


def bomb(path: Path, width: int, height: int) -> str:
    """A PNG of a few kilobytes that says it is enormous, and would unpack to that."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    about = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", about) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    return str(path)


@pytest.mark.parametrize("size", [None, 32])
@pytest.mark.parametrize("shape", [None, (16, 20)])
def test_pictures_are_what_pillow_makes_of_them(
    tmp_path: Path, size: int | None, shape: tuple[int, int] | None
) -> None:
    path = picture(tmp_path / "a.png")
    found = read_levels([path, path], size, shape)
    expected = network_levels(Image.open(path), size)
    assert np.array_equal(found, [expected, expected])


def levels(mode: str, height: int = 16, width: int = 20) -> Any:
    """Levels of a picture drawn in a mode, shape (height, width, channels)."""
    channels = 2 if mode == "both" else 1
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def drawn(grey: Any, mode: str) -> Image.Image:
    """The picture that spectrogram_image draws of levels."""
    if mode == "both":
        return _two_channels(grey[..., 0], grey[..., 1])
    image = Image.fromarray(grey[..., 0])
    image.putpalette(palette(mode))
    return image


@pytest.mark.parametrize("mode", ["magma", "gray", "both"])
@pytest.mark.parametrize("saved", ["as it is", "as RGB", "with another order of colours"])
def test_levels_are_what_was_drawn_however_a_picture_was_saved(
    tmp_path: Path, mode: str, saved: str
) -> None:
    grey = levels(mode)
    image, path = drawn(grey, mode), tmp_path / "a.png"
    if saved == "as RGB":
        image = image.convert("RGB")
    if saved == "with another order of colours":  # as optimisers of PNGs leave it
        image = image.convert("RGB").quantize(256) if mode != "both" else image
    same = np.array_equal(image.convert("RGB"), drawn(grey, mode).convert("RGB"))
    save_png(image, path)
    (found,) = read_grey([str(path)], mode)
    assert same
    np.testing.assert_array_equal(found.transpose(1, 2, 0), grey)
    assert n_bytes(str(path), n_channels(mode)) == found.nbytes
    if saved == "as it is":
        assert drawn_as(str(path)) == mode


def test_a_palette_that_was_rounded_elsewhere_is_magma(tmp_path: Path) -> None:
    """Others keep magma's colours as round(255 x): up to one more than matplotlib's bytes."""
    grey = levels("magma")
    image, path = drawn(grey, "magma"), tmp_path / "a.png"
    colours = matplotlib.colormaps["magma"](np.arange(256))[:, :3]
    rounded = np.rint(255 * colours).astype(np.uint8).tobytes()
    assert rounded != palette("magma")
    image.putpalette(rounded)
    save_png(image, path)
    (found,) = read_grey([str(path)], "magma")
    np.testing.assert_array_equal(found.transpose(1, 2, 0), grey)
    assert drawn_as(str(path)) == "magma"


@pytest.mark.parametrize("mode", ["magma", "gray", "both"])
def test_colours_that_stand_for_no_level_are_refused(tmp_path: Path, mode: str) -> None:
    other = drawn(levels("magma"), "magma").convert("RGB") if mode == "gray" else None
    image = other or Image.new("RGB", (20, 16), (200, 10, 30))
    save_png(image, tmp_path / "a.png")
    with pytest.raises(RenderError, match=rf"a\.png: .*colours that none of {mode} has.*again"):
        read_grey([str(tmp_path / "a.png")], mode)


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (0, 5)])
def test_a_picture_too_large_to_be_one_is_not_decoded(
    tmp_path: Path, width: int, height: int
) -> None:
    path = bomb(tmp_path / "bomb.png", width, height)
    for read in (lambda: read_levels([path], None), lambda: read_levels([path], 32, (16, 20))):
        with pytest.raises(RenderError, match=r"bomb\.png: is no picture .*remove it and run"):
            read()
    with pytest.raises(RenderError, match="is no picture"):
        n_bytes(path, 1)


def test_a_picture_of_another_shape_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [picture(tmp_path / "a.png"), bomb(tmp_path / "b.png", 8_000, 8_000)]
    opened = []
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda *a, **k: opened.append(a) or real(*a, **k))
    with pytest.raises(RenderError, match=r"b\.png: is 8000 x 8000 pixels, unlike .*a\.png"):
        read_levels(paths, None)
    with pytest.raises(RenderError, match=r"a\.png: is 20 x 16 pixels, unlike the settings"):
        read_levels(paths[:1], None, (16, 21))
    assert len(opened) == 1


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "JPEG", "EPS"])
def test_only_png_is_a_picture_here(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (20, 16)).save(path, format=kind)
    with pytest.raises(RenderError, match="does not start as a PNG"):
        read_levels([str(path)], None)


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None], linked: bool
) -> None:
    make(tmp_path / ("b" if linked else "a.png"))
    if linked:
        (tmp_path / "a.png").symlink_to(tmp_path / "b")
    with pytest.raises(RenderError, match=r"a\.png: is no picture"):
        read_levels([str(tmp_path / "a.png")], None)


def test_any_cut_or_rot_is_one_line_or_a_picture(tmp_path: Path) -> None:
    path = Path(picture(tmp_path / "a.png"))
    good, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        at = int(rng.integers(len(good)))
        rotten = good[:at] + rng.bytes(int(rng.integers(4))) + good[at + int(rng.integers(40)) :]
        path.write_bytes(rotten)
        try:
            assert read_levels([str(path)], None).shape[3] == 3
        except RenderError as error:
            assert len(str(error)) < 400 + len(str(path))
            assert "\n" not in str(error)


@pytest.mark.parametrize("rot", ["cut", "empty", "end gone", "pipe", "words"])
def test_rendering_again_mends_a_picture_that_was_cut(
    rendered: RenderedSet, sample_root: Path, tmp_path: Path, rot: str
) -> None:
    out = tmp_path / "pictures"
    shutil.copytree(rendered.folder, out)
    spoilt = next((out / "fold2").glob("*.png"))
    good, time = spoilt.read_bytes(), spoilt.stat().st_mtime_ns
    spoilt.unlink()
    if rot == "pipe":
        os.mkfifo(spoilt)
    else:
        kept = {"cut": 1_500, "empty": 0, "end gone": -40, "words": 0}[rot]
        spoilt.write_bytes(good[:kept] + (b"not a picture" if rot == "words" else b""))
    os.utime(spoilt, ns=(time, time))
    with pytest.raises(RenderError, match="run spectro render again"):
        read_levels([str(spoilt)], None, SMALL_PICTURES.shape)
    summary = render(datasets.load(sample_root), out, SMALL_PICTURES)
    assert (summary.rendered, summary.already_there) == (1, 35)
    assert spoilt.read_bytes() == good
