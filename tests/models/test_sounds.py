"""Weights of our own: read from their package, known by their SHA-256, refused otherwise."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision

from spectro.errors import ConfigError, ModelError
from spectro.models import packaged
from spectro.models.networks import build as networks
from spectro.models.weights import resolve, settle

SHIPPED = Path(__file__).parents[2] / "packaging" / "sounds" / "spectro_sounds"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of weights as pip installs it, whose file is the one that is known."""
    torch.manual_seed(5)
    state = torchvision.models.resnet18().state_dict()
    half = {
        name: t.half() if t.is_floating_point() else t
        for name, t in state.items()
        if not name.startswith("fc.")
    }
    folder = tmp_path / "spectro_sounds"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('its code is not run')\n")
    file = folder / "resnet18.safetensors"
    safetensors.torch.save_file(half, file)
    about = tmp_path / "spectro_sounds-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: spectro-sounds\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    known = packaged._Package("spectro-sounds", file.name, digest)
    monkeypatch.setitem(packaged.SOUNDS, "resnet18", known)
    return file


def test_training_starts_from_its_tensors(package: Path) -> None:
    weights = resolve("sounds", "resnet18")
    assert weights.source == "sounds"
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    assert weights.detail == (
        "resnet18, trained on synthesised sounds, from the package spectro-sounds 1.0 "
        f"(Apache-2.0), sha256 {digest}"
    )
    written, body = safetensors.torch.load_file(package), networks.body("resnet18", weights.state)
    found = networks.library_state("resnet18", body)
    assert all(torch.equal(found[name], written[name].to(found[name].dtype)) for name in found)
    assert settle("sounds", "auto")[0] == "resnet18"


def test_another_file_is_refused_before_it_is_read(package: Path) -> None:
    content = bytearray(package.read_bytes())
    content[-1] ^= 1
    package.write_bytes(content)
    with pytest.raises(ModelError, match=r"not the file that is known.*--weights FILE"):
        resolve("sounds", "resnet18")


def test_without_the_package_the_ways_on_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged._Package, "find", lambda self: None)
    with pytest.raises(ModelError, match=r"spectro-sounds is not installed.*packaging/sounds"):
        resolve("sounds", "cnn4")


@pytest.mark.parametrize("arch", packaged.SOUNDS)
def test_the_file_of_the_repository_is_the_one_that_is_known(arch: str) -> None:
    file = SHIPPED / packaged.SOUNDS[arch].file
    assert file.stat().st_size <= 25_000_000
    assert hashlib.sha256(file.read_bytes()).hexdigest() == packaged.SOUNDS[arch].sha256
    weights = resolve(str(file), arch)
    assert weights.state is not None
    assert all(tensor.isfinite().all() for tensor in weights.state.values())


@pytest.mark.parametrize("arch", ["resnet34", "tf_efficientnet_lite0"])
def test_networks_without_such_weights_are_told(arch: str) -> None:
    with pytest.raises(ConfigError, match=f"of {arch}, only of cnn4, resnet18; spectro pretrain"):
        resolve("sounds", arch)
