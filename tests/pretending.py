"""Training that takes no time: the network is a share of clips that it gets right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import nn

from spectro.crossval import folds as crossval
from spectro.report import write
from spectro.training import data
from spectro.training.settings import TrainConfig

Skill = Callable[[pd.DataFrame, TrainConfig], float]


@dataclass
class Trainings:
    """What was asked of the pretended learner: the clips and settings of each training."""

    train: list[pd.DataFrame] = field(default_factory=list)
    scored: list[pd.DataFrame] = field(default_factory=list)
    configs: list[TrainConfig] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.train)


def pretend(monkeypatch: pytest.MonkeyPatch, skill: Skill) -> Trainings:
    """Have trainings give a network that knows `skill` of the clips it is shown.

    Which ones is drawn under the seed of the settings; NaN pretends that training diverged.
    """
    done = Trainings()

    def fit(learn: Any, config: TrainConfig, *rest: Any) -> pd.DataFrame:
        done.train.append(learn.train)
        done.configs.append(config)
        same = {"phase": 1, "train_loss": 1.0, "valid_loss": 1.0, "accuracy": 0.5, "lr": 1e-3}
        rows = [{"epoch": k + 1, **same, "seconds": 0.0} for k in range(config.epochs)]
        for row in rows:
            if rest and rest[0] is not None:
                rest[0].epoch(row)
        return pd.DataFrame(rows)

    def predict(learn: Any, clips: pd.DataFrame) -> Any:
        done.scored.append(clips)
        known = skill(learn.train, learn.config)
        if np.isnan(known):
            return np.full((len(clips), len(learn.labels)), np.nan, np.float32)
        rng = np.random.default_rng([learn.config.seed, len(learn.train)])
        right = rng.permutation(len(clips)) < known * len(clips)
        truth = np.array([learn.labels.index(label) for label in clips["label"]])
        chosen = np.where(right, truth, (truth + 1) % len(learn.labels))
        return np.where(np.eye(len(learn.labels))[chosen] > 0, 0.9, 0.05).astype(np.float32)

    def dataloaders(train: Any, valid: Any, labels: Any, config: Any, *_: Any) -> Any:
        return SimpleNamespace(train=train, labels=labels, config=config, device="cpu")

    def new_learner(dls: Any, config: Any, weights: Any) -> Any:
        return SimpleNamespace(
            train=dls.train, labels=dls.labels, config=config, model=nn.Linear(1, 1)
        )

    monkeypatch.setattr(data, "dataloaders", dataloaders)
    monkeypatch.setattr(crossval.learner, "new_learner", new_learner)
    monkeypatch.setattr(crossval.learner, "fit", fit)
    monkeypatch.setattr(crossval.learner, "predict_clips", predict)
    monkeypatch.setattr(crossval, "save_model", lambda folder, *_: Path(folder).mkdir())
    monkeypatch.setattr(write, "write_report", lambda run, **_: run.folder / "report.html")
    return done
