"""Activity as an SVG: days to the right, hours downwards, a field a class; deafness is hatched."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import date
from html import escape

from spectro.listening.activity.counts import Activity, Hour

__all__ = ["activity_svg"]

_LEFT, _TOP, _RIGHT = 52, 64, 20
_ROW, _GAP, _TITLE = 7, 34, 20  # px: an hour; between fields; above a field
_WIDTH = 900
_STEPS = (1, 2, 5, 10, 20, 50)  # events in an hour from which on a colour is darker
_UNSHOWN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_STYLE = """
svg { color-scheme: light dark; font: 12px system-ui, sans-serif; }
.paper { fill: #fdfdfb; } text { fill: #1d2327; } .soft { fill: #59636b; } .title { font-size: 14px; font-weight: 600; }
.deaf { fill: url(#hatch); } .hatch { stroke: #b9c0c4; } .frame { fill: none; stroke: #b9c0c4; }
.n0 { fill: #e3eef5; } .n1 { fill: #a9cfe6; } .n2 { fill: #6aadd5; } .n3 { fill: #2b8cc4; } .n4 { fill: #0068a8; } .n5 { fill: #00497a; } .n6 { fill: #002a4a; }
@media (prefers-color-scheme: dark) {
.paper { fill: #14181b; } text { fill: #e6eaec; } .soft { fill: #a0abb2; } .hatch, .frame { stroke: #4a545b; }
.n0 { fill: #1d2d38; } .n1 { fill: #1f4a66; } .n2 { fill: #1f6a97; } .n3 { fill: #2b8cc4; } .n4 { fill: #56b4e9; } .n5 { fill: #a3d8f7; } .n6 { fill: #e8f6ff; }
}
"""  # noqa: E501


def activity_svg(activity: Activity, title: str) -> str:
    """Draw activity by hour and day.

    An hour in which somebody listened and heard nothing is pale; one in which nobody listened is
    hatched; one in which somebody listened for a part is plain for that part of its width.

    Parameters
    ----------
    activity : Activity
    title : str

    Returns
    -------
    svg : str
        A whole document, without script, that follows the reader's light or dark colours.
    """
    column = max(1.0, min(24.0, _WIDTH / len(activity.days)))
    width = _LEFT + column * len(activity.days) + _RIGHT
    width = max(width, 800)
    fields = list(activity.counts.items()) or [("no events", {})]
    height = _TOP + len(fields) * (_TITLE + 24 * _ROW + _GAP) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height}" '
        f'viewBox="0 0 {width:g} {height}" role="img" aria-label="{_text(title)}">',
        f"<style>{_STYLE}</style>",
        '<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="5" '
        'stroke-width="2"/></pattern></defs>',
        f'<rect class="paper" width="{width:g}" height="{height}"/>',
        f'<text class="title" x="16" y="26">{_text(title)}</text>',
        f'<text class="soft" x="16" y="44">{_text(_caption(activity))}</text>',
    ]
    for i, (label, counts) in enumerate(fields):
        y = _TOP + i * (_TITLE + 24 * _ROW + _GAP)
        parts += _field(activity, label, counts, y, column)
    parts += [*_legend(height - 22), "</svg>"]
    return "\n".join(parts) + "\n"


def _text(value: str) -> str:
    return escape(_UNSHOWN.sub("\ufffd", value))


def _caption(activity: Activity) -> str:
    told = "Hours by the recorder's clock, days to the right."
    if activity.listened is None:
        told += " When somebody listened is not known: hours without events are hatched."
    if activity.untimed:
        told += f" {activity.untimed:,} events without a time are not shown."
    return told


def _field(
    activity: Activity, label: str, counts: dict[Hour, int], y: float, column: float
) -> Iterator[str]:
    total, days = sum(counts.values()), activity.days
    top, wide = y + _TITLE, column * len(days)
    yield f'<text class="title" x="{_LEFT}" y="{y + 13:g}">{_text(label)}: {total:,}</text>'
    yield f'<rect class="deaf" x="{_LEFT}" y="{top:g}" width="{wide:g}" height="{24 * _ROW}"/>'
    boxes: dict[int, list[str]] = {}
    for i, day in enumerate(days):
        for hour in range(24):
            share = _share(activity, counts, (day, hour))
            if share > 0:
                box = (
                    f"M{_LEFT + i * column:g} {top + hour * _ROW:g}h{share * column:.3g}v{_ROW}"
                    f"h-{share * column:.3g}z"
                )
                boxes.setdefault(_step(counts.get((day, hour), 0)), []).append(box)
    for step, drawn in sorted(boxes.items()):
        yield f'<path class="n{step}" d="{"".join(drawn)}"/>'
    yield f'<rect class="frame" x="{_LEFT}" y="{top:g}" width="{wide:g}" height="{24 * _ROW}"/>'
    yield from _axes(days, top, column)


def _share(activity: Activity, counts: dict[Hour, int], hour: Hour) -> float:
    """Return how much of an hour's box is plain; an event shows that somebody listened."""
    listened = 0.0 if activity.listened is None else activity.listened.get(hour, 0.0)
    if hour not in counts:
        return listened
    return max(listened, 1.0 if activity.listened is None else 0.25)


def _step(number: int) -> int:
    return sum(number >= step for step in _STEPS)


def _axes(days: list[date], top: float, column: float) -> Iterator[str]:
    for hour in (0, 6, 12, 18):
        y = top + hour * _ROW + 9
        yield f'<text class="soft" x="{_LEFT - 6}" y="{y:g}" text-anchor="end">{hour:02}:00</text>'
    every = max(1, round(80 / column + 0.5))
    for i in range(0, len(days), every):
        if i and (len(days) - i) * column < 60:  # it would not fit
            break
        x, y = _LEFT + i * column, top + 24 * _ROW + 14
        yield f'<text class="soft" x="{x:g}" y="{y:g}">{days[i].isoformat()}</text>'


def _legend(y: float) -> Iterator[str]:
    named = ["deaf", *(f"n{i}" for i in range(len(_STEPS) + 1))]
    ends = [f"{a}" if b == a + 1 else f"{a} to {b - 1}" for a, b in itertools.pairwise(_STEPS)]
    words = ["nobody listened", "no event", *ends, f"{_STEPS[-1]} or more an hour"]
    x = 16
    for name, word in zip(named, words, strict=True):
        yield f'<rect class="{name}" x="{x}" y="{y - 10:g}" width="14" height="12"/>'
        yield f'<text x="{x + 19}" y="{y:g}">{word}</text>'
        x += 30 + 7 * len(word)
