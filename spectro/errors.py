"""Every error that spectro raises on purpose.

::

    SpectroError
    ├── ConfigError        a setting has a value it cannot have
    ├── DatasetError       a folder or table of clips is not what it should be
    ├── AudioError         a file cannot be decoded into sound
    ├── RenderError        spectrogram pictures cannot be written or read
    ├── ModelError         weights, a model folder or a run cannot be used
    │   └── DivergedError  training diverged: predictions became NaN or infinite
    └── MissingExtraError  an optional dependency is not installed

Each message is one line that names the file or value, says what is wrong and what to do next.
The command line prints that line and exits with status 1; nothing else is caught there, so a
traceback always means a bug.
"""

from __future__ import annotations

__all__ = [
    "AudioError",
    "ConfigError",
    "DatasetError",
    "DivergedError",
    "MissingExtraError",
    "ModelError",
    "RenderError",
    "SpectroError",
]


class SpectroError(Exception):
    """Base class of everything that spectro raises on purpose.

    Examples
    --------
    >>> import spectro
    >>> try:
    ...     spectro.load_dataset("no-such-folder")
    ... except spectro.SpectroError as error:
    ...     print(error)
    no-such-folder: no such folder or file
    """


class ConfigError(SpectroError):
    """A setting has a value it cannot have, or a name that does not exist."""


class DatasetError(SpectroError):
    """A folder or table of clips is not what it should be."""


class AudioError(SpectroError):
    """A file cannot be decoded into sound."""


class RenderError(SpectroError):
    """Spectrogram pictures cannot be written, or what is there cannot be read."""


class ModelError(SpectroError):
    """Weights, a model folder or a run folder cannot be used."""


class DivergedError(ModelError):
    """Training diverged: predictions became NaN or infinite; the rate was too high."""


class MissingExtraError(SpectroError):
    """An optional dependency is not installed.

    Parameters
    ----------
    extra : str
        Name of the extra in ``pyproject.toml`` that brings it.
    purpose : str
        What was asked for, as the subject of a sentence.
    """

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(extra, purpose)  # by these it is made anew in another process

    def __str__(self) -> str:
        """Say what to install."""
        extra, purpose = self.args
        return f"{purpose} needs an optional part: pip install 'spectro[{extra}]'"
