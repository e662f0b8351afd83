"""Which pictures, size and network suit a pretrained start: a linear head, on inner folds alone.

    python benchmarks/frozen.py --weights imagenet lite0=PICTURES:tf_efficientnet_lite0 \
        lite2=PICTURES:tf_efficientnet_lite2 larger=PICTURES:tf_efficientnet_lite0:224

Each variant is NAME=PICTURES[,PICTURES,PICTURES]:NETWORK[:SIZE]. Three sets of pictures, drawn with
`--cmap gray` and different windows, become red, green and blue (Palanisamy et al., "Rethinking CNN
Models for Audio Classification", arXiv:2007.11154). A head is fitted to the features of the network
as it is, on the inner trainings of benchmarks/ingredients.py: for each scored fold, which nothing
looks at, each of four parts of the other recordings is watched once. The first variant is what the
others are held against, round by round; the interval is that of a t-test over the rounds, which
share recordings, so it is a little too narrow.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from ingredients import PARTS, inner
from scipy.stats import t as student

from spectro.crossval.studies.probe import new_head
from spectro.models.networks import build as networks
from spectro.models.networks.features import extract, reader
from spectro.models.weights import resolve
from spectro.pictures.rendered import RenderedSet


def features_of(sets: list[RenderedSet], arch: str, weights: str, size: int | None) -> np.ndarray:
    """Compute maximum and mean of each channel of a network, for each clip of the first set."""
    body = networks.body(arch, resolve(weights, arch).state)
    rows = list(zip(*(_images(each, sets[0].clips) for each in sets), strict=True))
    stats, cpu = networks.statistics(arch), torch.device("cpu")
    return extract(rows, body, _reader(size), "fp32", cpu, statistics=stats)


def _reader(size: int | None) -> Callable[[Sequence[tuple[str, ...]]], torch.Tensor]:
    """Read a picture a row; or three grey ones, as red, green and blue."""
    pictures = reader(size)

    def read(rows: Sequence[tuple[str, ...]]) -> torch.Tensor:
        drawn = [pictures(images) for images in zip(*rows, strict=True)]
        return drawn[0] if len(drawn) == 1 else torch.stack([x[:, 0] for x in drawn], dim=1)

    return read


def _images(rendered: RenderedSet, clips: pd.DataFrame) -> list[str]:
    """Give the pictures of clips in their order, from any rendering of the same clips."""
    found = {Path(image).parts[-2:]: image for image in rendered.clips["image"]}
    return [found[Path(image).parts[-2:]] for image in clips["image"]]


def accuracies(clips: pd.DataFrame, features: np.ndarray) -> np.ndarray:
    """Return the accuracy of a head in each round, in %."""
    row_of = {image: row for row, image in enumerate(clips["image"])}
    found = []
    for scored, part in itertools.product(sorted(clips["fold"].unique()), range(PARTS)):
        learned, watched = inner(clips, scored, part)
        x, y = (features[[row_of[image] for image in half["image"]]] for half in (learned, watched))
        found.append(100 * new_head().fit(x, learned["label"]).score(y, watched["label"]))
    return np.array(found)


def main() -> None:
    """Print a line a variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="+", metavar="NAME=PICTURES:NETWORK[:SIZE]")
    parser.add_argument("--weights", default="imagenet")
    asked = parser.parse_args()
    first = None
    for variant in asked.variants:
        name, _, how = variant.partition("=")
        folders, arch, *size = how.split(":")
        sets = [RenderedSet.load(Path(folder)) for folder in folders.split(",")]
        started = time.process_time()
        features = features_of(sets, arch, asked.weights, int(size[0]) if size else None)
        seconds = time.process_time() - started
        found = accuracies(sets[0].clips, features)
        first = found if first is None else first
        line = f"{name}: {found.mean():.1f} %, {seconds:.0f} s for the features"
        if found is not first:
            gain = found - first
            error = student.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))
            line += f"; {gain.mean():+.1f} ± {error:.1f} points"
        print(line, flush=True)


if __name__ == "__main__":
    main()
