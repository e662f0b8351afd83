"""What is running: versions, platform, git commit."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["environment"]

_PACKAGES = ("spectro", "torch", "torchvision", "fastai", "numpy", "scipy", "soundfile", "soxr")


def environment() -> dict[str, Any]:
    """Return versions, platform and git commit of what is running."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a checkout that is not installed
            versions[name] = "unknown"
    return {"versions": versions, "platform": platform.platform(), "git_commit": _git_commit()}


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
