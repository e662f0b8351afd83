"""Work on other machines: an existing Dask cluster behind the standard `Executor`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from spectro.errors import ConfigError, MissingExtraError
from spectro.plumbing.workers import keep_memory

__all__ = ["connect"]

_TIMEOUT = 15  # s to wait for a scheduler


def connect(address: str, *, resource: str | None = None) -> AbstractContextManager[Executor]:
    """Connect to a Dask scheduler.

    Parameters
    ----------
    address : str
        As ``tcp://host:8786``.
    resource : str or None
        What a task needs one of, as "GPU", where any worker declares it
        (``dask worker --resources GPU=1``).

    Returns
    -------
    executor : context manager of concurrent.futures.Executor
        Its workers need spectro installed, and to see the files under the same paths or URLs.

    Raises
    ------
    MissingExtraError
        If Dask is not installed.
    ConfigError
        If no scheduler answers at `address`.
    """
    try:
        from distributed import Client
    except ImportError:
        raise MissingExtraError("cluster", "--scheduler") from None
    try:
        client = Client(address, timeout=_TIMEOUT)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{address}: no Dask scheduler answers there ({error})") from None
    return _executor(client, _needs(client, resource))


def _needs(client: Any, resource: str | None) -> dict[str, Any]:
    try:
        workers = client.scheduler_info(n_workers=-1)["workers"]
    except TypeError:  # before Dask 2025 it always told all of them
        workers = client.scheduler_info()["workers"]
    declared = any(resource in worker["resources"] for worker in workers.values())
    return {"resources": {resource: 1}} if declared else {}


@contextmanager
def _executor(client: Any, needs: dict[str, Any]) -> Iterator[Executor]:
    from distributed import WorkerPlugin

    class KeepMemory(WorkerPlugin):
        """Dask has its workers hand memory back at once, in which they spend most of their time."""

        def setup(self, worker: Any) -> None:
            keep_memory()

    with client, client.get_executor(**needs) as executor:
        client.register_plugin(KeepMemory())
        yield executor
