"""Why nothing could be read of a recording, in the words of who asked for it."""

from __future__ import annotations

import glob
import os
from pathlib import Path

__all__ = ["NO_FIT", "NO_SOUND", "unread"]

NO_SOUND = "holds no sound file; name another folder"
NO_FIT = "no file fits this pattern"


def unread(recording: str, error: OSError) -> str:
    """Say why nothing could be read of a recording that was asked for."""
    if Path(recording).is_dir():
        return f"{recording}: {NO_SOUND}"
    if glob.has_magic(recording) and not os.path.lexists(recording):
        return f"{recording}: {NO_FIT}"
    return f"{recording}: cannot be read ({error.strerror or error})"
