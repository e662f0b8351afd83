"""Pictures of clips from their files, many at a time: their levels, or their colours."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image

from spectro.errors import RenderError
from spectro.pictures.colors import palette
from spectro.pictures.settings import MAX_PIXELS
from spectro.pictures.spectrogram import network_levels
from spectro.plumbing.files import open_regular, read_bounded

__all__ = [
    "drawn_as",
    "is_whole",
    "n_bytes",
    "n_channels",
    "picture_digest",
    "picture_grey",
    "picture_size",
    "read_grey",
    "read_levels",
]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = bytes.fromhex("0000000049454e44ae426082")  # the chunk IEND, last in every whole PNG
_LARGEST = 4 * MAX_PIXELS  # bytes of a file: noise does not become smaller in it
_AGAIN = "remove it and run spectro render again"

Levels = npt.NDArray[np.uint8]


def is_whole(file: IO[bytes]) -> bool:
    """Tell whether a PNG ends as it should: one that was cut does not."""
    file.seek(-min(len(_END), file.seek(0, os.SEEK_END)), os.SEEK_END)
    return file.read() == _END


def picture_size(file: IO[bytes]) -> tuple[int, int]:
    """Read height and width of a PNG from its header; the file is then at its start again.

    Raises
    ------
    ValueError
        If it is no PNG, or larger than any picture that is drawn here.
    """
    header = file.read(24)
    file.seek(0)
    if len(header) < 24 or not header.startswith(_SIGNATURE) or header[12:16] != b"IHDR":
        raise ValueError("it does not start as a PNG")
    width, height = (int.from_bytes(header[at : at + 4], "big") for at in (16, 20))
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels are more than {MAX_PIXELS:,}")
    return height, width


def read_levels(
    images: Sequence[str], size: int | None, shape: tuple[int, int] | None = None
) -> Levels:
    """Read pictures of one size through threads: decoding PNG needs no lock.

    Nothing is decoded before the file's header was compared with what it should be, so a picture
    that would unpack to gigabytes is refused.

    Parameters
    ----------
    images : sequence of str
        Picture files.
    size : int or None
        Side of the square that they are resized to; None keeps them as they are.
    shape : tuple of int, or None
        Height and width that each must have: ``config.shape`` of the settings they were drawn with.
        None takes those of the first.

    Returns
    -------
    levels : np.ndarray [shape=(n_images, height, width, 3)], uint8

    Raises
    ------
    RenderError
        If a file is no PNG, was cut, or is of another shape.
    """
    side = (size, size) if size else None
    return _read(images, shape, side, 3, lambda image: network_levels(image, size))


def read_grey(images: Sequence[str], drawn: str, shape: tuple[int, int] | None = None) -> Levels:
    """Read the grey levels of pictures of one size, a byte a pixel and channel of sound.

    Parameters
    ----------
    images : sequence of str
        Picture files.
    drawn : "magma", "gray" or "both"
        ``config.drawn`` of the settings they were drawn with, or :func:`drawn_as`.
    shape : tuple of int, or None
        As of :func:`read_levels`.

    Returns
    -------
    levels : np.ndarray [shape=(n_images, channels, height, width)], uint8

    Raises
    ------
    RenderError
        As of :func:`read_levels`, or if a picture has colours that stand for no level.
    """
    channels = n_channels(drawn)
    grey = _read(images, shape, None, channels, lambda image: picture_grey(image, drawn))
    return np.ascontiguousarray(grey.transpose(0, 3, 1, 2))


def _read(
    images: Sequence[str],
    shape: tuple[int, int] | None,
    side: tuple[int, int] | None,
    channels: int,
    convert: Callable[[Image.Image], Levels],
) -> Levels:
    """Read and convert pictures through threads, shape (n_images, height, width, channels)."""
    wanted, told = (shape, "the settings") if shape else (_shape(images[0]), images[0])
    levels = np.empty((len(images), *(side or wanted), channels), np.uint8)

    def read(number: int) -> None:
        levels[number] = _converted(images[number], wanted, told, convert)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for _ in threads.map(read, range(len(images))):
            pass
    return levels


def picture_grey(image: Image.Image, drawn: str) -> Levels:
    """Give the grey levels of a picture.

    Returns
    -------
    levels : np.ndarray [shape=(height, width, channels)], uint8

    Raises
    ------
    ValueError
        If it has colours that stand for no level.
    """
    if drawn != "both" and _has_palette(image, drawn):
        return np.asarray(image)[..., np.newaxis]  # as it was drawn: the index is the level
    colours = np.asarray(image.convert("RGB"))
    if drawn == "both":
        mean = (colours[..., 0].astype(np.uint16) + colours[..., 1] + 1) // 2
        known, levels = colours[..., 2] == mean, colours[..., :2]
    else:
        numbers, order = _numbered(drawn)
        wanted = _as_numbers(colours)
        places = np.minimum(np.searchsorted(numbers, wanted), 255)
        known, levels = numbers[places] == wanted, order[places][..., np.newaxis]
    if not known.all():
        raise ValueError(f"it has colours that none of {drawn} has")
    return levels


def drawn_as(image: str) -> str:
    """Tell by a picture's own palette how its pixels stand for levels: "magma", "gray" or "both".

    Raises
    ------
    RenderError
        If the file is no picture.
    """
    try:
        with open_regular(image) as file:
            picture_size(file)
            with Image.open(file, formats=("PNG",)) as opened:
                opened.load()
                if opened.mode == "RGB":
                    return "both"
                return "magma" if _has_palette(opened, "magma") else "gray"
    except Exception as error:  # damaged files make Pillow raise anything
        raise _no_picture(image, error) from None


def n_channels(drawn: str) -> int:
    """Count the bytes of a pixel's levels."""
    return 2 if drawn == "both" else 1


def _has_palette(image: Image.Image, cmap: str) -> bool:
    """Tell whether a picture's index is the level; others round colours where we cut them."""
    found, wanted = bytes(image.getpalette("RGB") or ()), palette(cmap)
    if image.mode != "P" or len(found) != len(wanted):
        return False
    return found == wanted or max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= 1


def _as_numbers(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    numbers: npt.NDArray[np.int32] = colours.astype(np.int32) @ np.array(
        [1 << 16, 1 << 8, 1], dtype=np.int32
    )
    return numbers


@functools.cache
def _numbered(drawn: str) -> tuple[npt.NDArray[np.int32], Levels]:
    """Return the colours of a palette as rising numbers, and the level of each."""
    numbers = _as_numbers(np.frombuffer(palette(drawn), np.uint8).reshape(256, 3))
    order = np.argsort(numbers).astype(np.uint8)
    return numbers[order], order


def n_bytes(image: str, channels: int) -> int:
    """Say how much memory a picture's levels take once they are read.

    Raises
    ------
    RenderError
        If the file is no picture.
    """
    height, width = _shape(image)
    return channels * height * width


def picture_digest(image: str) -> str:
    """Compute the SHA-256 of a picture's file, as 64 hexadecimal digits.

    Raises
    ------
    RenderError
        If it is no file, or larger than that of any picture that is drawn here.
    """
    try:
        return hashlib.sha256(read_bounded(image, _LARGEST)).hexdigest()
    except OSError as error:
        raise _no_picture(image, error) from None


def _shape(path: str) -> tuple[int, int]:
    try:
        with open_regular(path) as file:
            return picture_size(file)
    except Exception as error:
        raise _no_picture(path, error) from None


def _converted(
    path: str, wanted: tuple[int, int], told: str, convert: Callable[[Image.Image], Levels]
) -> Levels:
    try:
        with open_regular(path) as file:
            found = picture_size(file)
            if found == wanted:
                with Image.open(file, formats=("PNG",)) as image:
                    image.load()
                    return convert(image)
    except Exception as error:  # damaged files make Pillow raise anything
        raise _no_picture(path, error) from None
    (height, width), (high, wide) = found, wanted
    raise RenderError(
        f"{path}: is {width} x {height} pixels, unlike {told} ({wide} x {high}); {_AGAIN}"
    )


def _no_picture(path: str, error: Exception) -> RenderError:
    if isinstance(error, FileNotFoundError):
        return RenderError(f"{path}: is not there; run spectro render again")
    why = getattr(error, "strerror", None) or str(error).partition("\n")[0][:200]
    return RenderError(f"{path}: is no picture ({why or type(error).__name__}); {_AGAIN}")
