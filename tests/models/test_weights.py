"""Where training starts: torchvision's cache, a download, a file, chance, and every way to fail."""

from __future__ import annotations

import hashlib
import http.server
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision

from spectro.errors import ConfigError, MissingExtraError, ModelError
from spectro.models.networks import build as network
from spectro.models.weights import resolve
from spectro.pictures.rendered import RenderedSet
from spectro.training import data as datablock
from spectro.training.loop import learner
from spectro.training.settings import TrainConfig

pytestmark = pytest.mark.slow

URL = torchvision.models.ResNet18_Weights.DEFAULT.url
REAL_LOADER = torch.hub.load_state_dict_from_url


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """A state dict in torchvision's format, unlike any other initialisation."""
    torch.manual_seed(1234)
    return torchvision.models.resnet18(weights=None).state_dict()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's own cache place, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network: every download goes to a port where nobody listens."""
    redirect(monkeypatch, "http://127.0.0.1:9/resnet18-f37072fd.pth")


def redirect(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Send torchvision's download elsewhere, through torch's real downloading code."""

    def load(_: str, *args: Any, **kwargs: Any) -> Any:
        return REAL_LOADER(url, *args, **kwargs)

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", load)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real HTTP server on loopback and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", folder
        httpd.shutdown()


def save(state: dict[str, torch.Tensor], path: Path) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


def body_is(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> bool:
    """Tell whether every tensor of the body is bit for bit that of a torchvision state dict."""
    torchvisions = torchvision.models.resnet18(weights=None)
    torchvisions.load_state_dict(state)
    expected = torch.nn.Sequential(*list(torchvisions.children())[:-2]).state_dict()
    found = model[0].state_dict()
    return expected.keys() == found.keys() and all(
        torch.equal(expected[name].float(), found[name].float()) for name in expected
    )


def test_cached_imagenet_tensors_are_in_the_body_before_the_first_step(
    cache: Path, offline: None, state: dict[str, torch.Tensor], rendered: RenderedSet
) -> None:
    save(state, cache / Path(URL).name)
    config = TrainConfig(weights="imagenet")
    weights = resolve(config.weights, config.arch)
    dls = datablock.dataloaders(rendered.clips, rendered.clips, rendered.labels, config)
    learn = learner.new_learner(dls, config, weights)
    assert weights.source == "imagenet"
    assert weights.detail == "ResNet18_Weights.IMAGENET1K_V1"
    assert body_is(learn.model, state)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("with_classifier", [True, False])
@pytest.mark.parametrize("half", [True, False])
def test_a_file_of_weights_is_in_the_body(
    tmp_path: Path, state: dict[str, torch.Tensor], suffix: str, with_classifier: bool, half: bool
) -> None:
    kept = {k: v for k, v in state.items() if with_classifier or not k.startswith("fc.")}
    if half:
        kept = {k: v.half() if v.is_floating_point() else v for k, v in kept.items()}
    path = save(kept, tmp_path / f"weights{suffix}")
    weights = resolve(str(path), "resnet18")
    model = torch.nn.Sequential(network.body("resnet18", weights.state))
    full = {**state, **{k: v.float() if v.is_floating_point() else v for k, v in kept.items()}}
    assert body_is(model, full)
    assert weights.source == "file"
    assert hashlib.sha256(path.read_bytes()).hexdigest() in weights.detail


def test_weights_are_downloaded_into_the_cache(
    cache: Path,
    server: tuple[str, Path],
    state: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, folder = server
    path = save(state, folder / "weights.pth")
    # torch compares the file's SHA-256 with the digits in its name
    name = f"resnet18-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"
    path.rename(folder / name)
    redirect(monkeypatch, f"{address}/{name}")
    weights = resolve("imagenet", "resnet18")
    assert body_is(torch.nn.Sequential(network.body("resnet18", weights.state)), state)
    assert (cache / name).is_file()


def three_ways(message: str, cache: Path) -> bool:
    ways = ("connect to the network", str(cache), "--weights sounds", "--weights FILE")
    ways += ("--arch tf_efficientnet_lite0", "--weights none")
    return all(way in message for way in ways) and "\n" not in message


def test_without_network_it_stops_and_says_three_ways_on(cache: Path, offline: None) -> None:
    with pytest.raises(ModelError) as error:
        resolve("imagenet", "resnet18")
    assert three_ways(str(error.value), cache)


@pytest.mark.parametrize("served", ["nothing", "other bytes"])
def test_a_bad_download_is_refused_and_not_kept(
    cache: Path, server: tuple[str, Path], served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = server
    if served == "other bytes":
        (folder / Path(URL).name).write_bytes(b"not these weights")
    redirect(monkeypatch, f"{address}/{Path(URL).name}")
    with pytest.raises(ModelError) as error:
        resolve("imagenet", "resnet18")
    assert three_ways(str(error.value), cache)
    assert list(cache.iterdir()) == []


def test_a_damaged_cache_is_told(
    cache: Path, offline: None, state: dict[str, torch.Tensor]
) -> None:
    path = save(state, cache / Path(URL).name)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError) as error:
        resolve("imagenet", "resnet18")
    assert three_ways(str(error.value), cache)


def test_auto_stops_too_where_a_network_was_asked_for(cache: Path, offline: None) -> None:
    with pytest.raises(ModelError) as error:
        resolve("auto", "resnet18")
    assert three_ways(str(error.value), cache)


def test_auto_takes_imagenet_where_it_can(
    cache: Path, offline: None, state: dict[str, torch.Tensor]
) -> None:
    save(state, cache / Path(URL).name)
    assert resolve("auto", "resnet18").source == "imagenet"


def test_none_is_random() -> None:
    assert resolve("none", "resnet18").source == "random"


class Bomb:
    """A pickle that would write a file when loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def test_a_pickle_is_never_executed(tmp_path: Path, cache: Path, offline: None) -> None:
    mark = tmp_path / "executed"
    for path in (tmp_path / "weights.pth", cache / Path(URL).name):
        torch.save({"conv1.weight": Bomb(mark)}, path)
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Bomb(mark)))
    for spec in (str(tmp_path / "weights.pth"), str(tmp_path / "raw.pth"), "imagenet"):
        with pytest.raises(ModelError):
            resolve(spec, "resnet18")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.pth", None, "no such weights file"),
        ("text.pth", b"hello", "cannot be read"),
        ("text.safetensors", b"hello", "cannot be read"),
        ("empty.pth", b"", "cannot be read"),
    ],
)
def test_a_file_that_is_no_weights_is_named(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=said) as error:
        resolve(str(path), "resnet18")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_of_another_network_are_refused(
    tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    path = save(state, tmp_path / "resnet18.pth")
    with pytest.raises(ModelError, match="does not fit resnet34"):
        resolve(str(path), "resnet34")
    path = save(torchvision.models.resnet34(weights=None).state_dict(), tmp_path / "resnet34.pth")
    with pytest.raises(ModelError, match="does not fit resnet18"):
        resolve(str(path), "resnet18")
    path = save({"weights": {"conv1.weight": state["conv1.weight"]}}, tmp_path / "nested.pth")
    with pytest.raises(ModelError, match="no plain state dict"):
        resolve(str(path), "resnet18")


def test_an_unknown_network_is_a_setting_that_does_not_exist() -> None:
    with pytest.raises(ConfigError, match="resnet19"):
        resolve("imagenet", "resnet19")
    with pytest.raises(ConfigError, match="resnet19"):
        network.body("resnet19")


def test_why_there_are_none_comes_over_from_another_process(cache: Path, offline: None) -> None:
    with pytest.raises(ModelError) as told:
        resolve("imagenet", "resnet18")
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)
    missing = MissingExtraError("timm", "a network of timm")
    again = pickle.loads(pickle.dumps(missing))
    assert str(again) == "a network of timm needs an optional part: pip install 'spectro[timm]'"
