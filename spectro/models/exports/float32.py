"""Export: a model folder's network for ONNX Runtime, which needs no torch, and kept only if equal.

::

    model.onnx          float32
    model.int8.onnx     eight bits, faster and a quarter of the size where the processor is for it

Both map ``levels``, uint8 of shape (n, height, width, 3) as
:func:`spectro.pictures.spectrogram.network_levels` gives them, to ``probabilities``, float32 of
shape (n, classes). Scaling, normalisation, the mean of several networks, temperature and softmax
are in the graph. Where the card tells unknown sounds by their energy, a second output is
``energy``, float32 of shape (n,). Metadata: ``sample_rate`` (Hz), ``sample_duration`` (s),
``classes`` (JSON list) and ``class_outputs_key``, as OpenSoundscape has them; ``spectro`` (the
model card as JSON) and ``tensors`` (SHA-256 of ``model.safetensors``).
"""

from __future__ import annotations

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
from spectro.models.exports.vectors import vectors_of
from spectro.models.folder import EXPORTS, TENSORS, VECTORS, load_model, predict_levels
from spectro.models.networks import build as networks
from spectro.models.runtime import onnx_runtime
from spectro.plumbing.files import sha256_of, write_bytes, write_text, writing

__all__ = [
    "OPSET",
    "Change",
    "Exported",
    "check_pictures",
    "export_onnx",
    "float32_graph",
    "in_batches",
    "output_names",
    "outputs",
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
Outputs = tuple[Probabilities, ...]  # probabilities, and what else there is


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
    change : Change or None
        Of eight bits: what they cost.
    """

    path: Path
    opset: int
    compared: int
    difference: float
    agreement: float
    change: Change | None = None


class Change(NamedTuple):
    """What another arithmetic costs and gains.

    Attributes
    ----------
    clips : int
        Clips that were asked about, none of them trained on.
    before, after : float or None
        Accuracy on them with ``model.onnx`` and then; None where their classes were not given.
    ms_before, ms_after : float
        Milliseconds for one picture on one thread of this machine, the median.
    """

    clips: int
    before: float | None
    after: float | None
    ms_before: float
    ms_after: float

    @property
    def lost(self) -> float | None:
        """How much accuracy it costs, between -1 and 1; None where that is not known."""
        return None if self.before is None or self.after is None else self.before - self.after


def output_names(card: ModelCard) -> list[str]:
    """Name what the graph of a model gives."""
    by_energy = card.unknown is not None and card.unknown.method == "energy"
    return ["probabilities", "energy"] if by_energy else ["probabilities"]


class _Listener(nn.Module):
    """A network from the levels of pictures to probabilities."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, card: ModelCard) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(card.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(card.std).view(1, 3, 1, 1))

        self.temperature = card.temperature
        self.names = output_names(card)

    def forward(self, levels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map uint8 (n, height, width, 3) to probabilities (n, classes), and energies if needed."""
        pixels = levels.permute(0, 3, 1, 2).float() / 255
        answer = networks.answer(self.network, (pixels - self.mean) / self.std, self.temperature)
        return tuple(answer[: len(self.names)])


def export_onnx(folder: str | Path, pictures: Levels) -> Exported:
    """Write ``model.onnx`` into a model folder, if it gives what torch gives, and ``verify.json``.

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
    folder, path = Path(folder), Path(folder) / EXPORTS[0]
    model, card = load_model(folder)
    asked = np.concatenate([check_pictures(pictures, card, folder), probe_pictures(card)])
    graph = with_about(float32_graph(model, card), card, folder)
    truth = _by_torch(model, card, asked)
    with writing(folder / VECTORS, ModelError):
        vectors = vectors_of(card, folder, lambda levels: _by_torch(model, card, levels)[0])
    found = [in_batches(outputs(graph), asked, size) for size in _BATCHES]
    difference = _check_same(path, truth, found)
    with writing(path, ModelError):
        write_bytes(path, graph)
        (folder / EXPORTS[1]).unlink(missing_ok=True)  # of the graph that was
        write_text(folder / VECTORS, vectors.to_text())
    return Exported(path, OPSET, len(asked), difference, 1.0)


def _check_same(path: Path, truth: Outputs, found: list[Outputs]) -> float:
    """Return the largest difference of a probability from torch's, or refuse what differs."""
    difference = max(float(np.abs(one[0] - truth[0]).max()) for one in found)
    same = np.all([one[0].argmax(1) == truth[0].argmax(1) for one in found], axis=0)
    scale = [1 + np.abs(each) for each in truth[1:]]
    energy = [
        float((np.abs(a - b) / c).max())
        for one in found
        for a, b, c in zip(one[1:], truth[1:], scale, strict=False)
    ]
    # NaN is not below either
    if difference < _TOLERANCE and same.all() and all(each < _TOLERANCE for each in energy):
        return difference
    more = f", its energies by up to {max(energy):.2g} of their size" if energy else ""
    raise ModelError(
        f"{path}: is not kept: ONNX Runtime's probabilities differ from torch's by up to "
        f"{difference:.2g}{more}, and {int((~same).sum())} of {len(same)} labels; try another "
        "version of torch or onnxruntime"
    )


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


def float32_graph(model: nn.Module, card: ModelCard) -> bytes:
    """Trace the network into an ONNX graph with batches of any size.

    By the older of torch's exporters: it takes a tenth of the time, its graphs run as fast, and the
    newer one has made networks of no use with a batch of any size (pytorch#169178).
    """
    package("onnx")  # torch would say so in words of its own
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
            output_names=output_names(card),
            dynamic_axes={name: {0: "n"} for name in ("levels", *output_names(card))},
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
        "spectro": card.model_copy(update={"detections": {}}).to_json(),
        "tensors": sha256_of(folder / TENSORS),
    }
    onnx.helper.set_model_props(proto, about)
    written: bytes = proto.SerializeToString()
    return written


def session(graph: bytes) -> Callable[[Levels], Probabilities]:
    """Open a graph as a function from levels to probabilities, on one thread."""
    run = outputs(graph)
    return lambda levels: run(levels)[0]


def outputs(graph: bytes) -> Callable[[Levels], Outputs]:
    """Open a graph as a function from levels to all that it gives, on one thread."""
    runtime = package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    opened = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(levels: Levels) -> Outputs:
        return tuple(opened.run(None, {"levels": levels}))

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


def _by_torch(model: nn.Module, card: ModelCard, levels: Levels) -> Outputs:
    def run(some: Levels) -> Outputs:
        return tuple(each.numpy() for each in predict_levels(model, card, some))

    return in_batches(run, levels, _BATCHES[1])


def in_batches(run: Callable[[Levels], Outputs], levels: Levels, size: int) -> Outputs:
    """Ask in batches of exactly `size`, the last filled up with its first picture."""
    rows = []
    for start in range(0, len(levels), size):
        batch = levels[start : start + size]
        filled = np.concatenate([batch, np.repeat(batch[:1], size - len(batch), axis=0)])
        rows.append([each[: len(batch)] for each in run(filled)])
    return tuple(np.concatenate(each) for each in zip(*rows, strict=True))
