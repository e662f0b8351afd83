"""Folds on the workers of a real Dask cluster: the very run of one machine."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import distributed
import pytest
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.crossval import folds as crossval
from spectro.crossval.folds import Training
from spectro.crossval.records import Origin
from spectro.crossval.remote import train_folds
from spectro.crossval.run import Run
from spectro.errors import ConfigError
from spectro.models.weights import resolve
from spectro.pictures.rendered import RenderedSet
from spectro.plumbing import cluster
from spectro.training import data as datablock
from tests.conftest import SHORT_TRAINING

pytestmark = pytest.mark.slow

QUICK = SHORT_TRAINING.with_last_phase(epochs=1)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A scheduler, two workers that declare a GPU and one that does not.

    Gives the scheduler's address and the process id of the worker without.
    """
    folder = tmp_path_factory.mktemp("cluster")
    shared = [f"--scheduler-file={folder / 'scheduler.json'}", "--host=127.0.0.1", "--no-dashboard"]
    plain = ["dask_worker", *shared, "--nworkers=1", "--nthreads=1", "--no-nanny"]
    gpu = [*plain, "--resources", "GPU=1"]
    commands = [["dask_scheduler", *shared, "--port=0"], gpu, gpu, plain]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{name}", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        for name, *options in commands
    ]
    try:
        with distributed.Client(scheduler_file=str(folder / "scheduler.json")) as client:
            client.wait_for_workers(3, timeout=300)
            address = client.scheduler.address
        yield address, processes[-1].pid
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def here(rendered: RenderedSet, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two folds trained in this process."""
    training = crossval.Training.open(tmp_path_factory.mktemp("run") / "here", rendered, QUICK)
    run = training.run
    for fold in (1, 3):
        training.fold(fold)
    return run


@pytest.mark.long
def test_workers_train_the_very_folds_of_one_machine_and_a_failure_stops_no_other(
    started: tuple[str, int],
    here: Run,
    rendered: RenderedSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fold 2 cannot be written: a file is in its place."""
    monkeypatch.chdir(tmp_path)  # workers stay where they are
    config = QUICK.replace(recipe="plain")
    Path("settings.toml").write_text(config.to_toml())
    words = ["cross-validate", os.path.relpath(rendered.folder), "--config", "settings.toml"]
    words += ["--run", "run", "--scheduler", started[0]]
    training = crossval.Training.open("run", rendered, config)
    run = training.run
    run.fold_folder(2).write_text("in the way")
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 1
    told = [line for line in said.stderr.splitlines() if "fold 2" in line]
    assert len(told) == 1
    assert "the folds that are finished are kept" in said.stderr
    assert run.finished_folds == [1, 3]
    for fold in (1, 3):
        accuracy = 100 * here.fold_record(fold).accuracy
        assert f"fold {fold}: accuracy {accuracy:.1f} %" in said.stdout
        for name in ("predictions.csv", "model/model.safetensors"):
            ours, theirs = (r.fold_folder(fold) / name for r in (here, run))
            assert ours.read_bytes() == theirs.read_bytes(), name
    assert "2 of the 3 folds of sample scored (1, 3)" in " ".join(said.stdout.split())
    assert not list(run.folder.glob(".*"))
    run.fold_folder(2).unlink()
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert "fold 2: accuracy" in said.stdout
    assert "fold 1: accuracy" not in said.stdout
    assert run.finished_folds == [1, 2, 3]


def test_a_worker_that_would_train_otherwise_is_refused(
    here: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    other = Origin(source="file", detail="a.pth")
    precise, started = (
        Training(
            Run(tmp_path, here.record.model_copy(update=changes)), rendered, resolve("none", "cnn4")
        )
        for changes in ({"precision": "fp16"}, {"weights": other})
    )
    with ThreadPoolExecutor(2) as executor:
        (outcome,) = train_folds(precise, [1], executor)
        assert (outcome.fold, outcome.record) == (1, None)
        assert "fp16 needs a CUDA GPU" in outcome.reason
        (outcome,) = train_folds(started, [1], executor)
        assert "starts from random weights, as asked, not a.pth" in outcome.reason


def test_workers_train_with_the_threads_that_were_asked_for(
    rendered: RenderedSet, tmp_path: Path
) -> None:
    config = QUICK.replace(arch="cnn4")
    training = crossval.Training.open(tmp_path / "run", rendered, config, n_threads=1)
    with ThreadPoolExecutor(1) as executor:
        (outcome,) = train_folds(training, [1], executor)
    assert outcome.record is not None and outcome.record.threads == (1,)


class Dying(ThreadPoolExecutor):
    """Loses the worker of one fold."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        def die(*_: Any) -> None:
            raise RuntimeError("the worker died\nmore")

        return super().submit(die if args[0] == 2 else lambda *_: "done", *args)


def test_a_worker_that_dies_costs_one_fold(here: Run, rendered: RenderedSet) -> None:
    with Dying(1) as executor:
        training = Training(here, rendered, resolve("none", "resnet18"))
        found = list(train_folds(training, [1, 2, 3], executor))
    lost = [outcome for outcome in found if outcome != "done"]
    assert [(o.fold, o.reason) for o in lost] == [(2, "RuntimeError: the worker died")]
    assert len(found) == 3


@pytest.mark.long
def test_tasks_go_where_the_resource_is(started: tuple[str, int]) -> None:
    address, without = started
    used = {}
    for resource in ("GPU", "TPU"):
        with cluster.connect(address, resource=resource) as executor:
            tasks = [executor.submit(os.getpid) for _ in range(24)]
            used[resource] = {task.result() for task in tasks}
    assert without not in used["GPU"]
    assert used["TPU"]  # nobody declares one, so any worker does


def test_a_daemon_loads_pictures_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's workers are daemons, which may have no children."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert datablock._n_loaders(501) == 4
    assert datablock._n_loaders(500) == 0
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    assert datablock._n_loaders(501) == 0


def test_time_is_not_measured_here_for_elsewhere(rendered: RenderedSet) -> None:
    words = ["cross-validate", str(rendered.folder), "--time-budget", "1", "--scheduler", "x"]
    with pytest.raises(ConfigError, match="--time-budget times this machine"):
        CliRunner().invoke(app, words, catch_exceptions=False)
