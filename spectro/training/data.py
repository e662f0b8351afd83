"""Batches of pictures from tables of clips: fastai's DataLoaders and the DataBlock behind them."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.data.block import CategoryBlock, DataBlock, TransformBlock
from fastai.data.core import DataLoaders, TfmdDL
from fastai.data.transforms import FuncSplitter
from fastai.torch_core import TensorCategory, default_device, set_seed
from PIL import Image

from spectro.clips.clip import Clip, clips_of
from spectro.errors import ConfigError
from spectro.models.networks import build as networks
from spectro.pictures import read
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import clip_image
from spectro.plumbing.memory import installed
from spectro.training import augment, from_sounds
from spectro.training.loop.callbacks import Augment
from spectro.training.pixels import Colour, TensorLevels
from spectro.training.settings import TrainConfig

__all__ = ["KeptDL", "data_block", "dataloaders", "device", "fits", "to_learn", "to_predict"]

_SHARE = 4  # pictures may use at most a quarter of the memory
_ROOM = 1 << 32  # bytes, where the system does not tell how many it has


def dataloaders(
    train: pd.DataFrame,
    valid: pd.DataFrame,
    labels: list[str],
    config: TrainConfig,
    spectrogram: SpectrogramConfig | None = None,
) -> DataLoaders:
    """Make fastai DataLoaders of training clips and clips to watch.

    Parameters
    ----------
    train, valid : pandas.DataFrame
        Clip tables with the column ``image``.
    labels : list of str
        Every class of the dataset.
    config : TrainConfig
        Gives batch size, picture size, source, augmentations and seed.
    spectrogram : SpectrogramConfig or None
        How sounds become pictures; see :func:`data_block`.

    Returns
    -------
    DataLoaders

    Raises
    ------
    ConfigError
        If `spectrogram` is needed and not given; if there are fewer than two training clips, since
        batch norm needs two; or if `gain` would change nothing.
    AudioError
        If the source is "sounds" and a sound file is missing.
    """
    if len(train) < 2:
        raise ConfigError(f"{len(train)} training clips are too few; two are the least")
    if config.source == "sounds" and spectrogram is not None:
        from_sounds.check([*train["path"], *valid["path"]], spectrogram, config)
    set_seed(config.seed, reproducible=True)
    images = [
        *train["image"],
        *valid["image"],
        *valid["image"],
    ]  # watched clips are read again to predict
    if config.settle_norms:
        images += [*train["image"]]  # read again to settle on
    drawn = spectrogram.drawn if spectrogram else read.drawn_as(images[0])
    if config.source == "pictures" and fits(images, read.n_channels(drawn), device()):
        shape = spectrogram.shape if spectrogram else None
        kept = partial(KeptDL, drawn=drawn, picture_shape=shape)
        how: dict[str, Any] = {"dl_type": kept, "num_workers": 0}
    else:
        how = {"num_workers": _n_loaders(len(train))}
    dls = data_block(labels, config, spectrogram, drawn).dataloaders(
        to_learn(train, valid),
        bs=min(config.batch_size, len(train)),
        device=device(),
        **how,
    )
    for dl in dls:  # else other threads that draw from Python's generator change the order
        dl.rng = random.Random(config.seed)
    return dls


def data_block(
    labels: list[str],
    config: TrainConfig,
    spectrogram: SpectrogramConfig | None = None,
    drawn: str = "magma",
) -> DataBlock:
    """Describe how clips become batches; ``.summary(to_learn(train, valid))`` shows each step.

    An item is the levels of a picture. On the device, training batches are augmented
    (:mod:`spectro.training.augment`), and all become normalised colours.

    Parameters
    ----------
    labels : list of str
        Every class of the dataset, so that every fold has the same probability columns.
    config : TrainConfig
        Gives the source, the size, the augmentations, and the network, which knows how its pictures
        are normalised.
    spectrogram : SpectrogramConfig or None
        How sounds become pictures. Needed if the source is "sounds", for `background`, and for
        `crop` with a `size`.
    drawn : "magma", "gray" or "both"
        How pixels stand for levels, where `spectrogram` does not say it.

    Returns
    -------
    DataBlock

    Raises
    ------
    ConfigError
        If `spectrogram` is needed and not given.
    """
    if config.source == "sounds" and spectrogram is None:
        raise ConfigError('source = "sounds" needs the settings that the pictures were drawn with')
    hear = (
        from_sounds.Hear(spectrogram, config) if spectrogram and config.source == "sounds" else None
    )
    drawn = spectrogram.drawn if spectrogram else drawn
    changes = augment.transforms(config, spectrogram)
    if config.crop and config.size and spectrogram is None:
        raise ConfigError("crop with size needs the settings that the pictures were drawn with")
    frames = spectrogram.shape[1] if spectrogram else None
    colour = Colour(drawn, config.size, *networks.statistics(config.arch), frames)
    return DataBlock(
        blocks=(
            TransformBlock(type_tfms=[_AsPath(), _Levels(drawn, spectrogram)]),
            CategoryBlock(vocab=labels),
        ),
        get_x=hear or attrgetter("image"),
        get_y=attrgetter("label"),
        splitter=FuncSplitter(attrgetter("held_out")),
        batch_tfms=[*([Augment(changes)] if changes else []), colour],
    )


@dataclass(frozen=True)
class _AsPath:
    """Makes a path of a name, so that ``learn.predict`` takes either."""

    def __call__(self, picture: str | Path | Image.Image) -> Path | Image.Image:
        return Path(picture) if isinstance(picture, str) else picture


@dataclass(frozen=True)
class _Levels:
    """Turns a picture, or its file, into levels; the file of a sound is drawn first."""

    drawn: str
    spectrogram: SpectrogramConfig | None = None

    def __call__(self, picture: Path | Image.Image) -> TensorLevels:
        if isinstance(picture, Path) and picture.suffix.lower() == ".png":
            return TensorLevels(torch.from_numpy(read.read_grey([str(picture)], self.drawn)[0]))
        drawn = self._heard(picture) if isinstance(picture, Path) else picture
        grey = read.picture_grey(drawn, self.drawn)
        return TensorLevels(torch.from_numpy(grey.transpose(2, 0, 1).copy()))

    def _heard(self, sound: Path) -> Image.Image:
        if self.spectrogram is None:
            raise ConfigError(
                f"{sound}: to hear it needs the settings that the pictures were drawn with"
            )
        return clip_image(sound, self.spectrogram)


def to_learn(train: pd.DataFrame, valid: pd.DataFrame) -> list[Any]:
    """List the items of a DataBlock: clips to learn from, then clips held out."""
    return [*_items(train, held_out=False), *_items(valid, held_out=True)]


def to_predict(clips: pd.DataFrame) -> list[Any]:
    """List the items of a DataBlock for prediction: all clips held out."""
    return _items(clips, held_out=True)


def _items(clips: pd.DataFrame, held_out: bool) -> list[_Item]:
    return [
        _Item(image, label, clip, held_out)
        for image, label, clip in zip(clips["image"], clips["label"], clips_of(clips), strict=True)
    ]


@dataclass(frozen=True)
class _Item:
    """One item of the DataBlock."""

    image: str
    label: str
    clip: Clip
    held_out: bool = True


def device() -> torch.device:
    """Return where fastai trains: a GPU if there is one."""
    where: torch.device = default_device()
    return where


def fits(images: list[str], channels: int, device: torch.device) -> bool:
    """Tell whether all pictures may stay in the memory of the training device.

    Parameters
    ----------
    images : list of str
        Paths of all pictures that are kept at one time.
    channels : int
        Bytes of a pixel.
    device : torch.device
        Device whose memory would hold them.
    """
    on_gpu = device.type == "cuda"
    room = torch.cuda.mem_get_info(device)[0] if on_gpu else installed() or _ROOM
    return len(images) * read.n_bytes(images[0], channels) * _SHARE <= room


def _n_loaders(n_clips: int) -> int:
    """Count the processes that load pictures: none in a daemon, as Dask's workers may be."""
    if n_clips <= 500 or multiprocessing.current_process().daemon:
        return 0
    return min(4, (os.cpu_count() or 2) // 2)


class KeptDL(TfmdDL):  # type: ignore[misc]
    """A fastai DataLoader that reads its pictures once and keeps them on the training device.

    Its batches are those of `TfmdDL`, bit for bit and in the same order. There must be no item
    transforms. Keyword arguments are `TfmdDL`'s.

    Parameters
    ----------
    drawn : "magma", "gray" or "both"
        How pixels stand for levels.
    picture_shape : tuple of int, or None
        Height and width that their files must have; None takes those of the first.
    """

    def __init__(
        self,
        *args: Any,
        drawn: str = "magma",
        picture_shape: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.drawn = drawn
        self.picture_shape = picture_shape
        self._kept: tuple[torch.Tensor, ...] | None = None

    def new(self, dataset: Any = None, cls: Any = None, **kwargs: Any) -> TfmdDL:
        """Make a loader of the same kind for other clips."""
        about = {"drawn": self.drawn, "picture_shape": self.picture_shape}
        return super().new(dataset, cls, **{**about, **kwargs})

    def create_batches(self, samps: Iterable[int]) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield batches of the clips whose numbers are `samps`."""
        if not all(isinstance(item, _Item) for item in self.items[:1]):  # paths, to predict
            yield from super().create_batches(samps)
            return
        if self._kept is None:
            self._kept = self._read()
        order = torch.tensor(list(samps), device=self.device)
        for at in torch.split(order, self.bs):
            if len(at) == self.bs or not self.drop_last:
                yield tuple(tensor[at] for tensor in self._kept)

    def _read(self) -> tuple[torch.Tensor, ...]:
        """Read all pictures, and their labels if the dataset has labels."""
        images = [clip.image for clip in self.items]
        grey = torch.from_numpy(read.read_grey(images, self.drawn, self.picture_shape))
        levels = TensorLevels(grey.to(self.device))
        if len(self.dataset.tls) == 1:
            return (levels,)
        labels = torch.stack([self.dataset.tls[1][number] for number in range(self.n)])
        return levels, TensorCategory(labels.to(self.device))
