"""The generated pages of the documentation: tutorials, commands, API, and the project's own pages.

Nothing here is written twice: tutorials are the notebooks, the commands' pages come from the
commands, the API from the docstrings.
"""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

import spectro
from spectro.cli.app import app

__all__ = ["all_pages", "commands"]

_PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")
_MODULES = {  # beside what `import spectro` gives: what people reach for next
    "Sound": ("spectro.clips.waveform", "spectro.clips.decode", "spectro.clips.table"),
    "Datasets": ("spectro.clips.datasets", "spectro.clips.datasets.folder"),
    "Checking": ("spectro.clips.checking.check", "spectro.clips.checking.findings"),
    "Pictures": ("spectro.pictures.spectrogram", "spectro.pictures.mel", "spectro.pictures.plots"),
    "Training": ("spectro.training.data", "spectro.training.recipes", "spectro.training.splits"),
    "Scores": ("spectro.scores.metrics", "spectro.scores.comparison", "spectro.scores.calibration"),
    "Models": (
        "spectro.models.folder",
        "spectro.models.networks.build",
        "spectro.models.networks.own",
    ),
    "Notebooks": ("spectro.notebook",),
}


def all_pages(docs: Path) -> None:
    """Write every generated page to ``docs/_generated``, anew."""
    out = docs / "_generated"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    _copy_notebooks(docs.parent / "notebooks", out / "notebooks")
    for name in _PAGES:
        text = (docs.parent / name).read_text(encoding="utf-8")
        text = re.sub(r"\]\(docs/([\w-]+)\.md", r"](../\1.md", text)
        (out / name.lower()).write_text(text, encoding="utf-8")
    (out / "commands.md").write_text("\n".join(commands()) + "\n", encoding="utf-8")
    (out / "api.rst").write_text("\n".join(_api()) + "\n", encoding="utf-8")


def _copy_notebooks(notebooks: Path, out: Path) -> None:
    """Copy the notebooks to where Sphinx finds them; they hold no output."""
    out.mkdir()
    for path in sorted(notebooks.glob("*.ipynb")):
        text = path.read_text(encoding="utf-8").replace("](../docs/", "](../../")
        (out / path.name).write_text(text, encoding="utf-8")


def commands() -> Iterator[str]:
    """Yield the lines of the commands' reference, in Markdown."""
    whole: Any = typer.main.get_command(app)
    yield from ("# The commands", "", "Each explains itself with `--help` too.", "")
    for name, command in whole.commands.items():
        yield from (f"## spectro {name}", "", _plain(command.help), "")
        yield from ("```console", f"$ spectro {name} {_usage(command)}", "```", "")
        yield from _options(command)


def _usage(command: Any) -> str:
    arguments = (param for param in command.params if param.param_type_name == "argument")
    words = (param.name.upper() + "..." * (param.nargs == -1) for param in arguments)
    return " ".join([*words, "[OPTIONS]"])


def _options(command: Any) -> Iterator[str]:
    """Yield a table of the options of a command, in the panels of its help."""
    panels: dict[str, list[str]] = {}
    for param in command.params:
        told = _plain(getattr(param, "help", "") or "")
        if param.name == "help" or getattr(param, "hidden", False):
            continue
        argument = param.param_type_name == "argument"
        names = param.name.upper() if argument else ", ".join(f"`{o}`" for o in param.opts)
        panel = getattr(param, "rich_help_panel", None) or ("Arguments" if argument else "Options")
        panels.setdefault(panel, []).append(f"| {names} | {told.replace('|', chr(92) + '|')} |")
    for panel, rows in panels.items():
        yield from (f"| {panel} | |", "| --- | --- |", *rows, "")


def _plain(text: str) -> str:
    """Take rich's escapes off a help text, and keep what Markdown would read as markup."""
    words = " ".join((text or "").split())
    return re.sub(r"([\[\]<>*_])", r"\\\1", re.sub(r"\\(\[)", r"\1", words))


def _api() -> Iterator[str]:
    """Yield the API reference, in reStructuredText: what ``import spectro`` gives, then modules."""
    yield from ("The API", "=======", "")
    yield from ("``import spectro`` gives these, each loaded when it is used.", "")
    for name in spectro.__all__:
        value = getattr(spectro, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            kind = "class" if inspect.isclass(value) else "function"
            own = f"{value.__module__}.{value.__qualname__}"
            yield from (f"spectro.{name}", "-" * (8 + len(name)), "", f".. auto{kind}:: {own}")
            yield from (("   :members:", "") if kind == "class" else ("",))
    for title, modules in _MODULES.items():
        yield from (title, "-" * len(title), "")
        for module in modules:
            yield from _module(module)


def _module(name: str) -> Iterator[str]:
    """Yield a module's public names, without those that stand above."""
    module = importlib.import_module(name)
    above = {id(getattr(spectro, public)) for public in spectro.__all__}
    yield from (name, "~" * len(name), "", f".. automodule:: {name}", "   :no-members:", "")
    for public in getattr(module, "__all__", []):
        value = getattr(module, public)
        own = getattr(value, "__module__", "") == name and id(value) not in above
        if own and (inspect.isclass(value) or inspect.isfunction(value)):
            kind = "class" if inspect.isclass(value) else "function"
            yield from (f".. auto{kind}:: {name}.{public}", "")
