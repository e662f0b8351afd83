"""A network that hears a high tone as "high", a low one as "low": as code and as a model folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile as sf

from spectro.listening.backends import Answer
from spectro.models.card import CARD, ModelCard
from spectro.pictures.settings import SpectrogramConfig

SR = 8_000
CONFIG = SpectrogramConfig(
    sr=SR, duration=1, n_fft=256, hop_length=125, n_mels=32, ref=1.0, fmax=SR / 2
)
CARD_OF_EARS = ModelCard(arch="ears", labels=("high", "low"), spectrogram=CONFIG)
HEIGHT, WIDTH = CONFIG.shape
EVENTS = {"on": 0.3, "off": 0.2, "extent": 0.2}


class FakeEars:
    """Looks which half of the picture is brighter."""

    def __init__(self, card: ModelCard = CARD_OF_EARS) -> None:
        self.card = card

    def __call__(self, levels: np.ndarray) -> Answer:
        half = levels.shape[1] // 2
        high = levels[:, :half].mean(axis=(1, 2, 3)) * 6 / 255
        low = levels[:, half:].mean(axis=(1, 2, 3)) * 6 / 255
        p = np.stack([high, low], axis=1) / (1 + high + low)[:, np.newaxis]
        return Answer(p.astype(np.float32), np.ones(len(p), dtype=bool))


def model_folder(folder: Path) -> Path:
    """Write the same network as an export that ONNX Runtime runs, made of six operators."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)
    halves = np.zeros((HEIGHT, 2), np.float32)
    halves[: HEIGHT // 2, 0] = halves[HEIGHT // 2 :, 1] = 6 / 255 / (HEIGHT / 2)
    constants = {"halves": halves, "one": np.float32([1]), "axes": np.int64([2, 3])}
    constants["last"] = np.int64([1])
    nodes = [
        helper.make_node("Cast", ["levels"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x", "axes"], ["rows"], keepdims=0),
        helper.make_node("MatMul", ["rows", "halves"], ["loud"]),
        helper.make_node("ReduceSum", ["loud", "last"], ["per_row"], keepdims=1),
        helper.make_node("Add", ["one", "per_row"], ["total"]),
        helper.make_node("Div", ["loud", "total"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "ears",
        [helper.make_tensor_value_info("levels", TensorProto.UINT8, ["n", HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"spectro": CARD_OF_EARS.to_json()})
    onnx.checker.check_model(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / CARD).write_text(CARD_OF_EARS.to_json())
    (folder / "listen.toml").write_text(
        "[events]\n" + "".join(f"{name} = {value}\n" for name, value in EVENTS.items())
    )
    return folder


def sound(
    *tones: tuple[float, float, float], seconds: float, sr: int = SR, noise: float = 3e-5
) -> np.ndarray:
    """Give faint noise with tones in it: frequency, start, end."""
    y = noise * np.random.default_rng(5).standard_normal(round(seconds * sr))
    for frequency, start, end in tones:
        t = np.arange(round(start * sr), round(end * sr))
        y[t] += 0.5 * np.sin(2 * np.pi * frequency * t / sr)
    return y.clip(-1, 1).astype(np.float32)


def recording(path: Path, *tones: tuple[float, float, float], seconds: float, sr: int = SR) -> Path:
    """Write such a sound as 16-bit WAV."""
    sf.write(path, sound(*tones, seconds=seconds, sr=sr), sr, subtype="PCM_16")
    return path


def listening(folder: Path, *arguments: str | Path, **how: object) -> subprocess.Popen[bytes]:
    """Start ``spectro listen`` as a process of its own."""
    command = [sys.executable, "-m", "spectro", "listen", str(folder), *map(str, arguments)]
    command += ["--backend", "onnx", "--config", str(folder / "listen.toml")]
    defaults: dict[str, object] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    return subprocess.Popen(command, **{**defaults, **how})  # type: ignore[call-overload, no-any-return]
