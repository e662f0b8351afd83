"""Prediction: sound files to labels, from a model folder alone.

The spectrogram settings come from the model folder and nowhere else, through the very functions
that drew the training pictures.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from spectro.clips.waveform import Window, fit, windows
from spectro.errors import AudioError
from spectro.models.card import ModelCard
from spectro.models.folder import load_model, predict_probabilities
from spectro.pictures.spectrogram import clip_image, network_pixels, spectrogram_image

__all__ = ["Classifier"]

_BATCH = 32

T = TypeVar("T")

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
        return pd.concat(tables or [self._nothing()], ignore_index=True)

    def predict_long(self, path: str | Path, *, hop: float | None = None) -> pd.DataFrame:
        """Predict what sounds when in a recording of any length, window by window.

        A window is as long as the pictures that the network was trained on, and drawn as they
        were. The recording is never in memory whole.

        Parameters
        ----------
        path : str or Path
            Sound file.
        hop : float or None
            Step from one window to the next in seconds; None means a window's length.

        Returns
        -------
        predictions : pandas.DataFrame
            A row a window, in order: ``start`` and ``end`` in seconds, ``label``, ``probability``,
            then a column a class. The last window ends with the recording
            (:func:`spectro.clips.waveform.windows`); only a recording shorter than a window is padded, as
            a short clip was in training.

        Raises
        ------
        AudioError
            If the file cannot be decoded to its end.
        ConfigError
            If `hop` is not above 0.
        """
        config = self.card.spectrogram
        walk = windows(
            path, sr=config.sr, duration=config.duration, hop=hop, channels=config.channels
        )
        tables = [self._predict_windows(batch) for batch in _batches(walk)]
        return pd.concat(tables, ignore_index=True)

    def _predict_windows(self, batch: list[Window]) -> pd.DataFrame:
        config = self.card.spectrogram
        waveforms = (fit(window.y, config.n_samples, pad=config.pad) for window in batch)
        pixels = [network_pixels(spectrogram_image(y, config), self.card.size) for y in waveforms]
        about = {"start": [w.start for w in batch], "end": [w.end for w in batch]}
        return self._table(about, self._probabilities(np.stack(pixels)))

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
            return self._nothing()
        return self._table({"path": heard}, self._probabilities(np.stack(pixels)))

    def _nothing(self) -> pd.DataFrame:
        return self._table({"path": []}, np.empty((0, len(self.labels)), np.float32))

    def _table(self, about: dict[str, list[Any]], probabilities: Probabilities) -> pd.DataFrame:
        """Put what was heard and what was made of it side by side, a row a picture."""
        best = probabilities.argmax(axis=1)
        columns = {label: probabilities[:, i] for i, label in enumerate(self.labels)}
        return pd.DataFrame(
            {
                **about,
                "label": [self.labels[i] for i in best],
                "probability": probabilities.max(axis=1, initial=0),
                **{f"p_{label}": column for label, column in columns.items()},
            }
        )


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    items = iter(items)
    while batch := list(itertools.islice(items, _BATCH)):
        yield batch
