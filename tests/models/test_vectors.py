"""What a model answered where it was exported: kept, repeated elsewhere, read with suspicion."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
import torch
from scipy.signal import resample_poly

from spectro.errors import ModelError
from spectro.listening.verify import Stage, verify
from spectro.models.card import ModelCard
from spectro.models.exports import vectors
from spectro.models.exports.float32 import export_onnx, with_about
from spectro.models.exports.int8 import export_int8
from spectro.models.exports.vectors import Array, read_vectors
from spectro.models.folder import load_model, save_model
from spectro.models.networks import build as networks
from spectro.pictures.settings import SpectrogramConfig

CARD = ModelCard(
    arch="cnn4", labels=("a", "b", "c"), spectrogram=SpectrogramConfig(n_mels=32, duration=1.5)
)
STAGES = ["resampler", "picture", "network in torch", "network in onnx", "network in int8"]


def exported(folder: Path, card: ModelCard = CARD, *, int8: bool = True) -> Path:
    torch.manual_seed(0)
    height, width = (card.size, card.size) if card.size else card.spectrogram.shape
    noise = np.random.default_rng(0).integers(0, 256, (40, height, width, 3), dtype=np.uint8)
    model = networks.build(card.arch, len(card.labels), card.members)
    with torch.no_grad():
        model.train()(torch.from_numpy(noise).permute(0, 3, 1, 2).float() / 255)
    save_model(folder, model.eval(), card)
    export_onnx(folder, noise)
    if int8:
        export_int8(folder, noise, noise, most_lost=1.0)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("vectors") / "model")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(folder, tmp_path / "model")
    return tmp_path / "model"


def differing(stages: list[Stage]) -> list[str]:
    return [stage.name for stage in stages if not stage.is_same]


def test_where_it_was_exported_nothing_differs(folder: Path) -> None:
    stages = verify(folder)
    assert [stage.name for stage in stages] == STAGES
    assert not differing(stages)
    assert [stage.difference for stage in stages[:2]] == [0, 0]
    assert (folder / "verify.json").stat().st_size < 2_000_000


@pytest.mark.parametrize(
    "changes",
    [
        {"members": 2, "size": 48},
        {"spectrogram": {**CARD.spectrogram.to_dict(), "channels": "both", "sr": 16_000}},
        {"spectrogram": {**CARD.spectrogram.to_dict(), "duration": 0.3, "sr": 48_000}},
    ],
    ids=["resized", "two channels", "short"],
)
def test_it_holds_for_other_pictures(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = exported(tmp_path / "model", CARD.replace(**changes), int8=False)
    stages = verify(folder)
    assert [stage.name for stage in stages] == STAGES[:-1]
    assert not differing(stages)


def test_another_resampler_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(y: np.ndarray, native: int, sr: int, quality: str) -> np.ndarray:
        return np.asarray(resample_poly(y, sr, native), dtype=np.float32)

    monkeypatch.setattr(soxr, "resample", other)
    stages = verify(folder)
    assert differing(stages) == ["resampler"]
    assert "a sound at" in stages[0].said


def test_another_transform_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = vectors.spectrogram_image
    monkeypatch.setattr(
        vectors, "spectrogram_image", lambda y, config: real(y * 0.5 + 0.01, config)
    )
    assert differing(verify(folder)) == ["picture"]


def test_another_network_is_named(copy: Path, tmp_path: Path) -> None:
    """A graph that answers otherwise, with metadata that says it is this one."""
    model, card = load_model(copy)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.2)
    save_model(tmp_path / "other", model, card)
    noise = np.zeros((2, *card.spectrogram.shape, 3), dtype=np.uint8)
    export_onnx(tmp_path / "other", noise)
    graph = (tmp_path / "other" / "model.onnx").read_bytes()
    (copy / "model.onnx").write_bytes(with_about(graph, card, copy))
    stages = verify(copy)
    assert differing(stages) == ["network in onnx"]


def test_tensors_that_were_changed_are_told(copy: Path) -> None:
    model, card = load_model(copy)
    kept = (copy / "verify.json").read_bytes()
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    save_model(copy, model, card)
    assert not (copy / "verify.json").exists()  # it was of the other tensors
    (copy / "verify.json").write_bytes(kept)
    with pytest.raises(ModelError, match=r"is of another model\.safetensors"):
        verify(copy)


def test_a_model_without_vectors_says_what_writes_them(copy: Path) -> None:
    (copy / "verify.json").unlink()
    with pytest.raises(ModelError, match=r"has no verify\.json; spectro export writes it"):
        verify(copy)


BLOCKED = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "fastai", "pandas", "sklearn"):
            raise ImportError(name + " is not installed here")

sys.meta_path.insert(0, Refuse())
from spectro.listening.verify import verify
print(json.dumps([(stage.name, bool(stage.is_same)) for stage in verify(sys.argv[1])]))
"""


def test_it_needs_no_torch(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    command = [sys.executable, "-c", BLOCKED, copy]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = [*STAGES[:2], *STAGES[3:]]
    assert json.loads(done.stdout) == [[name, True] for name in names]


# ------------------------------------------------------------------------------------ by strangers


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


def huge(kept: dict[str, Any]) -> None:
    kept["pictures"]["shape"] = [9, 2**20, 2**20]


def bomb(kept: dict[str, Any]) -> None:
    kept["waveforms"]["data"] = packed(bytes(200_000_000))


def long_sound(kept: dict[str, Any]) -> None:
    """A second of sound that says that it is at 1 kHz for a quarter of an hour."""
    kept["resampled"][0]["rate"] = 1_000
    kept["resampled"][0]["y"] = {
        "dtype": "int16",
        "shape": [10**6],
        "data": packed(bytes(2 * 10**6)),
    }


SPOILED: list[Callable[[dict[str, Any]], Any]] = [
    huge,
    bomb,
    long_sound,
    lambda kept: kept["pictures"].update(shape=[9, 32, 64]),
    lambda kept: kept["pictures"].update(dtype="object"),
    lambda kept: kept["pictures"].update(data="no base64!"),
    lambda kept: kept["pictures"].update(data=base64.b64encode(b"not deflated").decode()),
    lambda kept: kept["pictures"].update(shape=[]),
    lambda kept: kept["pictures"].update(shape=[0, 32, 65]),
    lambda kept: kept["waveforms"].update(shape=[-9, -22_050]),
    lambda kept: kept["answers"].clear(),
    lambda kept: kept["answers"].update(other=kept["answers"]["float32"]),
    lambda kept: kept["answers"]["float32"].update(shape=[3, 9]),
    lambda kept: kept["names"].pop(),
    lambda kept: kept.update(resampled=kept["resampled"] * 100),
    lambda kept: kept["resampled"][0].update(rate=0),
    lambda kept: kept.update(tensors="\x1b[31m"),
    lambda kept: kept.update(format=2),
    lambda kept: kept.clear(),
]


@pytest.mark.parametrize("spoil", SPOILED)
def test_vectors_that_are_none_are_told_in_a_line(
    copy: Path, spoil: Callable[[dict[str, Any]], Any]
) -> None:
    kept = json.loads((copy / "verify.json").read_text())
    spoil(kept)
    (copy / "verify.json").write_text(json.dumps(kept))
    with pytest.raises(ModelError) as error:
        read_vectors(copy)
    assert str(error.value).isprintable()
    assert "verify.json" in str(error.value)
    assert len(str(error.value)) < 500 + 2 * len(str(copy))


@pytest.mark.parametrize("how", ["pipe", "folder", "long", "link"])
def test_what_is_no_regular_file_is_not_read(copy: Path, tmp_path: Path, how: str) -> None:
    path = copy / "verify.json"
    path.rename(tmp_path / "canary.json")
    if how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "long":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.symlink_to(tmp_path / "canary.json")
    with pytest.raises(ModelError):
        read_vectors(copy)


def test_an_array_comes_back_as_it_was() -> None:
    rng = np.random.default_rng(0)
    for values in (
        rng.integers(-(2**15), 2**15, (3, 50), dtype=np.int16),
        rng.integers(0, 256, (2, 5, 7, 3), dtype=np.uint8),
        rng.normal(size=11).astype(np.float32),
    ):
        back = Array(**json.loads(Array.of(values).to_text())).values()
        assert back.dtype == values.dtype
        assert np.array_equal(back, values)


def test_what_is_resampled_comes_from_a_file_as_clips_do() -> None:
    y = np.random.default_rng(0).integers(-9_000, 9_000, 4_410, dtype=np.int16)
    wanted = soxr.resample(y / np.float32(32_768), 44_100, 22_050, quality="HQ")
    np.testing.assert_allclose(vectors.resample(y, 44_100, 22_050), wanted, atol=1e-6)
