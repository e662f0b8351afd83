"""Notebooks: thin, committed without output, and running from top to bottom on the sample."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
NAMES = [
    "01-inspect-a-fold",
    "02-spectrograms-and-settings",
    "03-train-and-tune",
    "04-cross-validation-results",
    "05-your-own-sounds",
]
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

# What a notebook leaves to the package; a comprehension is no loop of this kind.
LOGIC = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.If, ast.Try, ast.With)

SHOWN = {  # pictures and players of each, at least
    "01-inspect-a-fold": (2, 3),
    "02-spectrograms-and-settings": (9, 25),
    "03-train-and-tune": (4, 0),
    "04-cross-validation-results": (2, 6),
    "05-your-own-sounds": (2, 1),
}


def read(path: Path) -> dict[str, Any]:
    """Read without nbformat, whose import takes 12 seconds: every worker would wait for it."""
    book: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return book


def cells(path: Path, kind: str) -> list[str]:
    found = read(path)["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def code(path: Path) -> ast.Module:
    """Everything that a notebook runs, without IPython's magics."""
    source = "\n".join(cells(path, "code"))
    return ast.parse(re.sub(r"^%.*$", "", source, flags=re.MULTILINE))


def test_all_notebooks_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == NAMES


@each_notebook
def test_notebook_is_committed_without_output(path: Path) -> None:
    for cell in read(path)["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@each_notebook
def test_notebook_holds_no_logic(path: Path) -> None:
    found = [node for node in ast.walk(code(path)) if isinstance(node, LOGIC)]
    assert not [ast.unparse(node) for node in found]
    assert max(len(source.splitlines()) for source in cells(path, "code")) <= 16


@each_notebook
def test_notebook_names_no_absolute_path(path: Path) -> None:
    texts = [node.value for node in ast.walk(code(path)) if isinstance(node, ast.Constant)]
    absolute = re.compile(r"^(/|~|[A-Za-z]:\\)")
    assert not [text for text in texts if isinstance(text, str) and absolute.match(text)]


@each_notebook
def test_links_lead_to_notebooks_that_are_there(path: Path) -> None:
    links = re.findall(r"\]\((.+?)\)", "\n".join(cells(path, "markdown")))
    assert all((path.parent / link).is_file() for link in links)


@each_notebook
def test_the_kernel_is_this_environments_own(path: Path) -> None:
    from jupyter_client.manager import KernelManager

    kernel = read(path)["metadata"]["kernelspec"]["name"]
    assert kernel == "python3"
    assert KernelManager(kernel_name=kernel).format_kernel_cmd()[0] == sys.executable


def execute(path: Path, project: Path) -> list[Any]:
    """Run a notebook in a project's folder; return what it put out."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    where = {"metadata": {"path": str(project / "notebooks")}}
    NotebookClient(book, timeout=300, resources=where).execute()
    return [out for cell in book.cells for out in cell.get("outputs", [])]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project without any data, in which the notebooks work on next to nothing."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "notebooks").mkdir()
    shutil.copy(NOTEBOOKS[0].with_name("lessons.py"), folder / "notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPECTRO_LESSONS", "tiny")
        yield folder


@pytest.mark.slow
@each_notebook
def test_notebook_runs_from_top_to_bottom(path: Path, project: Path) -> None:
    outputs = execute(path, project)
    told = "".join(out["text"] for out in outputs if out["output_type"] == "stream"
                   and out["name"] == "stderr")  # fmt: skip
    assert told == "", "a reader sees no warnings"
    shown = [out.get("data", {}) for out in outputs]
    pictures = sum("image/png" in data for data in shown)
    players = sum(data.get("text/html", "").count("<audio") for data in shown)
    assert (pictures, players) >= SHOWN[path.stem]
    assert players >= SHOWN[path.stem][1]


@pytest.mark.long
@pytest.mark.parametrize("name", ["03-train-and-tune", "05-your-own-sounds"])
def test_notebook_runs_again_on_what_is_there(name: str, project: Path) -> None:
    (path,) = [path for path in NOTEBOOKS if path.stem == name]
    execute(path, project)
    trained = sorted(project.glob("runs/**/fold.json"))
    times = [file.stat().st_mtime_ns for file in trained]
    execute(path, project)
    assert trained
    assert [file.stat().st_mtime_ns for file in trained] == times, "a trained fold is left alone"
