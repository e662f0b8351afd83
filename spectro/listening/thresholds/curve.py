"""What thresholds cost and keep, as a table (CSV) and as a picture (SVG), beside the thresholds.

The picture is written by hand, so that it needs nothing but what listening needs.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from spectro.errors import ModelError
from spectro.listening.events.tables import decimal, guard
from spectro.listening.thresholds.site import ClassEvidence, CurvePoint, SiteThresholds, site_path
from spectro.plumbing.files import write_text
from spectro.plumbing.paths import check_no_link
from spectro.plumbing.words import counted

__all__ = ["curve_csv", "curve_svg", "save_curve"]

_COLUMNS = ("label", "on", "events", "alarms_per_hour", "bound", "kept", "chosen")
_MOST_PANELS = 60
_WIDTH, _HEIGHT = 250, 190  # of a panel, pixels
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 30, 12, 34  # around what is drawn in it
_ZERO = 18  # pixels from the axis: no alarm at all, which a logarithm cannot show
_HEAD = 66
_FIRST = "#1f5fa8"
_BUDGET = "#c2410c"


def save_curve(folder: str | Path, found: SiteThresholds) -> list[Path]:
    """Write ``thresholds/SITE.csv`` and ``SITE.svg`` into a model folder; return their paths."""
    path = site_path(folder, found.site)
    written = [path.with_name(f"{path.stem}{suffix}") for suffix in (".csv", ".svg")]
    for file, text in zip(written, (curve_csv(found), curve_svg(found)), strict=True):
        check_no_link(file.parent, ModelError)
        write_text(file, text)
    return written


def curve_csv(found: SiteThresholds) -> str:
    """Write a row a class and threshold, from low to high.

    Columns: ``label``, ``on``, ``events``, ``alarms_per_hour`` and its ``bound``, ``kept`` (share
    of detections, 0 to 1, empty if not known), ``chosen`` ("yes" or "").
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for label, evidence in found.classes.items():
        for point in evidence.curve:
            kept = "" if point.kept is None else decimal(point.kept)
            rates = (decimal(point.per_hour), decimal(point.bound))
            chosen = "yes" if point == evidence.chosen else ""
            row = (guard(label), decimal(point.on), point.events, *rates, kept, chosen)
            writer.writerow(row)
    return buffer.getvalue()


class _Scale(NamedTuple):
    """Where a rate and a share lie in a panel."""

    low: float  # the lowest rate that can be seen, one alarm in all hours
    high: float
    by_share: bool  # of detections; else by the threshold itself

    def x(self, rate: float) -> float:
        if rate <= 0:
            return _LEFT + _ZERO / 2
        width = _WIDTH - _LEFT - _RIGHT - _ZERO
        place = math.log(max(rate, self.low) / self.low) / math.log(self.high / self.low)
        return _LEFT + _ZERO + width * min(1.0, place)

    def y(self, point: CurvePoint) -> float:
        value = point.kept if self.by_share else point.on
        return _share_y(value or 0.0)

    def ticks(self) -> list[float]:
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        return [10.0**k for k in range(first, last + 1)]


def _share_y(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def curve_svg(found: SiteThresholds) -> str:
    """Draw detections kept against false alarms an hour, a panel a class.

    Where the model's detections are not known, the threshold itself takes their place. Of more than
    60 classes, those with the most alarms are drawn.
    """
    classes = sorted(found.classes.items(), key=lambda item: -_most(item[1]))[:_MOST_PANELS]
    columns = max(1, min(4, math.ceil(math.sqrt(len(classes)))))
    rows = math.ceil(len(classes) / columns)
    width, height = max(2, columns) * _WIDTH, _HEAD + max(1, rows) * _HEIGHT + 6
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="system-ui, sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *_head(found, len(classes)),
    ]
    scale = _scale(found)
    for k, (label, evidence) in enumerate(classes):
        x, y = k % columns * _WIDTH, _HEAD + k // columns * _HEIGHT
        parts.append(f'<g transform="translate({x} {y})">')
        parts += _panel(label, evidence, found, scale)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _most(evidence: ClassEvidence) -> float:
    return max((point.per_hour for point in evidence.curve), default=0.0)


def _scale(found: SiteThresholds) -> _Scale:
    points = [point for evidence in found.classes.values() for point in evidence.curve]
    highest = max([found.budget, 3 / found.hours, *(point.per_hour for point in points)])
    low = min(0.8 / found.hours, found.budget)
    return _Scale(low, 1.5 * highest, any(point.kept is not None for point in points))


def _head(found: SiteThresholds, drawn: int) -> Iterator[str]:
    scale = _scale(found)
    what = "Detections kept" if scale.by_share else "Threshold"
    more = f"; the {drawn} of {len(found.classes)} classes with the most alarms"
    yield _text(14, 24, f"{what} against false alarms an hour: {found.site}", size=15, anchor="")
    yield _text(
        14, 42,
        f"{found.hours:.3g} h of background in {counted(len(found.recordings), 'recording')}"
        + (more if drawn < len(found.classes) else ""),
        anchor="", fill="#555",
    )  # fmt: skip
    yield f'<circle cx="18" cy="55" r="4" fill="{_FIRST}"/>'
    claim = f"chosen, with its {found.confidence:.0%} bound"
    yield _text(27, 59, claim, anchor="", fill="#555")
    yield f'<path d="M210 55h20" stroke="{_BUDGET}" stroke-dasharray="4 3"/>'
    claimed = "" if found.supported else " (not claimed: too few hours)"
    yield _text(235, 59, f"budget {found.budget:g} an hour{claimed}", anchor="", fill="#555")


def _panel(
    label: str, evidence: ClassEvidence, found: SiteThresholds, scale: _Scale
) -> Iterator[str]:
    short = label if len(label) <= 34 else f"{label[:33]}…"
    yield _text(_LEFT, 20, short, size=12, anchor="", weight="600")
    yield from _axes(scale)
    x, top, foot = scale.x(found.budget), _share_y(1), _share_y(0)
    yield (
        f'<path d="M{x:.1f} {top:.1f}V{foot:.1f}" stroke="{_BUDGET}" '
        'stroke-dasharray="4 3" fill="none"/>'
    )
    points = [p for p in evidence.curve if p.kept is not None or not scale.by_share]
    if points:
        steps = " ".join(f"{scale.x(p.per_hour):.1f},{scale.y(p):.1f}" for p in points)
        yield f'<polyline points="{steps}" fill="none" stroke="{_FIRST}" stroke-width="1.5"/>'
    else:
        yield _text(_LEFT + 90, _share_y(0.5), "its detections are not known", fill="#777")
    yield from _chosen(evidence.chosen, scale)


def _chosen(point: CurvePoint | None, scale: _Scale) -> Iterator[str]:
    if point is None:
        yield _text(_WIDTH - _RIGHT, 20, "never raised", anchor="end", fill="#777")
        return
    yield _text(_WIDTH - _RIGHT, 20, f"on at {point.on:.3f}", anchor="end", fill="#555")
    if scale.by_share and point.kept is None:
        return
    x, y, bound = scale.x(point.per_hour), scale.y(point), scale.x(point.bound)
    yield f'<path d="M{x:.1f} {y:.1f}H{bound:.1f}" stroke="{_FIRST}" stroke-opacity=".5"/>'
    yield f'<path d="M{bound:.1f} {y - 4:.1f}v8" stroke="{_FIRST}" stroke-opacity=".5"/>'
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_FIRST}"/>'


def _axes(scale: _Scale) -> Iterator[str]:
    right, foot = _WIDTH - _RIGHT, _share_y(0)
    for share in (0, 0.5, 1):
        y = _share_y(share)
        yield f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#e5e5e5"/>'
        told = f"{share:.0%}" if scale.by_share else f"{share:g}"
        yield _text(_LEFT - 6, y + 4, told, anchor="end", fill="#555")
    for rate in (0.0, *scale.ticks()):
        x = scale.x(rate)
        yield f'<path d="M{x:.1f} {foot:.1f}v4" stroke="#888"/>'
        yield _text(x, foot + 15, f"{rate:g}", fill="#555")
    yield _text((_LEFT + right) / 2, foot + 28, "false alarms an hour", fill="#777", size=10)


def _text(
    x: float, y: float, words: str, *, anchor: str = "middle", size: int = 11,
    fill: str = "#111", weight: str = "",
) -> str:  # fmt: skip
    more = f' text-anchor="{anchor}"' if anchor else ""
    more += f' font-weight="{weight}"' if weight else ""
    shown = escape("".join(c if c.isprintable() else "?" for c in words))
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"{more}>{shown}</text>'
