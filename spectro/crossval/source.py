"""What the user's own functions are made of, as text: their source, and all that they name.

A run is told from another by it, so that the networks of two are not mixed. Functions and classes
of the user's are followed, through `functools.partial` too; those of the standard library, of
installed packages and of this one are not. Another object counts by its class, by how it shows
itself and, if it is of a class of the user's, by its plain attributes.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

__all__ = ["LONGEST", "first_change", "source_of"]

LONGEST = 20_000  # characters that are kept; of the rest, its hash
_LONGEST_VALUE, _LONGEST_CHANGE = 1_000, 120
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_HASH = "# all of it, sha256 "
_LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib"))


def source_of(*parts: object) -> str:
    """Write down what functions, classes or callable objects are made of.

    Parameters
    ----------
    *parts : object
        None is nothing.

    Returns
    -------
    source : str
        At most 20,000 characters and a hash of all; the same in every process as long as neither
        they change nor a function, class or plain value that they name.
    """
    told: dict[str, str] = {}
    for part in parts:
        if part is not None:
            _follow(getattr(part, "__name__", type(part).__name__), part, told)
    text = "\n".join(told.values())
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}\n{_HASH}{hashlib.sha256(text.encode()).hexdigest()}\n"


def first_change(before: str, now: str) -> str:
    """Show the first line that differs, as it was and as it is; empty where none does."""
    for was, is_now in zip(*_evenly(before.splitlines(), now.splitlines()), strict=True):
        if was != is_now:
            return " is now ".join(repr(line.strip()[:_LONGEST_CHANGE]) for line in (was, is_now))
    return ""


def _evenly(*texts: list[str]) -> list[list[str]]:
    longest = max(map(len, texts))
    return [[*lines, *[""] * (longest - len(lines))] for lines in texts]


def _follow(name: str, part: Any, told: dict[str, str]) -> None:
    """Write down a part under its name, then all that it names."""
    part = inspect.unwrap(part) if isinstance(part, FunctionType) else part
    key = f"{name} {id(part)}"
    if key in told or inspect.ismodule(part):
        return
    if _is_plain(part):
        told[key] = f"# {name} = {_short(_ordered(part))}\n"
    elif isinstance(part, partial):
        told[key] = f"# {name} is a partial\n"
        given = {f"{name} {at}": one for at, one in enumerate(part.args)}
        _follow_all({f"{name} of": part.func, **given, **part.keywords}, told)
    elif isinstance(part, MethodType):
        told[key] = f"# {name} is a method\n"
        _follow_all({f"{name} does": part.__func__, f"{name} of": part.__self__}, told)
    elif not isinstance(part, FunctionType | type):  # a callable object, or data
        told[key] = f"# {name} is a {type(part).__qualname__}{_as_written(part)}\n"
        _follow(type(part).__qualname__, type(part), told)
        if _is_users(type(part)):
            kept = {f"{name}.{key}": one for key, one in getattr(part, "__dict__", {}).items()}
            _follow_all({key: one for key, one in kept.items() if _is_plain(one)}, told)
    elif _is_users(part):
        told[key] = _text(part)
        _follow_all(dict(_named(part)), told)
    else:
        told[key] = f"# {name} is {part.__module__}.{part.__qualname__}\n"


def _follow_all(parts: dict[str, Any], told: dict[str, str]) -> None:
    for name in sorted(parts):
        _follow(name, parts[name], told)


def _is_plain(value: object) -> bool:
    """Tell whether a value is written the same in every process."""
    if isinstance(value, dict):
        return all(map(_is_plain, (*value, *value.values())))
    if isinstance(value, tuple | list | set | frozenset):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _ordered(value: Any) -> str:
    return repr(sorted(value, key=repr) if isinstance(value, set | frozenset) else value)


def _as_written(value: object) -> str:
    """Write an object as it shows itself, unless by its address, which is another's soon."""
    shown = repr(value)
    return "" if " at 0x" in shown else f": {_short(shown)}"


def _short(text: str) -> str:
    """Put text on one line that is not too long, and still tells it from all other text."""
    line = " ".join(text.split())
    if len(line) <= _LONGEST_VALUE:
        return line
    return f"{line[:_LONGEST_VALUE]}... sha256 {hashlib.sha256(text.encode()).hexdigest()}"


def _is_users(part: FunctionType | type) -> bool:
    """Tell the user's own code from the standard library's, that of packages, and this one's."""
    top = (part.__module__ or "").partition(".")[0]
    if top in sys.stdlib_module_names and top != "__main__":
        return False
    path = getattr(sys.modules.get(part.__module__), "__file__", None)
    is_library = path is not None and any(Path(path).is_relative_to(one) for one in _LIBRARIES)
    return not is_library and top != __name__.partition(".")[0]


def _text(part: FunctionType | type) -> str:
    """Return the source of a function or class, or the next best where it is not to be had."""
    try:
        return textwrap.dedent(inspect.getsource(part))
    except (OSError, TypeError):  # typed at a prompt; a notebook keeps that of functions alone
        pass
    if isinstance(part, type):
        bases = ", ".join(base.__name__ for base in part.__bases__)
        return f"class {part.__qualname__}({bases}):\n" + "".join(map(_text, _methods(part)))
    code = hashlib.sha256(b"".join(_bytes(part.__code__))).hexdigest()
    return f"# {part.__qualname__}: its source is not to be had; code {code}\n"


def _bytes(code: CodeType) -> Iterator[bytes]:
    yield code.co_code + repr(code.co_names).encode()
    for one in code.co_consts:
        yield from _bytes(one) if isinstance(one, CodeType) else [repr(one).encode()]


def _methods(part: type) -> list[FunctionType]:
    own = (getattr(one, "__func__", getattr(one, "fget", one)) for one in vars(part).values())
    return [one for one in own if isinstance(one, FunctionType)]


def _named(part: FunctionType | type) -> Iterator[tuple[str, Any]]:
    """List what a function or class names and depends on."""
    if isinstance(part, type):
        yield from ((base.__name__, base) for base in part.__bases__)
        for method in _methods(part):
            yield from _named(method)
        return
    code = part.__code__
    defaults = {"defaults": part.__defaults__, **(part.__kwdefaults__ or {})}
    yield from ((f"{part.__name__} {name}", one) for name, one in defaults.items() if one)
    yield from zip(code.co_freevars, _cells(part), strict=True)
    yield from ((n, part.__globals__[n]) for n in _names(code) if n in part.__globals__)


def _cells(part: FunctionType) -> list[Any]:
    """Return the values of a closure; one that is not bound yet is nothing."""
    values = []
    for cell in part.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:
            values.append(None)
    return values


def _names(code: CodeType) -> set[str]:
    """Collect what code looks up by name, its inner functions' too."""
    inner = (_names(one) for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*inner)
