"""Options of the settings of events, which commands that make events share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from spectro.cli.options import Group, settings
from spectro.listening.events.settings import EventSettings

__all__ = ["EVENTS", "EventFlags", "Ignore", "event_options"]

EVENTS = "Events"  # the panel of --help

_Config = Annotated[
    Optional[Path],
    typer.Option(help="TOML file with the table \\[events].", rich_help_panel=EVENTS),
]
Ignore = Annotated[
    Optional[list[str]],
    typer.Option(help="A class that is never raised; may be repeated.", rich_help_panel=EVENTS),
]


@dataclass(frozen=True)
class EventFlags:
    """What the command line says of events; the rest comes from a file, a site, the defaults."""

    config: Path | None
    ignore: tuple[str, ...]
    given: dict[str, Any]

    @classmethod
    def of(cls, config: Path | None, ignore: list[str] | None, **given: Any) -> EventFlags:
        """Take what the command line gives."""
        return cls(config, tuple(ignore or ()), given)

    def over(self, base: EventSettings | None) -> EventSettings:
        """Put them over the settings of a site; None takes the file's, or the defaults."""
        if base is None:
            base = EventSettings() if self.config is None else EventSettings.from_toml(self.config)
        given = dict(self.given)
        for name in ("off", "extent"):  # of one who lowers `on` alone
            if given["on"] is not None and given[name] is None:
                given[name] = min(getattr(base, name), given["on"])
        return base.ignoring(self.ignore).replace(**given)


def event_options(*names: str, build: Callable[..., Any]) -> Group:
    """Make options of settings of events, with ``--ignore`` and ``--config``.

    Parameters
    ----------
    *names : str
        Settings of :class:`EventSettings`.
    build : callable
        Makes what the command gets of ``config``, ``ignore`` and the settings that were given.
    """
    named = settings(EventSettings, EVENTS, *names).parameters
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in (("ignore", Ignore), ("config", _Config))
    ]
    return Group((*named, *own), build)
