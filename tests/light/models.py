"""A small model with its export, sounds, and what training's packages make of them: the oracle.

    python -m tests.light.models FOLDER

is run where torch is installed; the tests beside this file are then run where it is not.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

__all__ = ["make", "sounds"]

RATES = (8_000, 22_050, 44_100, 48_000)


def sounds(folder: Path) -> list[Path]:
    """Write tones in noise: several rates, lengths, containers and numbers of channels."""
    import soundfile as sf

    folder.mkdir(parents=True)
    rng, paths = np.random.default_rng(0), []
    for i, sr in enumerate(RATES * 2):
        path = folder / f"{i}.{('wav', 'flac', 'ogg', 'mp3')[i % 4]}"
        t = np.arange(round(sr * (0.4 + 0.3 * i))) / sr
        y = 0.3 * np.sin(2 * np.pi * 150 * 1.7**i * t) + 0.02 * rng.standard_normal(len(t))
        sf.write(path, np.stack([y, y / 2], axis=1) if i % 3 == 2 else y, sr)
        paths.append(path)
    return paths


def make(folder: Path) -> Path:
    """Write an untrained network whose batch norms saw noise, its exports, sounds and answers."""
    import torch

    from spectro.listening.classifier import Classifier
    from spectro.models.card import ModelCard
    from spectro.models.exports.float32 import export_onnx
    from spectro.models.folder import save_model
    from spectro.models.networks import build as networks
    from spectro.pictures.settings import SpectrogramConfig
    from spectro.pictures.spectrogram import clip_image

    card = ModelCard(
        arch="cnn4", labels=("a", "b", "c"), spectrogram=SpectrogramConfig(duration=1.0)
    )
    torch.manual_seed(0)
    model = networks.build("cnn4", 3, 1)
    with torch.no_grad():
        model.train()(torch.rand(16, 3, *card.spectrogram.shape))
    save_model(folder / "model", model.eval(), card)
    noise = np.random.default_rng(0).integers(
        0, 256, (40, *card.spectrogram.shape, 3), dtype=np.uint8
    )
    export_onnx(folder / "model", noise)
    paths = sounds(folder / "sounds")
    by_torch = Classifier.load(folder / "model", backend="torch")
    answers = {
        path.name: {
            "pixels": digest(np.asarray(clip_image(path, card.spectrogram))),
            "probabilities": heard.probabilities.tolist(),
        }
        for path, heard in zip(paths, by_torch.classify(paths), strict=True)
    }
    (folder / "answers.json").write_text(json.dumps(answers))
    return folder


def digest(levels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(levels).tobytes()).hexdigest()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
