"""Rendering, ours against the classic recipe and the peers, side by side on the same clips.

    make bench-render
    python benchmarks/render.py --dataset data/UrbanSound8K --clips 200

Every method has a process of its own, on one core, and they take turns: a busy machine is busy for
all of them. The ratio is the median over rounds, with the lowest and highest beside it. The clips
are brought to two forms first: 22,050 Hz mono and 44,100 Hz stereo WAV, 4 s, 16 bit.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import drawing  # beside this file
import numpy as np
import soundfile as sf

from spectro.clips import datasets
from spectro.clips import waveform as audio
from spectro.clips.clip import Clip
from spectro.clips.sample.write import write_sample
from spectro.pictures.render import Job, draw_batch
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing import workers
from spectro.plumbing.workers import completed

# One thread a method, so that figures are per core. Libraries read this when they are imported.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

FORMS = {"22,050 Hz mono": (22_050, 1), "44,100 Hz stereo": (44_100, 2)}
BASE = "classic recipe"


def with_spectro(count: int) -> Callable[[list[str], Path], None]:
    """Do what ``spectro render --workers`` does with clips, but for the tables."""
    pool = workers.pool(count)
    work = functools.partial(draw_batch, SpectrogramConfig())

    def draw_all(clips: list[str], folder: Path) -> None:
        jobs = (Job(Clip(clip), f"{folder}/{n}.png", "") for n, clip in enumerate(clips))
        for _ in completed(pool, functools.partial(work, str(folder)), jobs, len(clips)):
            pass

    return draw_all


def with_peer(name: str) -> Callable[[list[str], Path], None]:
    draw = getattr(drawing, name)

    def draw_all(clips: list[str], folder: Path) -> None:
        for number, clip in enumerate(clips):
            draw(clip, folder / f"{number}.png")

    return draw_all


METHODS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "spectro": (with_spectro, 1),
    "spectro, 2 workers": (with_spectro, 2),
    "librosa + imsave": (with_peer, "imsave"),
    "torchaudio": (with_peer, "torchaudio"),
    "OpenSoundscape": (with_peer, "opensoundscape"),
    BASE: (with_peer, "classic"),
}


def serve(name: str, out: str, pipe: Connection) -> None:
    """Draw the clips that come through `pipe`; answer with seconds, bytes and memory."""
    make, argument = METHODS[name]
    draw_all = make(argument)
    while clips := pipe.recv():
        with tempfile.TemporaryDirectory(dir=out) as folder:
            started = time.perf_counter()
            try:
                draw_all(clips, Path(folder))
            except Exception as problem:  # a peer that is not installed, or fails
                pipe.send(f"{type(problem).__name__}: {problem}"[:90])
                continue
            seconds = time.perf_counter() - started
            sizes = [path.stat().st_size for path in Path(folder).glob("*.png")]
            assert len(sizes) == len(clips)
            pipe.send((seconds, statistics.mean(sizes), memory()))
    os._exit(0)


def memory() -> float:
    """Peak memory of this process, MiB; that of its workers cannot be told apart."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bring_to_form(clips: list[str], sr: int, channels: int, folder: Path) -> list[str]:
    folder.mkdir()
    paths = []
    for number, clip in enumerate(clips):
        y = audio.fit(audio.load(clip, sr=sr), 4 * sr, pad="loop")
        paths.append(str(folder / f"{number}.wav"))
        sf.write(paths[-1], np.stack([y] * channels, axis=1).clip(-1, 1), sr, subtype="PCM_16")
    return paths


def rounds(clips: list[str], out: Path, count: int) -> Iterator[dict[str, Any]]:
    """Let every method draw all clips, `count` times in turn."""
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for name in METHODS:
        pipes[name], theirs = context.Pipe()
        context.Process(target=serve, args=(name, str(out), theirs), daemon=False).start()
    ask(pipes, clips[:2])  # warm up
    for _ in range(count):
        yield ask(pipes, clips)
    for pipe in pipes.values():
        pipe.send([])


def ask(pipes: dict[str, Any], clips: list[str]) -> dict[str, Any]:
    answers = {}
    for name, pipe in pipes.items():
        pipe.send(clips)
        answers[name] = pipe.recv()
    return answers


def report(form: str, found: list[dict[str, Any]], clips: int) -> None:
    print(f"\n{form}")
    print(
        f"{'method':<20} {'clips/s':>8} {'ratio to classic (low-high)':>28} {'bytes':>8} {'MiB':>6}"
    )
    for name in METHODS:
        failed = next((one[name] for one in found if isinstance(one[name], str)), None)
        if failed:
            print(f"{name:<20} {failed}")
            continue
        ratios = [one[BASE][0] / one[name][0] for one in found]
        speed = statistics.median(clips / one[name][0] for one in found)
        spread = f"{statistics.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})"
        _, size, peak = found[-1][name]
        print(f"{name:<20} {speed:>8.0f} {spread:>28} {size:>8.0f} {peak:>6.0f}")
    two = [one["spectro"][0] / one["spectro, 2 workers"][0] for one in found]
    print(f"two workers over one: {statistics.median(two):.2f} ({min(two):.2f}-{max(two):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, help="default: the sample, made for this")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="disk to write to; default: the temporary folder")
    asked = parser.parse_args()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(dir=asked.out) as scratch:
        root = asked.dataset or write_sample(Path(scratch), sources=1, slices=1)
        clips = datasets.load(root).clips.sample(asked.clips, random_state=0)["path"].tolist()
        print(f"{len(clips)} clips of {root.name}, {asked.rounds} rounds")
        for form, (sr, channels) in FORMS.items():
            ready = bring_to_form(clips, sr, channels, Path(scratch) / f"{sr}")
            report(form, list(rounds(ready, Path(scratch), asked.rounds)), len(clips))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
