"""Options of the settings of events, which commands that make events share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from spectro.cli import console
from spectro.cli.options import Group, settings
from spectro.errors import ConfigError
from spectro.listening.events.settings import EventSettings

__all__ = ["EVENTS", "EventFlags", "Ignore", "event_options"]

EVENTS = "Events"  # the panel of --help
_THRESHOLDS = ("on", "off", "extent")

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

    def over_site(self, site: str, own: EventSettings) -> EventSettings:
        """Put them over the settings of a site, but for its thresholds, which are its purpose.

        Raises
        ------
        ConfigError
            If they say other thresholds, or the file cannot be read.
        """
        other = next((name for name in _THRESHOLDS if self.given.get(name) is not None), None)
        if other is not None:
            raise ConfigError(
                f"--{other} goes without --site: each class has the threshold that was found for "
                f"{site}; leave one of the two out, or run spectro thresholds anew"
            )
        told = self._of_file()
        if told.replace(ignore=()) != EventSettings():
            console.warn(f"the settings of {site} hold, and not what {self.config} says of them")
        given = {name: value for name, value in self.given.items() if value is not None}
        if given:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            console.warn(
                f"{site}'s thresholds were found without {flags}: its alarms an hour do not hold; "
                "run spectro thresholds anew"
            )
        return own.ignoring((*told.ignore, *self.ignore)).replace(**given)

    def settings(self) -> EventSettings:
        """Put them over the file's settings, or the defaults.

        Raises
        ------
        ConfigError
            If one cannot be, or the file cannot be read.
        """
        base = self._of_file()
        given = dict(self.given)
        for name in ("off", "extent"):  # of one who lowers `on` alone
            if given["on"] is not None and given[name] is None:
                given[name] = min(getattr(base, name), given["on"])
        return base.ignoring(self.ignore).replace(**given)

    def _of_file(self) -> EventSettings:
        return EventSettings() if self.config is None else EventSettings.from_toml(self.config)


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
