"""A model without training: an ONNX graph that tells high tones from low ones, and its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import soundfile as sf
from onnx import TensorProto, helper, numpy_helper

from spectro.models.card import ModelCard
from spectro.pictures.settings import SpectrogramConfig

SR = 8_000
LABELS = ("quiet", "high", "low")
CARD = ModelCard(
    arch="ears",
    labels=LABELS,
    spectrogram=SpectrogramConfig(
        sr=SR, duration=1, n_fft=256, hop_length=128, n_mels=32, ref=1.0, fmax=SR / 2
    ),
    licence="CC0",
)


def make_ears(folder: Path) -> Path:
    """Write a model folder whose network looks for the brightest row in each half of a picture."""
    height, width = CARD.spectrogram.shape
    constants = {
        "sides": np.array([2, 3]),
        "rows": np.array([1]),
        "halves": np.array([height // 2, height - height // 2]),
        "gain": np.array(20 / 255, np.float32),
        "half": np.full((1, 1), 12, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["levels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "sides"], ["each"], keepdims=0),
        helper.make_node("Mul", ["each", "gain"], ["scaled"]),
        helper.make_node("Split", ["scaled", "halves"], ["upper", "lower"], axis=1),
        helper.make_node("ReduceMax", ["upper", "rows"], ["high"]),
        helper.make_node("ReduceMax", ["lower", "rows"], ["low"]),
        helper.make_node("Mul", ["high", "zero"], ["none"]),
        helper.make_node("Add", ["none", "half"], ["quiet"]),
        helper.make_node("Concat", ["quiet", "high", "low"], ["logits"], axis=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants["zero"] = np.zeros((1, 1), np.float32)
    asked = helper.make_tensor_value_info("levels", TensorProto.UINT8, ["n", height, width, 3])
    told = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3])
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "ears", [asked], [told], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"spectro": CARD.to_json()})
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    (folder / "model.json").write_text(CARD.to_json())
    return folder


def tones(
    path: Path, *heard: tuple[float, float, float], seconds: float = 12, sr: int = SR, **how: str
) -> Path:
    """Write faint noise with tones in it: each a frequency in Hz, a start and an end in seconds."""
    y = 1e-3 * np.random.default_rng(0).standard_normal(round(seconds * sr)).astype(np.float32)
    for frequency, start, end in heard:
        t = np.arange(round(start * sr), round(end * sr))
        y[t] += 0.5 * np.sin(2 * np.pi * frequency * t / sr)
    sf.write(path, y, sr, **how)
    return path
