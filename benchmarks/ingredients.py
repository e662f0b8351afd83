"""What each ingredient of training is worth, all tried at once, on inner folds alone.

    python benchmarks/ingredients.py PICTURES --weights FILE --try mixup=0,0.4 --try epochs=8,20

Each training has every ingredient at one of its values by lot, each value equally often, and so its
round: a fold that would be scored, which nothing looks at, and one of four parts of the recordings
of all other folds, which is watched; the other three are learned from. Such a network learns three
quarters of what the scored one will: what is best for many fewer clips need not be best for all.

One linear model of all accuracies, and one of all cross-entropies, which vary less by chance, then
give what each value changes against the first, the others as they fell, with 95 % t-intervals.
Sixty-four trainings so measure a dozen ingredients as well as sixty-four pairs of trainings would
measure one.

Names are those of the table `[train]` (--try once each); `epochs`, `lr` and `schedule` of the last
phase; and besides

- `frozen`: epochs of the head alone before it;
- `norms`: "learned", or "kept": batch norm of the body keeps statistics and weights of the start;
- `pictures`: folders of the same clips, drawn otherwise;
- `teachers`: so many networks, of seeds of their own, are trained first, and their probabilities,
  averaged, are what the network learns instead of the labels (Hinton et al., arXiv:1503.02531).

A rate by layer is a list: --try lr=1e-3,[1e-4,1e-3].
What is in --out already is not trained again; several processes (`--share 0/2`, `--share 1/2`) may
share it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.callback.core import Callback
from fastai.learner import Learner
from scipy.stats import t as student
from sklearn.model_selection import StratifiedGroupKFold
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from spectro.models.networks.precision import autocast
from spectro.pictures.rendered import RenderedSet
from spectro.training.recipes import recipe as find
from spectro.training.settings import Phase, TrainConfig

Levels = dict[str, list[Any]]
PARTS = 4
_LAST = ("epochs", "lr", "schedule")  # of the last phase
_SCORES = [("accuracy", 100, ["change", "interval"]), ("loss", 1, ["loss", "loss_interval"])]


def design(levels: Levels, rounds: list[tuple[int, int]], runs: int) -> list[dict[str, Any]]:
    """Draw what each training has: every value of an ingredient as often as the others."""
    lot = random.Random(0)
    columns = {}
    for name, values in {**levels, "round": rounds}.items():
        column = [values[number % len(values)] for number in range(runs)]
        lot.shuffle(column)
        columns[name] = column
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def effects(results: pd.DataFrame, levels: Levels) -> pd.DataFrame:
    """Fit one linear model a score; give each value's change against the first of its name.

    Parameters
    ----------
    results : pandas.DataFrame
        A row a training: a column for each name of `levels`, ``scored``, ``part``, ``accuracy``,
        ``loss``.
    levels : dict of str to list
        The values of each ingredient; the first is what the others are held against.

    Returns
    -------
    table : pandas.DataFrame
        ``ingredient, value, against, trainings``; ``change`` of the accuracy in points and
        ``loss`` of the cross-entropy in nats; ``interval`` and ``loss_interval`` are half of the
        95 % interval's width, not a number where trainings are too few to tell.
    """
    rounds = sorted(set(zip(results["scored"], results["part"], strict=True)))
    columns = [(results["scored"] == a) & (results["part"] == b) for a, b in rounds]
    has = {name: results[name].map(str) for name in levels}  # a rate by layer is a list
    named = [(name, value) for name, values in levels.items() for value in values[1:]]
    columns += [has[name] == str(value) for name, value in named]
    x = np.stack(columns, axis=1).astype(float)
    table = pd.DataFrame(
        [(name, value, levels[name][0]) for name, value in named],
        columns=["ingredient", "value", "against"],
    )
    table["trainings"] = x[:, len(rounds) :].sum(axis=0).astype(int)
    for score, unit, columns in _SCORES:
        table[columns] = _least_squares(x, unit * results[score].to_numpy(float))[len(rounds) :]
    return table


def _least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a row a column of `x`: what it adds to `y`, and half of its 95 % interval."""
    change, _, rank, _ = np.linalg.lstsq(x, y, rcond=None)
    free = len(y) - int(rank)
    told = free > 0 and rank == x.shape[1]
    variance = ((y - x @ change) ** 2).sum() / free if told else np.nan
    error = np.sqrt(variance * np.diag(np.linalg.pinv(x.T @ x)))
    return np.stack([change, (student.ppf(0.975, free) if told else np.nan) * error], axis=1)


class Taught(Callback):  # type: ignore[misc]
    """Has a network learn what others, averaged, make of the same batch, changed as it is.

    Parameters
    ----------
    teachers : list of torch.nn.Module
        Trained already.
    temperature : float
        That logits of both sides are divided by.
    """

    order = 100  # behind the callback that ends sixteen bits

    def __init__(self, teachers: list[torch.nn.Module], temperature: float = 2.0) -> None:
        super().__init__()
        self.teachers, self.temperature = [each.eval() for each in teachers], temperature

    @torch.no_grad()
    def told(self, x: torch.Tensor) -> torch.Tensor:
        """Return the probabilities of each class, shape (n, classes)."""
        with autocast(x.device, "bf16" if x.device.type == "cpu" else "fp32"):
            logits = [each(x).float() for each in self.teachers]
        each = [functional.softmax(one / self.temperature, 1) for one in logits]
        return torch.stack(each).mean(0)

    def after_loss(self) -> None:
        """Put the cross-entropy with the teachers in the place of that with the labels."""
        if not self.training:
            return
        logits = self.pred.as_subclass(torch.Tensor).float() / self.temperature
        told = self.told(self.xb[0].as_subclass(torch.Tensor))
        self.learn.loss_grad = self.temperature**2 * functional.cross_entropy(logits, told)
        self.learn.loss = self.learn.loss_grad.clone()


class KeptNorms(Callback):  # type: ignore[misc]
    """Leaves batch norm of the body as it was at the start: statistics and weights."""

    def before_fit(self) -> None:
        """Take their weights out of the training, which `unfreeze` has put in."""
        self.layers = [m for m in self.model[0].modules() if isinstance(m, _BatchNorm)]
        for layer in self.layers:
            layer.requires_grad_(False)

    def before_train(self) -> None:
        """Keep their statistics, after the whole network was put into training mode."""
        for layer in self.layers:
            layer.eval()


def scores_of(
    rendered: RenderedSet, recipe: str, changes: dict[str, Any]
) -> Callable[..., dict[str, float]]:
    """Give a function that trains with some changes of a recipe, and watches a part."""
    from spectro.crossval.predictions import accuracy, out_of_fold
    from spectro.models.weights import resolve
    from spectro.scores.breakdown import by_loss
    from spectro.training.loop import learner
    from spectro.training.splits import Split
    from spectro.training.train import train

    def measure(scored: int, part: int, drawn: dict[str, Any]) -> dict[str, float]:
        others = {**changes, **drawn}
        at = drawn_as(rendered, others.pop("pictures", None))
        callbacks: list[Callback] = []
        n_teachers, kept = others.pop("teachers", 0), others.pop("norms", "learned") == "kept"
        config = settings_of(recipe, others)
        if kept:
            callbacks.append(KeptNorms())
            config = config.replace(settle_norms=False)
        learned, watched = inner(at.clips, scored, part)
        parts = Split(train=learned, watch=watched, score=watched)
        weights = resolve(config.weights, config.arch)

        def trained(seed: int) -> Learner:
            one = config.replace(seed=seed)
            return train(parts, at.labels, one, weights, at.config, callbacks=callbacks)[0]

        if n_teachers:
            seeds = range(config.seed + 1_000, config.seed + 1_000 * (n_teachers + 1), 1_000)
            callbacks.append(Taught([trained(seed).model for seed in seeds]))
        learn = trained(config.seed)
        found = out_of_fold(learner.predict_clips(learn, watched), watched, at.labels)
        return {"accuracy": accuracy(found), "loss": float(by_loss(found)["loss"].mean())}

    return measure


def drawn_as(rendered: RenderedSet, folder: str | None) -> RenderedSet:
    """Open another rendering of the same clips; None is the first."""
    if folder is None:
        return rendered
    other = RenderedSet.load(Path(folder))
    same = ["fold", "label", "group"]
    if not other.clips[same].equals(rendered.clips[same]):
        raise SystemExit(f"{folder}: has other clips than {rendered.folder}")
    return other


def settings_of(recipe: str, drawn: dict[str, Any]) -> TrainConfig:
    """Change a recipe: `epochs`, `lr`, `schedule` of the last phase, `frozen` a phase before it."""
    others = {name: drawn[name] for name in drawn if name not in {*_LAST, "frozen"}}
    config = find(recipe).replace(**others)
    *before, last = config.phases
    phases = [*before, last.replace(**{name: drawn[name] for name in _LAST if name in drawn})]
    if drawn.get("frozen"):
        phases.insert(0, Phase(epochs=drawn["frozen"], frozen=True))
    return config.replace(phases=tuple(phases))


def inner(clips: pd.DataFrame, scored: int, part: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split what is left without the scored fold: no recording on both sides, classes alike."""
    rest = clips[clips["fold"] != scored].reset_index(drop=True)
    splitter = StratifiedGroupKFold(PARTS, shuffle=True, random_state=0)
    learned, watched = list(splitter.split(rest, rest["label"], rest["group"]))[part]
    return rest.iloc[learned].reset_index(drop=True), rest.iloc[watched].reset_index(drop=True)


def levels_of(asked: list[str]) -> Levels:
    """Read ``name=value,value`` as JSON values, words where they are none."""
    levels: Levels = {}
    for text in asked:
        name, _, values = text.partition("=")
        levels[name] = values_of(values)
    return levels


def values_of(text: str) -> list[Any]:
    try:
        return list(json.loads(f"[{text}]"))
    except json.JSONDecodeError:
        words = text.split(",")
        return words if len(words) == 1 else [each for word in words for each in values_of(word)]


def read(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.is_file() else []


def check_same(out: Path, about: dict[str, Any]) -> None:
    """Refuse to go on with results of other trainings than are asked for."""
    others = [row for row in read(out) if row.get("about") != about]
    if others:
        raise SystemExit(f"{out}: holds results of other settings; name another --out")


def asked_for() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, help="folder that spectro render wrote")
    parser.add_argument("--try", dest="tried", action="append", required=True, metavar="NAME=V,V")
    parser.add_argument("--weights", default="none", help="where every training starts")
    parser.add_argument("--recipe", default="plain", help="settings that are changed")
    parser.add_argument("--size", type=int, default=0, help="side of the pictures; 0: as they are")
    parser.add_argument("--runs", type=int, default=64, help="trainings in all")
    parser.add_argument("--parts", type=int, default=PARTS, help="how many of four are watched")
    parser.add_argument("--scored", help="folds left out in turn, as 1,2; otherwise each")
    parser.add_argument("--share", default="0/1", help="which trainings are this process's")
    parser.add_argument("--out", type=Path, default=Path("ingredients.jsonl"))
    return parser.parse_args()


def main() -> None:
    """Train what is not trained yet, and print what each ingredient changes."""
    asked = asked_for()
    warnings.filterwarnings("ignore")
    levels = levels_of(asked.tried)
    rendered = RenderedSet.load(asked.pictures)
    folds = values_of(asked.scored) if asked.scored else rendered.folds
    rounds = list(itertools.product(folds, range(asked.parts)))
    drawn = design(levels, rounds, asked.runs)
    first, step = (int(number) for number in asked.share.split("/"))
    changes = {"weights": asked.weights, "size": asked.size}
    measure = scores_of(rendered, asked.recipe, changes)
    about = {"pictures": rendered.identity, "recipe": asked.recipe, **changes}
    about |= {"tried": asked.tried, "rounds": [list(one) for one in rounds], "runs": asked.runs}
    check_same(asked.out, about)
    for number in range(first, asked.runs, step):
        if any(row["number"] == number for row in read(asked.out)):
            continue
        ingredients = dict(drawn[number])
        scored, part = ingredients.pop("round")
        started = time.process_time()
        found = measure(scored, part, {**ingredients, "seed": number})
        row = {"number": number, "scored": scored, "part": part, **ingredients, **found}
        row["seconds"] = round(time.process_time() - started, 1)
        with asked.out.open("a") as file:
            file.write(json.dumps({**row, "about": about}) + "\n")
        print(f"{number + 1}/{asked.runs}", row, flush=True)
    results = pd.DataFrame(read(asked.out))
    table = effects(results, levels)
    mean = 100 * results["accuracy"].mean()
    print(f"{len(results)} trainings, {mean:.1f} % on the mean; change in points, loss in nats:")
    print(table.to_string(index=False, float_format=lambda value: f"{value:+.2f}"))


if __name__ == "__main__":
    main()
