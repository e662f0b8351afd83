"""Scanning: what is found in a recording with known events, false alarms an hour, and speed.

    make bench-scan ARGS="MODEL --dataset data/sample/UrbanSound8K --fold 1"
    make bench-scan ARGS="MODEL --dataset data/UrbanSound8K --fold 3 --background night/*.flac"
    make bench-scan ARGS="MODEL --dataset ... --minutes 10 --hours 1 --hops 4 1"

Clips of a fold that the model never heard are laid over background at known times, at 0 to 20 dB
above it; hours of background alone are a second set of files. Both are scanned by the command
``spectro scan``, in a process of its own: with default thresholds, and with those that ``spectro
thresholds`` chooses on the background. Alarms an hour "between the events" are those in the
recording, whose background no threshold was chosen on.

Speed is seconds of sound a second of the clock, start of Python and reading the model included, and
by processor time, which a busy machine falsifies less. Memory is the peak of the largest process.
With --opensoundscape PYTHON, an interpreter that has OpenSoundscape, its ``predict`` hears the same
recording with a resnet18, in windows of the same length and step.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
import numpy.typing as npt
import soundfile as sf

from spectro.clips import datasets
from spectro.clips.waveform import load
from spectro.errors import AudioError
from spectro.listening.events.labels import Labelled
from spectro.listening.events.scoring import EventScores, score_events
from spectro.listening.events.tables import read_csv
from spectro.models.card import read_card

SR = 22_050
SNRS = (0, 5, 10, 15, 20)  # dB
SITE = "bench"

Waveform = npt.NDArray[np.float32]


class Spliced(NamedTuple):
    """A recording with what is in it."""

    path: Path
    truth: list[Labelled]
    snrs: list[int]


def rms(y: Waveform) -> float:
    return float(np.sqrt(np.mean(np.square(y, dtype=np.float64))))


# Sounds


def synthesised(rng: np.random.Generator) -> Iterator[Waveform]:
    """Give seconds of wind and hiss for ever: noise that falls by 3 dB an octave, and swells."""
    at, n = 0, SR
    shape = 1 / np.sqrt(np.maximum(np.fft.rfftfreq(2 * n, 1 / SR), 20))
    fade = np.sin(np.linspace(0, np.pi / 2, n, endpoint=False)).astype(np.float32)
    before = np.zeros(n, np.float32)
    while True:
        spectrum = np.fft.rfft(rng.standard_normal(2 * n)) * shape
        y = np.fft.irfft(spectrum).astype(np.float32)
        swell = 10 ** ((4 * np.sin(at / 37) + 3 * np.sin(at / 11 + 1) + rng.normal(0, 0.5)) / 20)
        y *= np.float32(0.004 * swell / max(rms(y), 1e-9))
        yield before * fade[::-1] + y[:n] * fade
        before, at = y[n:], at + 1


def given(paths: Sequence[Path], rng: np.random.Generator) -> Iterator[Waveform]:
    """Give seconds of real background for ever, file after file in another order each time."""
    while True:
        heard = 0
        for number in rng.permutation(len(paths)):
            try:
                y = load(paths[number], sr=SR)
            except AudioError as error:
                print(f"left out: {error}")
                continue
            for at in range(0, len(y) - SR + 1, SR):
                heard += 1
                yield y[at : at + SR]
        if not heard:
            sys.exit("no second of the background can be read")


def background(args: argparse.Namespace, seed: int) -> Iterator[Waveform]:
    rng = np.random.default_rng(seed)
    return given(args.background, rng) if args.background else synthesised(rng)


def write(path: Path, seconds: Iterator[Waveform], n: int) -> Path:
    with sf.SoundFile(path, "w", SR, 1, format="FLAC") as file:
        for _ in range(n):
            file.write(np.clip(next(seconds), -1, 1))
    return path


def splice(args: argparse.Namespace, labels: Sequence[str]) -> Spliced:
    """Lay clips over background, each alone, at least 10 s apart."""
    clips = datasets.load(args.dataset).clips
    clips = clips[(clips["fold"] == args.fold) & clips["label"].isin(labels)]
    if clips.empty:
        sys.exit(f"fold {args.fold} of {args.dataset} has no clip of the model's classes")
    rng, n = np.random.default_rng(args.seed), round(args.minutes * 60)
    under = background(args, args.seed + 1)
    y = np.concatenate([next(under) for _ in range(n)])
    path, truth, snrs, at = args.work / "spliced.flac", list[Labelled](), list[int](), 5.0
    while at < n - 15:
        row = clips.iloc[int(rng.integers(len(clips)))]
        sound = load(row["path"], sr=SR, start=none(row["start"]), end=none(row["end"]))
        first = round(at * SR)
        place = y[first : first + len(sound)]
        snr = int(rng.choice(SNRS))
        place += (
            np.float32(10 ** (snr / 20) * rms(place) / max(rms(sound), 1e-9)) * sound[: len(place)]
        )
        end = at + len(place) / SR
        truth.append(Labelled(str(path), at, end, row["label"]))
        snrs.append(snr)
        at = end + rng.uniform(10, 20)
    sf.write(path, y / max(1.0, float(np.abs(y).max())), SR, format="FLAC")
    return Spliced(path, truth, snrs)


def none(value: float) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


# Scans


class Took(NamedTuple):
    """What a command took: seconds by the clock, of a processor, and MB at the peak."""

    clock: float
    processor: float
    peak: float


SPECTRO = """
import resource, sys
from spectro.cli.app import app
try:
    app()
finally:
    own = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
    print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss), file=sys.stderr)
"""


def run(
    words: Sequence[object], code: str = SPECTRO, python: str = sys.executable
) -> tuple[str, Took]:
    """Run Python code that ends with the peak of its memory in KB, in a process of its own."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [python, "-c", code, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(map(str, words))}: status {done.returncode}: {done.stderr[-2_000:]}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, Took(clock, used, int(done.stderr.split()[-1]) / 1024)


def scan(model: Path, files: Sequence[Path], out: Path, *words: object) -> Took:
    shutil.rmtree(out, ignore_errors=True)
    return run(["scan", model, *files, "--out", out, "--json", *words])[1]


# Figures


def accuracy(args: argparse.Namespace, model: Path, spliced: Spliced, files: list[Path]) -> None:
    """Print recall, precision and alarms an hour, before and after thresholds."""
    hop = min(args.hops)
    backend = args.backends[0]
    words = ("--hop", hop, "--backend", backend)
    output, _ = run([
        "thresholds", model, "--background", *files, "--budget",
        args.budget, "--site", SITE, "--hop", hop, "--unsupported",
    ])  # fmt: skip
    print(output)
    for name, more in (("default thresholds", ()), ("after thresholds", ("--site", SITE))):
        scan(model, [spliced.path], args.work / "found", *words, *more)
        scan(model, files, args.work / "alarms", *words, *more)
        found = list(read_csv(args.work / "found" / "events.csv"))
        alarms = list(read_csv(args.work / "alarms" / "events.csv"))
        durations = {str(spliced.path): args.minutes * 60}
        scores = score_events(spliced.truth, found, durations=durations)
        counts = Counter(one.label for one in alarms)
        print(f"\n{name}, hop {hop:g} s, {backend}")
        table(scores, counts, args.hours)
        by_snr(spliced, found)


def table(scores: EventScores, alarms: dict[str, int], hours: float) -> None:
    print(
        f"{'class':20}{'marked':>8}{'recall':>9}{'precision':>11}{'false/h':>9}{'background':>12}"
    )
    rows = [*scores.classes.values(), scores.overall]
    for one in rows:
        count = alarms.get(one.label, 0) if one.label else sum(alarms.values())
        recall, precision = (
            "-" if share is None else f"{share:.1%}" for share in (one.recall, one.precision)
        )
        print(
            f"{one.label or 'all':20}{one.marked:>8}{recall:>9}{precision:>11}"
            f"{one.alarms_per_hour or 0:>9.1f}{count / hours:>12.2f}"
        )


def by_snr(spliced: Spliced, found: Sequence[object]) -> None:
    """Print the recall at each level above the background."""
    cells = []
    for snr in SNRS:
        marked = [one for one, own in zip(spliced.truth, spliced.snrs, strict=True) if own == snr]
        recall = score_events(marked, found).overall.recall  # type: ignore[arg-type]
        cells.append(f"{snr} dB {'-' if recall is None else f'{recall:.0%}'} of {len(marked)}")
    print(f"recall by SNR: {', '.join(cells)}")


def speed(args: argparse.Namespace, models: dict[str, Path], files: list[Path]) -> None:
    """Print how fast files are scanned, one process or two."""
    seconds = args.hours * 3600
    print(f"\nspeed on {args.hours:g} h in {len(files)} files, at best of {args.rounds} rounds")
    heads = {"backend": 9, "hop": 6, "workers": 9, "x clock": 9, "x processor": 13, "peak MB": 9}
    print(f"{'model':24}" + "".join(f"{name:>{width}}" for name, width in heads.items()))
    for name, model in models.items():
        for backend in args.backends:
            if backend == "int8" and not (model / "model.int8.onnx").is_file():
                continue
            for hop in args.hops:
                for workers in args.workers:
                    words = ("--hop", hop, "--backend", backend, "--workers", workers)
                    took = [
                        scan(model, files, args.work / "speed", *words) for _ in range(args.rounds)
                    ]
                    clock, used = min(t.clock for t in took), min(t.processor for t in took)
                    print(
                        f"{name[:23]:24}{backend:>9}{hop:>6g}{workers:>9}{seconds / clock:>9.0f}"
                        f"{seconds / used:>13.0f}{max(t.peak for t in took):>9.0f}",
                        flush=True,
                    )


OPENSOUNDSCAPE = """
import sys, warnings; warnings.filterwarnings("ignore")
import torch; torch.set_num_threads(1)
from opensoundscape import CNN
from opensoundscape.ml import cnn_architectures
hop, duration, path, *labels = sys.argv[1:]
net = cnn_architectures.resnet18(len(labels), weights=None)  # else its weights are downloaded
model = CNN(net, classes=labels, sample_duration=float(duration), sample_rate=22_050)
model.device = "cpu"
model.predict([path], clip_overlap=float(duration) - float(hop), batch_size=32, num_workers=0)
print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0], file=sys.stderr)
"""


def opensoundscape(args: argparse.Namespace, labels: Sequence[str], path: Path) -> None:
    """Print how fast OpenSoundscape's predict hears the recording."""
    for hop in args.hops:
        words = [hop, args.duration, path, *labels]
        _, took = run(words, OPENSOUNDSCAPE, args.opensoundscape)
        seconds = args.minutes * 60
        pace = f"{seconds / took.clock:>9.0f}{seconds / took.processor:>13.0f}{took.peak:>9.0f}"
        print(f"{'OpenSoundscape, resnet18':24}{'torch':>9}{hop:>6g}{1:>9}{pace}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, help="model folder with its exports")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="more, for speed alone")
    parser.add_argument("--dataset", required=True, help="where its clips come from")
    parser.add_argument("--fold", type=int, required=True, help="a fold that the model never heard")
    parser.add_argument("--background", type=Path, nargs="*", default=[], help="real recordings")
    parser.add_argument("--work", type=Path, default=Path("runs/bench-scan"))
    parser.add_argument("--minutes", type=float, default=60, help="of the recording with events")
    parser.add_argument("--hours", type=float, default=6, help="of background alone")
    parser.add_argument("--hops", type=float, nargs="+", default=[4, 2, 1])
    parser.add_argument("--backends", nargs="+", default=["onnx", "int8"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--budget", default="0.5/hour")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--opensoundscape", help="an interpreter that has it")
    parser.add_argument("--only", choices=["accuracy", "speed"], help="one of the two")
    return parser.parse_args()


def main() -> None:
    args = parse()
    args.work.mkdir(parents=True, exist_ok=True)
    model = args.work / "model"  # of its own: thresholds are written into it
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(args.model, model, ignore=shutil.ignore_patterns("thresholds"))
    card = read_card(model)
    args.duration = card.spectrogram.duration
    print(f"{platform.platform()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    kind = f"{len(args.background)} real files" if args.background else "synthesised"
    print(f"model: {card.arch}, {len(card.labels)} classes; background: {kind}")
    spliced = splice(args, card.labels)
    print(f"{len(spliced.truth)} events in {args.minutes:g} min: {spliced.path}")
    each, under = round(args.hours * 600), background(args, args.seed + 2)
    files = [write(args.work / f"background{i}.flac", under, each) for i in range(6)]
    if args.only != "speed":
        accuracy(args, model, spliced, files)
    if args.only != "accuracy":
        speed(args, {card.arch: model, **{read_card(m).arch: m for m in args.others}}, files)
    if args.opensoundscape:
        opensoundscape(args, card.labels, spliced.path)


if __name__ == "__main__":
    main()
