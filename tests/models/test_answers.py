"""Temperature and unknown sounds: the same from torch, ONNX and a naive recomputation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spectro.errors import ConfigError, ModelError
from spectro.listening.backends import open_backend
from spectro.models.calibrated import RunCalibration, Unknown, tempered
from spectro.models.card import ModelCard, read_card
from spectro.models.exports import float32 as export
from spectro.models.exports.float32 import export_onnx
from spectro.models.folder import load_model, predict_probabilities, save_model
from spectro.models.networks import build as networks
from spectro.models.words import describe
from spectro.pictures.settings import SpectrogramConfig
from spectro.scores.calibration import apply_temperature

CARD = ModelCard(
    arch="cnn4", labels=("a", "b", "c"), spectrogram=SpectrogramConfig(n_mels=32, duration=1.0)
)
ENERGY = Unknown(method="energy", threshold=0.3, auroc=0.9)
LEVELS = np.random.default_rng(0).integers(0, 256, (40, 32, 44, 3), dtype=np.uint8)


def saved(folder: Path, card: ModelCard) -> Path:
    torch.manual_seed(0)
    model = networks.build(card.arch, len(card.labels), card.members)
    with torch.no_grad():
        model.train()(torch.from_numpy(LEVELS).permute(0, 3, 1, 2).float() / 255)
    save_model(folder, model.eval(), card)
    return folder


def naive(folder: Path, card: ModelCard) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and energies, network by network, from the tensors."""
    model, _ = load_model(folder)
    members = list(model.members) if card.members > 1 else [model]
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (card.mean, card.std))
    x = (torch.from_numpy(LEVELS).permute(0, 3, 1, 2).float() / 255 - mean) / std
    with torch.inference_mode():
        each = [member(x) for member in members]
    plain = np.mean([logits.softmax(1).numpy() for logits in each], axis=0)
    energies = np.mean([np.log(np.exp(logits.numpy()).sum(1)) for logits in each], axis=0)
    return apply_temperature(plain, card.temperature), energies


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("method", ["energy", "probability"])
def test_every_backend_scales_and_tells_alike(tmp_path: Path, members: int, method: str) -> None:
    plain = CARD.replace(members=members, temperature=1.7)
    folder = saved(tmp_path, plain)
    probabilities, energies = naive(folder, plain)
    score = energies if method == "energy" else probabilities.max(axis=1)
    middle = float(np.sort(score)[[19, 20]].mean())
    unknown = {"method": method, "threshold": middle, "auroc": 0.5}
    card = plain.replace(unknown=unknown)
    (folder / "model.json").write_text(card.to_json())
    about = export_onnx(folder, LEVELS)
    assert about.difference < 1e-5
    model, _ = load_model(folder)
    pixels = torch.from_numpy(LEVELS).permute(0, 3, 1, 2).float() / 255
    np.testing.assert_allclose(
        predict_probabilities(model, card, pixels).numpy(), probabilities, atol=1e-5
    )
    sure = np.abs(score - middle) > 1e-4  # where rounding decides nothing
    for name in ("torch", "onnx"):
        answer = open_backend(folder, name)(LEVELS)  # type: ignore[arg-type]
        np.testing.assert_allclose(answer.probabilities, probabilities, atol=1e-5)
        assert np.array_equal(answer.known[sure], (score >= middle)[sure])
        assert 0 < answer.known.sum() < len(LEVELS)


def test_an_export_of_another_temperature_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path, CARD)
    export_onnx(folder, LEVELS)
    for changes in ({"temperature": 2.0}, {"unknown": ENERGY.to_dict()}):
        (folder / "model.json").write_text(CARD.replace(**changes).to_json())
        with pytest.raises(ModelError, match="was not exported from this model"):
            open_backend(folder, "onnx")


def test_an_export_whose_energies_differ_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path, CARD.replace(unknown=ENERGY.to_dict()))
    real = export._Listener.forward
    monkeypatch.setattr(
        export._Listener, "forward", lambda self, x: (real(self, x)[0], real(self, x)[1] + 0.5)
    )
    with pytest.raises(ModelError, match="its energies by up to"):
        export_onnx(folder, LEVELS)
    assert not [*folder.glob("*.onnx"), *folder.glob("verify*")]


def test_a_card_of_before_still_loads(tmp_path: Path) -> None:
    folder = saved(tmp_path, CARD)
    before = json.loads((folder / "model.json").read_text())
    for name in ("temperature", "unknown", "detections"):
        del before[name]
    (folder / "model.json").write_text(json.dumps(before))
    card = read_card(folder)
    assert (card.temperature, card.unknown, card.detections) == (1.0, None, {})
    answer = open_backend(folder, "torch")(LEVELS)
    assert answer.known.all()
    np.testing.assert_allclose(answer.probabilities, naive(folder, card)[0], atol=1e-6)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"temperature": 0}, "temperature"),
    ({"temperature": 1e9}, "temperature"),
    ({"temperature": float("nan")}, "temperature"),
    ({"unknown": {"method": "guess", "threshold": 0, "auroc": 0.5}}, "method"),
    ({"unknown": {"method": "energy", "threshold": 1e300, "auroc": 0.5}}, "threshold"),
    ({"unknown": {"method": "energy", "threshold": 0, "auroc": 2}}, "auroc"),
    ({"detections": {"a": [0.1, 1.5]}}, "detections"),
    ({"detections": {"a": [0.5] * 1_001}}, "detections"),
    ({"detections": {"other": [0.5]}}, "no label"),
]


@pytest.mark.parametrize(("changes", "told"), BAD, ids=lambda x: repr(x)[:50])
def test_a_card_that_claims_what_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    (tmp_path / "model.json").write_text(json.dumps({**CARD.to_dict(), **changes}))
    with pytest.raises(ModelError, match=told) as error:
        read_card(tmp_path)
    assert len(str(error.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize("temperature", [0.05, 0.7, 1.0, 3.0, 20.0])
def test_scaling_afterwards_is_scaling_the_logits(temperature: float) -> None:
    logits = np.random.default_rng(1).normal(0, 2, (50, 4))
    plain = torch.from_numpy(logits).softmax(1).float().numpy()
    wanted = torch.from_numpy(logits / temperature).softmax(1).numpy()
    np.testing.assert_allclose(tempered(plain, temperature), wanted, atol=2e-5)


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"temperature": 0, "clips": 1}', '{"temperature": 1, "clips": 0}', "{"]
)
def test_a_damaged_calibration_is_named_in_a_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(ModelError, match=r"calibration\.json"):
        RunCalibration.of(tmp_path)


def test_a_calibration_through_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "canary.json").write_text('{"temperature": 2, "clips": 3}')
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "calibration.json").symlink_to(tmp_path / "canary.json")
    with pytest.raises(ModelError, match="symbolic link"):
        RunCalibration.of(tmp_path / "run")


def test_the_page_is_for_a_person() -> None:
    card = CARD.replace(
        temperature=1.5,
        unknown=ENERGY.to_dict(),
        training={
            "dataset": "sample", "clips": 1_200, "folds": [1, 2], "weights": "random weights",
            "precision": "fp32", "recipe": "default", "changed": {"epochs": [3, 15]},
            "settings": {"epochs": 3}, "identity": "0123456789abcdef",
        },
        scores={
            "expected": True, "accuracy": 0.8712, "accuracy_interval": [0.83, 0.9], "clips": 1_200,
            "macro_f1": 0.86, "measured": "scored by other networks", "protocol": ["2 of 2 folds"],
            "probes": {"silence": "unknown (or else a with 40 %)"},
        },
    )  # fmt: skip
    page = describe(card)
    for told in (
        "**87.1 %** of 1,200 clips were named right (95 % interval over recordings: 83.0 % to "
        "90.0 %); macro F1 86.0 %. They were scored by other networks.",
        "This model was trained on every fold",
        "- 2 of 2 folds",
        "temperature of 1.5",
        "mean AUROC of 0.900",
        "- silence: unknown (or else a with 40 %)",
        "On 1,200 clips of sample, folds 1, 2, from random weights, in fp32.",
        "- epochs: 3 (recipe: 15)",
        "spectro predict",
        "spectro scan",
    ):
        assert told in page
    assert "{" not in page
    assert "0123456789abcdef" not in page


def test_a_temperature_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="temperature"):
        CARD.replace(temperature=-1.0)
