"""What the user's own functions are made of, as text: their source, and all that they name.

A run is told from another by it, so that the networks of two are not mixed. Functions and classes
of the user's are followed, through modules, containers and `functools.partial` too; a module that a
function imports counts by its whole text. Those of the standard library, of installed packages and
of this one are not followed. Numbers, text, frozen dataclasses and the like count by their value;
lists, dicts and other dataclasses by what they hold where their name is in capitals, or where
`partial` was given them: others may be filled while a training runs. Any other object counts by its
class.
"""

from __future__ import annotations

import contextlib
import dis
import hashlib
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from spectro.plumbing.files import read_bounded
from spectro.plumbing.settings import Checked

__all__ = ["LONGEST", "source_of"]

LONGEST = 20_000  # characters that are kept; of the rest, its hash
_LONGEST_VALUE = 1_000
_LONGEST_MODULE = 1 << 24  # bytes
_DEEPEST = 20  # of values in values
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_MUTABLE = (dict, list, set)
_LOOKED_UP = ("LOAD_GLOBAL", "LOAD_NAME")
_OWN = (FunctionType, type, partial)  # what is followed wherever it stands
_LIBRARIES = {"site-packages", "dist-packages"}

Told = dict[str, str]


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
        they change nor what they name, as far as this module follows it.
    """
    told: Told = {}
    for part in parts:
        if part is not None:
            name = getattr(part, "__name__", type(part).__name__)
            _follow(name, part, told)
            _follow_all(_attributes(name, part), told)
    text = "\n".join(told.values())
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}\n# all of it, sha256 {_hash(text)}\n"


def _follow(name: str, part: Any, told: Told, given: bool = False) -> None:
    """Write down a part under its name, then all that it names; `given` counts whatever it is."""
    part = _unwrapped(part)
    key = f"{name} {part if isinstance(part, _PLAIN) else id(part)!r}"  # text is made anew
    if key in told or isinstance(part, ModuleType):
        return
    if isinstance(part, partial):
        told[key] = f"# {name} is a partial\n"
        arguments: dict[Any, Any] = {**dict(enumerate(part.args)), **part.keywords}
        named = {f"{name} {at}": one for at, one in arguments.items()}
        _follow_all({f"{name} of": part.func, **named}, told, given=True)
    elif isinstance(part, MethodType):
        told[key] = f"# {name} is a method\n"
        _follow_all({f"{name} does": part.__func__, f"{name} of": part.__self__}, told)
        _follow_all(_attributes(name, part.__self__), told)
    elif isinstance(part, FunctionType | type):
        is_users = _is_users(part)
        told[key] = _text(part) if is_users else f"# {name} is {_full_name(part)}\n"
        _follow_all(dict(_named(part)) if is_users else {}, told)
    else:
        told[key] = _of_value(name, part, given)
        _follow_all(_inside(name, part), told)


def _follow_all(parts: dict[str, Any], told: Told, given: bool = False) -> None:
    for name in sorted(parts):
        _follow(name, parts[name], told, given)


def _unwrapped(part: Any) -> Any:
    """Return the function that `functools.cache` or its like made an object of."""
    if isinstance(part, FunctionType | type):  # a function's wrapper counts, too, and names it
        return part
    return getattr(part, "__dict__", {}).get("__wrapped__", part)


def _of_value(name: str, value: Any, given: bool) -> str:
    """Write a value down, or its class where it may change while a training runs."""
    is_constant = name.rpartition(".")[2].isupper()
    counts = given or is_constant or not _may_change(value)
    written = _written(value) if counts else None
    if written is None:
        return f"# {name} is a {_full_name(type(value))}\n"
    line = " ".join(written.split())
    if len(line) > _LONGEST_VALUE:
        line = f"{line[:_LONGEST_VALUE]}... sha256 {_hash(written)}"
    return f"# {name} = {line}\n"


def _may_change(value: object) -> bool:
    """Tell whether a value may be filled, or written to, while a training runs."""
    if is_dataclass(value) and not isinstance(value, type):
        return not getattr(type(value), "__dataclass_params__").frozen  # noqa: B009
    return isinstance(value, _MUTABLE)


def _written(value: object, depth: int = 0) -> str | None:
    """Write a value the same in every process; None if that cannot be."""
    if isinstance(value, (*_PLAIN, Checked)):
        return repr(value)
    if isinstance(value, Enum):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        held = _written({one.name: getattr(value, one.name) for one in fields(value)}, depth + 1)
        return held and f"{_full_name(type(value))} {held}"
    if depth == _DEEPEST or not isinstance(value, (tuple, frozenset, *_MUTABLE)):
        return None
    if isinstance(value, dict):
        inner = [_written(pair, depth + 1) for pair in value.items()]
    else:
        inner = [_written(one, depth + 1) for one in value]
    if any(one is None for one in inner):
        return None
    each = [one for one in inner if one is not None]
    each = sorted(each) if isinstance(value, set | frozenset) else each
    return f"{type(value).__name__}({', '.join(each)})"


def _inside(name: str, value: Any) -> dict[str, Any]:
    """List the functions and classes that are in a container, or of which a value is one."""
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, tuple | list):
        items = dict(enumerate(value)).items()
    else:
        return {} if isinstance(value, _PLAIN) else {_full_name(type(value)): type(value)}
    found = {f"{name}[{key!r}]": _unwrapped(one) for key, one in items}
    return {k: one for k, one in found.items() if isinstance(one, _OWN)}


def _attributes(name: str, part: Any) -> dict[str, Any]:
    """List the attributes of a callable object of the user's, which is given itself."""
    if isinstance(part, FunctionType | type | MethodType | partial) or not _is_users(type(part)):
        return {}
    kept = getattr(part, "__dict__", {})
    return {f"{name}.{key}": one for key, one in kept.items() if _counts(one)}


def _counts(value: object) -> bool:
    """Tell whether an attribute is code, or a value that stays as it is."""
    return isinstance(value, _OWN) or not (_may_change(value) or _written(value) is None)


def _is_users(part: FunctionType | type) -> bool:
    """Tell the user's own code from the standard library's, that of packages, and this one's."""
    module = str(part.__module__ or "")
    return _is_users_module(module, getattr(sys.modules.get(module), "__file__", None))


def _is_users_module(name: str, file: str | None) -> bool:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names and top != "__main__":
        return False
    return not _LIBRARIES & set(Path(file or "").parts) and top != __name__.partition(".")[0]


def _full_name(part: FunctionType | type) -> str:
    return f"{part.__module__}.{part.__qualname__}"


def _text(part: FunctionType | type) -> str:
    """Return the source of a function or class, or the next best where it is not to be had."""
    try:
        # Of the code, not of the function: of that, what it wraps would be shown.
        return textwrap.dedent(inspect.getsource(getattr(part, "__code__", part)))
    except (OSError, TypeError):  # typed at a prompt; a notebook keeps that of functions alone
        pass
    if isinstance(part, type):
        bases = ", ".join(base.__name__ for base in part.__bases__)
        return f"class {part.__qualname__}({bases}):\n" + "".join(map(_text, _methods(part)))
    code = _hash("".join(_of_code(part.__code__)))
    return f"# {part.__qualname__}: its source is not to be had; code {code}\n"


def _of_code(code: CodeType) -> Iterator[str]:
    yield code.co_code.hex() + repr(code.co_names)
    for one in code.co_consts:
        yield from _of_code(one) if isinstance(one, CodeType) else [str(_written(one))]


def _methods(part: type) -> list[FunctionType]:
    own = (getattr(one, "__func__", getattr(one, "fget", one)) for one in vars(part).values())
    return [one for one in own if isinstance(one, FunctionType)]


def _named(part: FunctionType | type) -> Iterator[tuple[str, Any]]:
    """List what a function or class names and depends on."""
    if isinstance(part, type):
        yield from ((base.__name__, base) for base in part.__bases__)
        for method in _methods(part):
            yield from _named(method)
        yield from _held(part)
        return
    defaults = {"defaults": part.__defaults__, **(part.__kwdefaults__ or {})}
    yield from ((f"{part.__name__} {name}", one) for name, one in defaults.items() if one)
    yield from zip(part.__code__.co_freevars, _cells(part), strict=True)
    for code in _codes(part.__code__):
        yield from _globals(code, part.__globals__)


def _held(part: type) -> Iterator[tuple[str, Any]]:
    """List what a class holds beside its methods, which are in its source."""
    for name, one in vars(part).items():
        is_method = getattr(one, "__qualname__", "") == f"{part.__qualname__}.{name}"
        if not (name.startswith("__") or is_method) and _counts(one):
            yield f"{part.__name__}.{name}", one


def _globals(code: CodeType, there: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """List the globals that code looks up, and what it takes from modules."""
    asked = [(i.opname, i.argval) for i in dis.get_instructions(code)]
    for name in dict.fromkeys(name for kind, name in asked if kind in _LOOKED_UP):
        one = there.get(name)
        if isinstance(one, ModuleType):
            yield from _taken(name, one, code.co_names)
        elif name in there:
            yield name, one
    yield from _imports(code, str(there.get("__package__") or ""))


def _taken(
    name: str, module: ModuleType, names: Sequence[str], depth: int = 0
) -> Iterator[tuple[str, Any]]:
    """List what is taken by these names from a module, and from the user's modules in it."""
    for inner in names:
        one = getattr(module, inner, None)
        if not isinstance(one, ModuleType):
            if hasattr(module, inner):
                yield f"{name}.{inner}", one
        elif depth < _DEEPEST and _is_users_module(one.__name__, getattr(one, "__file__", None)):
            yield from _taken(f"{name}.{inner}", one, names, depth + 1)


def _imports(code: CodeType, package: str) -> Iterator[tuple[str, str]]:
    """List the user's modules that code imports when it runs, each with its whole text.

    None is imported for it: what a branch that is never taken imports does not run.
    """
    steps = list(dis.get_instructions(code))
    for level, names, step in zip(steps, steps[1:], steps[2:], strict=False):
        if step.opname != "IMPORT_NAME" or not isinstance(level.argval, int):
            continue
        with contextlib.suppress(ImportError):  # beyond the top of a package
            full = importlib.util.resolve_name(f"{'.' * level.argval}{step.argval}", package)
            for name in (full, *(f"{full}.{each}" for each in names.argval or ())):
                text = _text_of(name)
                if text is not None:
                    yield f"import {name}", text


def _text_of(module: str) -> str | None:
    """Read the text of a module of the user's; None if it is none, or not there."""
    top, *below = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # which imports nothing, where there is no dot
    except ValueError:  # __main__
        return None
    if spec is None or not _is_users_module(module, spec.origin):
        return None
    folders = spec.submodule_search_locations or ()
    files = [Path(spec.origin)] if spec.origin and not below else []
    for folder in folders if below else ():
        path = Path(folder, *below)
        files += [path.with_suffix(".py"), path / "__init__.py"]
    for file in files:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return read_bounded(file, _LONGEST_MODULE).decode()
    return None


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield code, and that of its inner functions."""
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _codes(one)


def _cells(part: FunctionType) -> list[Any]:
    """Return the values of a closure; one that is not bound yet is nothing."""
    values = []
    for cell in part.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:
            values.append(None)
    return values


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
