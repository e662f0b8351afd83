"""Runs written by hand, with made-up predictions, and their reports read as a machine would."""

from __future__ import annotations

import json
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spectro.crossval.run import Run
from spectro.pictures.settings import SpectrogramConfig
from spectro.scores.metrics import probability_columns
from spectro.training.settings import TrainConfig

LABELS = ["car horn", "dog_bark", "siren", "street music"]


def make_run(
    folder: Path, predictions: pd.DataFrame, labels: list[str], root: Path, **about: Any
) -> Run:
    """Write a run folder that holds these predictions, but no models."""
    folder.mkdir(parents=True)
    folds = sorted(int(fold) for fold in predictions["fold"].unique())
    record = {
        "train": TrainConfig(weights="none").to_dict(),
        "weights": {"source": "random", "detail": "random weights, as asked"},
        "precision": "fp32",
        "spectrogram": SpectrogramConfig().to_dict(),
        "dataset": {
            "name": "birds", "root": str(root), "folds": folds, "notes": [], "absent": [],
            "licence": "", "citation": "", "clips": len(predictions),
        },
        "rendered": {"folder": str(root / "pictures"), "identity": "0123456789abcdef"},
        "labels": labels,
        "environment": {"versions": {"python": "3"}, "platform": "any", "git_commit": None},
    }  # fmt: skip
    record["dataset"] |= about
    (folder / "run.json").write_text(json.dumps(record))
    for fold, part in predictions.groupby("fold"):
        place = folder / f"fold{fold}"
        right = (part["label"] == part["predicted"]).mean()
        own = {"fold": fold, "accuracy": right, "train_clips": 7, "scored_clips": len(part)}
        own["seconds"] = 1.0
        place.mkdir()
        part.to_csv(place / "predictions.csv", index=False)
        (place / "fold.json").write_text(json.dumps(own))
        history = {"epoch": [1, 2], "train_loss": [2.0, 1.0], "valid_loss": [2.5, 1.5]}
        pd.DataFrame({**history, "accuracy": [0.3, 0.5]}).to_csv(place / "history.csv", index=False)
    return Run.load(folder)


def make_predictions(clips: int, labels: list[str], *, folds: int = 3, seed: int = 0) -> Any:
    """Make up predictions: recordings of some clips each, well or badly recognised as a whole."""
    rng = np.random.default_rng(seed)
    source = np.sort(rng.integers(max(2, clips // 6), size=clips))
    truth = source % len(labels)
    logits = rng.normal(size=(clips, len(labels)))
    logits[np.arange(clips), truth] += 3.0 * (source % 5 > 1)
    probabilities = np.exp(2 * logits) / np.exp(2 * logits).sum(axis=1, keepdims=True)
    table = pd.DataFrame(
        {
            "path": [f"audio/{s}-{i}.wav" for i, s in enumerate(source)],
            "label": [labels[t] for t in truth],
            "fold": 1 + source % folds,
            "group": [f"rec{s}" for s in source],
            "start": np.nan,
            "end": np.nan,
            "image": [f"fold1/{i}.png" for i in range(clips)],
            "predicted": [labels[p] for p in probabilities.argmax(axis=1)],
            "probability": probabilities.max(axis=1),
        }
    )
    columns = pd.DataFrame(probabilities, columns=probability_columns(labels))
    return pd.concat([table, columns], axis=1)


class Reading(HTMLParser):
    """Reads a page as a machine would: numbers by the elements they stand in, text, scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.numbers: dict[str, list[float]] = defaultdict(list)
        self.shown: list[tuple[str, str]] = []  # each number in full, and as a person reads it
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts: dict[str, str] = {}
        self.text = ""
        self._open: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = {name: value or "" for name, value in attrs}
        self.tags.append((tag, about))
        if tag == "data":
            self.shown.append((about["value"], ""))
            for key in {key for _, key in self._open if key}:
                self.numbers[key].append(float(about["value"]))
        names = ("id", "data-class", "data-cell", *(("data-fold",) if tag == "tr" else ()))
        key = next((f"{n}={about[n]}" for n in names if n in about), "")
        if tag not in ("meta", "link", "img", "input", "br"):
            self._open.append((tag, key))

    def handle_endtag(self, tag: str) -> None:
        if any(name == tag for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        tag, key = self._open[-1] if self._open else ("", "")
        if tag == "data":
            self.shown[-1] = (self.shown[-1][0], data)
        if tag == "script":
            self.scripts[key] = data
        elif tag != "style":
            self.text += data
