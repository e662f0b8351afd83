"""The house keeps its floors: imports go down, files and functions stay small enough to see."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import spectro

PACKAGE = Path(spectro.__file__).parent

# Each module may import from floors below its own; docs/architecture.md explains them.
FLOORS = {
    "errors": 0, "files": 1, "listener": 0, "colors": 0, "mp3": 0, "batches": 0,
    "settings": 2, "decode": 1, "cluster": 1,
    "config": 3,
    "recipes": 4, "audio": 4,
    "spectrogram": 5,
    "datasets.table": 4, "datasets.listed": 5, "datasets.folds": 5,
    "datasets.synthesis_blocks": 4, "datasets.synthesis": 5, "datasets.synthesis_place": 5,
    "datasets.synthesis_formats": 5,
    "datasets.urbansound8k": 6, "datasets.esc50": 6, "datasets.spoken_digits": 6,
    "datasets.folder": 6, "datasets.sample": 7, "datasets": 8,
    "rendered": 9, "render": 10, "metrics": 4,
    "precision": 4, "network": 4, "weights": 4,
    "learner": 5, "model": 5,
    "predict": 6, "run": 10, "splits": 10, "crossval": 11,
    "plots": 12, "console": 12,
    "cli.options": 13, "cli.data": 14, "cli.train": 14, "cli.use": 14, "cli.app": 15,
    "cli": 16,
}  # fmt: skip


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(tree: ast.AST) -> set[str]:
    """Modules of spectro that a file imports anywhere, by their names in FLOORS."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "spectro":
            base = node.module.removeprefix("spectro").lstrip(".")
            inside = {f"{base}.{alias.name}".lstrip(".") for alias in node.names}
            found |= {name if name in SOURCES else base for name in inside}
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names if alias.name.startswith("spectro.")}
            found |= {name.removeprefix("spectro.") for name in names}
    return found - {""}


def test_every_module_has_a_floor() -> None:
    assert set(SOURCES) - {""} == set(FLOORS)


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {""}))
def test_imports_go_down(name: str) -> None:
    tree = ast.parse(SOURCES[name].read_text())
    upward = {other for other in imported(tree) if FLOORS[other] >= FLOORS[name]}
    assert not upward, f"{name} imports {upward} from its own floor or above"


@pytest.mark.parametrize(
    ("library", "only"),
    [
        ("fastai", {"learner"}),
        ("typer", {"cli"}),
        ("matplotlib", {"plots"}),
        ("rich", {"console"}),
    ],
)
def test_a_library_is_imported_in_one_place(library: str, only: set[str]) -> None:
    users = set()
    for name, path in SOURCES.items():
        for node in ast.walk(ast.parse(path.read_text())):
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


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_files_and_functions_can_be_seen_whole(name: str) -> None:
    source = SOURCES[name].read_text()
    assert source.count("\n") <= 330
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 45, f"{name}.{node.name} is {length} lines"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import spectro", ("numpy", "pandas", "torch", "matplotlib", "fastai")),
        ("import spectro.cli.app", ("numpy", "pandas", "torch", "matplotlib", "fastai")),
        ("import spectro.render, spectro.datasets", ("torch", "matplotlib", "fastai", "librosa")),
        ("import spectro.predict", ("matplotlib", "fastai", "librosa")),
    ],
)
def test_importing_stays_light(statement: str, absent: tuple[str, ...]) -> None:
    code = f"import sys; {statement}; print(*[m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_module_can_be_imported_alone() -> None:
    names = [m.name for m in pkgutil.walk_packages(spectro.__path__, "spectro.")]
    assert len(names) == len(SOURCES) - 1
