"""Every notebook runs from top to bottom on the sample and is committed without output."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from spectro.run import Run

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == ["01-inspect-a-fold.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_without_output(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_top_to_bottom(path: Path, run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "runs" / "demo")
    (tmp_path / "notebooks").mkdir()
    book = nbformat.read(path, as_version=4)
    client = NotebookClient(book, timeout=240, resources={
        "metadata": {"path": str(tmp_path / "notebooks")}})  # fmt: skip
    client.execute()
    outputs = [out for cell in book.cells for out in cell.get("outputs", [])]
    kinds = {kind for out in outputs for kind in out.get("data", {})}
    assert {"image/png", "text/html"} <= kinds, "pictures, players and tables are shown"
    assert any("<audio" in out.get("data", {}).get("text/html", "") for out in outputs)
