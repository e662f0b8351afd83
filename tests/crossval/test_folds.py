"""A run from pictures to scores: what is written, what resumes, what the score says of itself."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from spectro.cli import tables
from spectro.crossval import folds as crossval
from spectro.crossval import predictions, protocol
from spectro.crossval import run as runs
from spectro.crossval.plots import save_run
from spectro.crossval.run import Run, default_run_folder, latest_run
from spectro.crossval.studies import budget as tuning
from spectro.errors import ConfigError, ModelError
from spectro.listening.classifier import Classifier
from spectro.models.card import read_card
from spectro.models.weights import resolve
from spectro.pictures.rendered import RenderedSet
from spectro.scores.metrics import probability_columns
from spectro.training.splits import split
from tests.conftest import SHORT_TRAINING
from tests.pretending import pretend

QUICK = SHORT_TRAINING.replace(arch="cnn4").with_last_phase(epochs=1)


@pytest.fixture(scope="module")
def whole_run(rendered: RenderedSet, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with all three folds trained for one epoch, and the random split beside it."""
    training = crossval.Training.open(tmp_path_factory.mktemp("runs") / "whole", rendered, QUICK)
    run = training.run
    for fold in rendered.folds:
        training.fold(fold)
    training.random_split()
    crossval.score_run(run, rendered)
    return run


def test_a_fold_writes_all_that_the_run_folder_promises(run: Run) -> None:
    assert {path.name for path in run.folder.iterdir()} == {
        "run.json", "scores.json", "calibration.json", "fold1"}  # fmt: skip
    assert {path.name for path in (run.folder / "fold1").iterdir()} == {
        "history.csv", "predictions.csv", "model", "training.log", "fold.json"}  # fmt: skip
    assert {path.name for path in (run.folder / "fold1" / "model").iterdir()} == {
        "model.safetensors", "model.json", "README.md", "trained-on.txt"}  # fmt: skip


def test_the_record_says_what_it_takes_to_repeat_it(run: Run, rendered: RenderedSet) -> None:
    record = json.loads((run.folder / "run.json").read_text())
    assert record["train"] == SHORT_TRAINING.to_dict()
    assert record["spectrogram"] == rendered.config.to_dict()
    assert record["weights"] == {"source": "random", "detail": "random weights, as asked"}
    assert record["rendered"]["identity"] == rendered.identity
    assert record["dataset"]["name"] == "sample"
    assert {"torch", "fastai", "numpy", "python"} <= record["environment"]["versions"].keys()
    assert "git_commit" in record["environment"]


def test_predictions_are_of_the_scored_fold_and_sum_to_one(run: Run, rendered: RenderedSet) -> None:
    predictions = run.predictions()
    scored = rendered.clips[rendered.clips["fold"] == 1]
    assert predictions["path"].tolist() == scored["path"].tolist()
    assert all(Path(path).is_file() for path in predictions["path"])
    assert all(Path(image).is_file() for image in predictions["image"])
    probabilities = predictions[probability_columns(run.labels)].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    best = [run.labels[i] for i in probabilities.argmax(axis=1)]
    assert predictions["predicted"].tolist() == best
    assert run.fold_record(1).accuracy == accuracy_score(scored["label"], best)


def test_a_clip_gets_the_probabilities_that_the_run_recorded_for_its_picture(run: Run) -> None:
    recorded = run.predictions()
    heard = Classifier.load(run.folder / "fold1" / "model").predict(recorded["path"])
    columns = probability_columns(run.labels)
    np.testing.assert_allclose(heard[columns], recorded[columns], atol=1e-4)
    assert heard["label"].tolist() == recorded["predicted"].tolist()


def test_a_finished_fold_is_not_trained_again(
    run: Run, rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(crossval.learner, "fit", fail)
    training = crossval.Training.open(run.folder, rendered, SHORT_TRAINING)
    opened = training.run
    assert training.fold(1) == run.fold_record(1)
    with pytest.raises(AssertionError, match="trained again"):
        training.fold(2)
    assert opened.finished_folds == [1]
    assert not list(run.folder.glob(".*"))


def test_a_run_of_other_settings_or_pictures_is_not_overwritten(
    run: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="other train"):
        crossval.Training.open(run.folder, rendered, SHORT_TRAINING.replace(seed=9))
    fewer = RenderedSet(
        rendered.folder, rendered.config, rendered.clips.iloc[:-1], rendered.dataset
    )
    with pytest.raises(ModelError, match="other pictures"):
        crossval.Training.open(run.folder, fewer, SHORT_TRAINING)
    names = {default_run_folder("runs", r, c).name
             for r in (rendered, fewer) for c in (QUICK, SHORT_TRAINING)}  # fmt: skip
    assert len(names) == 4
    assert all(name.startswith("sample-test-") for name in names)


def test_a_run_from_before_a_setting_goes_on(
    run: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    folder = tmp_path / "older"
    shutil.copytree(run.folder, folder)
    record = json.loads((folder / "run.json").read_text())
    del record["spectrogram"]["channels"]
    (folder / "run.json").write_text(json.dumps(record))
    training = crossval.Training.open(folder, rendered, SHORT_TRAINING)
    opened = training.run
    assert opened.finished_folds == [1]


def test_scores_equal_scikit_learns_on_the_written_predictions(whole_run: Run) -> None:
    tables = [pd.read_csv(path) for path in sorted(whole_run.folder.glob("fold*/predictions.csv"))]
    table, scores = pd.concat(tables), whole_run.scores()
    assert scores.clips == len(table) == 36
    assert scores.accuracy == pytest.approx(accuracy_score(table["label"], table["predicted"]))
    macro = f1_score(table["label"], table["predicted"], average="macro")
    assert scores.macro_f1 == pytest.approx(macro)
    per_fold = [accuracy_score(t["label"], t["predicted"]) for t in tables]
    assert [fold["accuracy"] for fold in scores.folds] == pytest.approx(per_fold)
    assert scores.fold_mean == pytest.approx(np.mean(per_fold))
    assert scores.fold_std == pytest.approx(np.std(per_fold, ddof=1))
    assert scores.accuracy_interval[0] <= scores.accuracy <= scores.accuracy_interval[1]


def test_every_clip_is_predicted_once_by_a_network_that_never_heard_it(whole_run: Run) -> None:
    table = whole_run.predictions()
    assert not table["path"].duplicated().any()
    for fold in whole_run.finished_folds:
        card = json.loads((whole_run.fold_folder(fold) / "model" / "model.json").read_text())
        assert fold not in card["training"]["folds"]


def test_a_random_split_is_shown_beside_the_score_and_leaks(whole_run: Run) -> None:
    leaking = Run.load(whole_run.folder / "random-split").predictions()
    assert leaking.groupby("group")["fold"].nunique().max() > 1
    assert sorted(leaking["path"]) == sorted(whole_run.predictions()["path"])
    correct = (leaking["label"] == leaking["predicted"]).groupby(leaking["fold"]).mean()
    found = whole_run.scores().random_split
    assert found["fold_mean"] == pytest.approx(correct.mean())
    assert found["accuracy"] == pytest.approx((leaking["label"] == leaking["predicted"]).mean())
    places = {group: set(rows["fold"]) for group, rows in leaking.groupby("group")}
    assert found["shared"] == sum(len(folds) > 1 for folds in places.values())


def test_a_random_split_that_shares_no_recording_is_not_said_to_leak(
    capsys: pytest.CaptureFixture[str],
) -> None:
    claim = {"accuracy": 0.747, "fold_mean": 0.75, "fold_std": 0.1, "clips": 158}
    tables._random_split({**claim, "shared": 0})
    told = " ".join("".join(capsys.readouterr()).split())
    assert "claims 74.7 %: each clip counts as a recording of its own" in told
    tables._random_split({**claim, "shared": 2})
    told = " ".join("".join(capsys.readouterr()).split())
    assert "it tests on recordings that it trained on" in told


def test_all_folds_scored_is_said_and_fewer_are_not_passed_off(
    run: Run, whole_run: Run, rendered: RenderedSet
) -> None:
    assert "3 of the 3 folds of sample" in whole_run.scores().protocol[0]
    assert not any("NOT" in line for line in whole_run.scores().protocol)
    assert any("NOT the 3-fold number" in line for line in run.scores().protocol)
    part = RenderedSet(
        rendered.folder,
        rendered.config,
        rendered.clips,
        rendered.dataset.replace(folds=range(10)),
    )
    lines = protocol.lines(whole_run, part)
    assert "only 3 of 10 folds are on disk: this is NOT the 10-fold number" in " ".join(lines)


@pytest.mark.parametrize(
    ("fold", "inner", "said"),
    [(4, None, "fold 4 has no pictures; there are 1, 2, 3"), (1, 7, "fold 7"), (2, 2, "both")],
)
def test_a_wrong_fold_is_told(
    rendered: RenderedSet, fold: int, inner: int | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        split(rendered.clips, fold, inner)


def test_one_fold_alone_cannot_be_scored(rendered: RenderedSet) -> None:
    with pytest.raises(ConfigError, match="nothing is left to train on"):
        split(rendered.clips[rendered.clips["fold"] == 1], 1)


def test_pictures_of_a_run_are_drawn(whole_run: Run) -> None:
    from PIL import Image

    paths = save_run(whole_run)
    assert [path.name for path in paths] == ["training.png", "confusion.png"]
    for path in paths:
        image = Image.open(path)
        assert min(image.size) > 300
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 20


def test_the_latest_run_is_found(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no scored run"):
        latest_run(tmp_path)
    shutil.copytree(run.folder, tmp_path / "mine")
    assert latest_run(tmp_path).folder == tmp_path / "mine"
    probe = shutil.copytree(run.folder, tmp_path / "probe")
    record = json.loads((probe / "run.json").read_text())
    record["train"]["phases"] = []
    (probe / "run.json").write_text(json.dumps(record))
    os.utime(probe / "scores.json", (2e9, 2e9))
    assert latest_run(tmp_path).folder == probe
    assert latest_run(tmp_path, trained=True).folder == tmp_path / "mine"
    with pytest.raises(ModelError, match="is a probe, which trains no network: it has no curves"):
        Run.load(probe).history(1)


@pytest.mark.parametrize("name", ["run.json", "scores.json"])
def test_a_folder_without_a_run_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "other.txt").touch()
    with pytest.raises(ModelError, match="holds no run"):
        Run.load(tmp_path)


def test_a_folder_of_several_seeds_says_so(tmp_path: Path) -> None:
    for seed in (3, 4):
        (tmp_path / f"seed{seed}").mkdir()
        (tmp_path / f"seed{seed}" / "run.json").touch()
    with pytest.raises(ModelError, match=r"holds 2 runs, one a seed; name one, as .*seed3$"):
        Run.load(tmp_path)
    with pytest.raises(ModelError, match=r"holds a run a seed: take a model of one, as .*seed3"):
        read_card(tmp_path)


def test_a_folder_that_is_no_run_is_refused_and_untouched(
    rendered: RenderedSet, tmp_path: Path
) -> None:
    (tmp_path / "fold1").mkdir()
    (tmp_path / "fold1" / "precious.wav").touch()
    with pytest.raises(ModelError, match="holds something else; name another --run"):
        crossval.Training.open(tmp_path, rendered, QUICK)
    assert [path.name for path in tmp_path.rglob("*")] == ["fold1", "precious.wav"]


def test_training_that_diverged_keeps_nothing(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = crossval.Training.open(tmp_path / "run", rendered, QUICK)
    run = training.run
    monkeypatch.setattr(crossval.learner, "fit", lambda *_: pd.DataFrame())
    monkeypatch.setattr(
        crossval.learner, "predict_clips", lambda _, clips: np.full((len(clips), 3), np.nan)
    )
    with pytest.raises(ModelError, match="training diverged"):
        training.fold(1)
    assert run.finished_folds == []


def test_what_a_score_leaves_out_or_leaks_is_told_with_it(
    whole_run: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    folder = tmp_path / "rendered"
    folder.mkdir()
    (folder / "failures.csv").write_text("path,reason\na.wav,empty\nb.wav,empty\n")
    clips = rendered.clips.assign(group="one")
    told = rendered.dataset.replace(notes=["4 listed clips are absent: x.wav"])
    lines = protocol.lines(whole_run, RenderedSet(folder, rendered.config, clips, told))
    assert "1 source recordings sit in more than one fold: one" in lines
    assert "2 clips could not be decoded and are not scored" in lines
    assert "4 listed clips are absent: x.wav" in lines


def test_copied_fold_folders_do_no_harm(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    shutil.copytree(run.folder / "fold1", tmp_path / "run" / "fold1.bak")
    assert Run.load(tmp_path / "run").finished_folds == [1]


@pytest.mark.parametrize("name", ["run.json", "scores.json", "fold1/fold.json"])
@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_damaged_record_is_named(run: Run, tmp_path: Path, name: str, content: str) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / name).write_text(content)
    with pytest.raises(ModelError) as error:
        opened = Run.load(tmp_path / "run")
        opened.scores()
        opened.fold_record(1)
    assert str(tmp_path / "run" / name) in str(error.value)


def test_one_class_is_refused_before_training(rendered: RenderedSet, tmp_path: Path) -> None:
    clips = rendered.clips[rendered.clips["label"] == "siren"]
    only = RenderedSet(rendered.folder, rendered.config, clips, rendered.dataset)
    with pytest.raises(ConfigError, match="two classes"):
        crossval.Training.open(tmp_path / "run", only, QUICK)


def test_rehearsing_never_opens_the_scored_fold(rendered: RenderedSet, tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    shutil.copytree(rendered.folder, out)
    shutil.rmtree(out / "fold1")
    copy = RenderedSet.load(out)
    weights = resolve("none", QUICK.arch)
    with pytest.raises(ConfigError, match="set an inner fold aside"):
        tuning.rehearse(copy, QUICK, weights, 1)
    history = tuning.rehearse(copy, QUICK.replace(inner_fold=2), weights, 1)
    assert history["epoch"].tolist() == [1]
    assert history["accuracy"].between(0, 1).all()


def test_pictures_that_were_moved_are_found_where_they_are_now(
    run: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    """The old folder is gone; the score reads pictures of every finished fold."""
    old, new, folder = tmp_path / "old", tmp_path / "new", tmp_path / "run"
    shutil.copytree(rendered.folder, old)
    training = crossval.Training.open(folder, RenderedSet.load(old), QUICK)
    training.fold(1)
    old.rename(new)
    pictures = RenderedSet.load(new)
    training = crossval.Training.open(folder, pictures, QUICK)
    training.fold(2)
    assert crossval.score_run(training.run, pictures).clips == 24
    assert (folder / "calibration.json").is_file()
    images = Run.load(folder).predictions()["image"]
    assert all(Path(image).is_relative_to(new) and Path(image).is_file() for image in images)


def test_of_two_processes_that_begin_a_run_at_once_one_is_refused(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other begins between this one's look at the folder and its writing."""
    folder = tmp_path / "run"
    real = runs.is_taken

    def meanwhile(path: Path) -> bool:
        taken = real(path)
        monkeypatch.setattr(runs, "is_taken", real)
        crossval.Training.open(folder, rendered, QUICK.replace(seed=1))
        return taken

    monkeypatch.setattr(runs, "is_taken", meanwhile)
    with pytest.raises(ModelError, match=r"holds a run with other train \(seed"):
        crossval.Training.open(folder, rendered, QUICK.replace(seed=2))
    assert Run.load(folder).config.seed == 1
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labels": ["siren", "siren", "jackhammer"]}, "a class is named twice"),
        ({"labels": [str(n) for n in range(10_001)]}, "at most 10000 items"),
    ],
)
def test_classes_of_a_record_differ_and_are_bounded(
    run: Run, tmp_path: Path, change: dict[str, object], told: str
) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    record = json.loads((run.folder / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**record, **change}))
    with pytest.raises(ModelError, match=told):
        Run.load(tmp_path / "run")


@pytest.mark.parametrize("fold", ["1.0", "True"])
def test_a_fold_that_is_no_whole_number_is_told(run: Run, tmp_path: Path, fold: str) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    table = pd.read_csv(run.folder / "fold1" / "predictions.csv", dtype=str)
    table.assign(fold=fold).to_csv(tmp_path / "run" / "fold1" / "predictions.csv", index=False)
    with pytest.raises(ModelError, match="a fold is not a whole number"):
        Run.load(tmp_path / "run").predictions()


def test_a_split_that_leaks_says_so_where_the_model_goes(whole_run: Run) -> None:
    """A model folder is passed on without its run."""
    for folder, leaks in ((whole_run.folder, False), (whole_run.folder / "random-split", True)):
        assert Run.load(folder).leaks == leaks
        told = (folder / "fold1" / "model" / "README.md").read_text()
        assert ("A RANDOM SPLIT, NOT AN HONEST SCORE" in told) == leaks
        assert ("on which it was not trained" in told) != leaks


def test_a_fold_that_was_set_aside_is_not_counted_as_learned_from(
    rendered: RenderedSet, tmp_path: Path
) -> None:
    training = crossval.Training.open(tmp_path / "run", rendered, QUICK.replace(inner_fold=3))
    training.fold(1)
    (line, *_) = protocol.lines(training.run, rendered)
    assert "trained on 1 other fold in" in line
    assert training.run.watched == "the inner fold"


def test_a_fold_of_pictures_that_were_drawn_anew_is_not_taken_for_these(
    whole_run: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    """Sounds were mended and rendered again: the set is the same, its pictures are not."""
    shutil.copytree(whole_run.folder, tmp_path / "run")
    pictures = RenderedSet.load(shutil.copytree(rendered.folder, tmp_path / "pictures"))
    training = crossval.Training.open(tmp_path / "run", pictures, QUICK)
    before = training.fold(1)
    one, other = pictures.clips.loc[pictures.clips["fold"] == 2, "image"].iloc[[0, 1]]
    content = Path(one).read_bytes()
    shutil.copy(other, one)
    shutil.rmtree(tmp_path / "run" / "fold3")  # as one that is to be trained now
    with pytest.raises(ModelError, match="fold 1 was trained on other pictures than are there now"):
        crossval.Training.open(tmp_path / "run", pictures, QUICK)
    Path(one).write_bytes(content)
    training = crossval.Training.open(tmp_path / "run", pictures, QUICK)
    assert training.fold(1) == before


def test_a_random_split_of_an_earlier_version_is_known_by_its_place_and_gone_on_with(
    whole_run: Run, rendered: RenderedSet, tmp_path: Path
) -> None:
    """Its run.json does not say what it is."""
    shutil.copytree(whole_run.folder, tmp_path / "run")
    inner = tmp_path / "run" / "random-split"
    record = json.loads((inner / "run.json").read_text())
    assert record.pop("design") == {"random_folds": True}
    (inner / "run.json").write_text(json.dumps(record))
    (inner / "scores.json").unlink()
    assert Run.load(inner).leaks
    crossval.Training.open(tmp_path / "run", rendered, QUICK).random_split()
    assert Run.load(inner).scores().clips == len(rendered.clips)


def test_folds_of_one_gpu_and_of_two_are_not_mixed(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda train, config: 0.5)
    crossval.Training.open(tmp_path, rendered, QUICK).fold(1)
    with pytest.raises(ConfigError, match=r"fold 1 was trained with --gpus 1, which has other"):
        crossval.Training.open(tmp_path, rendered, QUICK, n_gpus=2).fold(2)


@pytest.mark.parametrize("kind", ["pipe", "large"])
def test_a_table_of_predictions_is_bounded(
    whole_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    run = Run.load(shutil.copytree(whole_run.folder, tmp_path / "run"))
    for name, read in (
        ("predictions.csv", run.predictions),
        ("history.csv", lambda: run.history(1)),
    ):
        file = run.folder / "fold1" / name
        if kind == "large":
            monkeypatch.setattr(predictions, "LARGEST_TABLE", 20)
        else:
            file.unlink()
            os.mkfifo(file)
        with pytest.raises(ModelError, match=rf"{name}: cannot be read \(.*no regular|larger"):
            read()


def test_a_loss_that_was_not_a_number_is_read_again(whole_run: Run, tmp_path: Path) -> None:
    run = Run.load(shutil.copytree(whole_run.folder, tmp_path / "run"))
    file = run.folder / "fold1" / "history.csv"
    history = run.history(1)
    history.assign(train_loss=np.nan).to_csv(file, index=False)
    found = run.history(1)
    assert found["train_loss"].isna().all()
    assert found["valid_loss"].tolist() == history["valid_loss"].tolist()


@pytest.mark.parametrize(("arch", "crop"), [("vgg16", 0.5), ("alexnet", 0.0), ("alexnet", 0.2)])
def test_pictures_too_small_for_a_network_are_told_before_training(
    rendered: RenderedSet, tmp_path: Path, arch: str, crop: float
) -> None:
    config = QUICK.replace(arch=arch, crop=crop, size=64 if crop == 0.2 else 32)
    with pytest.raises(ConfigError, match=rf"{arch} cannot take pictures of \d+ x \d+"):
        crossval.Training.open(tmp_path / "run", rendered, config)
    assert not (tmp_path / "run").exists()
