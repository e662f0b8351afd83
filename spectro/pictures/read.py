"""Pictures of clips from their files, many at a time, as a network takes them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from PIL import Image

from spectro.errors import RenderError
from spectro.pictures.spectrogram import network_levels
from spectro.plumbing.paths import is_url, place

__all__ = ["n_bytes", "read_levels"]

Levels = npt.NDArray[np.uint8]


def read_levels(images: Sequence[str], size: int | None) -> Levels:
    """Read pictures of one size through threads: decoding PNG needs no lock.

    Parameters
    ----------
    images : sequence of str
        Picture files.
    size : int or None
        Side of the square that they are resized to; None keeps them as they are.

    Returns
    -------
    levels : np.ndarray [shape=(n_images, height, width, 3)], uint8

    Raises
    ------
    RenderError
        If a file is no picture, or of another size than the first.
    """
    first = _levels(images[0], size)
    levels = np.empty((len(images), *first.shape), np.uint8)

    def read(number: int) -> None:
        picture = _levels(images[number], size)
        if picture.shape != first.shape:
            height, width, _ = picture.shape
            raise RenderError(
                f"{images[number]}: is {width} x {height} pixels, unlike {images[0]}; "
                "run spectro render again"
            )
        levels[number] = picture

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
    return _levels(image, size).nbytes


def _levels(path: str, size: int | None) -> Levels:
    try:
        with Image.open(place(path).open("rb") if is_url(path) else path) as image:
            return network_levels(image, size)
    except FileNotFoundError:
        raise RenderError(f"{path}: is not there; run spectro render again") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damaged files
        raise RenderError(f"{path}: is no picture ({error}); run spectro render again") from None
