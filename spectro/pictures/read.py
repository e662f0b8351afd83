"""Pictures of clips from their files, many at a time, as a network takes them."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image

from spectro.errors import RenderError
from spectro.pictures.settings import MAX_PIXELS
from spectro.pictures.spectrogram import network_levels
from spectro.plumbing.paths import is_url, place

__all__ = ["is_whole", "n_bytes", "open_picture", "picture_size", "read_levels"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = bytes.fromhex("0000000049454e44ae426082")  # the chunk IEND, last in every whole PNG
_AGAIN = "remove it and run spectro render again"

Levels = npt.NDArray[np.uint8]


def open_picture(path: str) -> IO[bytes]:
    """Open a file that should be a PNG; a pipe, which would be waited for, is refused.

    Raises
    ------
    OSError
        If it is no regular file, or cannot be opened.
    """
    if is_url(path):
        return place(path).open("rb")
    file = open(path, "rb", opener=_at_once)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(0, "it is no regular file")
    return file


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for anyone at the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


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
    wanted, told = (shape, "the settings") if shape else (_shape(images[0]), images[0])
    levels = np.empty((len(images), *((size, size) if size else wanted), 3), np.uint8)

    def read(number: int) -> None:
        levels[number] = _levels(images[number], size, wanted, told)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for _ in threads.map(read, range(len(images))):
            pass
    return levels


def n_bytes(image: str, size: int | None) -> int:
    """Say how much memory a picture takes once it is read.

    Raises
    ------
    RenderError
        If the file is no picture.
    """
    height, width = (size, size) if size else _shape(image)
    return 3 * height * width


def _shape(path: str) -> tuple[int, int]:
    try:
        with open_picture(path) as file:
            return picture_size(file)
    except Exception as error:
        raise _no_picture(path, error) from None


def _levels(path: str, size: int | None, wanted: tuple[int, int], told: str) -> Levels:
    try:
        with open_picture(path) as file:
            found = picture_size(file)
            if found == wanted:
                with Image.open(file, formats=("PNG",)) as image:
                    return network_levels(image, size)
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
