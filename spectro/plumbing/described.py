"""What the docstring of a settings class says of each setting: help texts, comments of TOML."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from spectro.plumbing.settings import Settings

__all__ = ["commented_toml", "entries", "first_sentence"]

_WIDTH = 96  # characters of a comment, without its sign


@functools.cache
def entries(cls: type[Settings]) -> dict[str, str]:
    """Read what "Parameters" in the docstring of a class says of each field, as plain text.

    Parameters
    ----------
    cls : type of Settings
        With a numpydoc docstring. Without docstrings (``python -OO``) all is empty.
    """
    text = inspect.cleandoc(cls.__doc__ or "").partition("Parameters\n----------\n")[2]
    found = re.findall(r"^(\w[\w, ]*) : .*\n((?:    .*\n|\n)*)", text + "\n", re.MULTILINE)
    told = dict.fromkeys(cls.model_fields, "")
    for names, body in found:
        plain = re.sub(r" ?\(:\w+:`[^`]*`\)|:\w+:|`+", "", " ".join(body.split()))
        told.update(dict.fromkeys(names.split(", "), plain))
    return told


def first_sentence(text: str) -> str:
    """Return the first sentence of what is said of a setting."""
    return re.split(r"(?<=\.)\s+(?=[A-Z\"])", text)[0]


def commented_toml(
    settings: Settings, why: Mapping[str, str] | None = None, *, one_of_many: bool = False
) -> str:
    """Write settings as a TOML table, each under a comment that says what it is for.

    What is None, which TOML cannot say, stands as a comment. Settings that are themselves lists of
    settings come last, each as a table of its own.

    Parameters
    ----------
    settings : Settings
        Of a class with a `table`.
    why : mapping of str to str, or None
        Where the value of a setting comes from, added to its comment.
    one_of_many : bool
        Write the table as one of a list, ``[[table]]``.

    Returns
    -------
    text : str
        That reads back as the same settings.
    """
    head = f"[[{settings.table}]]" if one_of_many else f"[{settings.table}]"
    return "\n".join(_table(settings, head, why or {})) + "\n"


def _table(settings: Settings, head: str, why: Mapping[str, str]) -> Iterator[str]:
    said = entries(type(settings))
    yield head
    nested = {name: value for name, value in settings if _is_nested(value)}
    for name, value in settings.to_dict().items():
        if name not in nested:
            yield from _comment(said[name], why.get(name))
            yield from [_assignment(name, value), ""]
    for name, items in nested.items():
        yield from _comment(said[name], why.get(name))
        for number, item in enumerate(items):
            yield from _item(item, f"[[{settings.table}.{name}]]", commented=number == 0)


def _item(settings: Settings, head: str, *, commented: bool) -> Iterator[str]:
    """Write one of a list of settings; the first explains all."""
    if commented:
        yield from _table(settings, head, {})
        return
    yield head
    yield from (_assignment(name, value) for name, value in settings.to_dict().items())
    yield ""


def _is_nested(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(item, Settings) for item in value)


def _comment(text: str, source: str | None) -> Iterator[str]:
    told = f"{text} ({source})" if source else text
    yield from (f"# {line}" for line in textwrap.wrap(told, _WIDTH, break_long_words=False))


def _assignment(name: str, value: Any) -> str:
    if value is None:
        return f"# {name} ="
    if value == {}:
        return f"{name} = {{}}"
    import tomli_w  # of the extra train

    line = tomli_w.dumps({name: value}).strip()
    return " ".join(line.split()).replace("[ ", "[").replace(", ]", "]") if "\n" in line else line
