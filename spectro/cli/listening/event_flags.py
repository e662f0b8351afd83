"""Options of the settings of events, as ``scan`` has them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from spectro.cli.options import Group, settings
from spectro.listening.events.settings import EventSettings

__all__ = ["EVENTS", "EventFlags", "event_options"]

EVENTS = "Events"  # the panel of --help


@dataclass(frozen=True)
class EventFlags:
    """What the command line says of events; the rest comes from a file, a site, the defaults."""

    config: Path | None
    ignore: tuple[str, ...]
    given: dict[str, Any]

    def over(self, base: EventSettings | None) -> EventSettings:
        """Put them over the settings of a site; None takes the file's, or the defaults."""
        if base is None:
            base = EventSettings() if self.config is None else EventSettings.from_toml(self.config)
        given = dict(self.given)
        for name in ("off", "extent"):  # of one who lowers `on` alone
            if given["on"] is not None and given[name] is None:
                given[name] = min(getattr(base, name), given["on"])
        return base.replace(ignore=tuple(dict.fromkeys([*base.ignore, *self.ignore])), **given)


def event_options() -> Group:
    """Make the options of all settings of events."""
    named = settings(
        EventSettings, EVENTS, "on", "off", "extent", "smoothing", "smooth_windows", "min_length",
        "merge_gap", "level_gate",
    ).parameters  # fmt: skip
    ignored = Annotated[
        Optional[list[str]],
        typer.Option(help="A class that is never raised; may be repeated.", rich_help_panel=EVENTS),
    ]
    file = Annotated[
        Optional[Path],
        typer.Option(help="TOML file with the table \\[events].", rich_help_panel=EVENTS),
    ]
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in (("ignore", ignored), ("config", file))
    ]

    def build(ignore: list[str] | None, config: Path | None, **given: Any) -> EventFlags:
        return EventFlags(config, tuple(ignore or ()), given)

    return Group((*named, *own), build)
