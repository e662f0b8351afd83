"""Every number of a report against another computation from the predictions: no number is left out.

Each test holds a section's numbers, in order, to a list that scikit-learn and plain counting give:
one number more or fewer on the page, and it fails.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
)

from spectro.crossval.run import Run
from spectro.report.write import write_report
from spectro.scores.metrics import probability_columns
from tests.report.reports import LABELS, Reading, make_predictions, make_run

RATHER = 0.03  # two bootstraps of 2,000 draws differ by less


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 400 clips in three folds, whose sounds are gone."""
    root = tmp_path_factory.mktemp("made")
    return make_run(root / "run", make_predictions(400, LABELS), LABELS, root / "gone")


@pytest.fixture(scope="module")
def page(made: Run, tmp_path_factory: pytest.TempPathFactory) -> Reading:
    out = tmp_path_factory.mktemp("page") / "report.html"
    return Reading(write_report(made, out).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def table(made: Run) -> pd.DataFrame:
    """What ``predictions.csv`` of each fold says."""
    folds = [pd.read_csv(made.fold_folder(fold) / "predictions.csv") for fold in (1, 2, 3)]
    return pd.concat(folds, ignore_index=True)


def near(value: float) -> Any:
    return pytest.approx(value, abs=RATHER)


def right(table: pd.DataFrame) -> Any:
    return table["label"] == table["predicted"]


def macro_f1(table: pd.DataFrame) -> float:
    return float(f1_score(table["label"], table["predicted"], labels=LABELS, average="macro"))


def intervals(table: pd.DataFrame) -> tuple[Any, Any]:
    """Draw recordings anew, one by one: 95 % of accuracy and macro F1, and of each class's scores.

    The second is of shape (2, 3, classes): low and high of precision, recall and F1.
    """
    cells = np.stack(
        [
            confusion_matrix(part["label"], part["predicted"], labels=LABELS)
            for _, part in table.groupby("group")
        ]
    )
    rng, whole, single = np.random.default_rng(99), [], []
    for _ in range(2000):
        counts = cells[rng.integers(len(cells), size=len(cells))].sum(axis=0)
        hits, of_class, named = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
        with np.errstate(invalid="ignore"):
            scores = [hits / named, hits / of_class, 2 * hits / (named + of_class)]
        single.append(scores)
        whole.append([hits.sum() / counts.sum(), np.nan_to_num(scores[2]).mean()])
    return tuple(np.nanpercentile(draws, [2.5, 97.5], axis=0) for draws in (whole, single))


def reliability(truth: Any, probabilities: Any) -> list[float]:
    """Count ECE over 15 bins, confidence, accuracy, Brier score and log loss."""
    sure, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.ceil(sure * 15)
    gaps = [abs(correct[bins == b].sum() - sure[bins == b].sum()) for b in np.unique(bins)]
    brier = np.square(probabilities - np.eye(len(LABELS))[truth]).sum(axis=1).mean()
    loss = log_loss(truth, probabilities, labels=range(len(LABELS)))
    return [sum(gaps) / len(truth), sure.mean(), correct.mean(), brier, loss]


def scaled(probabilities: Any, temperature: float) -> Any:
    powers = probabilities ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def best_temperature(truth: Any, probabilities: Any) -> float:
    """Try 800 temperatures."""
    tried = np.geomspace(0.2, 5, 800)
    picked = np.arange(len(truth)), truth
    losses = [-np.log(scaled(probabilities, t)[picked]).mean() for t in tried]
    return float(tried[np.argmin(losses)])


@pytest.fixture(scope="module")
def believed(table: pd.DataFrame) -> tuple[list[float], list[float], list[float]]:
    """Reliability as predicted and after cross-fitted scaling, and the temperatures, all last."""
    truth = table["label"].map(LABELS.index).to_numpy()
    probabilities = table[probability_columns(LABELS)].to_numpy()
    after, temperatures = probabilities.copy(), []
    for fold in (1, 2, 3):
        inside = (table["fold"] == fold).to_numpy()
        temperatures.append(best_temperature(truth[~inside], probabilities[~inside]))
        after[inside] = scaled(probabilities[inside], temperatures[-1])
    temperatures.append(best_temperature(truth, probabilities))
    return reliability(truth, probabilities), reliability(truth, after), temperatures


def by_recording(table: pd.DataFrame) -> pd.DataFrame:
    return right(table).groupby(table["group"]).agg(["sum", "size"])


def test_the_headline(page: Reading, table: pd.DataFrame, believed: Any) -> None:
    (low, low_f1), (high, high_f1) = intervals(table)[0]
    of_folds = [accuracy_score(p["label"], p["predicted"]) for _, p in table.groupby("fold")]
    recordings = by_recording(table)
    several = recordings[recordings["size"] > 1]
    assert page.numbers["id=score"] == [
        pytest.approx(accuracy_score(table["label"], table["predicted"])),
        400,
        *(near(low), near(high)),
        *(right(table).sum(), (~right(table)).sum()),
        pytest.approx(table["label"].value_counts().max() / 400),
        *(pytest.approx(macro_f1(table)), near(low_f1), near(high_f1)),
        *(pytest.approx(np.mean(of_folds)), pytest.approx(np.std(of_folds, ddof=1))),
        *(pytest.approx(believed[0][0]), pytest.approx(believed[1][0], abs=0.005)),
        *((several["sum"] == 0).sum(), len(several), len(recordings)),
    ]


def test_each_fold(page: Reading, table: pd.DataFrame) -> None:
    expected: list[Any] = []
    for _, part in table.groupby("fold"):
        (low, low_f1), (high, high_f1) = intervals(part)[0]
        accuracy = accuracy_score(part["label"], part["predicted"])
        expected += [len(part), part["group"].nunique()]
        expected += [pytest.approx(accuracy), near(low), near(high)]
        expected += [pytest.approx(macro_f1(part)), near(low_f1), near(high_f1), 7]
    assert page.numbers["id=folds"] == expected


def test_the_matrix_and_the_most_frequent_mistakes(page: Reading, table: pd.DataFrame) -> None:
    counts = confusion_matrix(table["label"], table["predicted"], labels=LABELS)
    for (i, j), count in np.ndenumerate(counts):
        shown = page.numbers.get(f"data-cell={i},{j}", [0, 0])
        assert shown == [count, pytest.approx(count / counts[i].sum())]
    wrong = table[~right(table)]
    pairs = [
        (
            -len(part),
            truth,
            heard,
            part["group"].nunique(),
            len(part) / sum(table["label"] == truth),
        )
        for (truth, heard), part in wrong.groupby(["label", "predicted"])
    ]
    rows = [(-less, pytest.approx(share), n) for less, _, _, n, share in sorted(pairs)[:8]]
    assert page.numbers["id=confusions"] == [number for row in rows for number in row]
    cells = [n for key, found in page.numbers.items() if "cell" in key for n in found]
    (clips, share, recordings), *_ = rows
    first = [clips, recordings, share]
    assert page.numbers["id=confusion"] == [*first, *cells, *page.numbers["id=confusions"]]


def test_each_class(page: Reading, table: pd.DataFrame) -> None:
    scores = precision_recall_fscore_support(table["label"], table["predicted"], labels=LABELS)
    low, high = intervals(table)[1]
    expected: list[Any] = []
    for place, label in enumerate(LABELS):
        expected += [scores[3][place], table.loc[table["label"] == label, "group"].nunique()]
        for kind in range(3):
            value = pytest.approx(scores[kind][place])
            expected += [value, near(low[kind][place]), near(high[kind][place])]
    assert page.numbers["id=classes"] == expected


def test_each_recording(page: Reading, table: pd.DataFrame) -> None:
    recordings = by_recording(table)
    several = recordings[recordings["size"] > 1]
    failed = several[several["sum"] == 0]
    expected: list[Any] = [len(failed), failed["size"].sum(), (~right(table)).sum()]
    expected += [(several["sum"] == several["size"]).sum()]
    rows = [(n > 0, n - size, group) for group, (n, size) in recordings.T.items()]
    for _, _, group in sorted(rows)[:60]:  # those that fail whole, then by mistakes
        part = table[table["group"] == group]
        wrong = part.loc[~right(part), "predicted"].value_counts()
        expected += [right(part).sum(), len(part), *wrong.head(1)]
    expected += [len(recordings) - 60] if len(recordings) > 60 else []
    assert page.numbers["id=recordings"] == expected


def test_each_card(page: Reading, table: pd.DataFrame) -> None:
    for section, kind in (("id=mistakes", "wrong"), ("id=hits", "right")):
        cards = [about for tag, about in page.tags if tag == "article" and kind in about["class"]]
        expected: list[float] = []
        for clip in (table.loc[int(card["data-id"])] for card in cards):
            expected += [max(clip[probability_columns(LABELS)])]
            expected += [clip[f"p_{clip['label']}"]] if kind == "wrong" else []
            group = table[table["group"] == clip["group"]]
            told = f"recording {clip['group']}: {right(group).sum()} of its {len(group)} clips"
            assert len(group) == 1 or told in page.text
        assert page.numbers[section] == pytest.approx(expected)


def test_confidence(page: Reading, believed: Any) -> None:
    before, after, temperatures = believed
    shown = page.numbers["id=calibration"]
    expected = [before[1], before[2], before[0], after[0], *before, *after, *temperatures]
    assert shown == pytest.approx(expected, abs=0.005)  # as fine as the tried temperatures
    assert page.numbers["id=calibration-table"][:5] == pytest.approx(before)


def test_the_page_holds_every_clip_as_the_csv_has_it(page: Reading, table: pd.DataFrame) -> None:
    clips = json.loads(page.scripts["id=clips-data"])
    assert clips["all"] == len(table)
    told = pd.DataFrame({key: clips[key] for key in ("name", "fold", "p", "p_truth")})
    told["label"] = [clips["labels"][i] for i in clips["truth"]]
    told["predicted"] = [clips["labels"][i] for i in clips["predicted"]]
    told["group"] = [clips["sources"][i] for i in clips["source"]]
    for column in ("fold", "label", "predicted", "group"):
        assert told[column].tolist() == table[column].tolist()
    np.testing.assert_allclose(told["p"], table["probability"], atol=1e-6)
    expected = [row[f"p_{row['label']}"] for row in table.to_dict("records")]
    np.testing.assert_allclose(told["p_truth"], expected, atol=1e-6)
    assert told["name"].tolist() == table["path"].tolist()


def test_a_number_is_shown_as_its_value_rounded(page: Reading) -> None:
    assert len(page.shown) > 300
    for value, shown in page.shown:
        exact, told = float(value), shown.replace(",", "").removesuffix("\N{NO-BREAK SPACE}%")
        if told[0] in "<>":
            assert exact < 0.0005 if told == "<0.1" else exact > 0.9995 or told == "<1"
            continue
        half = 0.5 * 10.0 ** -len(told.partition(".")[2])
        scale = 1 if value.isdigit() or re.fullmatch(r"\d+\.\d{2,}", told) else 100
        assert abs(float(told) - scale * exact) <= half + 1e-9, (value, shown)


# ---------------------------------------------------------------------------------------- charts


def marks(page: Reading, kind: str) -> list[dict[str, str]]:
    return [about for _, about in page.tags if about.get("class", "") == kind]


def test_charts_are_drawn_to_scale(page: Reading, table: pd.DataFrame) -> None:
    accuracy = [right(part).mean() for _, part in table.groupby("fold")]
    drawn = [float(dot["cx"]) for dot in marks(page, "dot") if dot["r"] == "4.5"]
    np.testing.assert_allclose(drawn, 40 + 286 * np.array(accuracy), atol=0.06)
    low, high = zip(*[page.numbers[f"data-fold={fold}"][3:5] for fold in (1, 2, 3)], strict=True)
    reach = [line for line in marks(page, "reach") if float(line["y1"]) > 5]
    for name, ends in (("x1", low), ("x2", high)):
        found = [float(line[name]) for line in reach]
        np.testing.assert_allclose(found, 40 + 286 * np.array(ends), atol=0.06)


def test_training_curves_are_those_of_the_history(page: Reading) -> None:
    (train, *_), (valid, accuracy, *_) = (marks(page, f"line c0{k}") for k in (" dashed", ""))
    foot, height = 240 - 34, 240 - 12 - 34
    for line, values, top in (
        (train, [2.0, 1.0], 2.5), (valid, [2.5, 1.5], 2.5), (accuracy, [0.3, 0.5], 1.0)
    ):  # fmt: skip
        points = [tuple(map(float, point.split(","))) for point in line["points"].split()]
        for (x, y), at, value in zip(points, (40, 326), values, strict=True):
            assert (x, y) == pytest.approx((at, foot - height * value / top), abs=0.06)


def test_reliability_bars_are_as_high_as_clips_are_right(
    page: Reading, table: pd.DataFrame
) -> None:
    bins = np.ceil(table["probability"].to_numpy() * 15)
    parts = [table[bins == b] for b in np.unique(bins)]
    full = 284 - 34 - 12 - 44
    bars, counts = marks(page, "bar")[: len(parts)], marks(page, "count")[: len(parts)]
    most = max(map(len, parts))
    for part, bar, count in zip(parts, bars, counts, strict=True):
        least = min(right(part).mean(), part["probability"].mean())
        assert float(bar["height"]) == pytest.approx(full * least, abs=0.1)
        assert float(count["height"]) == pytest.approx(32 * len(part) / most, abs=0.06)
        told = f"{100 * part['probability'].mean():.1f} % sure on average, "
        assert f"{told}{100 * right(part).mean():.1f} % right" in page.text
