"""Prediction: sound files to labels, from a model folder alone.

The spectrogram settings come from the model folder and nowhere else, through the very functions
that drew the training pictures.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from spectro.errors import AudioError
from spectro.model import ModelCard, load_model, predict_probabilities
from spectro.spectrogram import clip_image, network_pixels

__all__ = ["Classifier"]

_BATCH = 32

Probabilities = npt.NDArray[np.float32]


class Classifier:
    """A trained network with everything it needs to hear a file.

    Parameters
    ----------
    card : ModelCard
        What the model is.
    probabilities : callable
        Maps pixels (n, 3, height, width), float32 between 0 and 1, to probabilities (n, classes).
    """

    def __init__(self, card: ModelCard, probabilities: Callable[[Probabilities], Probabilities]):
        self.card = card
        self._probabilities = probabilities

    @classmethod
    def load(cls, folder: str | Path) -> Classifier:
        """Load a model folder.

        Raises
        ------
        ModelError
            If there is none, or it is damaged.
        """
        import torch

        model, card = load_model(folder)

        def probabilities(pixels: Probabilities) -> Probabilities:
            result: Probabilities
            result = predict_probabilities(model, card, torch.from_numpy(pixels)).numpy()
            return result

        return cls(card, probabilities)

    @property
    def labels(self) -> list[str]:
        """Classes, in the order of the probabilities."""
        return list(self.card.labels)

    def predict(
        self, paths: Iterable[str | Path], *, failed: Callable[[AudioError], None] | None = None
    ) -> pd.DataFrame:
        """Predict the class of clips.

        Parameters
        ----------
        paths : iterable of str or Path
            Sound files; of a longer one, the part that training would have seen counts.
        failed : callable or None
            Told of each file that cannot be decoded, which is then left out. None raises instead.

        Returns
        -------
        predictions : pandas.DataFrame
            A row a file, in order: ``path``, ``label``, ``probability``, then a column a class.

        Raises
        ------
        AudioError
            If a file cannot be decoded and `failed` is None.
        """
        tables = [self._predict_batch(batch, failed) for batch in _batches(paths)]
        return pd.concat(
            tables or [self._table([], np.empty((0, len(self.labels)), np.float32))],
            ignore_index=True,
        )

    def _predict_batch(
        self, paths: list[str | Path], failed: Callable[[AudioError], None] | None
    ) -> pd.DataFrame:
        heard, pixels = [], []
        for path in paths:
            try:
                image = clip_image(path, self.card.spectrogram)
            except AudioError as error:
                if failed is None:
                    raise
                failed(error)
                continue
            heard.append(str(path))
            pixels.append(network_pixels(image, self.card.size))
        if not heard:
            return self._table([], np.empty((0, len(self.labels)), np.float32))
        return self._table(heard, self._probabilities(np.stack(pixels)))

    def _table(self, paths: list[str], probabilities: Probabilities) -> pd.DataFrame:
        best = probabilities.argmax(axis=1) if paths else []
        columns = {label: probabilities[:, i] for i, label in enumerate(self.labels)}
        return pd.DataFrame(
            {
                "path": paths,
                "label": [self.labels[i] for i in best],
                "probability": probabilities.max(axis=1) if paths else [],
                **{f"p_{label}": column for label, column in columns.items()},
            }
        )


def _batches(paths: Iterable[str | Path]) -> Iterator[list[str | Path]]:
    paths = iter(paths)
    while batch := list(itertools.islice(paths, _BATCH)):
        yield batch
