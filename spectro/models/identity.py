"""The name of a model: a hash of all that decides its answers."""

from __future__ import annotations

import hashlib
from pathlib import Path

from spectro.errors import ModelError
from spectro.models.card import read_card

__all__ = ["model_hash"]

# Of one network; where there are its tensors, they name it.
_FILES = ("model.safetensors", "model.onnx", "model.int8.onnx")
_WORDS = {"training", "scores", "licence", "detections"}  # of the card: they change no answer


def model_hash(folder: str | Path) -> str:
    """Name a model by its tensors and by what its card says of pictures and answers.

    Parameters
    ----------
    folder : str or Path
        Model folder. Without ``model.safetensors``, its export is hashed: the same network then
        has another name.

    Returns
    -------
    digits : str
        Sixteen hexadecimal digits.

    Raises
    ------
    ModelError
        If the folder holds no model.
    """
    card = read_card(folder)
    digest = hashlib.sha256(card.model_dump_json(exclude=_WORDS).encode())
    for name in _FILES:
        path = Path(folder) / name
        if path.is_file():
            _update(digest, path)
            return digest.hexdigest()[:16]
    raise ModelError(f"{folder}: holds none of {', '.join(_FILES)}; take another copy")


def _update(digest: hashlib._Hash, path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
