"""Rendering on a real Dask scheduler with real worker processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster

from spectro import cluster, datasets
from spectro.errors import ConfigError, MissingExtraError
from spectro.render import render

from .conftest import SMALL_PICTURES


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A scheduler on loopback with two worker processes."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    ) as workers:
        yield workers.scheduler_address


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.glob("fold*/*.png")}


def test_a_cluster_draws_the_very_pictures_of_one_machine(
    scheduler: str, sample_root: Path, tmp_path: Path
) -> None:
    dataset = datasets.load(sample_root)
    render(dataset, tmp_path / "here", SMALL_PICTURES)
    with cluster.connect(scheduler) as executor:
        summary = render(dataset, tmp_path / "there", SMALL_PICTURES, executor=executor)
    assert summary.rendered == len(dataset.clips)
    assert pictures(tmp_path / "there") == pictures(tmp_path / "here")


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
