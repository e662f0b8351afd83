"""Export in eight bits: static, a scale a channel, calibrated on training pictures, and measured.

Weights are int8 and what flows between layers uint8, which ONNX Runtime multiplies fastest on x86.
Weights use seven of their bits: on processors without VNNI, sums of eight would overflow, and
the same file would say something else there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from spectro.errors import ModelError
from spectro.models.card import ModelCard, read_card
from spectro.models.exports.float32 import (
    OPSET,
    Exported,
    Levels,
    Probabilities,
    check_pictures,
    in_batches,
    package,
    session,
    with_about,
)
from spectro.models.exports.probes import PROBES, probe_pictures
from spectro.models.folder import EXPORTS
from spectro.plumbing.files import scratch, without_scratch, write_bytes, writing

__all__ = ["export_int8"]

_BATCH = 16
# All that a body is made of; its head is small, and stays in float32 with batch norms that did not
# become part of a convolution.
_OPERATORS = ["Conv", "Add", "Relu", "MaxPool", "GlobalAveragePool"]
_DRIFT = 0.1  # most that a probability of silence, noise or hum may change


def export_int8(
    folder: str | Path, calibration: Levels, pictures: Levels, *, most_lost: float = 0.01
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
    most_lost : float
        Share of them that may get another label, 0 to 1.

    Returns
    -------
    Exported
        Compared with ``model.onnx`` on `pictures`.

    Raises
    ------
    ModelError
        If there is no ``model.onnx``, if more labels change than may, or if silence, noise or hum
        are judged otherwise: then nothing is kept.
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
    with writing(Path(without_scratch(str(path))), ModelError), scratch(folder) as own:
        graph = with_about(_quantized(source, own, calibration), card, folder)
    exported = _compared(path, source.read_bytes(), graph, card, pictures)
    lost = 1 - exported.agreement
    if lost > most_lost:
        raise ModelError(
            f"{path}: is not kept: {lost:.1%} of {len(pictures)} labels change, more than "
            f"{most_lost:.1%}; calibrate on more clips, or use {EXPORTS[0]}"
        )
    with writing(path, ModelError):
        write_bytes(path, graph)
    return exported


def _quantized(source: Path, own: Path, calibration: Levels) -> bytes:
    """Quantize a graph, with files in the folder `own`."""
    package("onnxruntime")
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, target = own / "prepared.onnx", own / "int8.onnx"
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared),
        str(target),
        _Reader(calibration),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        op_types_to_quantize=_OPERATORS,
        per_channel=True,
        reduce_range=True,
    )
    return target.read_bytes()


class _Reader:
    """Hands calibration pictures to ONNX Runtime, batch by batch."""

    def __init__(self, levels: Levels) -> None:
        starts = range(0, len(levels), _BATCH)
        self._batches: Iterator[Levels] = (levels[at : at + _BATCH] for at in starts)

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"levels": batch}


def _compared(
    path: Path, source: bytes, graph: bytes, card: ModelCard, pictures: Levels
) -> Exported:
    """Compare two graphs on clips, and on sounds that must stay what they were."""
    before, after = (_answers(each, pictures) for each in (source, graph))
    calm = np.abs(np.subtract(*(_answers(each, probe_pictures(card)) for each in (source, graph))))
    for name, change in zip(PROBES, calm.max(axis=1), strict=True):
        if not change <= _DRIFT:
            raise ModelError(
                f"{path}: is not kept: a probability of {name} changes by {change:.2f}; "
                f"calibrate on more clips, or use {EXPORTS[0]}"
            )
    same = before.argmax(1) == after.argmax(1)
    difference = float(np.abs(before - after).max())
    return Exported(path, OPSET, len(pictures), difference, float(same.mean()))


def _answers(graph: bytes, levels: Levels) -> Probabilities:
    return in_batches(session(graph), levels, 1)
