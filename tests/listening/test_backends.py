"""What runs the network changes nothing but what must be installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.external_data_helper
import pytest
import soundfile as sf
import torch
from onnx import numpy_helper

from spectro.errors import AudioError, ConfigError, ModelError
from spectro.listening.backends import OnnxBackend, open_backend
from spectro.listening.classifier import Classifier, Prediction
from spectro.models.card import ModelCard
from spectro.models.exports.float32 import export_onnx
from spectro.models.exports.int8 import export_int8
from spectro.models.folder import save_model
from spectro.models.networks import build as networks
from spectro.pictures.settings import SpectrogramConfig

CARD = ModelCard(
    arch="cnn4",
    labels=("a", "b", "c"),
    members=2,
    spectrogram=SpectrogramConfig(n_mels=32, duration=1.0),
)
HEAVY = ["torch", "torchvision", "fastai", "pandas", "matplotlib", "sklearn", "scipy.stats",
         "librosa", "onnx"]  # fmt: skip


def make_model(folder: Path, seed: int = 0) -> Path:
    """Save an untrained network whose batch norms have seen noise, and its exports."""
    torch.manual_seed(seed)
    model = networks.build("cnn4", 3, 2)
    with torch.no_grad():
        model.train()(torch.rand(16, 3, 32, 44))
    save_model(folder, model.eval(), CARD)
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 44, 3), dtype=np.uint8)
    export_onnx(folder, noise)
    export_int8(folder, noise, noise, most_lost=1.0)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("backends") / "model")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("sounds")
    paths = [folder / f"{i}.wav" for i in range(6)]
    for i, path in enumerate(paths):
        t = np.arange(16_000 * (1 + i // 2)) / 16_000
        y = 0.3 * np.sin(2 * np.pi * 200 * 2**i * t) + 0.01 * i * rng.standard_normal(len(t))
        sf.write(path, y, 16_000)
    return paths


def of(predictions: list[Prediction]) -> np.ndarray:
    return np.array([each.probabilities for each in predictions])


def test_torch_and_onnx_say_the_same(folder: Path, sounds: list[Path]) -> None:
    ours = list(Classifier.load(folder).classify(sounds))
    theirs = list(Classifier.load(folder, backend="onnx").classify(sounds))
    np.testing.assert_allclose(of(theirs), of(ours), atol=1e-5)
    assert [each[:4] for each in theirs] == [each[:4] for each in ours]
    assert [Path(each.path) for each in ours] == sounds
    for each in ours:
        assert each.label == CARD.labels[int(each.probabilities.argmax())]
        assert each.probability == each.probabilities.max()
        assert (each.start, each.end) == (None, None)


def test_eight_bits_are_used_where_asked_for(folder: Path, sounds: list[Path]) -> None:
    exact, coarse = (
        of(list(Classifier.load(folder, backend=name).classify(sounds)))  # type: ignore[arg-type]
        for name in ("onnx", "int8")
    )
    assert 0 < np.abs(exact - coarse).max() < 0.3


def test_windows_are_the_same_in_rows_and_in_a_table(folder: Path, sounds: list[Path]) -> None:
    classifier = Classifier.load(folder, backend="onnx")
    rows = list(classifier.classify_long(sounds[-1], hop=0.5))
    table = classifier.predict_long(sounds[-1], hop=0.5)
    columns = ["start", "end", "label", "probability", "known", "p_a", "p_b", "p_c"]
    assert table.columns.tolist() == columns
    assert [(row.start, row.end, row.label) for row in rows] == list(
        table[["start", "end", "label"]].itertuples(index=False, name=None)
    )
    assert np.allclose([row.start for row in rows], [0, 0.5, 1, 1.5, 2], atol=512 / 22_050)
    assert {row.path for row in rows} == {str(sounds[-1])}
    assert np.array_equal(table[["p_a", "p_b", "p_c"]].to_numpy(), of(rows))
    assert classifier.to_frame(rows).columns[:3].tolist() == ["path", "start", "end"]


def test_files_are_read_when_they_are_asked_for(folder: Path, sounds: list[Path]) -> None:
    asked = []

    def paths() -> object:
        for path in sounds * 20:
            asked.append(path)
            yield path

    first = next(Classifier.load(folder, backend="onnx").classify(paths()))  # type: ignore[arg-type]
    assert first.path == str(sounds[0])
    assert len(asked) == 32  # a batch


def test_a_broken_file_costs_itself(folder: Path, sounds: list[Path], tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_text("no sound")
    failures: list[AudioError] = []
    classifier = Classifier.load(folder, backend="onnx")
    paths = [tmp_path / "broken.wav", *sounds]
    rows = list(classifier.classify(paths, failed=failures.append))
    assert ([Path(row.path) for row in rows], len(failures)) == (sounds, 1)
    with pytest.raises(AudioError, match=r"broken\.wav"):
        list(classifier.classify(paths))


# -------------------------------------------------------------------- without training's packages

BLOCKED = f"""
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if any(name == heavy or name.startswith(heavy + ".") for heavy in {HEAVY!r}):
            raise ImportError(f"{{name}} is not installed here")

sys.meta_path.insert(0, Refuse())
from spectro.listening.classifier import Classifier
classifier = Classifier.load(sys.argv[1])
rows = [*classifier.classify(sys.argv[2:]), *classifier.classify_long(sys.argv[-1])]
print(json.dumps([row.probabilities.tolist() for row in rows]))
"""


def test_listening_needs_none_of_training_s_packages(folder: Path, sounds: list[Path]) -> None:
    command = [sys.executable, "-c", BLOCKED, folder, *sounds]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    here = Classifier.load(folder, backend="torch")
    expected = of([*here.classify(sounds), *here.classify_long(sounds[-1])])
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-5)


def test_importing_the_classifier_imports_no_package_of_training() -> None:
    code = f"""
import sys, spectro.listening.classifier
found = [name for name in {[*HEAVY, "onnxruntime"]!r} if name in sys.modules]
sys.exit(repr(found) if found else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# ----------------------------------------------------------------------------- exports by strangers


def test_an_export_that_is_not_there_is_told(tmp_path: Path) -> None:
    save_model(tmp_path, networks.build("cnn4", 3, 2), CARD)
    with pytest.raises(ModelError, match=r"model\.onnx: is not there; export the model"):
        Classifier.load(tmp_path, backend="onnx")


def test_an_export_whose_card_is_no_text_is_told(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "model")
    data = (copy / "model.onnx").read_bytes()
    assert data.count(b'"labels"') == 1
    (copy / "model.onnx").write_bytes(data.replace(b'"labels"', b'"\xa5abels"'))
    with pytest.raises(ModelError, match="was not exported from this model"):
        Classifier.load(copy, backend="onnx")


@pytest.mark.parametrize("content", [b"", b"no graph", bytes(1_000), os.mkfifo, os.mkdir])
def test_an_export_that_is_none_is_told_in_one_line(tmp_path: Path, content: object) -> None:
    save_model(tmp_path, networks.build("cnn4", 3, 2), CARD)
    if callable(content):
        content(tmp_path / "model.onnx")
    else:
        (tmp_path / "model.onnx").write_bytes(content)  # type: ignore[arg-type]
    with pytest.raises(ModelError) as error:
        Classifier.load(tmp_path, backend="onnx")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500


def answering(folder: Path, out: Path, answer: np.ndarray, *, reshaped: bool = False) -> Path:
    """Copy a model whose export says what it should, and answers always the same."""
    copy = Path(shutil.copytree(folder, out))
    proto = onnx.load(copy / "model.onnx")
    first = "unshaped" if reshaped else "probabilities"
    nodes = [onnx.helper.make_node("Constant", [], [first], value=numpy_helper.from_array(answer))]
    if reshaped:  # to what it has no values for
        shape = numpy_helper.from_array(np.array([7, 3], np.int64))
        nodes += [
            onnx.helper.make_node("Identity", ["levels"], ["same"]),
            onnx.helper.make_node("Constant", [], ["to"], value=shape),
            onnx.helper.make_node("Reshape", ["unshaped", "to"], ["probabilities"]),
        ]
    del proto.graph.node[:], proto.graph.initializer[:], proto.graph.value_info[:]
    proto.graph.node.extend(nodes)
    (copy / "model.onnx").write_bytes(proto.SerializeToString())
    return copy


@pytest.mark.parametrize(
    "rows", [[[7.0, -5.0, -1.0]], [[0.9, 0.9, 0.9]], [[np.nan, 0.5, 0.5]], [[0.5, 0.25, 0.25]] * 3]
)
def test_an_export_that_answers_otherwise_is_refused(
    folder: Path, tmp_path: Path, rows: list[list[float]]
) -> None:
    copy = answering(folder, tmp_path / "model", np.array(rows, np.float32))
    levels = np.zeros((1, 32, 44, 3), np.uint8)
    with pytest.raises(ModelError, match=r"model\.onnx: does not answer with prob.*; export"):
        OnnxBackend(copy)(levels)


def test_an_export_that_fails_as_it_runs_is_told(folder: Path, tmp_path: Path) -> None:
    copy = answering(folder, tmp_path / "model", np.ones((1, 3), np.float32), reshaped=True)
    levels = np.zeros((1, 32, 44, 3), np.uint8)
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be (run|loaded)"):
        OnnxBackend(copy)(levels)


@pytest.mark.parametrize(
    "changes",
    [{"labels": ["a", "b", "other"]}, {"size": 64}, {"std": [1, 1, 1]}, {"members": 1}],
    ids=repr,
)
def test_an_export_of_another_card_is_refused(
    folder: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    (tmp_path / "model.json").write_text(json.dumps({**CARD.to_dict(), **changes}))
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    with pytest.raises(ModelError, match="was not exported from this model"):
        Classifier.load(tmp_path, backend="onnx")


@pytest.mark.parametrize("backend", ["onnx", "int8"])
def test_an_export_of_other_tensors_is_refused(folder: Path, tmp_path: Path, backend: str) -> None:
    """As when model.safetensors alone was copied from another training."""
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    other = networks.build("cnn4", 3, 2)
    save_model(tmp_path / "other", other, CARD)
    shutil.copy(tmp_path / "other" / "model.safetensors", copy)
    with pytest.raises(
        ModelError, match="was not exported from this model; export the model again"
    ):
        Classifier.load(copy, backend=backend)  # type: ignore[arg-type]
    (copy / "model.safetensors").unlink()  # a light install needs none
    Classifier.load(copy, backend=backend)  # type: ignore[arg-type]


def test_an_export_cannot_take_weights_from_other_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = onnx.load(folder / "model.onnx")
    (tmp_path / "model").mkdir()
    first = next(i for i in proto.graph.initializer if len(i.raw_data) > 64)
    (tmp_path / "canary.bin").write_bytes(first.raw_data)
    onnx.external_data_helper.set_external_data(first, location="../canary.bin")
    first.ClearField("raw_data")
    (tmp_path / "model" / "model.onnx").write_bytes(proto.SerializeToString())
    (tmp_path / "model" / "model.json").write_text(CARD.to_json())
    monkeypatch.chdir(tmp_path / "model")
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be loaded"):
        Classifier.load(tmp_path / "model", backend="onnx")


def test_a_network_that_gives_no_numbers_is_told(tmp_path: Path, sounds: list[Path]) -> None:
    model = networks.build("cnn4", 3, 2)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.mul_(1e30)
    save_model(tmp_path, model, CARD)
    with pytest.raises(ModelError, match="gives no numbers for"):
        list(Classifier.load(tmp_path, backend="torch").classify(sounds))


def test_a_step_of_nothing_is_refused(folder: Path, sounds: list[Path]) -> None:
    with pytest.raises(ConfigError, match="hop is 0 s"):
        list(Classifier.load(folder, backend="onnx").classify_long(sounds[0], hop=0))


def test_a_bad_card_is_told_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({**CARD.to_dict(), "members": 10**9}))
    code = """
import sys
from spectro.errors import ModelError
from spectro.listening.classifier import Classifier
try:
    Classifier.load(sys.argv[1])
except ModelError as error:
    sys.exit(0 if "members" in str(error) and "torch" not in sys.modules else 1)
"""
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)


def test_a_backend_that_there_is_not_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'fast' is none of auto, torch, onnx, int8"):
        open_backend(tmp_path, "fast")  # type: ignore[arg-type]
