"""Lists that say which clips are for training and which for testing, as challenges publish them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from spectro.clips.table import read_csv
from spectro.errors import DatasetError

__all__ = ["read_list"]

_MOST = 1 << 28  # bytes of a list: millions of clips


def read_list(file: Path, *, column: str = "") -> list[str]:
    """Read the names of clips from a list.

    Parameters
    ----------
    file : Path
        A name a line; or a table.
    column : str
        The column with the names; "" where the file is no table.

    Returns
    -------
    names : list of str
        With forward slashes, in the order of the file.

    Raises
    ------
    DatasetError
        If it is missing, cannot be read, or names a clip twice.
    """
    if column:
        names: list[str] = read_csv(file, (column,))[column].tolist()
        return _checked(names, file)
    return _checked(_text(file).splitlines(), file)


def _checked(names: list[str], file: Path) -> list[str]:
    """Write the names with forward slashes, and refuse one that is there twice."""
    names = [name.strip().replace("\\", "/") for name in names if name.strip()]
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        raise DatasetError(f"{file}: names {twice[:200]} twice; a clip has one place in a split")
    return names


def _text(file: Path) -> str:
    """Read a regular file of a bounded size as text."""
    try:
        if not file.is_file():
            raise DatasetError(f"{file}: is not there, and without it there is no official split")
        with file.open("rb") as opened:
            data = opened.read(_MOST + 1)
        if len(data) > _MOST:
            raise DatasetError(f"{file}: is too large for a list of clips")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file}: is no list of clips ({error.reason}); save as UTF-8") from None
