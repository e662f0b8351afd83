"""Charts as SVG inside the page: its style gives the colours, so light and dark both work.

Classes of the style are ``grid`` and ``axis`` (lines), ``tick`` (small text), ``line``, ``dot``,
``bar``, ``over``, ``under``, ``count`` and ``mark``, and ``c0`` to ``c7`` for a series' colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from spectro.plumbing.words import percent

__all__ = ["curves", "folds", "reliability", "whisker"]

_WIDTH, _HEIGHT = 360, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 34, 12, 34
_STRIP = 44  # of the reliability diagram, for the number of clips
_COLOURS = 8
_DIRECT = 12  # folds whose curves are labelled; more would lie on each other

Row = dict[str, Any]


class _Frame:
    """A coordinate system: from values to pixels."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        height: int = _HEIGHT,
        top: int = _TOP,
    ) -> None:
        self.x_range, self.y_range, self.height, self.top = x, y, height, top

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (value - low) / ((high - low) or 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        share = (value - low) / ((high - low) or 1)
        return self.height - _BOTTOM - share * (self.height - self.top - _BOTTOM)

    def rows(self, ticks: Sequence[float], unit: str = "") -> str:
        """Draw horizontal grid lines with their numbers."""
        return "".join(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{self.y(t):.1f}" '
            f'y2="{self.y(t):.1f}"/>' + _text(_LEFT - 5, self.y(t) + 3.5, f"{t:g}{unit}", "end")
            for t in ticks
        )

    def columns(self, ticks: Sequence[float], unit: str = "") -> str:
        """Draw the numbers below the chart."""
        foot = self.height - _BOTTOM + 14
        return "".join(_text(self.x(t), foot, f"{t:g}{unit}", "middle") for t in ticks)

    def titles(self, x: str) -> str:
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        return _text(middle, self.height - 4, x, "middle")


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "tick") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _svg(body: str, label: str, width: float = _WIDTH, height: float = _HEIGHT) -> Markup:
    return Markup(  # every text in it went through `escape`
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
        f"{body}</svg>"
    )


def whisker(value: float, low: float | None, high: float | None) -> Markup:
    """Draw a score and its interval small, for a cell of a table."""
    ends = ""
    if low is not None and high is not None:
        ends = f'<line class="reach" x1="{100 * low:.1f}" x2="{100 * high:.1f}" y1="5" y2="5"/>'
    dot = f'<circle class="dot" cx="{100 * value:.1f}" cy="5" r="3"/>'
    base = '<line class="axis" x1="0" x2="100" y1="5" y2="5"/>'
    return Markup(
        f'<svg class="whisker" viewBox="-4 0 108 10" aria-hidden="true">{base}{ends}{dot}</svg>'
    )


def folds(rows: Sequence[Row], overall: float) -> Markup:
    """Draw the accuracy of each fold with its interval, and a line at that of all clips."""
    height = 22 * len(rows) + _TOP + _BOTTOM
    frame = _Frame((0, 100), (0, 1), height)
    body = "".join(
        f'<line class="grid" x1="{frame.x(t):.1f}" x2="{frame.x(t):.1f}" y1="{_TOP}" '
        f'y2="{height - _BOTTOM}"/>'
        for t in (0, 25, 50, 75, 100)
    )
    at = frame.x(100 * overall)
    body += f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{height - _BOTTOM}"/>'
    for number, row in enumerate(rows):
        y = _TOP + 22 * number + 11
        body += _text(_LEFT - 5, y + 3.5, f"{row['fold']}", "end")
        if row["accuracy_interval"] is not None:
            low, high = (frame.x(100 * end) for end in row["accuracy_interval"])
            body += f'<line class="reach" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
        told = f"fold {row['fold']}: {percent(row['accuracy'])} of {row['clips']:,} clips"
        body += (
            f'<circle class="dot" cx="{frame.x(100 * row["accuracy"]):.1f}" cy="{y}" r="4.5">'
            f"<title>{escape(told)}</title></circle>"
        )
    body += frame.columns((0, 25, 50, 75, 100)) + frame.titles("accuracy of each fold, %")
    return _svg(body, "accuracy of each fold with its interval", height=height)


def curves(histories: Sequence[Row], names: Sequence[str], title: str, *, share: bool) -> Markup:
    """Draw a line a fold over the epochs; of two names, the first is dashed.

    Parameters
    ----------
    histories : sequence of dict
        ``fold``, ``epoch`` and the values, None where there is none.
    names : sequence of str
        Which values.
    title : str
        What is drawn, for those who cannot see it.
    share : bool
        Whether the values are shares, drawn as percent.
    """
    unit = 100 if share else 1
    highest = max((v for h in histories for n in names for v in h[n] if v is not None), default=1.0)
    top = 100.0 if share else min(highest, _highest(histories, names)) or 1.0
    last = max(max(h["epoch"]) for h in histories)
    frame = _Frame((1, last) if last > 1 else (0, 2), (0, top))  # one epoch: in the middle
    body = frame.rows(_ticks(top))
    body += frame.columns(_epochs(last)) + frame.titles("epoch")
    if unit * highest > top:
        body += _text(_WIDTH - _RIGHT, _TOP - 2, f"cut off: up to {highest:.3g}", "end")
    ends = []
    for number, history in enumerate(histories):
        color = f"c{number % _COLOURS}"
        for name in names:
            points = [
                (frame.x(epoch), frame.y(min(unit * value, top)))
                for epoch, value in zip(history["epoch"], history[name], strict=True)
                if value is not None
            ]
            dashed = " dashed" if len(names) > 1 and name == names[0] else ""
            body += _line(points, f"line {color}{dashed}")
        if points:
            ends.append((points[-1][1], color, f"{history['fold']}"))
    return _svg(body + _labels(ends), title)


def _highest(histories: Sequence[Row], names: Sequence[str]) -> float:
    """Return the top of the loss axis; a bad first epoch must not flatten the rest."""
    train = [value for h in histories for value in h[names[0]] if value is not None]
    return 1.6 * max(train, default=1.0)


def _ticks(top: float) -> list[float]:
    steps = (0.1, 0.25, 0.5, 1, 2, 5, 10, 25, 100)
    step = next((s for s in steps if top / s <= 6), top / 6)
    return [step * i for i in range(int(top / step) + 1)]


def _epochs(last: float) -> list[float]:
    step = max(1, -(-int(last) // 10))
    return [float(e) for e in range(1, int(last) + 1, step)]


def _line(points: Sequence[tuple[float, float]], kind: str) -> str:
    if len(points) == 1:
        (x, y) = points[0]
        return f'<circle class="{kind} point" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{path}"/>'


def _labels(ends: list[tuple[float, str, str]]) -> str:
    """Name each line at its end, pushed apart so that no name lies on another."""
    if len(ends) > _DIRECT:
        return ""
    body, above = "", -1e9
    room = _HEIGHT - _BOTTOM
    for number, (y, color, name) in enumerate(sorted(ends)):
        above = max(above + 11, min(y, room - 11 * (len(ends) - 1 - number)))
        body += _text(_WIDTH - _RIGHT + 5, above + 3.5, name, "start", f"tick name {color}")
    return body


def reliability(found: Row, title: str) -> Markup:
    """Draw how often clips of each confidence are right, with their number above.

    Bars would end at the diagonal if the network knew how sure to be; what it claims too much, or
    too little, has colours of its own.
    """
    height = _HEIGHT + _STRIP
    frame = _Frame((0, 100), (0, 100), height, _TOP + _STRIP)
    body = frame.rows((0, 25, 50, 75, 100)) + frame.columns((0, 25, 50, 75, 100))
    most = max(row["count"] for row in found["bins"])
    body += "".join(_bin(frame, row, most) for row in found["bins"] if row["count"])
    body += (
        f'<line class="mark" x1="{frame.x(0)}" y1="{frame.y(0)}" '
        f'x2="{frame.x(100)}" y2="{frame.y(100)}"/>'
    )
    body += _text(_LEFT - 5, _TOP + 8, "clips", "end")
    return _svg(body + frame.titles("how sure the network says it is, %"), title, height=height)


def _bin(frame: _Frame, row: Row, most: int) -> str:
    left, right = frame.x(100 * row["low"]) + 1, frame.x(100 * row["high"]) - 1
    real, said = frame.y(100 * row["accuracy"]), frame.y(100 * row["confidence"])
    told = (
        f"{row['count']:,} clips: {percent(row['confidence'])} sure on average, "
        f"{percent(row['accuracy'])} right"
    )
    foot = _TOP + _STRIP - 10
    return (
        f"<g><title>{escape(told)}</title>"
        + _rect("bar", left, right, max(real, said), frame.y(0))
        + _rect("over" if said < real else "under", left, right, min(real, said), max(real, said))
        + _rect("count", left, right, foot - (_STRIP - 12) * row["count"] / most, foot)
        + "</g>"
    )


def _rect(kind: str, left: float, right: float, top: float, bottom: float) -> str:
    return (
        f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
        f'height="{bottom - top:.1f}"/>'
    )
