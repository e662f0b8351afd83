"""Facts and media to HTML: fills the template and escapes every name."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from spectro.plumbing.words import hundredths
from spectro.report import charts

__all__ = ["embed", "render"]

_NONE = "\N{EN DASH}"
_SPACE = "\N{NO-BREAK SPACE}"


def render(**content: Any) -> str:
    """Fill the template.

    Parameters
    ----------
    **content
        What ``templates/report.html`` names.

    Returns
    -------
    html : str
        A whole page. Its own policy forbids it any connection, and any script but ours.
    """
    environment = Environment(
        loader=PackageLoader("spectro.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(percent=_percent, count=_count, fixed=_fixed, ends=_ends)
    environment.globals["charts"] = charts
    style, script = (_source(environment, name) for name in ("report.css", "report.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        style=style, script=script, script_digest=Markup(digest), **content
    )


def _source(environment: Environment, name: str) -> Markup:
    """Read a file of the package that goes into the page as it is."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def embed(data: Any) -> Markup:
    """Write data as JSON that can stand inside a script element, whatever its strings hold."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e"))


def _data(value: float, shown: str) -> Markup:
    """Show a number rounded, with all its digits for machines."""
    return Markup(f'<data value="{value!r}">{escape(shown)}</data>')


def _is_missing(value: float | None) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _percent(value: float | None, digits: int = 1) -> Markup | str:
    """Write a share between 0 and 1 as a percentage, never as 0 or 100 where it is not."""
    if value is None or _is_missing(value):
        return _NONE
    return _data(float(value), f"{hundredths(value, digits)}{_SPACE}%")


def _count(value: int | None) -> Markup | str:
    """Write a whole number with commas."""
    return _NONE if value is None else _data(int(value), f"{value:,}")


def _fixed(value: float | None, digits: int = 2) -> Markup | str:
    """Write a number with some decimals."""
    if value is None or _is_missing(value):
        return _NONE
    return _data(float(value), f"{value:.{digits}f}")


def _ends(ends: Sequence[float | None] | None) -> Markup | str:
    """Write an interval of shares as "48.0 to 62.2 %"."""
    if ends is None or any(_is_missing(end) for end in ends):
        return _NONE
    low, high = (float(end) for end in ends if end is not None)
    return Markup("{} to {}").format(
        _data(low, hundredths(low)), _data(high, f"{hundredths(high)}{_SPACE}%")
    )
