"""The ``spectro`` command itself: its commands, its version, and how errors end it.

Exit status: 0 done; 1 could not be done, one line says why; 2 wrong usage; 3 done, but for clips
that are named; 130 interrupted; 141 done, but nobody read the output.

Commands import what is heavy when they run: ``spectro --help`` must not wait for torch.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from spectro import __version__
from spectro.cli import console
from spectro.errors import SpectroError
from spectro.plumbing import extras
from spectro.plumbing.warned import ignore_known

__all__ = ["app", "build", "main"]

app: typer.Typer  # all commands; see __getattr__


class _Commands(TyperGroup):
    """Commands that say which extra they lack, and show no character that a terminal obeys."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise extras.explained(error, f"spectro {ctx.invoked_subcommand}") from None
        except Exception as error:
            if hasattr(error, "exit_code") and hasattr(error, "message"):  # one about usage
                error.message = console.shown(str(error.message), 2_000)
            raise


# Module and function of each command, in the order of --help.
_COMMANDS = (
    ("data", "sample"),
    ("data", "fetch"),
    ("data", "check"),
    ("data", "plot"),
    ("data", "render"),
    ("train", "train_fold"),
    ("train", "cross_validate"),
    ("train", "probe"),
    ("train", "lr_find"),
    ("train", "learning_curve"),
    ("pretrain", "pretrain"),
    ("settings", "settings"),
    ("models", "train_final"),
    ("models", "export"),
    ("models", "verify"),
    ("results", "report"),
    ("results", "runs"),
    ("results", "compare"),
    ("listening.predict", "predict"),
    ("listening.scan", "scan"),
    ("listening.thresholds", "thresholds"),
    ("listening.score_events", "score_events"),
    ("listening.serve", "serve"),
    ("listening.listen", "listen"),
    ("listening.events", "events"),
    ("listening.review", "review"),
)


def build(only: str | None = None) -> typer.Typer:
    """Put the commands together, or load but one of them, which starts in half the time.

    Parameters
    ----------
    only : str or None
        Name of a command; None, or what is no command, means all.
    """
    names = {function.replace("_", "-"): module for module, function in _COMMANDS}
    wanted = {only: names[only]} if only in names else names
    built = typer.Typer(
        cls=_Commands,
        help="Sound clips to spectrogram pictures to a classifier with an honest score.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    built.callback(invoke_without_command=True)(_options)
    for name, module in wanted.items():
        commands = importlib.import_module(f"spectro.cli.{module}")
        built.command()(getattr(commands, name.replace("-", "_")))
    return built


def __getattr__(name: str) -> Any:
    """Build the application with all commands when it is first asked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = build()
    return globals()["app"]


def main() -> None:
    """Run the command line; an error of ours ends as one line, a bug as a traceback."""
    os.environ["MPLBACKEND"] = "Agg"  # we draw to files, whatever a notebook set this to
    ignore_known()
    console.settle()
    sys.exit(console.end(_run()))


def _run() -> int:
    """Run the command; return its exit status."""
    try:
        build(sys.argv[1] if len(sys.argv) > 1 else None)(prog_name="spectro")
    except SpectroError as error:
        console.complain(str(error))
        return 1
    except OSError as error:  # a full disk, a folder that may not be written to
        console.complain(console.refused(error))
        return 1
    except SystemExit as end:
        if end.code == console.INTERRUPTED:  # typer turns Ctrl-C into this
            console.complain("interrupted; what was finished is kept, run it again")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _print_versions() -> None:
    """Print what the report of a fault should say."""
    import soundfile

    from spectro.plumbing.environment import environment

    about = environment()
    rows = {
        **{name: version for name, version in about.versions.items() if name != "spectro"},
        "libsndfile": soundfile.__libsndfile_version__,
        "platform": about.platform,
        "device": _device(),
        "commit": about.git_commit or "not known",
    }
    for name, value in rows.items():
        console.say(f"{name:<12} {value}")


def _device() -> str:
    """Say what networks run on."""
    try:
        import torch
    except ModuleNotFoundError:
        return "cpu, by ONNX Runtime"
    if torch.cuda.is_available():
        return f"cuda, {torch.cuda.get_device_name()}"
    mps = torch.backends.mps.is_available()
    return "mps" if mps else f"cpu, {torch.get_num_threads()} threads"


def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="With --version: also of Python, torch, libsndfile."),
    ] = False,
) -> None:
    if version:
        console.say(f"spectro {__version__}")
        if verbose:
            _print_versions()
        raise typer.Exit
    if verbose:
        raise typer.BadParameter("goes with --version", param_hint="--verbose")
    if context.invoked_subcommand is None:  # as of "spectro --"
        context.fail("Missing command.")
