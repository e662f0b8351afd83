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
    "errors": 0, "cnn4": 0, "files": 2, "listener": 0, "colors": 0, "mp3": 0, "batches": 0,
    "scratch": 0, "workers": 0, "places": 1,
    "settings": 2, "decode": 2, "cluster": 2,
    "phase": 3, "config": 4,
    "recipes": 5, "audio": 5,
    "mel": 5, "spectrogram": 6, "draw": 7,
    "datasets.table": 5, "datasets.listed": 6, "datasets.folds": 6,
    "datasets.synthesis_blocks": 5, "datasets.synthesis": 6, "datasets.synthesis_place": 6,
    "datasets.synthesis_formats": 6,
    "datasets.urbansound8k": 7, "datasets.esc50": 7, "datasets.spoken_digits": 7,
    "datasets.folder": 7, "datasets.sample": 8, "datasets": 9,
    "transfer": 3, "download": 4, "unpack": 5, "datasets.sources": 8, "fetch": 10,
    "breakdown": 6, "gradcam": 6, "calibration": 12, "comparison": 12,
    "rendered": 10, "render": 11, "metrics": 5, "traininglog": 6,
    "precision": 5, "ensemble": 4, "network": 5, "weights": 5,
    "sounds": 7, "datablock": 9, "learner": 10, "model": 6,
    "predict": 7, "run": 11, "splits": 11, "protocol": 12, "predictions": 12, "crossval": 13,
    "together": 9, "norms": 9, "gpus": 11, "members": 12, "tuning": 13, "tracking": 6,
    "augment.transform": 1, "augment.geometry": 2, "augment.masks": 2, "augment.filters": 2,
    "augment.levels": 2, "augment": 5, "callbacks": 6, "runs": 12,
    "plots": 13, "console": 13, "tables": 14, "plots_signal": 13, "plots_clip": 14,
    "plots_augmented": 13,
    "inversion": 7, "own_sounds": 9, "jupyter": 13, "lessons": 14,
    "pictures": 7, "features": 8, "loading": 8, "optimizer": 5, "probe": 14,
    "vitals": 6, "findings": 6, "doctor": 10, "quarantine": 11,
    "report": 0, "report.charts": 12, "report.choose": 12, "report.clips": 12,
    "report.evidence": 13,
    "report.facts": 13, "report.health": 12, "report.origin": 12, "report.page": 13,
    "report.write": 14,
    "cli.picture": 14, "cli.plot": 15,
    "cli.options": 14, "cli.interrupt": 15, "cli.data": 16, "cli.check": 16, "cli.fetch": 15,
    "cli.steps": 15, "cli.train": 16, "cli.tune": 16, "cli.use": 15, "cli.runs": 15,
    "cli.report": 15, "cli.app": 17,
    "cli": 18,
    "design": 0, "extrapolate": 0, "candidates": 6, "budget": 12, "repeats": 12,
    "learning_curve": 14, "nested": 14, "remote": 14,
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
        (
            "fastai",
            {
                *("callbacks", "datablock", "gpus", "learner", "loading", "members", "norms"),
                *("optimizer", "together", "tracking"),
            },
        ),
        ("typer", {"cli"}),
        ("matplotlib", {"plots", "plots_augmented", "plots_clip", "plots_signal"}),
        ("rich", {"console", "tables"}),
        ("requests", {"download", "transfer"}),
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
    assert source.count("\n") <= 450
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
        (
            "import spectro.pictures.render, spectro.clips.datasets",
            ("torch", "matplotlib", "fastai", "librosa", "sklearn", "scipy.signal"),
        ),
        (
            "import spectro.clips.check, spectro.clips.quarantine",
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
