"""Bare training steps of a network in several ways, side by side: what each way of ours is worth.

    python benchmarks/steps.py
    python benchmarks/steps.py --arch resnet18 --only "in bf16" "in fp32" --rounds 9

Forward, backward and AdamW on one batch of noise that stays in memory: no pictures are read or
augmented. Every way has a process of its own, all on the same one core, and they take turns, so
that other work on the machine falls on all. Images/s, and the ratio to the first of the same round:
medians over rounds, with the lowest and the highest.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import time
from multiprocessing.connection import Connection
from typing import Any

# One thread a way, so that figures are per core. Libraries read this when they are imported.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

from train import spread  # beside this file

WAYS: dict[str, dict[str, bool]] = {
    "in fp32": {},
    "in bf16": {"bf16": True},
    "depthwise in bf16, too": {"bf16": True, "depthwise": True},
    "freed memory returned": {"keep": False},
    "channels before rows": {"channels_last": False},
    "torch.compile": {"compile": True},
}


def serve(way: str, asked: argparse.Namespace, core: int, pipe: Connection) -> None:
    """Warm up, say how long that took, then time so many steps at each word."""
    os.sched_setaffinity(0, {core})
    started = time.perf_counter()
    step = make(asked, **WAYS[way])
    for _ in range(asked.warm_up):
        step()
    pipe.send(time.perf_counter() - started)
    while steps := pipe.recv():
        started = time.perf_counter()
        for _ in range(steps):
            step()
        pipe.send(time.perf_counter() - started)


def make(
    asked: argparse.Namespace,
    *,
    bf16: bool = False,
    depthwise: bool = False,
    keep: bool = True,
    channels_last: bool = True,
    compile: bool = False,
) -> Any:
    import torch
    from torch.nn.functional import cross_entropy

    from spectro.models.networks import build as networks
    from spectro.models.networks.precision import autocast
    from spectro.plumbing.workers import ACTIVATIONS, keep_memory

    if keep:
        keep_memory(ACTIVATIONS)
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = networks.build(asked.arch, 10).to(memory_format=layout).train()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    x = torch.randn(asked.batch_size, 3, *asked.size).contiguous(memory_format=layout)
    target = torch.arange(asked.batch_size) % 10
    forward: Any = torch.compile(network) if compile else network

    def arithmetic() -> Any:
        if depthwise:
            return torch.autocast("cpu", torch.bfloat16, enabled=bf16)
        return autocast(x.device, "bf16" if bf16 else "fp32")

    def step() -> None:
        with arithmetic():
            predicted = forward(x)
        cross_entropy(predicted.float(), target).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="tf_efficientnet_lite0")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--size", type=int, nargs=2, default=(128, 173), help="height and width")
    parser.add_argument("--steps", type=int, default=6, help="of a round")
    parser.add_argument("--warm-up", type=int, default=3, help="steps before the first round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, help="run on this one; default: the last")
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    asked = parser.parse_args()
    core = max(os.sched_getaffinity(0)) if asked.core is None else asked.core
    print(f"{platform.platform()}, {asked.arch}, {asked.size[0]} x {asked.size[1]}, batches of "
          f"{asked.batch_size}, one thread")  # fmt: skip
    context, pipes, ready = multiprocessing.get_context("spawn"), {}, {}
    for way in asked.only:  # one after the other: what comes before the first round is timed, too
        pipes[way], theirs = context.Pipe()
        context.Process(target=serve, args=(way, asked, core, theirs), daemon=True).start()
        ready[way] = pipes[way].recv()
    seconds: dict[str, list[float]] = {way: [] for way in pipes}
    for _ in range(asked.rounds):
        for way, pipe in pipes.items():
            pipe.send(asked.steps)
            seconds[way].append(pipe.recv())
    first, images = seconds[asked.only[0]], asked.steps * asked.batch_size
    print(f"\n{'way':<24}{'images/s':>20}{'times ' + asked.only[0]:>22}{'s until ready':>15}")
    for way, pipe in pipes.items():
        rates = spread([images / one for one in seconds[way]], 1)
        ratios = spread([base / own for base, own in zip(first, seconds[way], strict=True)], 2)
        print(f"{way:<24}{rates:>20}{ratios:>22}{ready[way]:>15.0f}")
        pipe.send(0)


if __name__ == "__main__":
    main()
