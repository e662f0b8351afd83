"""A model as a service: ``serve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from spectro.cli import console
from spectro.cli.options import settings, with_options
from spectro.errors import ConfigError
from spectro.listening.serve.settings import ServeSettings
from spectro.plumbing.files import read_bounded

if TYPE_CHECKING:
    from spectro.listening.serve.sites import Sites
    from spectro.models.card import ModelCard

__all__ = ["serve"]

LIMITS, HEARING = "Limits", "Hearing"
_LARGEST_TOKEN = 1_002  # bytes, the end of a line among them
_BACKENDS = ("auto", "torch", "onnx", "int8")


@with_options(limits=settings(ServeSettings, LIMITS))
def serve(
    model: Annotated[Path, typer.Argument(help="Model folder, as RUN/final; or a run.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    token_file: Annotated[
        Optional[Path], typer.Option(help="File with a word that clients must show as a bearer.")
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="auto, torch, onnx or int8; auto takes an export that is there.",
            rich_help_panel=HEARING,
            autocompletion=lambda: list(_BACKENDS),
        ),
    ] = "auto",
    site: Annotated[
        Optional[str],
        typer.Option(
            help="Scan with this site's thresholds, unless POST /scan?site= names another's.",
            rich_help_panel=HEARING,
        ),
    ] = None,
    config: Annotated[
        Optional[Path],
        typer.Option(
            help="TOML file with the table \\[events], to scan with.", rich_help_panel=HEARING
        ),
    ] = None,
    hop: Annotated[
        Optional[float],
        typer.Option(
            min=0.05,
            help="Seconds between windows of a scan; default, a window's length.",
            rich_help_panel=HEARING,
        ),
    ] = None,
    *,
    limits: ServeSettings,
) -> None:
    """Serve a model over HTTP, with a page to drop sounds on, until Ctrl-C or SIGTERM."""
    if site is not None and config is not None:
        raise typer.BadParameter("give --site or --config, not both", param_hint="--config")
    token = "" if token_file is None else _token(token_file)
    run = _needed()
    from spectro.listening.backends import open_backend

    listener = open_backend(model, backend)  # type: ignore[arg-type]
    sites = _sites(model, listener.card, site, config, hop, backend)
    name = model.resolve().name
    name = model.resolve().parent.parent.name if name == "model" else name  # RUN/fold1/model
    if host not in run.LOOPBACK and not token:
        console.warn(
            f"anyone who reaches {host} may use this service; --token-file asks for a word"
        )
    run.serve(
        listener,
        name,
        host=host,
        port=port,
        settings=limits,
        sites=sites,
        token=token,
        ready=lambda address: console.say(f"serving {model} at {address} (Ctrl-C ends it)"),
    )
    console.say("ended")


def _needed() -> Any:
    """Import what serves, or say how to install it."""
    from spectro.errors import MissingExtraError

    try:
        from spectro.listening.serve import run
    except ImportError as error:
        if (error.name or "").startswith("spectro"):
            raise
        raise MissingExtraError("serve", "spectro serve") from None
    return run


def _token(path: Path) -> str:
    """Read a bearer token: one word."""
    try:
        token = read_bounded(path, _LARGEST_TOKEN).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not ASCII"
        raise ConfigError(f"{path}: cannot be read ({why}); put one word into it") from None
    if not 16 <= len(token) <= 1_000 or len(token.split()) != 1:
        raise ConfigError(f"{path}: put one word of 16 to 1,000 letters and digits into it")
    return token


def _sites(
    model: Path,
    card: ModelCard,
    site: str | None,
    config: Path | None,
    hop: float | None,
    backend: str,
) -> Sites:
    """Put together how recordings are scanned, and say where a site's thresholds do not fit."""
    from spectro.listening.choice import choose_backend, name_of
    from spectro.listening.events.settings import EventSettings
    from spectro.listening.serve.sites import Sites

    events = None if config is None else EventSettings.from_toml(config)
    if site is not None and config is not None:
        console.warn(f"the settings of {site} hold, and not what {config} says of them")
    sites = Sites(
        model, card, name_of(model), site=site or "", events=events, hop=hop,
        backend=choose_backend(model, backend),
    )  # fmt: skip
    for warning in sites.default.warnings:
        console.warn(warning)
    return sites
