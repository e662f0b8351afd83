"""What the user's own functions are made of: the same in every process, until it changes."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spectro.crossval.own.source import LONGEST, source_of
from spectro.plumbing.words import first_change

CODE = """
import helpers
from functools import cache, partial, wraps
from dataclasses import dataclass
from enum import Enum
from os.path import join
import proj.settings
from spectro.training.settings import TrainConfig

EPOCHS = 5
RATES = {"head": 1e-3, "body": (1e-4, 3e-4)}
KINDS = {"siren", "dog_bark", "jackhammer"}
GROUPS = {"city": ({"siren", "jackhammer", "drill"}, frozenset({"horn", "bell", "gong"}))}
seen = []
CONFIG = TrainConfig(batch_size=8)

def twice(x, factor=2, kinds=frozenset({"a", "b", "c", "d"})):
    return factor * x

@cache
def deep(n):
    return n + 7

def louder(f):
    @wraps(f)
    def wrapper(n):
        return 11 * f(n)
    return wrapper

@louder
def middle(n):
    return n + 13

def small(n):
    return n - 1

NETS = {"small": small}
WIDTH = 16

@dataclass(frozen=True)
class Sizes:
    deep: int

@dataclass
class Notes:
    heard: int

class Mode(Enum):
    FAST = 1
    SLOW = 2

sizes, notes, mode = Sizes(3), Notes(1), Mode.FAST

class Net:
    width = 8
    hidden = WIDTH
    act = small

    def forward(self, x):
        return [twice(one) for one in x]

class Deep(Net):
    pass

class Maker:
    def __init__(self, depth):
        self.depth = depth
        self.sides = (depth, 64)

    def __call__(self, dls):
        return Deep()

def make(dls):
    seen.append(dls)
    dls.path = dls.other

    def inner():
        import late
        from later import LATEST
        if not EPOCHS:
            import ends
        late.work(proj.settings.LR, proj.nets.build(), proj.deep.made.made(), sizes, notes, mode)
        return Deep(), KINDS, GROUPS, NETS, deep(1), middle(1), helpers.tall(2), join, CONFIG
    return inner()

fit = partial(lambda learn, epochs, rates: (learn, epochs, rates, EPOCHS), rates=RATES)
maker = Maker(3)
"""


MODULES = {
    "proj/__init__.py": "import proj.nets, proj.settings, proj.deep.made",
    "proj/settings.py": "LR = 4e-3",
    "proj/nets.py": "def build(): return 21",
    "late.py": "def work(*_): return 31",
    "later.py": "LATEST = 41",
    "ends.py": "raise SystemExit(5)",
    "utils.py": "def head(): return 61",
    "proj/utils.py": "def head(): return 71",
    "proj/deep/__init__.py": "",
    "proj/deep/made.py": (
        "def made():\n    from ..utils import head\n    from . import near\n    return head, near"
    ),
    "proj/deep/near.py": "WIDE = 81",
}
HELPERS = "def tall(n):\n    return 3 * n\n\ndef other():\n    return 0\n"
WHAT = "make, fit, maker, maker.__call__"


def source(
    folder: Path,
    code: str = CODE,
    what: str = WHAT,
    helpers: str = HELPERS,
    modules: dict[str, str] = MODULES,
) -> str:
    """Import the code in a process of its own, with its own addresses and order of sets."""
    for name, text in {"mine.py": code, "helpers.py": helpers, **modules}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    asked = (
        "from mine import *; from spectro.crossval.own.source import source_of; "
        f"print(source_of({what}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return done.stdout


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> str:
    return source(tmp_path_factory.mktemp("unchanged"))


def test_all_that_they_name_is_told_and_no_address(unchanged: str, tmp_path: Path) -> None:
    told = unchanged
    for part in (
        "def make",
        "class Deep",
        "class Net",
        "def twice",
        "class Maker",
        "EPOCHS = 5",
        "def tall",
    ):
        assert told.count(part) == 1, part
    assert "0x" not in told and "'dog_bark', 'jackhammer', 'siren'" in told
    assert "def other" not in told and "seen is a builtins.list" in told
    assert "join is posixpath.join" in told and "def join" not in told
    assert "batch_size=8" in told
    assert source(tmp_path) == told


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("EPOCHS = 5", "EPOCHS = 20"),
        ("(1e-4, 3e-4)", "(1e-4, 1e-3)"),
        ("factor=2", "factor=3"),
        ("return factor * x", "return factor + x"),
        ("width = 8", "width = 9"),
        ("batch_size=8", "batch_size=9"),
        ("Maker(3)", "Maker(4)"),
        ("rates=RATES", "rates=EPOCHS"),
        ('"c", "d"', '"c", "e"'),
        ("n + 7", "n + 8"),
        ("n - 1", "n - 2"),
        ("n + 13", "n + 14"),
        ("11 * f(n)", "12 * f(n)"),
        ('"bell", ', ""),
        ("WIDTH = 16", "WIDTH = 17"),
        ("Sizes(3)", "Sizes(4)"),
        ("mode = Sizes(3), Notes(1), Mode.FAST", "mode = Sizes(3), Notes(1), Mode.SLOW"),
        ("(depth, 64)", "(depth, 65)"),
        ("act = small", "act = helpers.tall"),
    ],
)
def test_a_change_of_any_of_it_shows(unchanged: str, tmp_path: Path, was: str, now: str) -> None:
    before, after = unchanged, source(tmp_path, CODE.replace(was, now))
    assert before != after
    assert " is now " in first_change(before, after)


@pytest.mark.parametrize(
    ("module", "was", "now"),
    [
        ("proj/settings.py", "4e-3", "9e-3"),
        ("proj/nets.py", "21", "22"),
        ("late.py", "31", "32"),
        ("later.py", "41", "42"),
        ("ends.py", "5", "6"),
        ("proj/utils.py", "71", "72"),
        ("proj/deep/near.py", "81", "82"),
    ],
)
def test_a_change_in_modules_of_theirs_shows(
    unchanged: str, tmp_path: Path, module: str, was: str, now: str
) -> None:
    """In a module of a package, and in one that a function imports when it runs."""
    changed = {**MODULES, module: MODULES[module].replace(was, now)}
    assert source(tmp_path, modules=changed) != unchanged


def test_modules_of_the_same_name_elsewhere_change_nothing(unchanged: str, tmp_path: Path) -> None:
    changed = {**MODULES, "utils.py": "def head(): return 62"}
    assert source(tmp_path, modules=changed) == unchanged


def test_what_is_not_theirs_or_fills_up_changes_nothing(unchanged: str, tmp_path: Path) -> None:
    """A list that collects, an unused helper, a global that an attribute is called after."""
    before = unchanged
    for was, now in (
        ("seen = []", "seen = [1, object()]"),
        ("seen = []", "seen = []\npath = other = 5"),
        ("EPOCHS = 5", "EPOCHS = 5\nUNUSED = 3"),
        ("Notes(1)", "Notes(2)"),
    ):
        assert source(tmp_path, CODE.replace(was, now)) == before
    assert source(tmp_path, helpers=HELPERS.replace("return 0", "return 1")) == before
    assert source(tmp_path, helpers=HELPERS.replace("3 * n", "4 * n")) != before


def test_packages_are_not_followed_wherever_they_lie(tmp_path: Path) -> None:
    there = tmp_path / "usr" / "dist-packages"
    there.mkdir(parents=True)
    (there / "helpers.py").write_text(HELPERS)
    (tmp_path / "mine.py").write_text("from helpers import tall\ndef make(dls): return tall(1)")
    asked = (
        "from mine import *; from spectro.crossval.own import source as s; print(s.source_of(make))"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(there)},
    )  # fmt: skip
    assert "tall is helpers.tall" in done.stdout and "3 * n" not in done.stdout


def test_code_without_source_is_told_apart_by_what_it_does() -> None:
    """As typed at a prompt, line by line."""
    names: dict[str, dict[str, object]] = {"one": {}, "same": {}, "other": {}}
    for name, held in names.items():
        exec(f"def make(dls):\n    return dls.x + {2 if name == 'other' else 1}", held)
    one, same, other = (source_of(held["make"]) for held in names.values())
    assert one == same != other


def test_what_is_long_keeps_a_hash_of_all_of_it() -> None:
    def long(n: int) -> str:
        names: dict[str, object] = {}
        exec("\n".join(f"def f{i}(): return {i}" for i in range(400)), names)
        exec(f"def f(): return {[f'f{i}()' for i in range(399)]}, {n}".replace("'", ""), names)
        return source_of(names["f"])

    assert len(long(1)) < LONGEST + 200
    assert long(1) == long(1) != long(2)
    assert "sha256" in long(1)


def test_nothing_is_nothing() -> None:
    assert source_of(None) == "" == first_change("a\nb", "a\nb")
    assert first_change("a\nb", "a\nc") == "'b' is now 'c'"
    assert first_change("a", "a\nc") == "'' is now 'c'"
    assert "is a partial" in source_of(functools.partial(print, 1))
