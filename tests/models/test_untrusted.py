"""Model folders and weights files from strangers: one short line, nothing run, nothing built."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spectro.errors import ConfigError, ModelError
from spectro.models.card import ModelCard, read_card
from spectro.models.folder import load_model, save_model
from spectro.models.networks import build as networks
from spectro.models.weights import resolve
from spectro.pictures.settings import SpectrogramConfig

CARD = ModelCard(arch="cnn4", labels=("a", "b"), spectrogram=SpectrogramConfig())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good model folder that a test may spoil."""
    save_model(tmp_path / "model", networks.build("cnn4", 2), CARD)
    return tmp_path / "model"


def edit(folder: Path, **changes: Any) -> None:
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, **changes}))


def refusal(folder: Path) -> str:
    """Load a folder that cannot be loaded; return the one short line that says why."""
    with pytest.raises(ModelError) as error:
        load_model(folder)
    line = str(error.value)
    assert str(folder) in line
    assert line.isprintable()
    assert len(line) < 500 + len(str(folder))
    return line


# ------------------------------------------------------------------------------------- the card

BAD_CARDS: list[tuple[dict[str, Any], str]] = [
    ({"members": 10**9}, "members"),
    ({"members": 0}, "members"),
    ({"size": 0}, "size"),
    ({"size": -5}, "size"),
    ({"size": 10**30}, "size"),
    ({"labels": ["a", "a"]}, "'a' twice"),
    ({"labels": ["a", ""]}, "labels"),
    ({"labels": ["a"]}, "labels"),
    ({"labels": ["a", "b" * 1_000_000]}, "labels"),
    ({"std": [0, 0, 0]}, "std"),
    ({"std": [1, 1, -1]}, "std"),
    ({"mean": [1e300, 0, 0]}, "mean"),
    ({"mean": [float("nan"), 0, 0]}, "mean"),
    ({"arch": "x" * 1_000_000}, "arch"),
    ({"arch": "resnet19"}, "unknown arch"),
    ({"arch": "\x1b[31m"}, "unknown arch"),
    ({"x" * 1_000_000: 1}, "unknown setting"),
    ({"\x1b[31m": 1}, "unknown setting"),
    ({"spectrogram": {"duration": 3_600.0, "sr": 1_000_000}}, "samples"),
    ({"spectrogram": None}, "spectrogram"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "told"), BAD_CARDS, ids=lambda x: repr(x)[:40])
def test_a_card_that_asks_for_too_much_is_refused(
    folder: Path, changes: dict[str, Any], told: str
) -> None:
    edit(folder, **changes)
    assert told in refusal(folder)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"training": ' + "[" * 100_000, "[]", "1", "", "\xff", "{}", "null", "{" * 10],
    ids=lambda text: text[:20],
)
def test_a_card_that_is_no_card_is_refused(folder: Path, text: str) -> None:
    (folder / "model.json").write_bytes(text.encode("latin-1"))
    refusal(folder)


def test_a_card_too_long_to_read_is_not_read(folder: Path) -> None:
    os.truncate(folder / "model.json", 1 << 40)  # a hole: it takes no room
    assert "longer than" in refusal(folder)


def test_a_pipe_is_no_card(folder: Path) -> None:
    (folder / "model.json").unlink()
    os.mkfifo(folder / "model.json")
    assert "has no model.json" in refusal(folder)


def test_a_card_needs_no_torch() -> None:
    code = "import sys, spectro.models.card; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------------- the tensors


def header(tensors: dict[str, Any], n_bytes: int) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + bytes(n_bytes)


def test_a_hundred_networks_are_counted_before_one_is_built(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    real = networks.build

    def build(*args: Any) -> Any:
        model = real(*args)
        built.append(next(model.parameters()).device.type)
        return model

    monkeypatch.setattr(networks, "build", build)
    edit(folder, members=100, arch="resnet152")
    assert "tensors of model.safetensors are missing" in refusal(folder)
    assert built == ["meta"]  # one, and that without memory


@pytest.mark.parametrize(
    "how",
    ["foreign", "missing", "shape", "dtype", "long name", "short", "long header", "huge"],
)
def test_tensors_that_do_not_fit_the_card_are_refused(folder: Path, how: str) -> None:
    path = folder / "model.safetensors"
    state = safetensors.torch.load_file(path)
    name, tensor = next((name, t) for name, t in state.items() if t.dim() == 4)
    if how == "foreign":
        state["x"] = torch.zeros(1)
    elif how == "missing":
        del state[name]
    elif how == "shape":
        state[name] = tensor[:1].clone()
    elif how == "dtype":
        state[name] = tensor.half()
    elif how == "long name":
        state["x" * 100_000] = torch.zeros(1)
    safetensors.torch.save_file(state, path)
    if how == "short":
        path.write_bytes(path.read_bytes()[:-1])
    elif how == "long header":
        path.write_bytes(struct.pack("<Q", 10**9) + bytes(100))
    elif how == "huge":
        shape = {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}
        path.write_bytes(header({name: shape}, 4))
    refusal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_numbers_are_refused(folder: Path, value: float) -> None:
    path = folder / "model.safetensors"
    state = safetensors.torch.load_file(path)
    state["1.2.bias"][1] = value
    safetensors.torch.save_file(state, path)
    assert "holds weights that are not numbers, in 1.2.bias" in refusal(folder)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_byte_changed_anywhere_gives_a_model_or_one_line(
    folder: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(["model.json", "model.safetensors"]))
    good = (folder / name).read_bytes()
    at = data.draw(st.integers(0, min(len(good), 12_000) - 1))
    (folder / name).write_bytes(good[:at] + data.draw(st.binary(max_size=3)) + good[at + 1 :])
    try:
        load_model(folder)
    except ModelError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 1_000
    finally:
        (folder / name).write_bytes(good)


# ------------------------------------------------------------------------------------- networks

ELSEWHERE = sorted(
    set(torchvision.models.list_models()) - set(torchvision.models.list_models(torchvision.models))
)


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


@pytest.mark.parametrize("arch", ELSEWHERE)
def test_only_classification_networks_are_built(arch: str, no_sockets: None) -> None:
    for use in (networks.body, lambda arch: resolve("imagenet", arch)):
        with pytest.raises(ConfigError, match="unknown arch"):
            use(arch)  # type: ignore[operator]


def test_torchvision_has_networks_that_are_not_for_classification() -> None:
    assert {"fasterrcnn_resnet50_fpn", "quantized_resnet18", "r3d_18"} <= set(ELSEWHERE)


@pytest.mark.parametrize(
    "arch", ["cnn4", "resnet18", "regnet_y_400mf", "efficientnet_b0", "swin_t", "ResNet18"]
)
def test_what_is_expected_of_a_network_is_what_it_has(arch: str, no_sockets: None) -> None:
    state = networks.build(arch, 3).state_dict()
    expected = networks.expected(arch, 3)
    assert list(expected) == list(state)
    for name, tensor in state.items():
        assert expected[name] == (tuple(tensor.shape), tensor.dtype)


def test_what_is_expected_of_several_is_what_they_have() -> None:
    state = networks.build("cnn4", 3, 2).state_dict()
    assert {name: shape for name, (shape, _) in networks.expected("cnn4", 3, 2).items()} == {
        name: tuple(tensor.shape) for name, tensor in state.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["regnet_y_400mf", "swin_v2_t"])
def test_a_saved_network_computes_what_it_did(arch: str, tmp_path: Path) -> None:
    model = networks.build(arch, 2).eval()
    save_model(tmp_path, model, CARD.replace(arch=arch))
    loaded, _ = load_model(tmp_path)
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(x), model(x))


# ---------------------------------------------------------------------------------- weights files


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    return dict(torchvision.models.resnet18(weights=None).state_dict())


def changed(state: dict[str, Any], change: Callable[[torch.Tensor], Any]) -> dict[str, Any]:
    return {name: change(t) if t.dim() == 4 else t for name, t in state.items()}


ODD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "number as name": lambda state: {1: torch.zeros(1), **state},
    "sparse": lambda state: {**state, "conv1.weight": torch.zeros(64, 3, 7, 7).to_sparse()},
    "meta": lambda state: {name: tensor.to("meta") for name, tensor in state.items()},
    "complex": lambda state: changed(state, lambda t: t.to(torch.complex64)),
    "integers": lambda state: changed(state, lambda t: t.to(torch.int32)),
    "bool": lambda state: changed(state, lambda t: t > 0),
    "float8": lambda state: changed(state, lambda t: t.to(torch.float8_e4m3fn)),
    "not a number": lambda state: changed(state, lambda t: t * float("nan")),
    "long name": lambda state: {"x" * 1_000_000: torch.zeros(1), **state},
    "escape in a name": lambda state: {"\x1b[31m\n": torch.zeros(1), **state},
    "huge shape": lambda state: {**state, "conv1.weight": torch.zeros(1).expand(10**9, 10**9)},
    "nested": lambda state: {"state_dict": state},
    "a list": lambda state: list(state.values()),
    "a tensor": lambda state: state["conv1.weight"],
    "a string": lambda _: "weights",
    "nothing": lambda _: {},
    "strings": lambda state: {**state, "epoch": "3"},
}  # fmt: skip


def weights_refusal(path: Path) -> str:
    with pytest.raises(ModelError) as error:
        resolve(str(path), "resnet18")
    line = str(error.value).removeprefix(str(path))
    assert line.isprintable()
    assert len(line) < 300
    return line


@pytest.mark.parametrize("how", ODD)
@pytest.mark.parametrize("legacy", [False, True])
def test_odd_dicts_are_refused(
    tmp_path: Path, state: dict[str, Any], how: str, legacy: bool
) -> None:
    torch.save(ODD[how](state), tmp_path / "odd.pth", _use_new_zipfile_serialization=not legacy)
    weights_refusal(tmp_path / "odd.pth")


@pytest.mark.parametrize("how", ["complex", "integers", "float8", "not a number", "long name"])
def test_odd_safetensors_are_refused(tmp_path: Path, state: dict[str, Any], how: str) -> None:
    safetensors.torch.save_file(ODD[how](state), tmp_path / "odd.safetensors")
    weights_refusal(tmp_path / "odd.safetensors")


def test_weights_far_too_large_are_not_read(tmp_path: Path) -> None:
    for name in ("huge.pth", "huge.safetensors"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 1 << 40)
        assert "too large for resnet18" in weights_refusal(tmp_path / name)


def test_a_zip_that_unpacks_to_much_more_is_not_unpacked(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(200_000_000))
    assert (tmp_path / "bomb.pth").stat().st_size < 1_000_000
    assert "too large for resnet18" in weights_refusal(tmp_path / "bomb.pth")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_cut_weights_are_refused(
    tmp_path: Path, state: dict[str, Any], share: float, suffix: str
) -> None:
    path = tmp_path / f"cut{suffix}"
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(state, path)
    os.truncate(path, int(share * path.stat().st_size))
    weights_refusal(path)


# -------------------------------------------------------------------------------------- writing


def test_a_saved_model_can_be_read_by_others(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save_model(tmp_path, networks.build("cnn4", 2), CARD)
    finally:
        os.umask(before)
    for name in ("model.safetensors", "model.json", "README.md"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o644


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may be longer than 10 kB, as on a disk that is full."""
    resource = pytest.importorskip("resource")  # Windows has none
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@pytest.mark.parametrize("name", ["model", ".spectro-0123456789abcdef0123456789abcdef/new/model"])
def test_a_disk_that_is_full_leaves_the_model_that_was(
    tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / name
    save_model(folder, networks.build("cnn4", 2), CARD)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ModelError, match="cannot be written") as error:
        request.getfixturevalue("small_disk")
        save_model(folder, networks.build("cnn4", 2), CARD)
    known = folder if name == "model" else tmp_path
    assert str(error.value).startswith(f"{known}: ")
    assert "\n" not in str(error.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_model_written_over_another_takes_its_exports_away(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"of the model that was")
    save_model(folder, networks.build("cnn4", 2), CARD)
    assert not (folder / "model.onnx").exists()


def test_the_card_of_a_copy_is_the_card(folder: Path, tmp_path: Path) -> None:
    assert read_card(shutil.copytree(folder, tmp_path / "copy")) == CARD
