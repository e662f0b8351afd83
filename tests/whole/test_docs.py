"""The documentation site: what is generated says what is there, and the site builds."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import spectro
from spectro.cli.app import app

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_and_option_is_in_the_reference(generate: ModuleType) -> None:
    import typer.main

    text = "\n".join(generate.commands())
    for name, command in typer.main.get_command(app).commands.items():
        section = text.partition(f"\n## spectro {name}\n")[2].partition("\n## ")[0]
        assert section, name
        for param in command.params:
            for option in param.opts:
                if option.startswith("-") and param.name != "help":
                    assert f"`{option}`" in section, (name, option)


def test_every_public_name_is_in_the_api(generate: ModuleType) -> None:
    text = "\n".join(generate._api())
    for name in set(spectro.__all__) - {"__version__"}:
        assert f"\nspectro.{name}\n" in text, name


def test_pages_of_the_site_are_all_linked() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.stem == "index" or re.search(rf"^{page.stem}$", index, re.MULTILINE), page.stem


def test_the_code_of_the_fastai_page_is_python() -> None:
    text = (ROOT / "docs" / "fastai.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) > 4
    for block in blocks:
        compile(block, "fastai.md", "exec")
    for name in re.findall(r"spectro\.([a-zA-Z_]+)\(", "\n".join(blocks)):
        assert name in spectro.__all__, name


def test_workflow_template_and_citation_are_yaml_that_says_what_it_must() -> None:
    flow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())
    matrix = flow["jobs"]["tests"]["strategy"]["matrix"]
    assert [name.split("-")[0] for name in matrix["os"]] == ["ubuntu", "macos", "windows"]
    assert matrix["python"] == ["3.10", "3.11", "3.12", "3.13"]
    assert "not run yet" in (ROOT / ".github/workflows/tests.yml").read_text().lower()
    template = (ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text()
    assert "spectro --version -v" in template
    assert yaml.safe_load(template)["body"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == spectro.__version__
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


@pytest.mark.long
def test_the_site_builds_without_a_warning_and_asks_no_network(tmp_path: Path) -> None:
    pytest.importorskip("myst_nb")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E", "-b", "html",
         str(ROOT / "docs"), str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]+)', page.read_text()
        )
        assert not loaded, (page.name, loaded)
