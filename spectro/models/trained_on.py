"""Which pictures a network was trained on: a short hash of each, beside it in the model folder.

The network's answer for a clip that it was trained on says nothing of what it makes of new sounds.
A clip is known again by its picture, whatever its file is called now and wherever it lies.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from spectro.errors import ModelError
from spectro.pictures.read import picture_grey, read_grey
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.paths import check_no_link

__all__ = [
    "TRAINED_ON",
    "are_heard",
    "each_mark",
    "mark_of",
    "marks_of",
    "read_marks",
    "write_marks",
]

TRAINED_ON = "trained-on.txt"

_MAX_BYTES = 1 << 26  # four million clips
_AT_ONCE = 1_000  # pictures in memory
_MARK = re.compile(r"[0-9a-f]{16}")

Levels = npt.NDArray[np.uint8]


def marks_of(images: Sequence[str], config: SpectrogramConfig) -> list[str]:
    """Hash the pictures that a network is trained on.

    Parameters
    ----------
    images : sequence of str
        Picture files.
    config : SpectrogramConfig
        What they were drawn with.

    Returns
    -------
    marks : list of str
        16 hexadecimal digits each, sorted, each once. Pictures of a single level have none: silence
        is like any other silence.

    Raises
    ------
    RenderError
        If a file is no such picture.
    """
    return sorted(set(each_mark(images, config)) - {""})


def are_heard(
    images: Sequence[str], config: SpectrogramConfig, marks: Set[str]
) -> npt.NDArray[np.bool_]:
    """Tell which pictures a network was trained on; those of a single level count as such.

    Parameters
    ----------
    images : sequence of str
        Picture files.
    config : SpectrogramConfig
        What they were drawn with.
    marks : set of str
        Of the network (:func:`read_marks`).

    Returns
    -------
    heard : np.ndarray [shape=(n_images,)], bool

    Raises
    ------
    RenderError
        If a file is no such picture.
    """
    return np.array([not mark or mark in marks for mark in each_mark(images, config)], dtype=bool)


def each_mark(images: Sequence[str], config: SpectrogramConfig) -> Iterator[str]:
    """Hash one picture after the other; for one of a single level give an empty mark.

    Parameters
    ----------
    images : sequence of str
        Picture files.
    config : SpectrogramConfig
        What they were drawn with.
    """
    for at in range(0, len(images), _AT_ONCE):
        for levels in read_grey(images[at : at + _AT_ONCE], config.drawn, config.shape):
            yield _hash(levels) if levels.min() < levels.max() else ""


def mark_of(image: Image.Image, config: SpectrogramConfig) -> str:
    """Hash a picture as it is drawn (:func:`spectro.pictures.spectrogram.clip_image`)."""
    return _hash(np.ascontiguousarray(picture_grey(image, config.drawn).transpose(2, 0, 1)))


def _hash(levels: Levels) -> str:
    return hashlib.blake2b(levels.tobytes(), digest_size=8).hexdigest()


def write_marks(path: Path, marks: Iterable[str]) -> None:
    """Write a mark a line."""
    path.write_text("".join(f"{mark}\n" for mark in marks), encoding="ascii", newline="\n")


def read_marks(folder: str | Path) -> frozenset[str]:
    """Read the marks of a model folder, which may come from a stranger.

    Returns
    -------
    marks : frozenset of str
        Empty where the folder keeps none.

    Raises
    ------
    ModelError
        If the file is no list of marks.
    """
    path = Path(folder) / TRAINED_ON
    check_no_link(path, ModelError)
    if not path.is_file():
        return frozenset()
    if path.stat().st_size > _MAX_BYTES:
        raise ModelError(f"{path}: is longer than {_MAX_BYTES:,} bytes; remove it, or train anew")
    marks = path.read_bytes().decode("ascii", "replace").splitlines()
    wrong = next((n for n, mark in enumerate(marks, 1) if not _MARK.fullmatch(mark)), None)
    if wrong is not None:
        raise ModelError(f"{path}: line {wrong} is no mark of a picture; remove it, or train anew")
    return frozenset(marks)
