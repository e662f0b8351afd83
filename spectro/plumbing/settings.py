"""Base classes of settings and of records: pydantic models whose every problem is one line.

`Settings` come from a person, as TOML or flags. A `Record` is what one of our JSON files says; it
is checked once, where the file is read.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from spectro.errors import ConfigError, SpectroError
from spectro.plumbing.files import read_bounded, read_json

if sys.version_info >= (3, 11):
    from typing import Self

    import tomllib
else:  # the same parser and the same word, before the standard library had them
    import tomli as tomllib
    from typing_extensions import Self

__all__ = ["TABLES", "Record", "Settings", "read_table", "read_tables", "table_names"]

TABLES = (
    *("spectrogram", "train", "pretrain", "candidate", "events", "scan", "thresholds", "model"),
    *("source", "alerts", "evidence", "proof", "listen", "serve", "unknown"),
)
"""Tables that a TOML file of ours may hold; any other is taken for a misspelt one."""

_LARGEST_TOML = 1 << 20  # bytes
_MOST_PARTS = 100  # dots in a key
_SHOWN = 80  # characters of a wrong value that a message shows
_TOLD = 5  # problems of one table


class _NestedError(ConfigError, ValueError):
    """What is wrong with an instance; as a ValueError, pydantic tells where in another it lies."""


class Checked(BaseModel):
    """Base of both: an instance that exists is valid, and cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    short: ClassVar[tuple[str, ...]] = ()  # names that a file may use for what lies deeper

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _NestedError(self._one_line(error)) from None

    @classmethod
    def _one_line(cls, error: ValidationError) -> str:
        """Say the problems of a failed construction in one line, the first of very many."""
        problems = error.errors()
        told = "; ".join(cls._problem(detail) for detail in problems[:_TOLD])
        more = len(problems) - _TOLD
        return f"{told}; and {more:,} more" if more > 0 else told

    @classmethod
    def _problem(cls, detail: Any) -> str:
        where = _cut(".".join(str(part) for part in detail["loc"]))
        if detail["type"] == "extra_forbidden":
            names = [*cls.model_fields, *(cls.short if where not in cls.short else ())]
            close = difflib.get_close_matches(where, names, 1)
            meant = f"did you mean {close[0]}? There" if close else "there"
            return f"unknown setting {where}; {meant} are {', '.join(names)}"
        if detail["type"] == "missing":
            return f"{where} is missing"
        if detail["type"] == "value_error":  # a rule of our own, which names its setting
            error = detail["ctx"]["error"]
            nested = where and isinstance(error, _NestedError)
            return f"{where}: {error}" if nested else str(error)
        if not where:  # the whole of a JSON text
            return f"these are no settings: {detail['msg'].lower()}"
        return f"{where} is {_shown(detail['input'])}: {detail['msg'].lower()}"

    def replace(self, /, **changes: Any) -> Self:
        """Return a copy with `changes`; None means "leave as it is"; unknown names are errors."""
        given = {
            name: value
            for name, value in changes.items()
            if value is not None or name not in type(self).model_fields  # told as unknown
        }
        return type(self)(**{**self.to_dict(), **given})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain lists, dicts and scalars, every field present."""
        return self.model_dump(mode="json")


class Settings(Checked):
    """Base of the frozen settings classes: an instance that exists is valid.

    A subclass names its TOML table in `table`. Unknown names, wrong types and values out of range
    raise :class:`~spectro.errors.ConfigError` on construction, all of them in one line.
    """

    table: ClassVar[str] = ""
    # Settings that came later: at their default they do not count in the identity, so that what
    # was made before them keeps its own.
    later: ClassVar[frozenset[str]] = frozenset()

    def to_json(self) -> str:
        """Return the settings as indented JSON, ending in a newline."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Build from the JSON that :meth:`to_json` writes.

        Raises
        ------
        ConfigError
            If it is not JSON, or holds an unknown setting or a bad value.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(cls._one_line(error)) from None

    def to_toml(self) -> str:
        """Return the settings as one TOML table; None is left out, as TOML has no null."""
        import tomli_w  # of the extra train: listening writes none

        return tomli_w.dumps({self.table: self.model_dump(mode="json", exclude_none=True)})

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Build from the table ``[table]`` of a TOML file; without that table, the defaults.

        Raises
        ------
        ConfigError
            If the file cannot be read or parsed, or holds an unknown setting or a bad value.
        """
        try:
            return cls(**read_table(path, cls.table))
        except ConfigError as error:
            message = str(error).removeprefix(f"{path}: ")
            raise ConfigError(f"{path}: {message}") from None

    def differences(self, other: Self) -> list[str]:
        """Say what differs in `other`, a setting each, as "n_mels 64, now 128"."""
        pairs = zip(self, other, strict=True)
        return [f"{name} {was}, now {now}" for (name, was), (_, now) in pairs if was != now]

    @property
    def identity_text(self) -> str:
        """The JSON of the settings, without the `later` ones that are at their default."""
        fields = type(self).model_fields
        unused = {name for name in self.later if getattr(self, name) == fields[name].default}
        return self.model_dump_json(indent=2, exclude=unused) + "\n"

    @property
    def identity(self) -> str:
        """Sixteen hexadecimal digits that change when any setting changes."""
        return hashlib.sha256(self.identity_text.encode()).hexdigest()[:16]


class Record(Checked):
    """Base of what our JSON files say. Unknown fields, of a later version perhaps, are ignored.

    Attributes
    ----------
    omitted : frozenset of str
        Names of optional fields that are left out of the file while they are None.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)
    omitted: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_omitted(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {k: v for k, v in values.items() if v is not None or k not in self.omitted}

    @classmethod
    def read(cls, path: str | Path, error: type[SpectroError]) -> Self:
        """Read a JSON file.

        Raises
        ------
        SpectroError
            Of the type `error`, naming file and field, if it cannot be read or a field is missing
            or wrong.
        """
        try:
            return cls(**read_json(path, error))
        except ConfigError as problem:
            raise error(f"{path}: {problem}; restore it or make it anew") from None

    def to_text(self) -> str:
        """Return the record as indented JSON, in ASCII: a path may hold what is no Unicode."""
        return json.dumps(self.model_dump(), indent=2) + "\n"


def read_table(path: str | Path, name: str) -> dict[str, Any]:
    """Read the table ``[name]`` of a TOML file; an absent table is an empty one.

    Raises
    ------
    ConfigError
        If the file is missing, is not TOML (the message has the line), or `name` is no table.
    """
    tables = _read_toml(path)
    if name in ("spectrogram", "train", "pretrain"):  # what else reads a file has tables of its own
        _check_tables(tables, path)
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {name} is {_shown(table)}; write it as a table, [{name}]")
    return table


def read_tables(path: str | Path, name: str) -> list[dict[str, Any]]:
    """Read the tables ``[[name]]`` of a TOML file, in their order.

    Raises
    ------
    ConfigError
        If the file is missing, is not TOML, or `name` is no list of tables.
    """
    tables = _read_toml(path).get(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: {name} is no list of tables; write each as [[{name}]]")
    return tables


def table_names(path: str | Path) -> list[str]:
    """Return the names at the top of a TOML file.

    Raises
    ------
    ConfigError
        If the file is missing or is not TOML.
    """
    return list(_read_toml(path))


def _check_tables(tables: Iterable[str], path: str | Path) -> None:
    """Refuse a file with a table that nothing reads."""
    for name in tables:
        if name not in TABLES:
            close = difflib.get_close_matches(name, TABLES, n=1)
            meant = f"did you mean [{close[0]}]?" if close else f"there are {', '.join(TABLES)}"
            raise ConfigError(f"{path}: unknown table [{name[:_SHOWN]}]; {meant}")


def _shown(value: object) -> str:
    """Write a wrong value as a message shows it."""
    try:
        return _cut(repr(value))
    except ValueError:  # a number of more digits than Python writes, which hexadecimals can have
        return "a number of thousands of digits"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _read_toml(path: str | Path) -> dict[str, Any]:
    """Parse a TOML file."""
    try:
        text = read_bounded(path, _LARGEST_TOML).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot read the settings file ({why})") from None
    # Of a key of n parts the reader keeps n beginnings, and settings are one table deep.
    if any(part.count(".") > _MOST_PARTS for part in re.split(r"[=,\[\]{}\n]", text)):
        raise ConfigError(f"{path}: is nested too deeply for settings")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply for settings") from None
    except ValueError as error:  # TOMLDecodeError is one, and a number of 5,000 digits another
        raise ConfigError(f"{path}: not valid TOML ({error})") from None
