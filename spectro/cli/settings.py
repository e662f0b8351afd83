"""The command ``settings``: all settings with value and reason, as TOML to start from."""

from __future__ import annotations

from spectro.cli import console
from spectro.cli.options import ALL_SETTINGS, with_options
from spectro.plumbing.described import commented_toml
from spectro.plumbing.settings import Settings

__all__ = ["settings"]

_HEAD = (
    "Settings of spectro, each with what it is for. Keep what you change and delete the rest:",
    "what is not here is as the recipe says. Use it as --config FILE; flags come on top of it.",
)


@with_options(both=ALL_SETTINGS)
def settings(*, both: tuple[Settings, Settings]) -> None:
    """Print all settings of pictures and training with value and reason, as TOML to start from."""
    for line in _HEAD:
        console.OUT.print(f"# {line}")
    for one in both:
        console.OUT.print()
        console.OUT.print(commented_toml(one, _changed(one)).rstrip("\n"))


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
