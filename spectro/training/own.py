"""A Learner of the user's own: its DataLoaders, its training, and what it says of clips.

Any network, loss, metric or callback of fastai's goes; what is asked of it is one score a class for
each picture.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from fastai.callback.schedule import Learner
from fastai.data.core import DataLoaders
from fastai.data.transforms import Normalize
from fastai.metrics import accuracy
from fastai.torch_core import set_seed

from spectro.errors import ConfigError
from spectro.models.networks import build as networks
from spectro.pictures.rendered import RenderedSet
from spectro.training import data, from_sounds
from spectro.training.loop import learner
from spectro.training.loop.callbacks import History, leaving_autocast
from spectro.training.loop.progress import Listener
from spectro.training.pixels import Colour
from spectro.training.settings import TrainConfig
from spectro.training.splits import split

__all__ = [
    "MakeLearner",
    "check_settings",
    "check_unheard",
    "dataloaders",
    "inner_fold",
    "predict",
    "train",
]

_OURS = ("members", "mixup", "weight_decay", "precision")

MakeLearner = Callable[[DataLoaders], Learner]
"""Given the DataLoaders of a fold, gives a Learner, trained or not."""


def inner_fold(folds: list[int], fold: int) -> int | None:
    """Name the training fold that is set aside to watch: the next; None of two folds."""
    others = [k for k in folds if k > fold] + [k for k in folds if k < fold]
    return others[0] if len(others) > 1 else None


def check_settings(config: TrainConfig) -> None:
    """Refuse settings that would be recorded and not done.

    Raises
    ------
    ConfigError
        If there are several networks, MixUp, weight decay or a precision, which are matters of
        the Learner.
    """
    for name in _OURS:
        if getattr(config, name) != getattr(TrainConfig(), name):
            raise ConfigError(
                f"{name}: a Learner of one's own does not take it from the settings; leave it out, "
                "and have make_learner do so (MixUp is a callback of fastai's, wd an argument)"
            )


def dataloaders(
    pictures: RenderedSet, fold: int, config: TrainConfig | None = None, **changes: Any
) -> DataLoaders:
    """Make fastai DataLoaders for a fold, to train a Learner of one's own on.

    The clips of the fold are in neither of them. ``dls.valid`` is ``config.inner_fold`` or, without
    one, the fold after the scored: choose by it what you like, the score stays honest. Of two folds
    no third is left, and ``dls.valid`` shows the training clips.

    Parameters
    ----------
    pictures : RenderedSet
        Pictures of all folds.
    fold : int
        The fold to leave out, and to score with :func:`spectro.score`.
    config : TrainConfig or None
        Gives batch size, picture size and augmentations; None means none of these, batches of 32.
    **changes
        Settings of `config` that are to be others, as ``batch_size=64``.

    Returns
    -------
    DataLoaders
        ``dls.vocab`` are the classes in alphabetical order; pictures are normalised as ImageNet's.

    Raises
    ------
    ConfigError
        If a fold is not there, or settings do not fit the data.
    """
    config = (config or TrainConfig()).replace(**changes)
    check_settings(config)
    inner = config.inner_fold if config.inner_fold is not None else inner_fold(pictures.folds, fold)
    parts = split(pictures.clips, fold, inner)
    watched = parts.train if inner is None else parts.watch
    dls = data.dataloaders(parts.train, watched, pictures.labels, config, pictures.config)
    if config.source == "sounds":
        from_sounds.check(parts.score["path"], pictures.config, config)  # drawn when all is trained
    return _normalised_as_fastai(dls, config.arch)


def _normalised_as_fastai(dls: DataLoaders, arch: str) -> DataLoaders:
    """Leave normalising to fastai's `Normalize`: `vision_learner` would add it once more."""
    for dl in dls:
        (colour,) = (one for one in dl.after_batch.fs if isinstance(one, Colour))
        if not any(isinstance(one, Normalize) for one in dl.after_batch.fs):
            mean, std = networks.statistics(arch)
            dl.after_batch.add([Normalize.from_stats(mean, std, cuda=dl.device.type == "cuda")])
        colour.leave_plain()
    return dls


def train(
    dls: DataLoaders,
    make_learner: MakeLearner,
    fit: Callable[[Learner], object] | None,
    config: TrainConfig,
    listener: Listener | None = None,
) -> tuple[Learner, pd.DataFrame]:
    """Make a Learner and train it.

    Parameters
    ----------
    dls : DataLoaders
        Of :func:`dataloaders`.
    make_learner : callable
        Given `dls`, gives the Learner.
    fit : callable or None
        Trains it, as ``lambda learn: learn.fine_tune(5)``; None trains through the phases of
        `config`.
    config : TrainConfig
        Gives phases and seed.
    listener : Listener or None
        Called after every batch and epoch.

    Returns
    -------
    learn : Learner
        Trained.
    history : pandas.DataFrame
        A row an epoch, as of :func:`spectro.training.loop.learner.fit`.

    Raises
    ------
    ConfigError
        If `make_learner` gives no Learner, or `fit` trains no epoch.
    """
    set_seed(config.seed, reproducible=True)
    learn = make_learner(dls)
    if not isinstance(learn, Learner):
        raise ConfigError(f"make_learner gave a {type(learn).__name__}; it must give a Learner")
    if not any(metric.name == "accuracy" for metric in learn.metrics):
        learn.metrics = [*learn.metrics, accuracy]
    if fit is None:
        return learn, learner.fit(learn, config, listener)
    history = History(listener or Listener(), 0)
    with learn.no_bar(), learn.no_logging(), learn.added_cbs(history), leaving_autocast(learn):
        fit(learn)
    if not history.rows:
        raise ConfigError("fit trained no epoch; call learn.fit_one_cycle or learn.fine_tune in it")
    return learn, pd.DataFrame(history.rows)


def predict(learn: Learner, clips: pd.DataFrame, labels: list[str]) -> npt.NDArray[np.float32]:
    """Predict the probability of each class for rendered clips, in fp32.

    Parameters
    ----------
    learn : Learner
        Trained, with DataLoaders of :func:`dataloaders` or of the user's own making.
    clips : pandas.DataFrame
        Clip table with the column ``image``.
    labels : list of str
        Classes, in the order wanted.

    Returns
    -------
    probabilities : np.ndarray [shape=(n_clips, n_classes)], float32

    Raises
    ------
    ConfigError
        If the Learner tells other classes apart, or gives no probability for each.
    """
    vocab = [str(name) for name in learn.dls.vocab]
    if sorted(vocab) != sorted(labels):
        raise ConfigError(f"the Learner tells {', '.join(vocab)} apart, not {', '.join(labels)}")
    found = learner.predict_items(learn, _items(learn, clips))
    if found.shape != (len(clips), len(labels)):
        raise ConfigError(f"the Learner gives {found.shape}, not a probability for each class")
    if not np.allclose(found.sum(axis=1), 1, atol=1e-3) and np.isfinite(found).all():
        found = _shares(found) if hasattr(learn.loss_func, "activation") else _softmax(found)
    return found[:, [vocab.index(label) for label in labels]]


def _shares(found: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Divide what a loss's activation made of the scores, a sigmoid for one, by its sum."""
    if (found < 0).any() or (found.sum(axis=1) <= 0).any():
        return _softmax(found)
    shares: npt.NDArray[np.float32] = found / found.sum(axis=1, keepdims=True)
    return shares


def _softmax(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _items(learn: Learner, clips: pd.DataFrame) -> Any:
    """Write clips as the items that the Learner's DataLoaders are made of."""
    items = learn.dls.train_ds.items
    if isinstance(items, pd.DataFrame):
        return clips
    if len(items) and isinstance(items[0], str | Path):
        return [Path(image) for image in clips["image"]]
    return data.to_predict(clips)


def check_unheard(learn: Learner, clips: pd.DataFrame) -> bool:
    """Refuse to score clips that a Learner was trained on, or chose by.

    Returns
    -------
    is_known : bool
        Whether its DataLoaders tell the picture of each item that was trained on.

    Raises
    ------
    ConfigError
        If a picture of `clips` is in its DataLoaders.
    """
    scored = {str(Path(image).resolve()) for image in clips["image"]}
    base = Path(learn.dls.path)
    is_known = True
    for name, part in (("trained on", learn.dls.train_ds), ("watched", learn.dls.valid_ds)):
        opened = _opened(part, base)
        is_known = is_known and None not in opened
        both = scored & ({str(path.resolve()) for path in opened if path} | _cells(part, base))
        if both:
            raise ConfigError(
                f"the Learner {name} {len(both):,} of the {len(scored):,} clips to score, as "
                f"{min(both)}: score another fold, or make its DataLoaders with "
                "spectro.dataloaders(pictures, fold)"
            )
    return is_known


def _opened(part: Any, base: Path) -> list[Path | None]:
    """Find the picture that a dataset opens for each item; None where it tells of none.

    Items become pictures by transforms, one after another; the first that gives the name of a file
    is stopped at, before it is opened. Where the first item names none, no other is asked.
    """
    chains = getattr(part, "tls", None) or [None]
    transforms = list(getattr(getattr(chains[0], "tfms", None), "fs", ()))
    items = getattr(chains[0], "items", getattr(part, "items", ()))
    at = getattr(items, "iloc", items)
    found: list[Path | None] = []
    for number in range(len(items)):
        found.append(_file_of(at[number], transforms, base))
        if found == [None]:
            break
    return found


def _file_of(item: Any, transforms: list[Callable[[Any], Any]], base: Path) -> Path | None:
    for value in _made(item, transforms):
        if isinstance(value, str | Path):
            for path in (Path(value), base / value):
                with contextlib.suppress(OSError):  # too long for a name
                    if path.is_file():
                        return path
    return None


def _made(value: Any, transforms: list[Callable[[Any], Any]]) -> Iterator[Any]:
    """Give an item as it is, and as each transform makes it, until one fails."""
    yield value
    for transform in transforms:
        try:
            value = transform(value)
        except Exception:  # whatever a user's function does with an item that names no file
            return
        yield value


def _cells(part: Any, base: Path) -> set[str]:
    """Return the pictures that the cells of a dataset's table name."""
    items = getattr(part, "items", None)
    if not isinstance(items, pd.DataFrame):
        return set()
    cells = items.select_dtypes(exclude="number").to_numpy().ravel().tolist()
    named = (cell for cell in cells if isinstance(cell, str | Path) and str(cell).endswith(".png"))
    return {str((base / cell).resolve()) for cell in named}
