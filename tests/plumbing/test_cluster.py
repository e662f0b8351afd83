"""Rendering on a real Dask scheduler with real worker processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import distributed
import pytest
from distributed import LocalCluster
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.clips import datasets
from spectro.errors import ConfigError, MissingExtraError
from spectro.pictures.render import render
from spectro.plumbing import cluster
from tests.conftest import SMALL_PICTURES
from tests.listening.ears import make_ears, tones

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A scheduler on loopback with two worker processes."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as workers:
        yield workers.scheduler_address


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob("fold*/*.png")}


@pytest.mark.long
def test_a_cluster_draws_the_very_pictures_of_one_machine(
    scheduler: str, sample_root: Path, tmp_path: Path
) -> None:
    dataset = datasets.load(sample_root)
    render(dataset, tmp_path / "here", SMALL_PICTURES)
    with cluster.connect(scheduler) as executor:
        summary = render(dataset, tmp_path / "there", SMALL_PICTURES, executor=executor)
    assert summary.rendered == len(dataset.clips)
    assert pictures(tmp_path / "there") == pictures(tmp_path / "here")


def test_a_scan_on_a_cluster_finds_what_one_machine_finds(scheduler: str, tmp_path: Path) -> None:
    model, night = make_ears(tmp_path / "model"), tmp_path / "night"
    night.mkdir()
    for i in range(12):
        tones(night / f"{i:02}.wav", (3000, 1 + i / 10, 3 + i / 10), seconds=6)
    (night / "05.wav").write_bytes((night / "05.wav").read_bytes()[:9_000])
    words = ["scan", str(model), str(night), "--hop", "0.5", "--ignore", "quiet", "--out"]
    told = {}
    for out, where in (("here", ["--workers", "1"]), ("there", ["--scheduler", scheduler])):
        done = CliRunner().invoke(app, [*words, str(tmp_path / out), *where])
        assert done.exit_code == 3, done.output
        told[out] = (tmp_path / out / "events.csv").read_text()
        listed = (tmp_path / out / "recordings.csv").read_text()
        assert "05.wav" in done.output and "truncated" in listed
    assert told["there"] == told["here"]
    assert told["here"].count("\n") == 12  # a header, and an event in each whole recording


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[Path, list[subprocess.Popen[bytes]]]]:
    """A scheduler and two workers as one starts them by hand; gives the scheduler's file."""
    file = tmp_path / "scheduler.json"
    shared = [f"--scheduler-file={file}", "--host=127.0.0.1", "--no-dashboard"]
    worker = ["dask_worker", *shared, "--nworkers=1", "--nthreads=1", "--no-nanny"]
    commands = [["dask_scheduler", *shared, "--port=0"], worker, worker]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{name}", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
        )
        for name, *options in commands
    ]
    yield file, processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.long
def test_a_worker_killed_midway_costs_nothing(
    started: tuple[Path, list[subprocess.Popen[bytes]]], sample_root: Path, tmp_path: Path
) -> None:
    file, (boss, _, victim) = started
    rows = [f"{path},{path.stem.split('-')[1]}" for path in sample_root.glob("audio/*/*.wav")]
    table = tmp_path / "many.csv"  # each clip many times over, so that there is a midway
    parts = [f"{row},{k / 1000},{2 + k / 1000}" for k in range(6) for row in rows]
    table.write_text("\n".join(["path,label,start,end", *parts]) + "\n")
    while not file.exists():
        assert boss.poll() is None
        time.sleep(0.05)
    address = json.loads(file.read_text())["address"]
    with distributed.Client(address) as client:
        client.wait_for_workers(2, timeout=300)
    code = "from spectro.cli.app import main; main()"
    command = [sys.executable, "-c", code, "render", str(table), "--n-folds", "2"]
    there = subprocess.Popen([*command, "--out", str(tmp_path / "there"), "--scheduler", address])
    for number, n in ((signal.SIGSTOP, 1), (signal.SIGKILL, 30)):  # with clips in hand till the end
        while len(list((tmp_path / "there").glob("fold*/*.png"))) < n:
            assert there.poll() is None
            time.sleep(0.02)
        os.kill(victim.pid, number)
    drawn_before = len(pictures(tmp_path / "there"))
    assert there.wait(timeout=600) in (0, 3)  # 3: the sample holds clips shorter than two seconds
    subprocess.run([*command, "--out", str(tmp_path / "here")], check=False)
    assert drawn_before < len(pictures(tmp_path / "here"))
    assert pictures(tmp_path / "there") == pictures(tmp_path / "here")
    for name in ("clips.csv", "failures.csv"):
        assert (tmp_path / "there" / name).read_text() == (tmp_path / "here" / name).read_text()


def test_no_scheduler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_TIMEOUT", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(ConfigError, match="no Dask scheduler answers there") as error:
            cluster.connect(address)
        assert "\n" not in str(error.value)


def test_a_missing_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'spectro\[cluster\]'"):
        cluster.connect("tcp://127.0.0.1:8786")
