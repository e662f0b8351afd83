"""The ``spectro`` command itself: its commands, its version, and how errors end it.

Exit status: 0 done; 1 could not be done, one line says why; 2 wrong usage; 3 done, but for clips
that are named.

Commands import what is heavy when they run: ``spectro --help`` must not wait for torch.
"""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from spectro import __version__
from spectro.cli import check, console, data, fetch, plot, report, runs, train, tune, use
from spectro.cli.options import INTERRUPTED
from spectro.errors import SpectroError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Sound clips to spectrogram pictures to a classifier with an honest score.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    data.sample,
    fetch.fetch,
    check.check,
    plot.plot,
    data.render,
    train.train_fold,
    train.cross_validate,
    train.probe,
    train.lr_find,
    tune.learning_curve,
    report.report,
    runs.runs,
    runs.compare,
    use.predict,
):
    app.command()(command)


def main() -> None:
    """Run the command line; an error of ours ends as one line, a bug as a traceback."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch")  # fastai's to mend
    try:
        app()
    except SpectroError as error:
        console.complain(str(error))
        sys.exit(1)
    except OSError as error:  # a full disk, a folder that may not be written to
        console.complain(f"{error.filename or 'a file'}: {error.strerror or error}")
        sys.exit(1)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer turns Ctrl-C into this
            console.complain("interrupted; what was finished is kept, run it again")
        raise


def _print_version(wanted: bool) -> None:
    if wanted:
        console.say(f"spectro {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    pass
