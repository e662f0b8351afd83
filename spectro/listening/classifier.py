"""Prediction: sound files to labels, from a model folder alone.

The spectrogram settings come from the model folder and nowhere else, through the very functions
that drew the training pictures.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from spectro.errors import AudioError, ModelError
from spectro.listening.averaging import trained_on
from spectro.listening.backends import Backend, BackendName, open_backend
from spectro.listening.windower import file_pictures
from spectro.models.card import ModelCard
from spectro.models.trained_on import mark_of
from spectro.pictures.spectrogram import clip_image, network_levels
from spectro.plumbing import extras

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Classifier", "Prediction"]

_BATCH = 32

T = TypeVar("T")

Probabilities = npt.NDArray[np.float32]


class Prediction(NamedTuple):
    """What a network made of a file, or of a window of it.

    Attributes
    ----------
    path : str
        The file.
    start, end : float or None
        The window in seconds; None for a whole clip.
    label : str
        The likeliest class.
    probability : float
        Its probability.
    probabilities : np.ndarray [shape=(classes,)], float32
        Of each class, in the order of :attr:`Classifier.labels`.
    known : bool
        False where the sound is none that the network was trained on, as far as it can tell.
    trained_on : bool
        True of a clip that the network was trained on: its answer says nothing of new sounds.
    """

    path: str
    start: float | None
    end: float | None
    label: str
    probability: float
    probabilities: Probabilities
    known: bool = True
    trained_on: bool = False


class Classifier:
    """A trained network with everything it needs to hear a file.

    Parameters
    ----------
    backend : Backend
        What runs the network; see :func:`spectro.listening.backends.open_backend`.
    trained_on : frozenset of str
        Marks of the pictures that it was trained on (:mod:`spectro.models.trained_on`).

    Examples
    --------
    >>> import tempfile
    >>> from spectro import Classifier, RenderedSet, SpectrogramConfig, TrainConfig
    >>> from spectro import cross_validate, load_dataset, render, write_sample
    >>> folder = tempfile.mkdtemp()
    >>> sounds = write_sample(folder, sources=1, slices=1, folds=2, classes=("siren", "dog_bark"))
    >>> _ = render(load_dataset(sounds), f"{folder}/pictures", SpectrogramConfig(n_mels=32))
    >>> config = TrainConfig(arch="cnn4", weights="none", batch_size=2, phases=[{"epochs": 1}])
    >>> run = cross_validate(RenderedSet.load(f"{folder}/pictures"), f"{folder}/run", config)
    >>> classifier = Classifier.load(f"{folder}/run/fold1/model")
    >>> [prediction] = classifier.classify([sounds / "audio/fold1/180000-8-0-0.wav"])
    >>> classifier.labels, prediction.label in classifier.labels
    (['dog_bark', 'siren'], True)
    """

    def __init__(self, backend: Backend, trained_on: frozenset[str] = frozenset()) -> None:
        self.card: ModelCard = backend.card
        self._backend = backend
        self._trained_on = trained_on

    @classmethod
    def load(cls, folder: str | Path, *, backend: BackendName = "auto") -> Classifier:
        """Load a model folder, or the folds' networks of a run, which are averaged.

        Parameters
        ----------
        folder : str or Path
            Model folder or run.
        backend : "auto", "torch", "onnx" or "int8"
            What runs the network: torch; or ONNX Runtime, from ``model.onnx`` or
            ``model.int8.onnx``. "auto" takes ``model.onnx`` where it is there, else torch.

        Raises
        ------
        ModelError
            If there is none, or it is damaged.
        MissingExtraError
            If what is needed is not installed.
        """
        return cls(open_backend(folder, backend), trained_on(folder))

    @property
    def labels(self) -> list[str]:
        """Classes, in the order of the probabilities."""
        return list(self.card.labels)

    @property
    def remark(self) -> str:
        """What to tell of it in a line: of a run, which networks are averaged; or nothing."""
        return str(getattr(self._backend, "remark", ""))

    def classify(
        self, paths: Iterable[str | Path], *, failed: Callable[[AudioError], None] | None = None
    ) -> Iterator[Prediction]:
        """Predict the class of clips, one after another; the next are read when they are asked for.

        Parameters
        ----------
        paths : iterable of str or Path
            Sound files; of a longer one, the part that training would have seen counts.
        failed : callable or None
            Told of each file that cannot be decoded, which is then left out. None raises instead.

        Yields
        ------
        prediction : Prediction
            A file each, in order.

        Raises
        ------
        AudioError
            If a file cannot be decoded and `failed` is None.
        ModelError
            If the network gives no numbers.
        """
        for batch in _batches(self._pictures(paths, failed)):
            heard = [(path, None, None) for path, _, _ in batch]
            answers = self._ask(heard, [levels for _, levels, _ in batch])
            for answer, (_, _, known_clip) in zip(answers, batch, strict=True):
                yield answer._replace(trained_on=known_clip)

    def classify_long(self, path: str | Path, *, hop: float | None = None) -> Iterator[Prediction]:
        """Predict what sounds when in a recording of any length, window by window.

        A window is as long as the pictures that the network was trained on, and drawn as they
        were. The recording is never in memory whole.

        Parameters
        ----------
        path : str or Path
            Sound file.
        hop : float or None
            Step from one window to the next in seconds; None means a window's length.

        Yields
        ------
        prediction : Prediction
            A window each, in order. The last ends with the recording; only a recording shorter
            than a window is padded, as a short clip was in training
            (:class:`spectro.listening.windower.Windower`).

        Raises
        ------
        AudioError
            If the file cannot be decoded to its end.
        ConfigError
            If `hop` is not above 0.
        ModelError
            If the network gives no numbers.
        """
        walk = file_pictures(path, self.card.spectrogram, hop=hop, size=self.card.size)
        for batch in _batches(walk):
            heard = [(str(path), one.start, one.end) for one in batch]
            yield from self._ask(heard, [one.levels for one in batch])

    def predict(
        self, paths: Iterable[str | Path], *, failed: Callable[[AudioError], None] | None = None
    ) -> pd.DataFrame:
        """Predict the class of clips, as a table.

        Parameters and errors are those of :meth:`classify`.

        Returns
        -------
        predictions : pandas.DataFrame
            A row a file, in order: ``path``, ``label``, ``probability``, ``known`` (False where
            the sound is none that the network was trained on: silence, noise), ``trained_on`` (True
            of a clip that it was trained on), then a column a class, ``p_<label>``.
        """
        found = self.to_frame(self.classify(paths, failed=failed))
        return found.drop(columns=["start", "end"])

    def predict_long(self, path: str | Path, *, hop: float | None = None) -> pd.DataFrame:
        """Predict what sounds when in a recording of any length, as a table.

        Parameters and errors are those of :meth:`classify_long`.

        Returns
        -------
        predictions : pandas.DataFrame
            A row a window, in order: ``start`` and ``end`` in seconds, ``label``, ``probability``,
            ``known`` (False where the sound is none that the network was trained on), then a column
            ``p_<label>`` a class.
        """
        found = self.to_frame(self.classify_long(path, hop=hop))
        return found.drop(columns=["path", "trained_on"])  # that is told of whole clips alone

    def to_frame(self, predictions: Iterable[Prediction]) -> pd.DataFrame:
        """Put predictions into a table, a row each; this alone needs pandas.

        Returns
        -------
        table : pandas.DataFrame
            ``path``, ``start``, ``end``, ``label``, ``probability``, ``known``, ``trained_on``,
            then a column ``p_<label>`` a class.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise extras.explained(error, "a table; classify gives rows, and") from None
        rows = list(predictions)
        each = np.array([row.probabilities for row in rows], dtype=np.float32)
        each = each.reshape(len(rows), len(self.labels))
        names = Prediction._fields[:4]
        columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in names}
        likeliest = {"probability": each.max(axis=1, initial=0)}
        doubts = {name: [getattr(row, name) for row in rows] for name in ("known", "trained_on")}
        by_class = {f"p_{label}": each[:, i] for i, label in enumerate(self.labels)}
        # As objects: pyarrow, where pandas finds it, holds no name that is not Unicode.
        columns["path"] = pd.Series(columns["path"], dtype=object)
        return pd.DataFrame({**columns, **likeliest, **doubts, **by_class})

    def _pictures(
        self, paths: Iterable[str | Path], failed: Callable[[AudioError], None] | None
    ) -> Iterator[tuple[str, npt.NDArray[np.uint8], bool]]:
        """Draw the clips that can be decoded, and tell which were trained on."""
        for path in paths:
            try:
                image = clip_image(path, self.card.spectrogram)
            except AudioError as error:
                if failed is None:
                    raise
                failed(error)
            else:
                known = bool(self._trained_on) and self._is_trained_on(image)
                yield str(path), network_levels(image, self.card.size), known

    def _is_trained_on(self, image: Image.Image) -> bool:
        return mark_of(image, self.card.spectrogram) in self._trained_on

    def _ask(
        self,
        heard: Sequence[tuple[str, float | None, float | None]],
        levels: list[npt.NDArray[np.uint8]],
    ) -> Iterator[Prediction]:
        probabilities, known = self._backend(np.stack(levels))
        if not np.isfinite(probabilities).all():
            raise ModelError(
                f"{self.card.arch} gives no numbers for {heard[0][0]}: the model is damaged; "
                "take another copy, or train it anew"
            )
        for about, row, is_known in zip(heard, probabilities, known, strict=True):
            best = int(row.argmax())
            label, highest = self.card.labels[best], float(row[best])
            yield Prediction(*about, label, highest, row, bool(is_known))


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    items = iter(items)
    while batch := list(itertools.islice(items, _BATCH)):
        yield batch
