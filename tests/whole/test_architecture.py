"""The house keeps its floors: imports go down, files and functions stay small enough to see."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

import spectro

PACKAGE = Path(spectro.__file__).parent


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(SOURCES[name].read_text())


def test_imports_go_down() -> None:
    """The contracts are in ``pyproject.toml``: the order of folders, and what listening sees."""
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
        cwd=PACKAGE.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("library", "only"),
    [
        ("fastai", {"training"}),
        ("typer", {"cli"}),
        ("matplotlib", {"pictures", "scores", "training"}),
        ("rich", {"cli"}),
        ("requests", {"plumbing"}),
    ],
)
def test_a_library_is_imported_in_one_place(library: str, only: set[str]) -> None:
    users = set()
    for name in SOURCES:
        for node in ast.walk(tree(name)):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(module.split(".")[0] == library for module in modules):
                users.add(name.split(".")[0])
    assert users == only


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_all_names_exist_and_are_documented(name: str) -> None:
    module = importlib.import_module(f"spectro.{name}".rstrip("."))
    for public in getattr(module, "__all__", []):
        value = getattr(module, public)
        if callable(value) and getattr(value, "__module__", "").startswith("spectro"):
            assert value.__doc__, f"{name}.{public} has no docstring"


def test_a_folder_holds_about_ten_files() -> None:
    files = Counter(path.parent for path in SOURCES.values() if path.name != "__init__.py")
    assert {str(folder): n for folder, n in files.items() if n > 11} == {}
    assert files[PACKAGE] <= 4


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_files_and_functions_can_be_seen_whole(name: str) -> None:
    source = SOURCES[name].read_text()
    assert source.count("\n") <= 450
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 40, f"{name}.{node.name} is {length} lines"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import spectro", ("numpy", "pandas", "torch", "matplotlib", "fastai")),
        ("import spectro.cli.app", ("numpy", "pandas", "torch", "matplotlib", "fastai")),
        (
            "import spectro.pictures.render, spectro.clips.datasets",
            ("torch", "matplotlib", "fastai", "librosa", "sklearn", "scipy.signal"),
        ),
        (
            "import spectro.clips.checking.check, spectro.clips.checking.quarantine",
            ("torch", "matplotlib", "fastai", "librosa"),
        ),
        ("import spectro.listening.classifier", ("matplotlib", "fastai", "librosa")),
    ],
)
def test_importing_stays_light(statement: str, absent: tuple[str, ...]) -> None:
    code = f"import sys; {statement}; print(*[m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_module_can_be_imported_alone() -> None:
    names = [m.name for m in pkgutil.walk_packages(spectro.__path__, "spectro.")]
    assert len(names) == len(SOURCES) - 1
