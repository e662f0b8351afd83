"""Requests a second and latency of `spectro serve` on loopback, beside the bare ONNX call.

    make bench-serve ARGS="--model runs/demo/fold1/model"

Without a model, one is made: an untrained resnet18 at the default picture's size. The bare call is
one session.run on a picture that is there already; a request is the sound's bytes in and JSON out:
HTTP, a file, decoding, drawing, the same session.run.
"""

from __future__ import annotations

import argparse
import http.client
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile as sf

from spectro.listening.backends import open_backend
from spectro.listening.classifier import Classifier
from spectro.models.card import ModelCard, read_card
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import clip_image, network_levels


def make_model(folder: Path) -> Path:
    from spectro.models.exports.float32 import export_onnx
    from spectro.models.folder import save_model
    from spectro.models.networks import build as networks

    labels = tuple("abcdefghij")
    card = ModelCard(arch="resnet18", labels=labels, spectrogram=SpectrogramConfig())
    save_model(folder, networks.build("resnet18", len(labels), 1).eval(), card)
    noise = np.random.default_rng(0).integers(0, 256, (8, *card.spectrogram.shape, 3), np.uint8)
    export_onnx(folder, noise)
    return folder


def timed(call, seconds: float) -> list[float]:
    call()
    times, last = [], time.perf_counter() + seconds
    while time.perf_counter() < last:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


def crowd(port: int, body: bytes, clients: int, seconds: float) -> tuple[list[float], float]:
    """Let clients ask at once over kept connections; return latencies, and the seconds it took."""
    times: list[list[float]] = [[] for _ in range(clients)]
    barrier = threading.Barrier(clients + 1)

    def client(mine: list[float]) -> None:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

        def ask() -> None:
            line.request("POST", "/predict", body, {"Content-Type": "audio/wav"})
            answer = line.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()

        ask()
        barrier.wait()
        mine.extend(timed(ask, seconds))

    threads = [threading.Thread(target=client, args=(mine,)) for mine in times]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return [each for mine in times for each in mine], time.perf_counter() - began


def row(name: str, times: list[float], seconds: float) -> None:
    cuts = statistics.quantiles(times, n=100)
    p50, p95, p99 = (1e3 * cuts[i - 1] for i in (50, 95, 99))
    print(
        f"| {name} | {len(times) / seconds:.1f} | {p50:.1f} | {p95:.1f} | {p99:.1f} |", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        model = given.model or make_model(Path(temporary) / "model")
        measure(model, Path(temporary), given.seconds, given.clients)


def measure(model: Path, temporary: Path, seconds: float, clients: list[int]) -> None:
    card, clip = read_card(model), temporary / "clip.wav"
    y = 0.1 * np.random.default_rng(0).standard_normal(card.spectrogram.n_samples)
    sf.write(clip, y, card.spectrogram.sr)
    backend = open_backend(model, "onnx")
    classifier = Classifier(backend)
    picture = network_levels(clip_image(clip, card.spectrogram), card.size)[np.newaxis]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors, load {load}")
    print(f"{card.arch}, pictures {picture.shape[1:3]}, a clip of {clip.stat().st_size:,} bytes\n")
    print("| | a second | p50 ms | p95 ms | p99 ms |\n|---|---|---|---|---|")
    row("the bare ONNX call", times := timed(lambda: backend(picture), seconds), sum(times))
    times = timed(lambda: list(classifier.classify([clip])), seconds)
    row("the same with decoding and drawing", times, sum(times))
    command = ["serve", model, "--backend", "onnx", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "spectro", *command], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split(" (")[0].rstrip("/").rpartition(":")[2])
        for count in clients:
            row(f"/predict, {count} at once", *crowd(port, clip.read_bytes(), count, seconds))
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
