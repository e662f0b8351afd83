"""Export: a model folder's network for ONNX Runtime, which needs no torch, and kept only if equal.

::

    model.onnx          float32
    model.int8.onnx     eight bits, faster and a quarter of the size where the processor is for it

Both map ``levels``, uint8 of shape (n, height, width, 3) as
:func:`spectro.pictures.spectrogram.network_levels` gives them, to ``probabilities``, float32 of
shape (n, classes). Scaling, normalisation, the mean of several networks and softmax are in the
graph. Metadata: ``sample_rate`` (Hz), ``sample_duration`` (s), ``classes`` (JSON list) and
``class_outputs_key``, as OpenSoundscape has them; ``spectro`` (the model card as JSON) and
``tensors`` (SHA-256 of ``model.safetensors``).
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from spectro.errors import MissingExtraError, ModelError
from spectro.models.card import ModelCard
from spectro.models.exports.probes import probe_pictures
from spectro.models.folder import EXPORTS, TENSORS, load_model, predict_probabilities
from spectro.models.runtime import onnx_runtime
from spectro.plumbing.files import write_bytes, writing

__all__ = [
    "OPSET",
    "Exported",
    "check_pictures",
    "export_onnx",
    "in_batches",
    "package",
    "session",
    "with_about",
]

OPSET = 18  # ONNX Runtime 1.14 and later
_IR = 9  # what ONNX Runtime 1.18, the oldest that is allowed, reads
_BATCHES = (1, 32)
_TOLERANCE = 1e-3

Levels = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


class Exported(NamedTuple):
    """What was exported, and how it compares with torch.

    Attributes
    ----------
    path : Path
        The file.
    opset : int
        Version of ONNX's operators.
    compared : int
        Pictures that both were asked about, silence, noise and hum among them.
    difference : float
        Largest difference of a probability.
    agreement : float
        Share of pictures that get the same label.
    """

    path: Path
    opset: int
    compared: int
    difference: float
    agreement: float


class _Listener(nn.Module):
    """A network from the levels of pictures to probabilities."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(card.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(card.std).view(1, 3, 1, 1))

    def forward(self, levels: torch.Tensor) -> torch.Tensor:
        """Map uint8 (n, height, width, 3) to probabilities (n, classes)."""
        pixels = levels.permute(0, 3, 1, 2).float() / 255
        logits: torch.Tensor = self.network((pixels - self.mean) / self.std)
        return logits.softmax(dim=1)


def export_onnx(folder: str | Path, pictures: Levels) -> Exported:
    """Write ``model.onnx`` into a model folder, if it gives what torch gives.

    Parameters
    ----------
    folder : str or Path
        Model folder.
    pictures : np.ndarray [shape=(n, height, width, 3)], uint8
        Levels of real clips to compare on, one at a time and in batches of 32; silence, noise and
        hum are added.

    Returns
    -------
    Exported

    Raises
    ------
    ModelError
        If the model cannot be loaded or written; or if a probability differs by 1e-3 or a label
        does: then nothing is kept.
    MissingExtraError
        If the packages of the extra ``onnx`` are not installed.
    """
    folder = Path(folder)
    model, card = load_model(folder)
    asked = np.concatenate([check_pictures(pictures, card, folder), probe_pictures(card)])
    graph = with_about(_graph(model, card), card, folder)
    run = session(graph)
    truth = _by_torch(model, card, asked)
    found = [in_batches(run, asked, size) for size in _BATCHES]
    difference = max(float(np.abs(one - truth).max()) for one in found)
    same = np.all([one.argmax(1) == truth.argmax(1) for one in found], axis=0)
    path = folder / EXPORTS[0]
    if not difference < _TOLERANCE or not same.all():  # NaN is not below either
        raise ModelError(
            f"{path}: is not kept: ONNX Runtime's probabilities differ from torch's by up to "
            f"{difference:.2g}, and {int((~same).sum())} of {len(asked)} labels; try another "
            "version of torch or onnxruntime"
        )
    with writing(path, ModelError):
        write_bytes(path, graph)
    (folder / EXPORTS[1]).unlink(missing_ok=True)  # of the graph that was
    return Exported(path, OPSET, len(asked), difference, 1.0)


def check_pictures(pictures: Levels, card: ModelCard, folder: Path) -> Levels:
    """Refuse pictures that are not the model's.

    Raises
    ------
    ModelError
        If their shape or type is not that of :func:`spectro.pictures.spectrogram.network_levels`
        with the card's settings, or there are none.
    """
    height, width = (card.size, card.size) if card.size else card.spectrogram.shape
    if pictures.dtype != np.uint8 or pictures.shape[1:] != (height, width, 3) or not len(pictures):
        raise ModelError(
            f"{folder}: is compared on pictures of shape (n, {height}, {width}, 3) in uint8, "
            f"not {pictures.shape} in {pictures.dtype}; draw them with the model's settings"
        )
    return pictures


def _graph(model: nn.Module, card: ModelCard) -> bytes:
    """Trace the network into an ONNX graph with batches of any size.

    By the older of torch's exporters: it takes a tenth of the time, its graphs run as fast, and the
    newer one has made networks of no use with a batch of any size (pytorch#169178).
    """
    height, width = (card.size, card.size) if card.size else card.spectrogram.shape
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    file: Any = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter's age
        torch.onnx.export(
            _Listener(model, card).eval(),
            (example,),
            file,
            input_names=["levels"],
            output_names=["probabilities"],
            dynamic_axes={"levels": {0: "n"}, "probabilities": {0: "n"}},
            opset_version=OPSET,
            dynamo=False,
        )
    graph: bytes = file.getvalue()
    return graph


def with_about(graph: bytes, card: ModelCard, folder: Path) -> bytes:
    """Write into a graph what it is of: see the head of this module."""
    onnx = package("onnx")
    proto = onnx.load_from_string(graph)
    proto.ir_version = min(proto.ir_version, _IR)
    about = {
        "sample_rate": str(card.spectrogram.sr),
        "sample_duration": f"{card.spectrogram.duration:g}",
        "classes": json.dumps(card.labels),
        "class_outputs_key": "probabilities",
        "spectro": card.to_json(),
        "tensors": hashlib.sha256((folder / TENSORS).read_bytes()).hexdigest(),
    }
    onnx.helper.set_model_props(proto, about)
    written: bytes = proto.SerializeToString()
    return written


def session(graph: bytes) -> Callable[[Levels], Probabilities]:
    """Open a graph as a function of levels, on one thread."""
    runtime = package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    opened = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(levels: Levels) -> Probabilities:
        result: Probabilities
        (result,) = opened.run(["probabilities"], {"levels": levels})
        return result

    return run


def package(name: str) -> Any:
    """Import a package of the extra ``onnx``.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        return onnx_runtime() if name == "onnxruntime" else importlib.import_module(name)
    except ImportError:
        raise MissingExtraError("onnx", "an export") from None


def _by_torch(model: nn.Module, card: ModelCard, levels: Levels) -> Probabilities:
    def run(some: Levels) -> Probabilities:
        pixels = torch.from_numpy(some).permute(0, 3, 1, 2).float() / 255
        result: Probabilities = predict_probabilities(model, card, pixels).numpy()
        return result

    return in_batches(run, levels, _BATCHES[1])


def in_batches(run: Callable[[Levels], Probabilities], levels: Levels, size: int) -> Probabilities:
    """Ask in batches of exactly `size`, the last filled up with its first picture."""
    rows = []
    for start in range(0, len(levels), size):
        batch = levels[start : start + size]
        filled = np.concatenate([batch, np.repeat(batch[:1], size - len(batch), axis=0)])
        rows.append(run(filled)[: len(batch)])
    return np.concatenate(rows)
