"""The command ``settings``: the settings of a command with reasons, as TOML to start from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from spectro.cli import console
from spectro.cli.options import RECIPE_AND_FILE, from_recipe, with_options
from spectro.errors import ConfigError
from spectro.plumbing.described import commented_toml
from spectro.plumbing.settings import Settings

__all__ = ["settings"]

_HEAD = (
    "Settings of spectro, each with what it is for. Keep what you change and delete the rest:",
    "what is not here is as the recipe says. Use it as --config FILE; flags come on top of it.",
)
_HEAD_OF_ONE = (
    "Settings of spectro {} at their defaults, each with what it is for. Keep what you change and",
    "delete the rest. Use it as --config FILE; flags come on top of it.",
)


@with_options(given=RECIPE_AND_FILE)
def settings(
    command: Annotated[
        Literal["train", "pretrain", "scan", "listen"],
        typer.Argument(help="Whose: train (pictures and training), pretrain, scan or listen."),
    ] = "train",
    *,
    given: Any,
) -> None:
    """Print all settings of a command with value and reason, as TOML to start from."""
    if command != "train" and any(value is not None for value in given.values()):
        raise ConfigError(f"--config and --recipe change no settings of spectro {command}")
    for line in _HEAD if command == "train" else _HEAD_OF_ONE:
        console.OUT.print(f"# {line.format(command)}")
    for table in _of_training(**given) if command == "train" else _at_defaults(command):
        console.OUT.print()
        console.OUT.print(table.rstrip("\n"))


def _of_training(config: Path | None, recipe: str | None) -> Iterator[str]:
    """Yield the tables of pictures and of training."""
    for each in from_recipe(config, recipe):
        yield commented_toml(each, _changed(each))


def _at_defaults(command: str) -> Iterator[str]:
    """Yield the tables that another command reads, at their defaults."""
    from spectro.listening.events.settings import EventSettings
    from spectro.listening.live import settings as live
    from spectro.training.pretraining.settings import PretrainConfig

    if command == "pretrain":
        yield from (commented_toml(PretrainConfig()), commented_toml(from_recipe(None, None)[0]))
    elif command == "scan":
        yield commented_toml(EventSettings())
    else:
        yield commented_toml(live.SourceSettings(), one_of_many=True)
        for cls in (live.ListenSettings, EventSettings, live.AlertSettings, live.EvidenceSettings):
            yield commented_toml(cls())
        proof = live.ProofSettings(clip=Path("chainsaw.flac"), label="chainsaw")
        yield textwrap.indent(  # it would look for the file
            commented_toml(proof, one_of_many=True), "# ", lambda line: line != "\n"
        )


def _changed(settings: Settings) -> dict[str, str]:
    """Say of each setting that is not at its default what the default is."""
    fields = type(settings).model_fields
    changed = {
        name: fields[name].default for name, value in settings if value != fields[name].default
    }
    return {
        name: f"here by recipe or file; else {default}"
        for name, default in changed.items()
        if isinstance(default, str | int | float)
    }
