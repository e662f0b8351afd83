"""A rendered set: the folder of pictures that `spectro render` writes and training reads.

::

    fold1/<clip>.png ...   one picture a clip
    spectrogram.json       the settings they were drawn with
    dataset.json           where the clips come from: name, root, folds, notes, licence
    clips.csv              the clip table with the picture of each clip, written last
    failures.csv           clips that could not be drawn, each with its reason
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import pandas as pd
from pydantic import AfterValidator, Field

from spectro.clips.checking.quarantine import apply_to_clips
from spectro.clips.clip import printable
from spectro.clips.table import COLUMNS, Dataset
from spectro.errors import ConfigError, RenderError
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.files import (
    LARGEST_TABLE,
    claim_text,
    is_scratch,
    move,
    read_bounded,
    read_json,
    write_text,
)
from spectro.plumbing.paths import (
    below,
    check_no_link,
    check_pictures,
    check_relative,
    check_root,
    exists,
    is_url,
    place,
)
from spectro.plumbing.settings import Record

__all__ = [
    "About",
    "RenderedSet",
    "check_free",
    "claim",
    "set_aside",
    "write_tables",
]

_CONFIG, _DATASET = "spectrogram.json", "dataset.json"
_SHOWN = 200  # characters of what is wrong with a table
_MOST_FOLDS = 100_000
_CLIPS, _PREVIOUS, _FAILURES = "clips.csv", ".clips.previous.csv", "failures.csv"


class About(Record):
    """Where clips come from: what ``dataset.json`` says.

    Parameters
    ----------
    name : str
        Of the dataset.
    root : str
        Folder or URL that the paths of clips are relative to.
    folds : tuple of int
        All folds that the dataset has, on disk or not.
    notes : tuple of str
        What to tell with every score.
    absent : tuple of str
        Clips that are listed and not on disk.
    licence, citation : str
        Of the data.
    random_share : float or None
        Share of the clips that was drawn at random to be scored, in place of a fold.
    reading : dict or None
        Options that the dataset was read with, such as ``group_pattern``; None where there are
        none.
    """

    omitted: ClassVar[frozenset[str]] = frozenset({"random_share", "reading"})

    name: str = Field(min_length=1, max_length=1_000)
    root: Annotated[str, AfterValidator(check_root)]
    folds: tuple[int, ...]
    notes: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    licence: str = ""
    citation: str = ""
    random_share: float | None = Field(None, gt=0, lt=1)
    reading: dict[str, str | int | bool | list[str]] | None = Field(None, max_length=100)


@dataclass(frozen=True)
class RenderedSet:
    """Pictures, their clips, and the settings they were drawn with.

    Attributes
    ----------
    folder : Path
        Where it lies.
    config : SpectrogramConfig
        Settings of every picture in it.
    clips : pandas.DataFrame
        The clip table plus ``image``, the picture; ``path`` and ``image`` as one can open them.
    dataset : About
        Where the clips come from.

    Examples
    --------
    >>> import tempfile
    >>> from spectro import RenderedSet, SpectrogramConfig, load_dataset, render, write_sample
    >>> folder = tempfile.mkdtemp()
    >>> sounds = write_sample(folder, sources=1, slices=1, folds=2, classes=("siren", "dog_bark"))
    >>> _ = render(load_dataset(sounds), f"{folder}/pictures", SpectrogramConfig(n_mels=64))
    >>> pictures = RenderedSet.load(f"{folder}/pictures")
    >>> pictures.labels, pictures.folds, pictures.config.shape
    (['dog_bark', 'siren'], [1, 2], (64, 173))
    """

    folder: Path
    config: SpectrogramConfig
    clips: pd.DataFrame
    dataset: About

    @classmethod
    def load(cls, folder: str | Path) -> RenderedSet:
        """Read a rendered set.

        Raises
        ------
        RenderError
            If the folder holds none, or rendering was not finished.
        """
        folder = place(folder)
        if not (folder / _CONFIG).is_file():
            raise RenderError(f"{folder}: no rendered pictures; make them with spectro render")
        if not (folder / _CLIPS).is_file():
            raise RenderError(f"{folder}: rendering did not finish; run spectro render again")
        dataset = About.read(folder / _DATASET, RenderError)
        clips = _read_clips(folder)
        clips["path"] = [os.path.join(dataset.root, path) for path in clips["path"]]
        clips["image"] = [str(folder / image) for image in clips["image"]]
        config = _read_config(folder)
        return cls(folder, config, clips, dataset)

    @property
    def labels(self) -> list[str]:
        """Return the classes in alphabetical order: the order of every probability column."""
        return sorted(self.clips["label"].unique())

    @property
    def folds(self) -> list[int]:
        """Folds that have pictures."""
        return sorted(int(fold) for fold in self.clips["fold"].unique())

    def without(self, quarantine: str | Path) -> RenderedSet:
        """Return the set without the clips that a quarantine names; their pictures stay on disk.

        Another list of clips gives the set another identity, so its runs never mix with those of
        the whole set.

        Raises
        ------
        DatasetError
            As :func:`spectro.clips.checking.quarantine.apply`.
        """
        clips, notes = apply_to_clips(self.clips, place(self.dataset.root), quarantine)
        about = self.dataset.replace(notes=(*self.dataset.notes, *notes))
        return replace(self, clips=clips, dataset=about)

    @property
    def n_failed(self) -> int:
        """Number of clips that could not be drawn."""
        return len(_read_table(self.folder / _FAILURES))

    @property
    def failures(self) -> pd.DataFrame:
        """Clip table of what could not be drawn, plus ``reason``; ``path`` as one can open it.

        Raises
        ------
        RenderError
            If the table is damaged.
        """
        table = _read_typed(self.folder / _FAILURES, COLUMNS)
        return table.assign(path=[os.path.join(self.dataset.root, p) for p in table["path"]])

    @property
    def identity(self) -> str:
        """Sixteen hexadecimal digits of the settings and the clip list together."""
        clips = self.clips.assign(
            image=[below(image, self.folder) for image in self.clips["image"]]
        )
        lines = _relative(clips, place(self.dataset.root)).to_csv(index=False)
        return hashlib.sha256((self.config.identity_text + lines).encode()).hexdigest()[:16]


def check_free(folder: Path, dataset: Dataset, config: SpectrogramConfig) -> None:
    """Refuse a folder that holds something else: two settings or datasets never mix.

    Raises
    ------
    RenderError
        If it does.
    """
    if (folder / _CONFIG).is_file():
        _check_same(folder, dataset, config)
        _listed_pictures(folder)  # told before anything is drawn
        for fold in dataset.clips["fold"].unique():
            check_no_link(folder / f"fold{fold}", RenderError)
    elif _is_taken(folder):
        raise RenderError(f"{folder}: is there and holds something else; name another --out")


def claim(folder: Path, dataset: Dataset, config: SpectrogramConfig, own: Path | None) -> None:
    """Make `folder` the rendered set of this dataset with these settings.

    Parameters
    ----------
    folder : Path
        What becomes, or is, the rendered set.
    dataset, config : Dataset, SpectrogramConfig
        Whose pictures it holds, and how they are drawn.
    own : Path or None
        Scratch folder in it; None where it is a URL.

    Raises
    ------
    RenderError
        If another process was quicker, and claimed it for something else.
    """
    if not claim_text(folder / _CONFIG, config.to_json(), inside=own):
        _check_same(folder, dataset, config)
    about = About(
        name=dataset.name,
        root=str(dataset.root.resolve()),
        folds=dataset.folds,
        notes=dataset.notes,
        absent=dataset.absent,
        licence=dataset.licence,
        citation=dataset.citation,
        reading=dataset.reading or None,
    )
    write_text(folder / _DATASET, about.to_text(), inside=own)


def _is_taken(folder: Path) -> bool:
    """Tell whether something of another kind is there: a file, a filled folder."""
    if not exists(folder):
        return False
    return not folder.is_dir() or not all(is_scratch(path) for path in folder.iterdir())


def _check_same(folder: Path, dataset: Dataset, config: SpectrogramConfig) -> None:
    there = _read_config(folder).to_dict()
    changed = [
        f"{name} {there[name]} there, {value} asked"
        for name, value in config.to_dict().items()
        if there[name] != value
    ]
    if (folder / _DATASET).is_file():  # a first run may have stopped before writing it
        about = About.read(folder / _DATASET, RenderError)
        root = str(dataset.root.resolve())
        if about.name != dataset.name:
            changed.append(f"dataset {about.name} there, {dataset.name} asked")
        elif about.root != root and _is_elsewhere(about.root):
            changed.append(f"dataset {about.root} there, {root} asked")
    if changed:
        raise RenderError(
            f"{folder}: was rendered otherwise ({'; '.join(changed)}); "
            "name another --out or remove that folder"
        )


def _is_elsewhere(root: str) -> bool:
    """Tell a second dataset of a name from one that was merely moved.

    The folder of pictures may be a stranger's: what it names is not asked over a network.
    """
    return is_url(root) or Path(root).exists()


def set_aside(folder: Path, dataset: Dataset, clips: pd.DataFrame) -> None:
    """Put ``clips.csv`` aside if a picture is about to become another clip's.

    Names move between clips as tables are edited; were drawing interrupted then, the old table
    would give one clip another's picture. Without a table, rendering counts as unfinished.

    Parameters
    ----------
    folder : Path
        The rendered set.
    dataset : Dataset
        Gives the root that paths are written relative to.
    clips : pandas.DataFrame
        Clip table of what is to be drawn, plus ``image``, relative to `folder`.
    """
    if not (folder / _CLIPS).is_file():
        return
    text = _relative(clips, dataset.root).to_csv(index=False)
    before, after = (
        table.set_index("image").sort_index()
        for table in (_read_table(folder / _CLIPS), _parsed(text, folder / _CLIPS))
    )
    kept = before.index.intersection(after.index)
    if not before.loc[kept].equals(after.loc[kept]):
        move(folder / _CLIPS, folder / _PREVIOUS)


def write_tables(
    folder: Path, dataset: Dataset, clips: pd.DataFrame, failures: pd.DataFrame, own: Path | None
) -> list[str]:
    """Write ``failures.csv`` and ``clips.csv``; return the pictures that no clip has any more.

    Parameters
    ----------
    folder : Path
        The rendered set.
    dataset : Dataset
        Gives the root that paths are written relative to.
    clips : pandas.DataFrame
        Clip table of the pictures that are there, plus ``image``, relative to `folder`.
    failures : pandas.DataFrame
        Clip table of the others, plus ``reason``.
    own : Path or None
        Scratch folder in `folder`; None where it is a URL.
    """
    previous = _listed_pictures(folder)
    for name, table in ((_FAILURES, failures), (_CLIPS, clips)):
        text = _relative(table, dataset.root).to_csv(index=False, lineterminator="\n")
        write_text(folder / name, text, inside=own)
    (folder / _PREVIOUS).unlink(missing_ok=True)
    return sorted(set(previous) - set(clips["image"]))


def _read_config(folder: Path) -> SpectrogramConfig:
    """Read ``spectrogram.json``."""
    try:
        return SpectrogramConfig(**read_json(folder / _CONFIG, RenderError))
    except ConfigError as error:
        raise RenderError(f"{folder / _CONFIG}: {error}; restore it or make it anew") from None


def _read_clips(folder: Path) -> pd.DataFrame:
    """Read ``clips.csv``, and check what later stages rely on."""
    file = folder / _CLIPS
    clips = _read_typed(file, (*COLUMNS, "image"))
    if clips["image"].duplicated().any():
        raise _damaged(file, "lists a picture twice")
    if (clips["label"] == "").any() or clips["fold"].nunique() > _MOST_FOLDS:
        raise _damaged(file, "has a clip without a label, or too many folds")
    check_pictures(clips["image"], folder, file, RenderError)
    return clips


def _read_typed(file: Path, columns: Iterable[str]) -> pd.DataFrame:
    """Read a clip table that rendering wrote, with folds and times as numbers."""
    table = _read_table(file)
    _check_columns(table, columns, file)
    check_relative(table["path"], file, RenderError)
    try:
        return table.replace({"start": {"": "nan"}, "end": {"": "nan"}}).astype(
            {"fold": int, "start": float, "end": float}
        )
    except (ValueError, OverflowError) as error:
        raise _damaged(file, f"holds what is not a number ({error})") from None


def _check_columns(table: pd.DataFrame, columns: Iterable[str], file: Path) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise _damaged(file, f"has no column {missing[0]}")


def _damaged(file: Path, what: str) -> RenderError:
    short = what if len(what) <= _SHOWN else f"{what[:_SHOWN]}..."
    return RenderError(f"{file}: {short}; remove it and run spectro render again")


def _listed_pictures(folder: Path) -> list[str]:
    """List the pictures that the tables of earlier renderings name; each lies in `folder`."""
    listed = []
    for table in (folder / name for name in (_CLIPS, _PREVIOUS)):
        if table.is_file():
            rows = _read_table(table)
            _check_columns(rows, ["image"], table)
            images = rows["image"].tolist()
            check_pictures(images, folder, table, RenderError)
            listed += images
    return listed


def _read_table(path: Path) -> pd.DataFrame:
    """Read a table that rendering wrote, every cell as text."""
    try:
        return _parsed(read_bounded(path, LARGEST_TABLE).decode("utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, f"cannot be read ({error})") from None


def _parsed(text: str, path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except ValueError as error:
        raise _damaged(path, f"cannot be read ({error})") from None


def _relative(clips: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Write paths relative to where they belong, so that the folders can be moved."""
    extra = [column for column in clips.columns if column not in COLUMNS]
    table = clips[[*COLUMNS, *extra]].copy()
    table["path"] = [printable(below(path, root)) for path in table["path"]]
    return table
