"""Rendering on a Dask cluster against the local workers, side by side on the same clips.

    python benchmarks/cluster.py --dataset data/UrbanSound8K --clips 1000

A scheduler and two worker processes on this machine draw the clips, then the local pool of two
does, in turns. Then tasks that do nothing are sent: what the scheduler costs. From these figures
`docs/scaling.md` does its arithmetic.
"""

from __future__ import annotations

import argparse
import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import statistics
import tempfile
import time
from concurrent.futures import Executor
from pathlib import Path

from spectro.clips import datasets
from spectro.clips.sample.write import write_sample
from spectro.clips.table import Dataset
from spectro.pictures.render import render
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing import cluster, workers
from spectro.plumbing.workers import completed

WORKERS = 2
IDLE = 128_000  # jobs that do nothing: 1,000 tasks of 128


def nothing(jobs: list[str]) -> list[str]:
    return jobs


def rendering(dataset: Dataset, executor: Executor) -> float:
    """Return clips a second, tables and all."""
    with tempfile.TemporaryDirectory() as folder:
        summary = render(dataset, Path(folder) / "set", SpectrogramConfig(), executor=executor)
        assert summary.rendered == len(dataset.clips)
        return summary.rendered / summary.seconds


def idling(executor: Executor) -> float:
    """Return jobs a second through tasks that do nothing, with paths as long as real ones."""
    jobs = (f"/data/UrbanSound8K/audio/fold1/{number:012}.wav" for number in range(IDLE))
    started = time.perf_counter()
    assert sum(len(batch) for batch in completed(executor, nothing, jobs, IDLE)) == IDLE
    return IDLE / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", type=Path, help="default: the sample, made for this")
    parser.add_argument("--clips", type=int, default=900)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    local = workers.pool(WORKERS)  # forked before anything starts a thread
    from distributed import LocalCluster

    with tempfile.TemporaryDirectory() as scratch:
        dataset = datasets.load(asked.dataset or write_sample(Path(scratch)))
        dataset = Dataset(
            dataset.name,
            dataset.root,
            dataset.clips.sample(asked.clips, random_state=0),
            dataset.folds,
        )
        with (
            LocalCluster(
                n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
            ) as machines,
            cluster.connect(machines.scheduler_address) as remote,
        ):
            for executor in (local, remote):
                rendering(dataset, executor)  # warm up
            found = [
                (rendering(dataset, local), rendering(dataset, remote), idling(remote))
                for _ in range(asked.rounds)
            ]
    print(f"{asked.clips} clips, {WORKERS} workers, {asked.rounds} rounds; median (low-high)")
    names = ("local, clips/s", "Dask, clips/s", "Dask, idle jobs/s")
    for name, speeds in zip(names, zip(*found, strict=True), strict=True):
        print(f"{name:<18} {statistics.median(speeds):.0f} ({min(speeds):.0f}-{max(speeds):.0f})")
    ratios = [dask / here for here, dask, _ in found]
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    print(f"Dask over local    {spread}")
    per_clip = statistics.median(1e6 / idle for _, _, idle in found)
    print(f"scheduler          {per_clip:.1f} us a clip, {per_clip * 128 / 1e3:.1f} ms a task")


if __name__ == "__main__":
    main()
