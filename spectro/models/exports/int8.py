"""Export in eight bits: static, a scale a channel, calibrated on training pictures, and measured.

Weights are int8 and what flows between layers uint8, which ONNX Runtime multiplies fastest on x86.
Weights use seven of their bits: on processors without VNNI, sums of eight would overflow, and
the same file would say something else there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spectro.errors import ModelError
from spectro.models.card import VECTORS, ModelCard, read_card
from spectro.models.exports.float32 import (
    OPSET,
    Change,
    Exported,
    Levels,
    Outputs,
    Probabilities,
    check_pictures,
    in_batches,
    outputs,
    package,
    session,
    with_about,
)
from spectro.models.exports.probes import PROBES, probe_pictures
from spectro.models.exports.vectors import Vectors, read_vectors
from spectro.models.folder import EXPORTS
from spectro.plumbing.files import scratch, without_scratch, write_bytes, write_text, writing

__all__ = ["check_loss", "compare", "export_int8", "quantized"]

_BATCH = 16
# All that a body is made of; its head is small, and stays in float32 with batch norms that did not
# become part of a convolution.
_OPERATORS = ["Conv", "Add", "Clip", "Relu", "MaxPool", "GlobalAveragePool"]
_DRIFT = 0.2  # most that a probability of silence, noise or hum may change
_KNOWN = 0.05  # most that the share of clips that are known may change
_WARM_UP, _TIMED = 3, 21  # pictures


def export_int8(
    folder: str | Path,
    calibration: Levels,
    pictures: Levels,
    *,
    truth: npt.ArrayLike | None = None,
    most_lost: float = 0.01,
) -> Exported:
    """Write ``model.int8.onnx`` into a model folder, if it says what ``model.onnx`` says.

    Parameters
    ----------
    folder : str or Path
        Model folder with ``model.onnx``, of :func:`spectro.models.exports.float32.export_onnx`.
    calibration : np.ndarray [shape=(n, height, width, 3)], uint8
        Levels of training clips, from which the scales are taken; a few hundred are enough.
    pictures : np.ndarray [shape=(m, height, width, 3)], uint8
        Levels of clips that were not trained on, to compare on.
    truth : array_like of int [shape=(m,)], or None
        Position of the class of each of `pictures`.
    most_lost : float
        How much accuracy on `pictures` may be lost, 0 to 1; without `truth`, the share of them that
        may get another label.

    Returns
    -------
    Exported
        Compared with ``model.onnx`` on `pictures`.

    Raises
    ------
    ModelError
        If there is no ``model.onnx``, if more is lost than may be, or if silence, noise or hum are
        judged otherwise: then nothing is kept.
    MissingExtraError
        If the packages of the extra ``onnx`` are not installed.
    """
    folder = Path(folder)
    card = read_card(folder)
    source, path = (folder / name for name in EXPORTS)
    if not source.is_file():
        raise ModelError(f"{folder}: has no {EXPORTS[0]}; export the model in float32 first")
    for levels in (calibration, pictures):
        check_pictures(levels, card, folder)
    before = source.read_bytes()
    with writing(Path(without_scratch(str(path))), ModelError), scratch(folder) as own:
        graph = with_about(quantized(before, own, calibration), card, folder)
    _check_calm(path, before, graph, card)
    found = compare(before, graph, card, pictures, truth)
    check_loss(path, found, most_lost)
    vectors = _vectors(folder, card, graph)
    with writing(path, ModelError):
        write_bytes(path, graph)
        if vectors is not None:
            write_text(folder / VECTORS, vectors.to_text())
    return found._replace(path=path)


def _vectors(folder: Path, card: ModelCard, graph: bytes) -> Vectors | None:
    """Add what eight bits answer to what is kept to compare; None where nothing is kept."""
    if not (folder / VECTORS).is_file():
        return None
    kept = read_vectors(folder)
    return kept.with_int8(_answers(graph, kept.levels(card))[0])


def check_loss(path: Path, found: Exported, most_lost: float) -> None:
    """Refuse eight bits that cost too much accuracy, or labels where the classes are not known.

    Raises
    ------
    ModelError
        If they do, or if they judge unknown what was known.
    """
    change = found.change
    assert change is not None
    lost = 1 - found.agreement if change.lost is None else change.lost
    if not lost <= most_lost:
        what = f"{lost:.1%} of {change.clips} labels change"
        if change.lost is not None:
            what = (
                f"accuracy on {change.clips} out-of-fold clips falls from {change.before:.1%} to "
                f"{change.after:.1%}"
            )
        raise ModelError(
            f"{path}: is not kept: {what}, more than {most_lost:.1%}; "
            f"allow it with --most-lost, or use {EXPORTS[0]}"
        )


def quantized(graph: bytes, own: Path, calibration: Levels) -> bytes:
    """Quantize a graph, with files in the scratch folder `own`."""
    package("onnxruntime")
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, prepared, target = (own / f"{name}.onnx" for name in ("float32", "prepared", "int8"))
    source.write_bytes(graph)
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared),
        str(target),
        _Reader(calibration),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        op_types_to_quantize=_OPERATORS,
        nodes_to_exclude=_kept_in_float32(prepared),
        per_channel=True,
        reduce_range=True,
    )
    return target.read_bytes()


def _kept_in_float32(graph: Path) -> list[str]:
    """Name the depthwise convolutions, and those before the first of them.

    Each channel of a depthwise convolution has a range of its own, which one scale for all that
    flows out of it cannot hold, and there is little to gain: it has few weights (Sheng et al. 2018,
    "A Quantization-Friendly Separable Convolution for MobileNets", arXiv 1803.08607).
    """
    nodes = [node for node in package("onnx").load(str(graph)).graph.node if node.op_type == "Conv"]
    groups = [next((a.i for a in node.attribute if a.name == "group"), 1) for node in nodes]
    first = next((n for n, number in enumerate(groups) if number > 1), 0)
    return [node.name for n, node in enumerate(nodes) if n < first or groups[n] > 1]


class _Reader:
    """Hands calibration pictures to ONNX Runtime, batch by batch."""

    def __init__(self, levels: Levels) -> None:
        starts = range(0, len(levels), _BATCH)
        self._batches: Iterator[Levels] = (levels[at : at + _BATCH] for at in starts)

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"levels": batch}


def _check_calm(path: Path, before: bytes, after: bytes, card: ModelCard) -> None:
    """Refuse a graph to which silence, noise or hum are something else."""
    probes = probe_pictures(card)
    was, now = (_answers(graph, probes)[0] for graph in (before, after))
    for name, p, q in zip(PROBES, was, now, strict=True):
        change = np.abs(p - q).max()
        what = f"a probability of {name} changes by {change:.2f}"
        if p.max() >= 0.5 and p.argmax() != q.argmax():
            what = f"{name} becomes {card.labels[q.argmax()]}"
        elif change <= _DRIFT:
            continue
        raise ModelError(f"{path}: is not kept: {what}; use {EXPORTS[0]}")


def compare(
    before: bytes,
    after: bytes,
    card: ModelCard,
    pictures: Levels,
    truth: npt.ArrayLike | None = None,
) -> Exported:
    """Compare two graphs on clips that were not trained on; both answer one at a time.

    Parameters
    ----------
    before, after : bytes
        Graphs of the same model.
    card : ModelCard
        Of the model.
    pictures : np.ndarray [shape=(n, height, width, 3)], uint8
        Levels of the clips.
    truth : array_like of int [shape=(n,)], or None
        Position of the class of each.
    """
    found = [_answers(graph, pictures) for graph in (before, after)]
    _check_known(card, *found)
    labels = [each[0].argmax(axis=1) for each in found]
    accuracies: list[float | None] = [None, None]
    if truth is not None:
        accuracies = [float((each == np.asarray(truth)).mean()) for each in labels]
    times = [_milliseconds(session(graph), pictures) for graph in (before, after)]
    difference = float(np.abs(found[0][0] - found[1][0]).max())
    agreement = float((labels[0] == labels[1]).mean())
    change = Change(len(pictures), accuracies[0], accuracies[1], times[0], times[1])
    return Exported(Path(EXPORTS[1]), OPSET, len(pictures), difference, agreement, change)


def _check_known(card: ModelCard, before: Outputs, after: Outputs) -> None:
    """Refuse eight bits that find far fewer clips known, or far more."""
    if card.unknown is None:
        return
    shares = [card.unknown.known(*each).mean() for each in (before, after)]
    if abs(shares[0] - shares[1]) > _KNOWN:
        raise ModelError(
            f"{EXPORTS[1]}: is not kept: {shares[0]:.1%} of the clips were known and "
            f"{shares[1]:.1%} would be; use {EXPORTS[0]}"
        )


def _milliseconds(run: Callable[[Levels], Probabilities], pictures: Levels) -> float:
    """Give the median time for one picture."""
    times = []
    for number in range(_WARM_UP + _TIMED):
        one = pictures[number % len(pictures)][np.newaxis]
        started = time.perf_counter()
        run(one)
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times[_WARM_UP:]))


def _answers(graph: bytes, levels: Levels) -> Outputs:
    return in_batches(outputs(graph), levels, 1)
