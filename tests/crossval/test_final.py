"""One network on all folds: what it is trained on, what its card promises, what is exported."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from spectro.crossval import folds as crossval
from spectro.crossval.final import export as exporting
from spectro.crossval.final import train as final
from spectro.crossval.final.evidence import steadiness
from spectro.crossval.final.export import export, pictures_of
from spectro.crossval.final.train import train_final
from spectro.crossval.records import Design
from spectro.crossval.run import Run
from spectro.errors import ConfigError, MissingExtraError, ModelError
from spectro.listening.averaging import RunBackend
from spectro.listening.backends import open_backend
from spectro.listening.classifier import Classifier
from spectro.listening.verify import verify
from spectro.models.calibrated import RunCalibration, tempered
from spectro.models.card import read_card
from spectro.models.exports.probes import noise_pictures
from spectro.models.exports.vectors import Array
from spectro.models.folder import load_model
from spectro.models.networks import build
from spectro.models.networks.build import Ensemble
from spectro.models.weights import resolve
from spectro.pictures.read import read_levels
from spectro.pictures.rendered import RenderedSet
from spectro.scores.calibration import apply_temperature, fit_temperature
from spectro.scores.metrics import probability_columns
from spectro.training import train
from spectro.training.loop import learner
from spectro.training.settings import Phase, TrainConfig
from spectro.training.splits import Split

pytestmark = pytest.mark.slow

CONFIG = TrainConfig(
    arch="cnn4",
    weights="none",
    batch_size=8,
    phases=(Phase(epochs=4, lr=1e-2),),
    members=2,
    seed=3,
)


@pytest.fixture(scope="module")
def whole(rendered: RenderedSet, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with all folds of two tiny networks each."""
    return crossval.cross_validate(rendered, tmp_path_factory.mktemp("final") / "run", CONFIG)


@pytest.fixture(scope="module")
def made(whole: Run, rendered: RenderedSet) -> final.Trained:
    trained = train_final(whole, rendered)
    export(trained.folder, pictures_of(trained.folder))
    return trained


def test_it_is_what_training_on_all_clips_gives(
    made: final.Trained, whole: Run, rendered: RenderedSet
) -> None:
    clips = rendered.clips
    parts = Split(clips, clips.iloc[:5], clips.iloc[:0])
    learn, _ = train.train(
        parts, whole.labels, whole.config, resolve("none", "cnn4"), rendered.config
    )
    assert isinstance(learn.model, Ensemble)
    model, card = load_model(made.folder)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, learn.model.state_dict()[name])
    assert (card.members, card.training["clips"]) == (2, len(clips))
    assert card.training["folds"] == rendered.folds
    assert card.training["settings"] == whole.config.to_dict()


def test_pictures_are_shown_to_the_model_as_they_were_in_training(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a network that expects another mean and deviation than ImageNet's."""
    pytest.importorskip("timm")
    one = {"arch": "tf_efficientnet_lite0", "size": 32, "members": 1, "phases": (Phase(epochs=1),)}
    run = crossval.cross_validate(rendered, tmp_path / "run", CONFIG.replace(**one))
    watched, real = [], learner.predict_clips

    def kept(learn: Any, clips: Any) -> Any:
        watched.append((clips, real(learn, clips)))
        return watched[-1][1]

    monkeypatch.setattr(final.learner, "predict_clips", kept)
    made = train_final(run, rendered)
    clips, probabilities = watched[-1]
    answers = Classifier.load(made.folder, backend="torch").classify(clips["path"])
    expected = tempered(probabilities, made.card.temperature)
    found = [answer.probabilities for answer in answers]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_its_card_says_what_to_expect(made: final.Trained, whole: Run) -> None:
    card, scores, table = read_card(made.folder), whole.scores(), whole.predictions()
    assert card.scores["expected"] is True
    assert card.scores["accuracy"] == pytest.approx(scores.accuracy, abs=1e-4)
    assert card.scores["accuracy_interval"] == pytest.approx(scores.accuracy_interval, abs=1e-4)
    assert card.scores["protocol"] == list(scores.protocol)
    truth = [whole.labels.index(label) for label in table["label"]]
    probabilities = table[probability_columns(whole.labels)].to_numpy()
    assert card.temperature == pytest.approx(fit_temperature(truth, probabilities))
    scaled = apply_temperature(probabilities, card.temperature)
    assert card.unknown is not None
    raised_by_none = 0  # clips that are told unknown
    for i, label in enumerate(whole.labels):
        own = [p[i] for p, t in zip(scaled, truth, strict=True) if t == i]
        found = card.detections[label]
        assert len(found) == len(own)
        raised_by_none += found.count(0)
        for value in filter(None, found):
            assert min(abs(value - p) for p in own) < 1e-5
    assert raised_by_none == int((1 - card.unknown.kept) * (len(truth) - 1)) > 0
    page = (made.folder / "README.md").read_text()
    assert f"**{100 * scores.accuracy:.1f} %** of {scores.clips} clips" in page
    assert "trained on every fold" in page
    assert "silence:" in page


def test_a_class_that_sounds_like_noise_is_spared(
    made: final.Trained, whole: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    """The gate is that of noise drawn like the clips, in the card and in the run alike."""
    config, size = rendered.config, whole.config.size
    noise = noise_pictures(config, size)
    steady = made.card.steady
    assert steady is not None
    assert steady.covers(noise).all()
    kept = RunCalibration.of(whole.folder)
    assert kept is not None
    assert kept.steady == steady
    rain = [str(tmp_path / f"{number}.png") for number in range(len(noise))]
    for levels, name in zip(noise, rain, strict=True):
        Image.fromarray(levels).save(name)
    clips = rendered.clips[["label", "image"]]
    with_rain = pd.concat([clips, pd.DataFrame({"label": "rain", "image": rain})])
    found = steadiness(whole, with_rain)
    assert sorted({*found.spared} - {*steady.spared}) == ["rain"]
    assert (found.change, found.relief) == (steady.change, steady.relief)


def test_unknown_is_chosen_on_held_out_clips(made: final.Trained, whole: Run) -> None:
    """Energies of each fold's networks on their held-out fold, network by network."""
    card, table = read_card(made.folder), whole.predictions()
    assert card.unknown is not None
    assert made.evidence is not None
    means = {name: np.mean([*by.values()]) for name, by in made.evidence.aurocs.items()}
    assert set(means) == {"probability", "energy"}
    assert card.unknown.auroc == pytest.approx(max(means.values()))
    scores = []
    for fold in whole.finished_folds:
        model, own = load_model(whole.fold_folder(fold) / "model")
        images = table.loc[table["fold"] == fold, "image"].tolist()
        pixels = torch.from_numpy(read_levels(images, None)).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (own.mean, own.std))
        with torch.inference_mode():
            each = [member((pixels - mean) / std) for member in model.members]
        if card.unknown.method == "energy":
            scores += list(np.mean([np.log(np.exp(x.double()).sum(1)) for x in each], axis=0))
        else:
            mixed = np.mean([x.softmax(1).numpy() for x in each], axis=0)
            scores += list(apply_temperature(mixed, card.temperature).max(axis=1))
    kept = np.mean(np.array(scores) >= card.unknown.threshold - 1e-4)
    assert 0.95 <= kept < 0.95 + 3 / len(scores)


def test_it_is_exported_and_can_be_verified(made: final.Trained, whole: Run) -> None:
    assert all(stage.is_same for stage in verify(made.folder))
    levels = read_levels(whole.predictions()["image"].tolist(), None)
    answers = [open_backend(made.folder, name)(levels) for name in ("torch", "onnx")]  # type: ignore[arg-type]
    np.testing.assert_allclose(answers[0].probabilities, answers[1].probabilities, atol=1e-4)
    assert np.array_equal(answers[0].known, answers[1].known)


def test_it_is_not_trained_twice(
    made: final.Trained, whole: Run, rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(final, "_train", None)
    again = train_final(whole, rendered)
    assert (again.folder, again.evidence) == (made.folder, None)


def test_a_network_that_is_trained_is_not_lost(
    made: final.Trained,
    whole: Run,
    rendered: RenderedSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, trained = final._train, []

    def stop_before(last: int) -> Any:
        def once(*args: Any, **about: Any) -> Any:
            if len(trained) == last:
                raise KeyboardInterrupt
            trained.append(args[2].seed)
            return real(*args, **about)

        return once

    monkeypatch.setattr(final, "_train", stop_before(1))
    with pytest.raises(KeyboardInterrupt):
        train_final(whole, rendered, tmp_path / "out")
    monkeypatch.setattr(final, "_train", stop_before(9))
    train_final(whole, rendered, tmp_path / "out")
    assert trained == [6, 7]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    ours, _ = load_model(tmp_path / "out")
    straight, _ = load_model(made.folder)
    for name, tensor in straight.state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[name])


def test_missing_folds_are_named_with_the_command(
    whole: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    shutil.copytree(whole.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "fold2")
    with pytest.raises(ModelError, match="fold 2 not trained") as error:
        train_final(Run.load(tmp_path / "run"), rendered)
    told = str(error.value)
    assert f"spectro cross-validate {rendered.folder} --run {tmp_path / 'run'}" in told
    assert "--recipe plain" in told
    for option in ("--arch cnn4", "--batch-size 8", "--epochs 4", "--members 2", "--lr 0.01"):
        assert option in told
    assert "--seed 3" in told


def test_other_pictures_are_refused(whole: Run, rendered: RenderedSet, tmp_path: Path) -> None:
    fewer = dataclasses.replace(rendered, clips=rendered.clips.iloc[1:])
    with pytest.raises(ModelError, match=r"is not what .* was trained on any more"):
        train_final(whole, fewer, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train": CONFIG.model_copy(update={"phases": ()})}, "is a probe"),
        ({"design": Design(share=0.5)}, "trained on a part"),
    ],
)
def test_runs_that_tell_nothing_of_all_clips_are_refused(
    whole: Run, rendered: RenderedSet, changes: dict[str, Any], told: str
) -> None:
    other = Run(whole.folder, whole.record.model_copy(update=changes))
    with pytest.raises(ConfigError, match=told):
        final.check(other, rendered)


@pytest.mark.parametrize("there", ["file", "other model"])
def test_what_is_there_is_not_written_over(
    made: final.Trained, whole: Run, rendered: RenderedSet, tmp_path: Path, there: str
) -> None:
    if there == "file":
        (tmp_path / "notes.txt").write_text("mine")
    else:
        shutil.copy(whole.fold_folder(1) / "model" / "model.json", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ModelError, match="name another --out"):
        train_final(whole, rendered, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# --------------------------------------------------------------------------------------- exports


def test_eight_bits_of_all_folds_are_judged_out_of_fold(
    made: final.Trained, whole: Run, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(made.folder, model)
    clips = pictures_of(model, run=whole)
    assert clips.unheard.empty
    _, eight = export(model, clips, int8=True, most_lost=1.0)
    assert eight.change is not None
    assert eight.change.clips == len(whole.predictions())
    assert eight.change.before == pytest.approx(whole.scores().accuracy)
    assert eight.path.is_file()
    assert all(stage.is_same for stage in verify(model))


def test_eight_bits_that_cost_accuracy_are_not_kept(
    made: final.Trained, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    shutil.copytree(made.folder, model)
    real = exporting._one_fold

    def worse(*args: Any) -> Any:
        found = real(*args)
        return found._replace(change=found.change._replace(before=0.9, after=0.5))

    monkeypatch.setattr(exporting, "_one_fold", worse)
    with pytest.raises(ModelError, match=r"falls from 90\.0% to 50\.0%, more than 1\.0%"):
        export(model, pictures_of(model, run=whole), int8=True)
    assert not (model / "model.int8.onnx").exists()


def test_a_fold_s_model_is_judged_on_its_fold(whole: Run, tmp_path: Path) -> None:
    shutil.copytree(whole.fold_folder(1) / "model", tmp_path / "model")
    clips = pictures_of(tmp_path / "model", run=whole)
    assert set(clips.unheard["fold"]) == {1}
    assert set(clips.heard["fold"]) == {2, 3}
    with pytest.raises(ModelError, match="lies in no run"):
        pictures_of(tmp_path / "model")


def test_clips_that_a_model_heard_are_not_out_of_fold_in_a_set_that_grew(
    whole: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    """One clip is gone, so the set is another; by their pictures the others are known again."""
    fewer = dataclasses.replace(rendered, clips=rendered.clips.iloc[1:])
    clips = pictures_of(whole.fold_folder(3) / "model", fewer)
    assert set(clips.unheard["fold"]) == {3} and len(clips.unheard) == 12
    assert set(clips.heard["fold"]) == {1, 2}
    with pytest.raises(ModelError, match="was trained on all of these clips; name others"):
        pictures_of(train_final(whole, rendered).folder, fewer)
    foreign = tmp_path / "model"  # of which no mark is of these pictures
    shutil.copytree(whole.fold_folder(3) / "model", foreign)
    (foreign / "trained-on.txt").write_text("0123456789abcdef\n")
    clips = pictures_of(foreign, fewer)
    assert set(clips.unheard["fold"]) == {2} and set(clips.heard["fold"]) == {1, 3}
    with pytest.raises(ModelError, match="in two folds or more"):
        pictures_of(foreign, dataclasses.replace(fewer, clips=fewer.clips.query("fold == 2")))


def test_a_model_is_made_in_the_folder_one_is_in(
    whole: Run, rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(final, "_train", lambda *_, **__: build.build("cnn4", 3))
    train_final(whole, rendered, ".")
    assert (tmp_path / "model.safetensors").is_file()


# ------------------------------------------------------------------------------- a run as a model


def test_a_run_is_the_mean_of_its_folds(whole: Run, rendered: RenderedSet) -> None:
    kept = RunCalibration.of(whole.folder)
    assert kept is not None
    levels = read_levels(rendered.clips["image"].tolist()[:7], None)
    each = [open_backend(whole.fold_folder(k) / "model", "torch")(levels) for k in rendered.folds]
    wanted = np.mean([apply_temperature(a.probabilities, kept.temperature) for a in each], axis=0)
    classifier = Classifier.load(whole.folder, backend="torch")
    answer = open_backend(whole.folder, "torch")(levels)
    np.testing.assert_allclose(answer.probabilities, wanted, atol=1e-5)
    assert classifier.card.temperature == kept.temperature
    assert "the mean of the networks of folds 1, 2, 3" in classifier.remark
    path = rendered.clips["path"].tolist()[:2]
    rows = list(classifier.classify(path))
    np.testing.assert_allclose([row.probabilities for row in rows], wanted[:2], atol=1e-4)


def test_a_run_of_a_stranger_is_bounded(whole: Run, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "fold1").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    with pytest.raises(ModelError, match="without a trained network"):
        RunBackend(run, "torch")
    (run / "fold1" / "model").symlink_to(whole.fold_folder(1) / "model")
    with pytest.raises(ModelError, match="symbolic link"):
        RunBackend(run, "torch")
    (run / "fold1" / "model").unlink()
    for fold in range(1, 102):
        (run / f"fold{fold}" / "model").mkdir(parents=True)
        (run / f"fold{fold}" / "model" / "model.json").write_text("{}")
    with pytest.raises(ModelError, match="over 100 folds"):
        RunBackend(run, "torch")


def test_networks_of_other_classes_are_not_averaged(whole: Run, tmp_path: Path) -> None:
    shutil.copytree(whole.folder, tmp_path / "run")
    path = tmp_path / "run" / "fold2" / "model" / "model.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "labels": [*card["labels"][:-1], "other"]}))
    with pytest.raises(ModelError, match="folds 1 and 2 have networks of other labels"):
        RunBackend(tmp_path / "run", "torch")


# ---------------------------------------------------------------------------------- the commands


@pytest.mark.long
def test_without_the_packages_of_exports_the_model_stays(
    made: final.Trained,
    whole: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from spectro.cli import models

    shutil.copytree(made.folder, tmp_path / "model")
    (tmp_path / "model" / "model.onnx").unlink()
    monkeypatch.setitem(sys.modules, "onnx", None)
    models._export_if_possible(tmp_path / "model", whole, None)
    told = " ".join(capsys.readouterr().err.split())
    assert "not exported: an export needs an optional part: pip install 'spectro[onnx]'" in told
    assert (tmp_path / "model" / "model.safetensors").is_file()
    with pytest.raises(MissingExtraError):
        export(tmp_path / "model", pictures_of(tmp_path / "model", run=whole))


@pytest.mark.long
def test_the_commands_from_end_to_end(whole: Run, tmp_path: Path) -> None:
    from tests.cli.test_cli import call

    run = tmp_path / "run"
    shutil.copytree(whole.folder, run)
    shutil.rmtree(run / "final", ignore_errors=True)
    done = call("train-final", run)
    assert done.returncode == 0, done.stderr
    assert "to expect, from out of fold: accuracy" in done.stdout
    assert {"model.onnx", "verify.json", "README.md"} <= {p.name for p in (run / "final").iterdir()}
    assert "is trained already" in call("train-final", run).stdout
    assert call("verify", run / "final").returncode == 0
    kept = json.loads((run / "final" / "verify.json").read_text())
    other = np.zeros((len(kept["names"]), len(whole.labels)), dtype=np.float32)
    kept["answers"]["float32"] = json.loads(Array.of(other).to_text())
    (run / "final" / "verify.json").write_text(json.dumps(kept))
    spoiled = call("verify", run / "final")
    assert spoiled.returncode == 1
    assert "network in torch: DIFFERS" in spoiled.stderr
    heard = call("predict", run, whole.predictions()["path"][0])
    assert "a run, so the mean of the networks of folds 1, 2, 3" in heard.stderr
    shutil.rmtree(run / "fold2")
    shutil.rmtree(run / "final")
    refused = call("train-final", run)
    assert refused.returncode == 1
    assert len(refused.stderr.strip().splitlines()) == 1
