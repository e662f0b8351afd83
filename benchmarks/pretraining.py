"""What pretraining is worth by the number of sounds, and where the line through the scores leads.

    python benchmarks/pretraining.py RUN RUN ... 0=none --probe PICTURES:3,6,9 --inner PICTURES

Each RUN is a folder of `spectro pretrain` that is at its end, each of its own `--sounds`: the rate
follows them, so rows of one log are no curve. SOUNDS=WEIGHTS, with --arch, is a network of another
origin, or with 0 one that heard none: shown, and left out of the lines.

Two kinds of score, both of folds that are named: `--probe`, a linear head on frozen features as
`spectro pretrain --probe` fits it; and `--inner`, the mean accuracy of the inner trainings of
benchmarks/ingredients.py by a recipe, one for each scored fold, which nothing looks at, and part.

A line is fitted to each score by least squares, over the logarithm of the sounds. At `--to` sounds
it is given with a 95 % interval for the score of one more training of so many (t, of as much
scatter as the scores have about the line). That the line goes on straight is assumed, not measured;
no accuracy rises for ever.

What is in --out is not measured again; several processes (`--share 0/2`, `--share 1/2`) may share
it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ingredients import PARTS, read, scores_of, values_of
from scipy.stats import linregress
from scipy.stats import t as student

from spectro.crossval.studies.probe import score_body
from spectro.models.networks import build as networks
from spectro.models.weights import resolve
from spectro.pictures.rendered import RenderedSet
from spectro.training.pretraining import checkpoint
from spectro.training.pretraining.pretrain import WEIGHTS

_FEWEST = 3  # points of a line that has an interval


@dataclass(frozen=True)
class Start:
    """Weights to start from, and how many sounds they come from."""

    name: str
    arch: str
    weights: str
    sounds: int
    seed: int | None = None


@dataclass(frozen=True)
class Job:
    """One score of one start: what is measured, in words, and how."""

    start: Start
    measure: str
    work: Callable[[], float]


def start_of(word: str, arch: str) -> Start:
    """Read a folder of `spectro pretrain`, or ``SOUNDS=WEIGHTS``."""
    count, equals, weights = word.partition("=")
    if equals and count.isdecimal():
        return Start(Path(weights).name, arch, weights, int(count))
    about, _ = checkpoint.read(Path(word))
    if about.steps < about.config.steps:
        raise SystemExit(f"{word}: is not at its end; go on with it by spectro pretrain")
    config = about.config
    return Start(Path(word).name, config.arch, f"{word}/{WEIGHTS}", config.sounds, config.seed)


def probes(starts: list[Start], asked: list[str]) -> Iterator[Job]:
    """Give a job for each start and each ``PICTURES:FOLD,FOLD``."""
    for word in asked:
        folder, _, folds = word.rpartition(":")
        rendered, chosen = RenderedSet.load(Path(folder)), values_of(folds)
        for start in starts:
            yield Job(start, f"probe {word}", partial(probe, start, rendered, chosen))


def probe(start: Start, rendered: RenderedSet, folds: list[int]) -> float:
    """Score a linear head on the frozen network."""
    body = networks.body(start.arch, resolve(start.weights, start.arch).state)
    return score_body(body, start.arch, rendered, folds)


def trainings(starts: list[Start], asked: argparse.Namespace) -> Iterator[Job]:
    """Give a job for each start and each round of inner trainings; a round has one seed."""
    rendered = RenderedSet.load(asked.inner)
    changes = {"size": 0, "precision": asked.precision}
    measure = scores_of(rendered, asked.recipe, changes)

    def accuracy(scored: int, part: int, own: dict[str, Any]) -> float:
        return measure(scored, part, own)["accuracy"]

    for seed, (scored, part) in enumerate(itertools.product(rendered.folds, range(asked.parts))):
        for start in starts:
            own = {"arch": start.arch, "weights": start.weights, "seed": seed}
            yield Job(
                start,
                f"inner {asked.recipe} {asked.inner} fold {scored} part {part}",
                partial(accuracy, scored, part, own),
            )


def table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Give a row a start, a column a score in %: of inner rounds the mean, once all are there."""
    found = pd.DataFrame(rows)
    found["measure"] = found["measure"].str.replace(r" fold \S+ part \d+$", "", regex=True)
    found["accuracy"] *= 100
    index = ["sounds", "name", "weights"]
    n = found.pivot_table("accuracy", index, "measure", aggfunc="count")
    mean = found.pivot_table("accuracy", index, "measure")
    return mean.where(n == n.max()).reset_index()


def line(sounds: Sequence[float], scores: Sequence[float], at: float) -> tuple[float, float, float]:
    """Fit a line over the logarithm of the sounds.

    Returns
    -------
    slope : float
        What ten times the sounds bring.
    value : float
        Of the line at `at` sounds.
    half : float
        Half of the 95 % interval of one more score there; not a number for fewer than three points.
    """
    x, y = np.log10(np.asarray(sounds, float)), np.asarray(scores, float)
    fit = linregress(x, y)
    to, free = np.log10(at), len(x) - 2
    value = fit.intercept + fit.slope * to
    if len(x) < _FEWEST:
        return fit.slope, value, np.nan
    scatter = ((y - fit.intercept - fit.slope * x) ** 2).sum() / free
    far = 1 + 1 / len(x) + (to - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
    return fit.slope, value, float(student.ppf(0.975, free) * np.sqrt(scatter * far))


def lines(scores: pd.DataFrame, at: float) -> Iterator[str]:
    """Say where each column leads; starts of no sounds are no points."""
    heard = scores[scores["sounds"] > 0]
    for measure in scores.columns[3:]:
        known = heard[heard[measure].notna()]
        if known["sounds"].nunique() < 2:
            continue
        slope, value, half = line(known["sounds"].tolist(), known[measure].tolist(), at)
        spread = f" +- {half:.1f}" if np.isfinite(half) else ""
        yield (
            f"{measure}: {slope:+.1f} points for ten times the sounds; "
            f"{value:.1f}{spread} % at {at:,.0f}"
        )


def asked_for() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("starts", nargs="+", metavar="RUN", help="or SOUNDS=WEIGHTS")
    parser.add_argument("--arch", default="resnet18", help="network of SOUNDS=WEIGHTS")
    parser.add_argument("--probe", action="append", default=[], metavar="PICTURES:FOLD,FOLD")
    parser.add_argument("--inner", type=Path, metavar="PICTURES", help="to fine-tune on")
    parser.add_argument("--recipe", default="transfer", help="of the inner trainings")
    parser.add_argument("--precision", default="auto", help="of the inner trainings")
    parser.add_argument("--parts", type=int, default=PARTS, help="how many of four are watched")
    parser.add_argument("--to", type=float, default=1e7, metavar="SOUNDS", help="end of the lines")
    parser.add_argument("--share", default="0/1", help="which scores are this process's")
    parser.add_argument("--out", type=Path, default=Path("pretraining.jsonl"))
    return parser.parse_args()


def main() -> None:
    """Measure what is not measured yet; print the scores and their lines."""
    asked = asked_for()
    warnings.filterwarnings("ignore")
    starts = [start_of(word, asked.arch) for word in asked.starts]
    jobs = list(probes(starts, asked.probe))
    if asked.inner:
        jobs += trainings(starts, asked)
    first, step = (int(number) for number in asked.share.split("/"))
    for job in jobs[first::step]:
        about = {"weights": job.start.weights, "arch": job.start.arch, "measure": job.measure}
        if any(about.items() <= row.items() for row in read(asked.out)):
            continue
        row = {"name": job.start.name, "sounds": job.start.sounds, "seed": job.start.seed}
        row |= {**about, "accuracy": job.work()}
        with asked.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)
    scores = table(read(asked.out))
    print(scores.drop(columns="weights").to_string(index=False, float_format="{:.1f}".format))
    print(*lines(scores, asked.to), sep="\n")


if __name__ == "__main__":
    main()
