"""What is running: versions, platform, git commit."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from spectro.plumbing.settings import Record

__all__ = ["Environment", "environment"]

_PACKAGES = ("spectro", "torch", "torchvision", "fastai", "numpy", "scipy", "soundfile", "soxr",
             "onnxruntime")  # fmt: skip


class Environment(Record):
    """What a result was computed with.

    Parameters
    ----------
    versions : dict of str to str
        Of Python and of the packages that numbers depend on.
    platform : str
        Operating system and processor.
    git_commit : str or None
        Commit of spectro's source, with "+" if it was changed since; None outside git.
    """

    versions: dict[str, str]
    platform: str
    git_commit: str | None = None


def environment() -> Environment:
    """Return versions, platform and git commit of what is running."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # without the extra, or run from a checkout
            versions[name] = "not installed"
    return Environment(versions=versions, platform=platform.platform(), git_commit=_git_commit())


def _git_commit() -> str | None:
    """Return the commit of spectro's own source, with "+" if it was changed; None outside git."""
    source = Path(__file__).parent.parent
    try:
        tracked, commit, changes = (
            subprocess.run(
                ["git", "-C", source, *words],
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            ).stdout.strip()
            for words in (
                ["ls-files", "--", "errors.py"],  # not another project's checkout around us
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--", "."],
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changes else "") if tracked else None
