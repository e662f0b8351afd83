"""ONNX Runtime, imported here and nowhere else."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["onnx_runtime"]


def onnx_runtime() -> Any:
    """Import ONNX Runtime, which then tells nobody.

    Its wheels have telemetry built in: unless this variable is set before it is imported, it keeps
    a database in the user's cache and sends it to its makers. To switch it off later comes too
    late.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime
