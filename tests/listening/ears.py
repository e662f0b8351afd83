"""A model that needs no training: it hears a high tone as "high", a low one as "low"."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import soundfile as sf
from onnx import TensorProto, helper

from spectro.models.card import ModelCard
from spectro.pictures.settings import SpectrogramConfig

SR = 8_000
CONFIG = SpectrogramConfig(sr=SR, duration=1, n_fft=256, hop_length=125, n_mels=32, ref=1.0)
LABELS = ("high", "low", "nothing")


def make_ears(folder: Path, *, config: SpectrogramConfig = CONFIG, loud: float = 6) -> Path:
    """Write a model folder with an export alone: the brighter half of the picture decides."""
    card = ModelCard(arch="ears", labels=LABELS, spectrogram=config)
    height, width = config.shape

    def constant(name: str, values: object, kind: type = np.int64) -> onnx.TensorProto:
        return onnx.numpy_helper.from_array(np.array(values, kind), name)

    def half(name: str, first: int, last: int) -> list[onnx.NodeProto]:
        ends = [f"{name}_first", f"{name}_last", "rows"]
        numbers.extend([constant(ends[0], [first]), constant(ends[1], [last])])
        return [
            helper.make_node("Slice", ["pixels", *ends], [f"{name}_part"]),
            helper.make_node("ReduceMean", [f"{name}_part", "within"], [name], keepdims=0),
        ]

    numbers = [
        constant("rows", [1]),
        constant("within", [1, 2, 3]),
        constant("column", [1]),
        constant("scale", loud / 255, np.float32),
        constant("one", [1.0], np.float32),
        constant("zero", 0, np.float32),
    ]
    nodes = [
        helper.make_node("Cast", ["levels"], ["grey"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["grey", "scale"], ["pixels"]),
        *half("high", 0, height // 2),
        *half("low", height // 2, height),
        helper.make_node("Mul", ["high", "zero"], ["none"]),
        helper.make_node("Add", ["none", "one"], ["nothing"]),
    ]
    for name in LABELS:
        nodes.append(helper.make_node("Unsqueeze", [name, "column"], [f"{name}_column"]))
    nodes += [
        helper.make_node("Concat", [f"{name}_column" for name in LABELS], ["weights"], axis=1),
        helper.make_node("ReduceSum", ["weights", "column"], ["total"], keepdims=1),
        helper.make_node("Div", ["weights", "total"], ["probabilities"]),
    ]
    inputs = helper.make_tensor_value_info("levels", TensorProto.UINT8, ["n", height, width, 3])
    outputs = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(LABELS)])
    graph = helper.make_graph(nodes, "ears", [inputs], [outputs], numbers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"spectro": card.to_json()})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(card.to_json())
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


def record(
    path: Path, *tones: tuple[float, float, float], seconds: float = 12, sr: int = SR
) -> Path:
    """Write silence with tones: frequency, start, end."""
    y = np.zeros(round(seconds * sr), np.float32)
    for frequency, start, end in tones:
        t = np.arange(round(start * sr), round(end * sr))
        y[t] += 0.5 * np.sin(2 * np.pi * frequency * t / sr)
    sf.write(path, y, sr)
    return path
