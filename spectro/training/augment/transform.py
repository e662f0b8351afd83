"""The base class of changes of a batch of pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from spectro.errors import ConfigError

__all__ = ["Transform", "checked_share", "is_sounding"]


class Transform(ABC):
    """A change of a batch of pictures."""

    @abstractmethod
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Change pictures.

        Parameters
        ----------
        x : torch.Tensor [shape=(n, channels, n_mels, n_frames)]
            Levels from 0 to 1, floating point; not changed in place.

        Returns
        -------
        changed : torch.Tensor [shape as `x`]
        """

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value}" for name, value in vars(self).items())
        return f"{type(self).__name__}({told})"


def checked_share(name: str, value: float) -> float:
    """Return `value` if it is above 0 and at most 1.

    Raises
    ------
    ConfigError
        If it is out of range; the message calls it `name`.
    """
    if not 0 < value <= 1:
        raise ConfigError(f"{name} is {value}: a share must be above 0 and at most 1")
    return value


def is_sounding(x: torch.Tensor) -> torch.Tensor:
    """Return True for frames that are not silent, shape (n, channels, 1, n_frames)."""
    return x.amax(dim=2, keepdim=True) > 0
