"""Work on other machines: an existing Dask cluster behind the standard `Executor`."""

from __future__ import annotations

from concurrent.futures import Executor

from spectro.errors import ConfigError, MissingExtraError

__all__ = ["connect"]

_TIMEOUT = 15  # s to wait for a scheduler


def connect(address: str) -> Executor:
    """Connect to a Dask scheduler.

    Parameters
    ----------
    address : str
        As ``tcp://host:8786``.

    Returns
    -------
    executor : concurrent.futures.Executor
        Its workers need spectro installed, and to see the files under the same paths.

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
        executor: Executor = Client(address, timeout=_TIMEOUT).get_executor()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{address}: no Dask scheduler answers there ({error})") from None
    return executor
