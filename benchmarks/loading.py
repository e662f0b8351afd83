"""Reading pictures for training: ours against the classic recipe's and imsave's, side by side.

    python benchmarks/loading.py --dataset data/UrbanSound8K --clips 200

What fastai does with a picture before a batch: open, decode, to RGB, resize to 224 x 224 where the
recipe asks for it, to an array. Images a second on one core; rounds are interleaved.
"""

from __future__ import annotations

import argparse
import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import statistics
import tempfile
import time
from pathlib import Path

import drawing  # beside this file
from PIL import Image

from spectro.clips import datasets
from spectro.clips.sample.write import write_sample
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import clip_image, network_pixels, save_png


def ours(clip: str, out: Path) -> None:
    save_png(clip_image(clip, SpectrogramConfig()), out)


MAKERS = {"spectro": ours, "librosa + imsave": drawing.imsave, "classic recipe": drawing.classic}


def rate(pictures: list[Path], size: int | None) -> float:
    started = time.perf_counter()
    for picture in pictures:
        with Image.open(picture) as image:
            network_pixels(image, size)
    return len(pictures) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, help="default: the sample, made for this")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = asked.dataset or write_sample(Path(scratch), sources=1, slices=1)
        clips = datasets.load(root).clips.sample(asked.clips, random_state=0)["path"].tolist()
        made: dict[str, list[Path]] = {}
        for name, draw in MAKERS.items():
            made[name] = [Path(scratch) / f"{name}-{number}.png" for number in range(len(clips))]
            for clip, out in zip(clips, made[name], strict=True):
                draw(clip, out)
        print(f"{'pictures':<18} {'as they are':>22} {'at 224 x 224':>22}   images/s (low-high)")
        found = [
            {(name, size): rate(made[name], size) for name in made for size in (None, 224)}
            for _ in range(asked.rounds)
        ]
    for name in made:
        cells = []
        for size in (None, 224):
            speeds = [one[name, size] for one in found]
            cells.append(f"{statistics.median(speeds):.0f} ({min(speeds):.0f}-{max(speeds):.0f})")
        print(f"{name:<18} {cells[0]:>22} {cells[1]:>22}")


if __name__ == "__main__":
    main()
