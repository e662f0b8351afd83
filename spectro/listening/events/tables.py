"""The table of events as CSV, JSON lines and Parquet; the columns are frozen, the schema numbered.

The columns are those of :class:`~spectro.listening.events.finding.Event`, in its order, then
``schema``.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spectro.errors import DatasetError, MissingExtraError
from spectro.listening.events.finding import SCHEMA, Event
from spectro.plumbing.files import open_regular, replacing

__all__ = [
    "COLUMNS",
    "csv_header",
    "csv_line",
    "decimal",
    "guard",
    "json_line",
    "read_csv",
    "read_jsonl",
    "unguard",
    "unicode_only",
    "write_csv",
    "write_jsonl",
    "write_parquet",
]

COLUMNS = (*Event._fields, "schema")

_NUMBERS = ("start", "end", "probability", "peak")
_DECIMALS = 6
_LONGEST = 1 << 20  # bytes of a line
_ANOTHER = "spectro scan writes such a table, and spectro events STORE --csv FILE"
_BATCH = 10_000  # rows of Parquet written at a time
# Spreadsheets take a cell that starts so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def decimal(number: float) -> str:
    """Write a number with up to six decimals, without an exponent.

    Examples
    --------
    >>> decimal(12.5), decimal(3.0), decimal(1e-7), decimal(0.1 + 0.2)
    ('12.5', '3', '0', '0.3')
    """
    return f"{round(number, _DECIMALS) + 0.0:.{_DECIMALS}f}".rstrip("0").rstrip(".")


def guard(text: str) -> str:
    """Write a text so that a spreadsheet does not take it for a formula: with ``'`` before it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def unguard(text: str) -> str:
    """Undo :func:`guard`."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def unicode_only(text: str) -> str:
    r"""Write the bytes of a file name that are no Unicode as ``\xe9``, and NUL as ``\x00``."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogateescape" if _undecoded(text) else "backslashreplace")
        text = raw.decode("utf-8", "backslashreplace")
    return text.replace("\0", "\\x00")


def _undecoded(text: str) -> bool:
    """Tell whether all surrogates stand for bytes that Python could not decode."""
    return all(0xDC80 <= ord(c) <= 0xDCFF for c in text if 0xD800 <= ord(c) <= 0xDFFF)


def csv_header() -> str:
    """Return the first line of the CSV, with its newline."""
    return ",".join(COLUMNS) + "\n"


def csv_line(event: Event) -> str:
    """Return the row of an event, with its newline."""
    row = [
        decimal(value) if isinstance(value, float) else guard(unicode_only(str(value)))
        for value in event
    ]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow([*row, SCHEMA])  # a lone \r is quoted too
    return buffer.getvalue()[:-2] + "\n"


def json_line(event: Event) -> str:
    """Return an event as a line of JSON, with its newline; all of it ASCII."""
    return json.dumps(_rounded(event)) + "\n"


def _rounded(event: Event) -> dict[str, Any]:
    row = {**event._asdict(), "schema": SCHEMA}
    row.update({name: round(float(row[name]), _DECIMALS) for name in _NUMBERS})
    return row


def write_csv(path: str | Path, events: Iterable[Event]) -> int:
    r"""Write events as CSV (UTF-8, ``\n``), in one step; return how many.

    A text that a spreadsheet would take for a formula gets a ``'`` before it, which
    :func:`read_csv` takes away. Bytes of a file name that are no Unicode become ``\xe9``.
    """
    return _write_lines(path, csv_header(), map(csv_line, events))


def write_jsonl(path: str | Path, events: Iterable[Event]) -> int:
    """Write events as JSON lines, in one step; return how many."""
    return _write_lines(path, "", map(json_line, events))


def _write_lines(path: str | Path, header: str, lines: Iterable[str]) -> int:
    count = 0
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.write(header)
        for line in lines:
            file.write(line)
            count += 1
    return count


def write_parquet(path: str | Path, events: Iterable[Event]) -> int:
    """Write events as Parquet, in one step; return how many.

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("parquet", "writing Parquet") from None
    kinds = {"schema": pa.int32(), **dict.fromkeys(_NUMBERS, pa.float64())}
    fields = [(name, kinds.get(name, pa.string())) for name in COLUMNS]
    schema = pa.schema(fields, metadata={"spectro_events_schema": str(SCHEMA)})
    count = 0
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for rows in _batches(events):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def _batches(events: Iterable[Event]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for event in events:
        row = _rounded(event).items()
        rows.append({k: unicode_only(v) if isinstance(v, str) else v for k, v in row})
        if len(rows) == _BATCH:
            yield rows
            rows = []
    if rows:
        yield rows


def read_csv(path: str | Path) -> Iterator[Event]:
    """Read the events that :func:`write_csv` wrote, row by row.

    Raises
    ------
    DatasetError
        If the file cannot be read, has other columns, or a row is damaged.
    """
    try:
        with open_regular(path) as opened:
            file = io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")
            rows = csv.reader(file)
            header = next(rows, [])
            if tuple(header) != COLUMNS:
                raise DatasetError(
                    f"{path}: is no table of events, whose columns are {', '.join(COLUMNS)}; "
                    f"{_ANOTHER}"
                )
            for row in rows:
                values = dict(zip(header, map(unguard, row), strict=False))
                yield _event(values, f"{path}, line {rows.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read ({_why(error)}); {_ANOTHER}") from None


def read_jsonl(path: str | Path) -> Iterator[Event]:
    """Read the events that :func:`write_jsonl` wrote, line by line.

    Raises
    ------
    DatasetError
        If the file cannot be read, or a line is damaged.
    """
    try:
        with open_regular(path) as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), 1):
                where = f"{path}, line {number}"
                try:
                    values = json.loads(line)
                except (ValueError, RecursionError):
                    raise DatasetError(f"{where}: is no JSON; write the file anew") from None
                yield _event(values if isinstance(values, dict) else {}, where)
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({_why(error)}); {_ANOTHER}") from None


def _event(values: dict[str, Any], where: str) -> Event:
    """Check a row, and make an event of it."""
    if str(values.get("schema")) != str(SCHEMA):
        raise DatasetError(
            f"{where}: has schema {values.get('schema')!r}, not {SCHEMA}; "
            "read it with the version of spectro that wrote it"
        )
    try:
        numbers = {name: float(values[name]) for name in _NUMBERS}
        texts = {name: values[name] for name in Event._fields if name not in _NUMBERS}
    except (KeyError, TypeError, ValueError):
        raise DatasetError(f"{where}: lacks a column, or a number is none") from None
    sane = 0 <= numbers["start"] <= numbers["end"] < math.inf
    if not sane or not all(isinstance(text, str) for text in texts.values()):
        raise DatasetError(f"{where}: the event does not end after it starts, or a text is none")
    return Event(**{**numbers, **texts})


def _why(error: Exception) -> object:
    return getattr(error, "strerror", None) or error
