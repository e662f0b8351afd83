"""The curve of detections kept against alarms an hour, as a table and as a picture."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from xml.etree import ElementTree

import pytest

from spectro.errors import ModelError
from spectro.listening.events.finding import ScoredWindow
from spectro.listening.thresholds import Background, choose_thresholds
from spectro.listening.thresholds.curve import curve_csv, curve_svg, save_curve
from spectro.listening.thresholds.site import SiteThresholds

LABELS = ["saw", "=bird <b>&"]
SVG = "{http://www.w3.org/2000/svg}"


def chosen(labels: list[str] = LABELS, hours: float = 10.0, **more: object) -> SiteThresholds:
    peaks = [0.4, 0.5, 0.6, 0.7, 0.8]
    rows = [row for p in peaks for row in ([p] * len(labels), *[[0.0] * len(labels)] * 3)]
    windows = [ScoredWindow(i, i + 1, row) for i, row in enumerate(rows)]
    values = {"detections": {labels[0]: [0.2, 0.55, 0.75, 0.95]}, "budget": 0.5, **more}
    return choose_thresholds(
        [Background("a.wav", hours, windows)], labels, site="here", hop=1, **values
    )


def test_the_table_has_what_the_evidence_has() -> None:
    found = chosen()
    rows = list(csv.DictReader(io.StringIO(curve_csv(found))))
    saw = [row for row in rows if row["label"] == "saw"]
    curve = found.classes["saw"].curve
    assert [(float(r["on"]), int(r["events"]), float(r["kept"])) for r in saw] == [
        (p.on, p.events, p.kept) for p in curve
    ]
    assert [float(r["alarms_per_hour"]) for r in saw] == [0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    assert [r["chosen"] for r in saw] == ["", "", "", "", "yes", ""]
    bird = [row for row in rows if row["label"] == "'=bird <b>&"]  # no formula for a spreadsheet
    assert len(bird) == len(saw)
    assert {row["kept"] for row in bird} == {""}


def drawn(found: SiteThresholds) -> tuple[ElementTree.Element, str]:
    root = ElementTree.fromstring(curve_svg(found))
    return root, " ".join(text.text or "" for text in root.iter(f"{SVG}text"))


def test_the_picture_shows_rates_from_left_to_right_and_shares_from_foot_to_top() -> None:
    root, words = drawn(chosen())
    assert "Detections kept against false alarms an hour: here" in words
    assert "10 h of background in 1 recording" in words
    assert "=bird <b>&" in words
    assert "its detections are not known" in words
    [line] = root.iter(f"{SVG}polyline")
    places = [tuple(map(float, p.split(","))) for p in line.attrib["points"].split()]
    assert [x for x, _ in places] == sorted((x for x, _ in places), reverse=True)
    assert [y for _, y in places] == sorted(y for _, y in places)
    assert len(list(root.iter(f"{SVG}circle"))) == 2  # in the legend, and the chosen one


def test_without_detections_the_threshold_is_drawn() -> None:
    root, words = drawn(chosen(detections=None))
    assert "Threshold against false alarms an hour" in words
    assert len(list(root.iter(f"{SVG}polyline"))) == 2


def test_too_few_hours_and_a_class_that_is_never_raised_are_told() -> None:
    _, words = drawn(chosen(hours=1.0, unsupported=True))
    assert "not claimed: too few hours" in words
    found = chosen()
    never = found.replace(
        classes={k: {**v.to_dict(), "chosen": None} for k, v in found.classes.items()}
    )
    assert drawn(never)[1].count("never raised") == 2


def test_many_classes_and_none() -> None:
    _, words = drawn(chosen([f"class {k}" for k in range(70)]))
    assert "the 60 of 70 classes with the most alarms" in words
    empty = chosen().replace(classes={})
    drawn(empty)


def test_they_lie_beside_the_thresholds(tmp_path: Path) -> None:
    paths = save_curve(tmp_path, chosen())
    assert [path.name for path in paths] == ["here.csv", "here.svg"]
    assert {path.parent for path in paths} == {tmp_path / "thresholds"}
    (tmp_path / "m" / "thresholds").parent.mkdir()
    (tmp_path / "m" / "thresholds").symlink_to(tmp_path / "thresholds")
    with pytest.raises(ModelError, match="symbolic link"):
        save_curve(tmp_path / "m", chosen())
