"""Time `spectro predict MODEL clip.wav`, whole processes, beside the imports that it cannot spare.

    python benchmarks/start.py
    python benchmarks/start.py --model runs/first/final --light light-venv/bin/python

In each round all take turns, so that other work on the machine falls on all of them: a bare import
of ONNX Runtime, numpy, soundfile and soxr, then the command, in this environment and in a light one
(`pip install spectro`) if `--light` names its python. Seconds of wall time and, after the slash, of
processor time; medians over rounds, lowest and highest. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BARE = ("-c", "import onnxruntime, numpy, soundfile, soxr")


def untrained(folder: Path, arch: str) -> Path:
    """Write an untrained network of this kind and its export: what it says takes the same time."""
    from spectro.models.card import ModelCard
    from spectro.models.exports.float32 import export_onnx
    from spectro.models.folder import save_model
    from spectro.models.networks import build as networks
    from spectro.pictures.settings import SpectrogramConfig

    card = ModelCard(arch=arch, labels=tuple("abcdefghij"), spectrogram=SpectrogramConfig())
    save_model(folder, networks.build(arch, 10, 1).eval(), card)
    shape = (40, *card.spectrogram.shape, 3)
    export_onnx(folder, np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    return folder


def clip(path: Path) -> Path:
    import soundfile as sf

    sf.write(path, 0.1 * np.random.default_rng(0).standard_normal(4 * 22_050), 22_050)
    return path


def timed(python: str, words: tuple[str, ...]) -> tuple[float, float]:
    """Run python with these words; return wall and processor seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([python, *words], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="default: an untrained one, made for this")
    parser.add_argument("--arch", default="resnet18", help="of that one")
    parser.add_argument("--light", help="python of an environment without training's packages")
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = asked.model or untrained(Path(scratch) / "model", asked.arch)
        predict = ("-m", "spectro", "predict", str(model), str(clip(Path(scratch) / "clip.wav")))
        cases = {"bare import": (sys.executable, BARE), "predict": (sys.executable, predict)}
        if asked.light:
            cases["bare import, light"] = (asked.light, BARE)
            cases["predict, light"] = (asked.light, predict)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for _ in range(asked.rounds + 1):
            for name, case in cases.items():
                times[name].append(timed(*case))
    print(f"{platform.platform()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    for name, found in times.items():
        columns = zip(*found[1:], strict=True)  # the first round warms the disk's cache
        cells = [f"{statistics.median(c):.2f} ({min(c):.2f} to {max(c):.2f}) s" for c in columns]
        print(f"{name:<20} {' / '.join(cells)}")


if __name__ == "__main__":
    main()
