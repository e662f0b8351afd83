"""Datasets as parquet with the sound inside, as the Hugging Face hub serves them.

The sounds are written out once, byte for byte, to a folder ``NAME-sounds`` beside the folder (or
file) of the parquet, and that folder is read like any other: UrbanSound8K and ESC-50, told by their
columns, in their official layout; other data as a ``clips.csv`` over the sounds. The folder stands
under its name only once it is whole.

========================== =========================================================================
columns                    become
========================== =========================================================================
``audio``                  the sound: its ``bytes``, named by its ``path`` where no column does
``slice_file_name, fold``  UrbanSound8K; ``class`` or ``classID``, ``fsID`` or the name
``filename, fold``         with ``category`` or ``target``: ESC-50; ``src_file`` or the name
``label`` (or ``class``…)  a class of one's own; other columns are kept, such as ``group``
========================== =========================================================================
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spectro.clips.clip import printable
from spectro.clips.contents import no_sound
from spectro.clips.datasets.listing import SPLITS, Listing, by_folder, is_sound
from spectro.clips.datasets.part_columns import is_part_column
from spectro.clips.datasets.published.classes import URBAN
from spectro.clips.datasets.published.lookup import left_out
from spectro.clips.table import list_some
from spectro.errors import DatasetError, MissingExtraError
from spectro.plumbing.files import read_json, replacing_folder
from spectro.plumbing.paths import is_url
from spectro.plumbing.words import counted

__all__ = ["beside", "export", "sounds_inside"]

_MARKER = "parquet.json"
_AT_A_TIME = 16  # rows: sounds that are in memory together
_MOST_BYTES = 1 << 30  # of one sound
_HEAD = 600  # bytes that tell what a file is
_LONGEST = 1_000  # letters of a cell that is kept
_LABELS = ("label", "class", "category", "classid", "target", "labels")

Row = dict[str, Any]


def sounds_inside(files: Listing) -> bool:
    """Tell whether a dataset is parquet: a file of it, or a folder with it and no classes of sound.

    Raises
    ------
    MissingExtraError
        If sounds lie beside the parquet, in no folder, and pyarrow is missing, which tells.
    DatasetError
        If there are both parquet with sounds inside, and folders of sounds.
    """
    if files.root.suffix.lower() == ".parquet" and files.root.is_file():
        return True
    names = files.tables(".parquet")
    if not names or not files.sounds:
        return bool(names)
    in_folders = [name for name in files.sounds if "/" in name]
    if is_url(files.root) or (in_folders and find_spec("pyarrow") is None):
        return False
    try:
        has_audio = _holds_audio(files.root / names[0])
    except DatasetError:
        if not in_folders:
            raise
        return False
    if in_folders and has_audio:
        raise DatasetError(
            f"{files.root}: holds both parquet with sound inside, {list_some(names, 3)}, and "
            f"folders of sounds, {by_folder(in_folders)}; give one of them, or move the other away"
        )
    return has_audio


def beside(files: Listing, *, read: bool) -> list[str]:
    """Say in a note what lies beside parquet that is read, or that parquet is not read."""
    if read:
        return left_out(files.sounds, "beside the parquet")
    names = files.tables(".parquet")
    if not names:
        return []
    told = counted(len(names), "parquet file is", "parquet files are")
    unknown = find_spec("pyarrow") is None
    way = "; if sounds are inside, pip install 'spectro[parquet]' to read them" if unknown else ""
    return [f"{told} not read: {list_some(map(printable, names), 3)}{way}"]


def _holds_audio(part: Path) -> bool:
    """Tell whether a file of parquet has a column of sounds."""
    with _opened(part) as file:
        return "audio" in (name.lower() for name in file.schema_arrow.names)


def export(files: Listing) -> Path:
    """Write the sounds out, unless they are; return their folder.

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed.
    DatasetError
        If the parquet cannot be read, or holds no sound; if the folder is there and is another
        thing, or cannot be written.
    """
    root = files.root
    if is_url(root):
        raise DatasetError(f"{root}: parquet is read from a local disk; copy it there")
    names = files.tables(".parquet")
    parts = [root / name for name in sorted(names)] or [root]
    home = root.resolve()
    target = home.with_name(f"{home.stem if root.is_file() else home.name}-sounds")
    at = {part: [part.stat().st_size, part.stat().st_mtime_ns] for part in parts}
    mark = {part.relative_to(root).as_posix() if names else part.name: at[part] for part in parts}
    if target.exists():
        _check_same(target, mark)
        return target
    try:
        with replacing_folder(target) as draft:
            _write(parts, draft)
            (draft / _MARKER).write_text(json.dumps(mark), encoding="utf-8")
    except OSError as error:
        raise DatasetError(
            f"{target}: the sounds inside {root} cannot be written there "
            f"({error.strerror or error}); make room, or copy the parquet to where you may write"
        ) from None
    return target


def _check_same(target: Path, mark: dict[str, list[int]]) -> None:
    try:
        found = read_json(target / _MARKER, DatasetError)
    except DatasetError:
        found = None
    own = {name.rpartition("/")[2]: stated for name, stated in mark.items()}  # of earlier versions
    if found != mark and (found != own or len(own) < len(mark)):
        raise DatasetError(
            f"{target}: is not what the parquet holds now, whose sounds would be written there; "
            "move it away"
        )


def _write(parts: list[Path], draft: Path) -> None:
    """Write each sound, and the table of the layout."""
    layout: _Layout | None = None
    rows: list[Row] = []
    taken: set[str] = set()
    splits = {part: _split_of(part) for part in parts}
    several = len(set(splits.values())) > 1
    for part in parts:
        for number, row in enumerate(_rows(part)):
            where = f"{part}: row {number + 1}"
            layout = layout or _Layout(set(row), where)
            layout.check(row, where)
            data = _sound(row, where)
            if len(data) > shutil.disk_usage(draft).free:
                raise DatasetError(f"{where}: the disk is full; make room and run it again")
            entry, name = layout.row(row, where, len(rows), taken)
            taken.add(name.lower())
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_bytes(data)
            rows.append({**entry, **({"split": splits[part]} if several else {})})
    if layout is None:
        raise DatasetError(f"{parts[0]}: holds no row; is it the right file?")
    table = draft / layout.table
    table.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _split_of(part: Path) -> str:
    """Name the part of a split that a file is, as the hub names them: ``train-00000-of-00002``."""
    words = (re.split(r"[-_.]", part.name.lower())[0], part.parent.name.lower())
    return next((word for word in words if word in SPLITS), "")


@contextmanager
def _opened(part: Path) -> Iterator[Any]:
    """Open a file of parquet."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("parquet", f"{part}: parquet with sound inside") from None
    if not part.is_file():
        raise DatasetError(f"{part}: is not a regular file; move it away")
    with part.open("rb") as opened:
        words = no_sound(opened.read(_HEAD))
    if words and "parquet" not in words:
        raise DatasetError(f"{part}: {words.replace(' the sound', ' the parquet')}")
    try:
        with pq.ParquetFile(part) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())[:200]
        raise DatasetError(f"{part}: cannot be read as parquet ({why}); fetch it again") from None


def _rows(part: Path) -> Iterator[Row]:
    """Yield rows with their columns in lower case; classes by name where the file has names."""
    with _opened(part) as file:
        names = _class_names(file.schema_arrow.metadata or {})
        if "audio" not in (name.lower() for name in file.schema_arrow.names):
            raise DatasetError(
                f"{part}: has no column audio; it has {', '.join(file.schema_arrow.names)[:200]}"
            )
        for batch in file.iter_batches(_AT_A_TIME):
            for row in batch.to_pylist():
                yield {
                    str(column).strip().lower(): _named(value, names.get(column))
                    for column, value in row.items()
                }


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Read the names of classes that the hub keeps beside numbers."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and isinstance(feature.get("names"), list)
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def _named(value: Any, names: list[str] | None) -> Any:
    """Name a class by its number; -1 is what the hub writes where there is none."""
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None if value < 0 else value


def _sound(row: Row, where: str) -> bytes:
    audio = row["audio"]
    data = audio.get("bytes") if isinstance(audio, dict) else audio
    if not isinstance(data, bytes) or not data:
        raise DatasetError(
            f"{where}: no sound is inside; fetch the dataset with its sounds, as folders or parquet"
        )
    if len(data) > _MOST_BYTES:
        raise DatasetError(f"{where}: a sound of {len(data):,} bytes is too large to be a clip")
    return data


class _Layout:
    """How rows become files and a table: chosen once, by the columns."""

    def __init__(self, columns: set[str], where: str) -> None:
        self.table = "clips.csv"
        self._needed = columns & {*_LABELS, "fold", "group", "filename", "slice_file_name"}
        labels = [name for name in _LABELS if name in columns]
        urban = {"class", "classid"} & columns and {"slice_file_name", "fsid"} & columns
        if urban and "fold" in columns:
            self.table, self.row = "metadata/UrbanSound8K.csv", self._urban
        elif "fold" in columns and {"category", "target"} <= columns:
            self.table, self.row = "meta/esc50.csv", self._esc50
        elif labels:
            self.label, self.row = labels[0], self._own
        else:
            told = ", ".join(sorted(columns))[:200]
            raise DatasetError(
                f"{where}: no column says what is heard; it has {told}, and needs label"
            )

    def check(self, row: Row, where: str) -> None:
        """Refuse a row of a file that lacks columns which the first one has."""
        missing = sorted(self._needed - set(row))
        if missing:
            raise DatasetError(
                f"{where}: has no column {', '.join(missing)[:200]}, as other files of it have; "
                "give the files of one kind alone"
            )

    def _urban(self, row: Row, where: str, number: int, taken: set[str]) -> tuple[Row, str]:
        name, fold = _name(row, ("slice_file_name",), where), _fold(row, where)
        ids = name.split("-")
        label = row.get("class", row.get("classid"))
        if isinstance(label, int):
            label = URBAN[label] if 0 <= label < len(URBAN) else None
        entry = {
            "slice_file_name": name,
            "fsID": _cell(row.get("fsid", ids[0]), "fsID", where),
            "fold": fold,
            "class": _cell(label, "class", where),
        }
        return entry, _free(f"audio/fold{fold}/{name}", taken, where)

    def _esc50(self, row: Row, where: str, number: int, taken: set[str]) -> tuple[Row, str]:
        name = _name(row, ("filename",), where)
        ids = name.split("-")
        entry = {
            "filename": name,
            "fold": _fold(row, where),
            "target": row["target"],
            "category": _cell(row["category"], "category", where),
            "esc10": row.get("esc10", ""),
            "src_file": _cell(row.get("src_file", ids[min(1, len(ids) - 1)]), "src_file", where),
        }
        return entry, _free(f"audio/{name}", taken, where)

    def _own(self, row: Row, where: str, number: int, taken: set[str]) -> tuple[Row, str]:
        label = _cell(row[self.label], self.label, where)
        columns = ("filename", "file_name", "slice_file_name", "file")
        name = _name(row, columns, where, f"{number:07}.wav")
        path = f"sounds/{name}"
        while path.lower() in taken:  # by another row, or in another file of the parquet
            name = f"{number:07}-{name}"
            path = f"sounds/{name}"
        used = {"audio", "path", "label", "fold", "split", self.label}
        kept: Row = {column: _kept(row[column]) for column in row if column not in used}
        kept = {name: cell for name, cell in kept.items() if _is_kept(name)}
        if "split" in row:
            kept["split"] = _kept(row["split"])
        fold: Row = {"fold": _fold(row, where)} if "fold" in row else {}
        return {"path": path, "label": label, **fold, **kept}, _free(path, taken, where)


def _is_kept(name: str) -> bool:
    """Tell whether a column is kept: not one that says where the sound was once cut from."""
    return name in ("start", "end") or not is_part_column(name)


def _kept(value: Any) -> str:
    """Write a cell that a person may ask for, such as a speaker; of lists and the like nothing."""
    if value is None or isinstance(value, (dict, list, bytes)) or value != value:  # noqa: PLR0124
        return ""
    return " ".join(str(value).replace("\0", "").split())[:_LONGEST]


def _name(row: Row, columns: tuple[str, ...], where: str, otherwise: str = "") -> str:
    """Return a file name that is no more than one, whatever a stranger wrote."""
    audio = row["audio"]
    given = [row.get(column) for column in columns]
    given.append(audio.get("path") if isinstance(audio, dict) else None)
    text = next((str(name) for name in given if name), otherwise)
    name = printable(text).replace("\\", "/").rpartition("/")[2].replace("\0", "").strip()
    if name.strip(".") == "":
        raise DatasetError(f"{where}: the sound has no file name")
    name = name.lstrip(".") if is_sound(name) else f"{name.lstrip('.')}.wav"
    return name if len(os.fsencode(name)) <= 200 else _short(name)


def _short(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{os.fsencode(stem)[:150].decode(errors='ignore')}~{mark}{dot}{suffix[:20]}"


def _free(path: str, taken: set[str], where: str) -> str:
    if path.lower() in taken:
        raise DatasetError(f"{where}: a second sound is named {path!r}; remove one of the rows")
    return path


def _fold(row: Row, where: str) -> int:
    text = str(row["fold"]).strip().lower().removeprefix("fold").strip(" _")
    if not text.isdecimal() or len(text) > 6:
        raise DatasetError(f"{where}: fold is not a whole number: {str(row['fold'])[:200]!r}")
    return int(text)


def _cell(value: Any, column: str, where: str) -> str:
    if value is None or str(value).strip() == "" or isinstance(value, (dict, list, bytes)):
        raise DatasetError(f"{where}: has no {column}")
    return str(value).strip()
