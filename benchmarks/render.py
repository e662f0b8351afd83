"""Rendering, ours against the classic recipe, side by side on the same clips.

    make bench-render
    python benchmarks/render.py --dataset data/UrbanSound8K --clips 200

The classic recipe is what notebooks do: librosa.load, librosa's melspectrogram, specshow on a small
figure, savefig(dpi=400, bbox_inches="tight"), close. Rounds are interleaved, so that a busy machine
is busy for all; the ratio is the median over rounds, with the lowest and highest beside it.
"""

from __future__ import annotations

import argparse
import os

# One thread a method, so that figures are per core. Libraries read this when they are imported.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

from spectro import datasets
from spectro.config import SpectrogramConfig
from spectro.datasets.sample import write_sample
from spectro.spectrogram import clip_image, save_png

CONFIG = SpectrogramConfig()
Draw = Callable[[str, Path], None]


def classic(clip: str, out: Path) -> None:
    y, sr = librosa.load(clip, sr=None)
    figure = plt.figure(figsize=[0.72, 0.72])
    axis = figure.add_subplot(111)
    axis.axes.get_xaxis().set_visible(False)
    axis.axes.get_yaxis().set_visible(False)
    axis.set_frame_on(False)
    S = librosa.feature.melspectrogram(y=y, sr=sr)
    librosa.display.specshow(librosa.power_to_db(S, ref=np.max))
    plt.savefig(out, dpi=400, bbox_inches="tight", pad_inches=0)
    plt.close("all")


def imsave(clip: str, out: Path) -> None:
    y, sr = librosa.load(clip, sr=CONFIG.sr)
    y = librosa.util.fix_length(y, size=CONFIG.n_samples)
    S_db = librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=sr), ref=np.max)
    plt.imsave(out, S_db, origin="lower", cmap="magma", vmin=-80, vmax=0)


def ours(clip: str, out: Path) -> None:
    save_png(clip_image(clip, CONFIG), out)


def rate(draw: Draw, clips: list[str], workers: int = 1) -> tuple[float, float]:
    """Draw all clips into a fresh folder; return clips a second and bytes a picture."""
    with tempfile.TemporaryDirectory() as folder:
        outs = [Path(folder) / f"{number}.png" for number in range(len(clips))]
        started = time.perf_counter()
        if workers == 1:
            for clip, out in zip(clips, outs, strict=True):
                draw(clip, out)
        else:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(draw, clips, outs))
        seconds = time.perf_counter() - started
        return len(clips) / seconds, statistics.mean(out.stat().st_size for out in outs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, help="default: the sample, made for this")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = asked.dataset or write_sample(Path(scratch), sources=1, slices=1)
        clips = datasets.load(root).clips.sample(asked.clips, random_state=0)["path"].tolist()
        methods: dict[str, tuple[Draw, int]] = {
            "spectro": (ours, 1),
            "spectro, 2 threads": (ours, 2),
            "librosa + imsave": (imsave, 1),
            "classic recipe": (classic, 1),
        }
        for draw, _ in methods.values():
            rate(draw, clips[:2])  # warm up
        found = [
            {name: rate(draw, clips, n) for name, (draw, n) in methods.items()}
            for _ in range(asked.rounds)
        ]
    print(f"{len(clips)} clips of {root.name}, {asked.rounds} rounds, {platform.platform()}")
    print(f"{'method':<20} {'clips/s':>8} {'ratio to classic (low-high)':>30} {'bytes':>8}")
    for name in methods:
        ratios = [one[name][0] / one["classic recipe"][0] for one in found]
        speed = statistics.median(one[name][0] for one in found)
        spread = f"{statistics.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})"
        print(f"{name:<20} {speed:>8.0f} {spread:>30} {found[0][name][1]:>8.0f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
