"""Learners of the user's own: fastai's ways on our pictures, and our protocol around them."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastai.callback.core import Callback
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.core import DataLoaders
from fastai.data.transforms import RandomSplitter
from fastai.interpret import ClassificationInterpretation
from fastai.learner import Learner
from fastai.losses import BCEWithLogitsLossFlat, LabelSmoothingCrossEntropyFlat
from fastai.metrics import accuracy
from fastai.torch_core import TensorImage
from fastai.vision.data import ImageBlock, ImageDataLoaders
from fastai.vision.learner import vision_learner
from fasttransform import Transform
from torch import nn
from torchvision.models import resnet18

import spectro
from spectro.crossval.final.train import train_final
from spectro.crossval.own.training import OwnTraining
from spectro.crossval.run import Run
from spectro.crossval.runs import compare_runs, list_runs
from spectro.errors import ConfigError, DivergedError, ModelError
from spectro.listening.classifier import Classifier
from spectro.models.networks.own import as_ours, load_weights, save_weights
from spectro.pictures.rendered import RenderedSet
from spectro.report.write import write_report
from spectro.training import data
from spectro.training.settings import TrainConfig

pytestmark = pytest.mark.slow

SMALL = TrainConfig(batch_size=8)


class Net(nn.Module):
    """A network that is none of ours."""

    def __init__(self, n: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, n)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean(dim=(2, 3)))


class Watch(Callback):
    """Notes which pictures a training and its validation see."""

    seen: dict[str, set[str]] = {}  # noqa: RUF012

    def before_fit(self) -> None:
        self.seen["train"] = {item.image for item in self.dls.train_ds.items}
        self.seen["valid"] = {item.image for item in self.dls.valid_ds.items}


def own_learner(dls: DataLoaders) -> Learner:
    return Learner(
        dls, Net(dls.c), loss_func=LabelSmoothingCrossEntropyFlat(), metrics=accuracy, cbs=[Watch]
    )


def two_epochs(learn: Learner) -> None:
    learn.fit_one_cycle(2, 1e-2)


@pytest.fixture(scope="module")
def own_run(rendered: RenderedSet, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("own") / "run"
    return spectro.cross_validate(rendered, folder, SMALL, make_learner=own_learner, fit=two_epochs)


@pytest.fixture(scope="module")
def fastai(rendered: RenderedSet) -> Learner:
    """A Learner on our DataLoaders, trained as fastai's users train."""
    dls = spectro.dataloaders(rendered, fold=1, batch_size=8)
    learn = Learner(dls, Net(dls.c), metrics=accuracy)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1)
    return learn


def images(pictures: RenderedSet, *folds: int) -> set[str]:
    clips = pictures.clips
    return set(clips.loc[clips["fold"].isin(folds), "image"])


def test_a_fold_and_the_one_to_choose_by_are_apart(rendered: RenderedSet) -> None:
    dls = spectro.dataloaders(rendered, fold=3, batch_size=8)
    assert {item.image for item in dls.train_ds.items} == images(rendered, 2)
    assert {item.image for item in dls.valid_ds.items} == images(rendered, 1)
    dls = spectro.dataloaders(rendered, fold=1, inner_fold=3)
    assert {item.image for item in dls.valid_ds.items} == images(rendered, 3)
    assert list(dls.vocab) == rendered.labels


def test_fastai_looks_into_its_learner(fastai: Learner, rendered: RenderedSet) -> None:
    interpretation = ClassificationInterpretation.from_learner(fastai)
    assert interpretation.confusion_matrix().sum() == len(images(rendered, 2))
    interpretation.plot_top_losses(2)


def test_predict_takes_a_picture_and_a_sound(fastai: Learner, rendered: RenderedSet) -> None:
    row = rendered.clips.iloc[5]
    of_picture = fastai.predict(row["image"])
    of_sound = fastai.predict(Path(row["path"]))
    assert fastai.predict(row["path"])[0] == fastai.predict(Path(row["image"]))[0] == of_sound[0]
    assert of_picture[0] in rendered.labels
    torch.testing.assert_close(of_picture[2], of_sound[2])
    clips = rendered.clips.iloc[[5]]
    whole = spectro.training.own.predict(fastai, clips, rendered.labels)
    np.testing.assert_allclose(whole[0], of_picture[2].numpy(), atol=1e-5)


def test_score_is_that_of_the_predictions(fastai: Learner, rendered: RenderedSet) -> None:
    scores = spectro.score(fastai, rendered, 1)
    clips = rendered.clips[rendered.clips["fold"] == 1]
    right = [fastai.predict(c.image)[0] == c.label for c in clips.itertuples()]
    assert scores.clips == len(clips)
    assert scores.accuracy == pytest.approx(np.mean(right))
    for fold, word in ((3, "trained on"), (2, "watched")):
        with pytest.raises(ConfigError, match=rf"the Learner {word} \d+ of the \d+ clips to score"):
            spectro.score(fastai, rendered, fold)


def test_dataloaders_of_ones_own_making_are_scored_too(rendered: RenderedSet) -> None:
    table = rendered.clips[rendered.clips["fold"] > 1].assign(held=lambda t: t["fold"] == 3)
    dls = ImageDataLoaders.from_df(
        table, path="/", fn_col="image", label_col="label", valid_col="held", bs=8, num_workers=0
    )
    learn = Learner(dls, Net(dls.c), metrics=accuracy)
    scores = spectro.score(learn, rendered, 1)
    assert scores.clips == (rendered.clips["fold"] == 1).sum()
    with pytest.raises(ConfigError, match="trained on"):
        spectro.score(learn, rendered, 2)


@pytest.mark.parametrize("named", ["by a function", "by a folder and an ending", "as one"])
def test_pictures_that_a_learner_opened_by_other_ways_are_found(
    rendered: RenderedSet, named: str
) -> None:
    """Relative to a folder that only the user's function knows, or without their ending."""
    at = rendered.folder
    table = rendered.clips[rendered.clips["fold"] == 1]
    short = [Path(image).relative_to(at).with_suffix("").as_posix() for image in table["image"]]
    table = table.assign(image=short)
    if named == "by a function":
        block = DataBlock(
            blocks=(ImageBlock, CategoryBlock),
            get_x=lambda row: at / f"{row['image']}.png",
            get_y=lambda row: row["label"],
            splitter=RandomSplitter(0.2, seed=0),
        )
        dls = block.dataloaders(table, bs=4, num_workers=0)
    else:
        where = {"folder": at.name} if named == "by a folder and an ending" else {}
        dls = ImageDataLoaders.from_df(
            table, path=at.parent if where else at, fn_col="image", label_col="label",
            suff=".png", bs=4, num_workers=0, **where,
        )  # fmt: skip
    learn = Learner(dls, Net(dls.c), metrics=accuracy)
    with pytest.raises(ConfigError, match=r"the Learner trained on \d+ of the \d+ clips to score"):
        spectro.score(learn, rendered, 1)


def test_where_items_name_no_picture_the_score_says_so(rendered: RenderedSet) -> None:
    dls = spectro.dataloaders(rendered, fold=1, batch_size=8)
    learn = Learner(dls, Net(dls.c), metrics=accuracy)
    assert len(spectro.score(learn, rendered, 1).protocol) == 1
    dls.train.dataset.tls[0].items = [torch.zeros(3, 8, 8)]
    assert "do not tell which pictures" in spectro.score(learn, rendered, 1).protocol[1]


def test_a_learner_that_diverged_has_no_score(rendered: RenderedSet) -> None:
    dls = spectro.dataloaders(rendered, fold=1, batch_size=8)
    learn = Learner(dls, Net(dls.c), metrics=accuracy)
    with torch.no_grad():
        learn.model.head.weight.fill_(torch.nan)
    with pytest.raises(DivergedError, match="fold 1: training diverged"):
        spectro.score(learn, rendered, 1)


@pytest.mark.parametrize("setting", [{"weight_decay": 0.5}, {"precision": "bf16"}])
def test_settings_that_a_learner_does_not_take_are_refused(
    rendered: RenderedSet, tmp_path: Path, setting: dict[str, Any]
) -> None:
    config, (name,) = SMALL.replace(**setting), setting
    with pytest.raises(ConfigError, match=f"{name}: a Learner of one's own does not"):
        OwnTraining.open(tmp_path / "run", rendered, config, own_learner)


def test_curves_of_two_folds_are_of_the_training_clips(
    rendered: RenderedSet, tmp_path: Path
) -> None:
    two = rendered.clips["fold"] < 3
    pictures = dataclasses.replace(rendered, clips=rendered.clips[two].reset_index(drop=True))
    training = OwnTraining.open(tmp_path / "run", pictures, SMALL, own_learner, two_epochs)
    training.fold(1)
    assert training.run.watched == "the training clips"


def test_a_learner_of_ones_own_is_cross_validated_honestly(
    own_run: Run, rendered: RenderedSet
) -> None:
    assert own_run.finished_folds == rendered.folds
    assert Watch.seen == {"train": images(rendered, 2), "valid": images(rendered, 1)}  # of fold 3
    assert own_run.fold_record(3).inner_fold == 1
    assert list(own_run.history(3)["epoch"]) == [1, 2]
    protocol = " ".join(own_run.scores().protocol)
    assert "the networks are the user's own (own_learner(dls), two_epochs)" in protocol
    learner = own_run.record.design.learner
    assert "def own_learner" in learner.source and "LabelSmoothing" in learner.source


@pytest.mark.long
def test_it_is_reported_and_compared_like_ours(own_run: Run, run: Run) -> None:
    page = write_report(own_run).read_text()
    assert "own_learner(dls), two_epochs" in page
    assert "spectro.cross_validate(" in page
    (row,) = list_runs(own_run.folder.parent).to_dict("records")
    assert (row["recipe"], row["arch"], row["weights"]) == (
        "own",
        "own_learner(dls), two_epochs",
        "own",
    )
    found = compare_runs(run, own_run)
    assert found.clips == run.scores().clips


def test_no_final_network_is_made_of_a_learner_that_only_its_code_can_build(
    own_run: Run, rendered: RenderedSet
) -> None:
    with pytest.raises(ConfigError, match=r"own_learner.*only your code can build"):
        train_final(own_run, rendered)


def test_another_learner_is_not_mixed_into_a_run(own_run: Run, rendered: RenderedSet) -> None:
    def other(dls: DataLoaders) -> Learner:
        return Learner(dls, Net(dls.c), metrics=accuracy)

    with pytest.raises(ModelError, match=r"other design \('def own_learner.*is now 'def other"):
        spectro.cross_validate(rendered, own_run.folder, SMALL, make_learner=other)


def test_a_network_that_was_changed_is_another_learner(
    own_run: Run, rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What own_learner names counts, not its own lines alone; unchanged, it goes on."""
    went_on = spectro.cross_validate(
        rendered, own_run.folder, SMALL, make_learner=own_learner, fit=two_epochs
    )
    assert went_on.record == own_run.record
    monkeypatch.setattr(sys.modules[__name__], "Net", lambda n: nn.Linear(n, n))
    with pytest.raises(ModelError, match="other design"):
        spectro.cross_validate(
            rendered, own_run.folder, SMALL, make_learner=own_learner, fit=two_epochs
        )


@pytest.mark.parametrize("change", [{"members": 3}, {"mixup": 0.4}])
def test_settings_that_ones_own_learner_does_not_take_are_refused(
    rendered: RenderedSet, tmp_path: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(change))}: a Learner of one's own"):
        spectro.cross_validate(
            rendered, tmp_path / "r", SMALL.replace(**change), make_learner=own_learner
        )
    assert not (tmp_path / "r").exists()
    with pytest.raises(ConfigError, match="does not take it from the settings"):
        spectro.dataloaders(rendered, 1, **change)


def test_the_protocol_leaves_out_the_fold_to_choose_by(own_run: Run) -> None:
    assert "trained on 1 other fold in fp32" in own_run.scores().protocol[0]
    assert own_run.watched == "the inner fold"


def test_a_rate_may_be_looked_for_while_training(rendered: RenderedSet, tmp_path: Path) -> None:
    """fastai's lr_find watches nothing, and is no epoch of training."""

    def found(learn: Learner) -> None:
        learn.path = tmp_path  # where fastai puts the weights that it brings back
        learn.lr_find(start_lr=1e-4, end_lr=1e-2, num_it=6, show_plot=False, stop_div=False)
        learn.fit_one_cycle(2, 1e-2)

    training = OwnTraining.open(tmp_path / "run", rendered, SMALL, own_learner, found)
    training.fold(1)
    assert list(training.run.history(1)["epoch"]) == [1, 2]


def test_scores_through_a_sigmoid_become_shares(fastai: Learner, rendered: RenderedSet) -> None:
    clips = rendered.clips[rendered.clips["fold"] == 1]
    before, fastai.loss_func = fastai.loss_func, BCEWithLogitsLossFlat()
    try:
        found = spectro.training.own.predict(fastai, clips, rendered.labels)
        each = spectro.training.loop.learner.predict_items(fastai, data.to_predict(clips))
    finally:
        fastai.loss_func = before
    assert each.sum(axis=1).max() > 1.05  # a sigmoid each
    np.testing.assert_allclose(found, each / each.sum(axis=1, keepdims=True), rtol=1e-5)


def test_a_network_that_was_shown_other_pictures_is_kept_as_its_weights(
    rendered: RenderedSet, tmp_path: Path
) -> None:
    """One of ours, but its card would have it shown what it never saw."""

    def darker(dls: DataLoaders) -> Learner:
        for dl in dls:
            dl.after_batch.add(Darker())
        return vision_learner(dls, resnet18, metrics=accuracy, pretrained=False)

    training = OwnTraining.open(
        tmp_path / "run", rendered, SMALL, darker, lambda learn: learn.fit_one_cycle(1, 1e-2)
    )
    training.fold(1)
    assert {path.name for path in (tmp_path / "run" / "fold1").iterdir()} >= {"own-model"}
    assert not (tmp_path / "run" / "fold1" / "model").exists()


class Darker(Transform):
    """Shows a network the negative of its pictures."""

    order = 200

    def encodes(self, x: TensorImage) -> TensorImage:
        return -x


def test_a_foreign_network_is_kept_as_its_weights(own_run: Run, tmp_path: Path) -> None:
    folder = own_run.fold_folder(1) / "own-model"
    first = load_weights(folder, Net())
    for saved, loaded in zip(
        load_weights(folder, Net()).state_dict().values(), first.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(saved, loaded)
    with pytest.raises(ModelError, match="another network"):
        load_weights(folder, Net(4))
    assert not (own_run.fold_folder(1) / "model").exists()
    with pytest.raises(
        ModelError, match=r"a network of the user's own, .* predict and export take"
    ):
        Classifier.load(folder)
    with pytest.raises(
        ModelError, match=r"a network of the user's own, .* predict and export take"
    ):
        Classifier.load(own_run.folder)


def test_scores_and_runs_show_a_line_in_a_notebook(own_run: Run) -> None:
    scores = own_run.scores()
    low, high = (f"{100 * bound:.1f} %" for bound in scores.accuracy_interval)
    assert repr(scores).startswith(
        f"<Scores: all {scores.clips} clips together: accuracy {100 * scores.accuracy:.1f} % "
        f"(95 %: {low} to {high}), macro F1"
    )
    folds = len(own_run.finished_folds)
    assert repr(own_run) == f"<Run {own_run.folder}: {folds} of {folds} folds trained and scored>"


def test_a_network_of_vision_learner_is_one_of_ours(rendered: RenderedSet) -> None:
    dls = spectro.dataloaders(rendered, fold=1, batch_size=8)
    learn = vision_learner(dls, resnet18, metrics=accuracy, pretrained=False)
    found = as_ours(learn.model, dls.c, ["resnet18"])
    assert found is not None
    name, ours = found
    assert name == "resnet18"
    x = torch.rand(3, 3, 64, 87)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(x), learn.model.eval()(x))


@pytest.mark.long
def test_a_network_of_vision_learner_is_kept_as_a_model_folder(
    rendered: RenderedSet, tmp_path: Path
) -> None:
    """The six lines of "From fastai"; what is saved hears as the Learner did."""
    made: list[Learner] = []

    def resnet(dls: DataLoaders) -> Learner:
        made.append(vision_learner(dls, resnet18, metrics=accuracy, pretrained=False))
        return made[-1]

    training = OwnTraining.open(
        tmp_path / "run", rendered, SMALL, resnet, lambda learn: learn.fine_tune(1)
    )
    training.fold(1)
    matrix = ClassificationInterpretation.from_learner(made[0]).confusion_matrix()
    assert matrix.sum() == (rendered.clips["fold"] == 2).sum()
    classifier = Classifier.load(tmp_path / "run" / "fold1" / "model")
    clip = rendered.clips.iloc[0]
    heard = classifier.predict([clip["path"]]).iloc[0]
    expected = made[0].predict(clip["image"])[2].numpy()
    columns = [f"p_{label}" for label in rendered.labels]
    np.testing.assert_allclose([heard[name] for name in columns], expected, atol=1e-4)


def test_a_network_with_the_same_tensors_that_answers_otherwise_is_not_ours() -> None:
    ours = spectro.models.networks.build.build("cnn4", 3)
    found = as_ours(ours, 3)
    assert found is not None and found[0] == "cnn4"

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = ours

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -self.inside(x)

    assert as_ours(Turned(), 3) is None
    assert as_ours(Net(), 3) is None


@pytest.mark.parametrize(
    ("make", "fit", "told"),
    [
        (lambda dls: Net(), None, "make_learner gave a Net; it must give a Learner"),
        (own_learner, lambda learn: None, "fit trained no epoch"),
    ],
)
def test_what_is_no_learner_is_told(
    rendered: RenderedSet, tmp_path: Path, make: Any, fit: Any, told: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        spectro.cross_validate(rendered, tmp_path / "r", SMALL, make_learner=make, fit=fit)


def test_weights_are_written_and_read_back(tmp_path: Path) -> None:
    net = Net()
    save_weights(tmp_path, net)
    other = load_weights(tmp_path, Net())
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor)
    with pytest.raises(ModelError, match=r"has no network\.safetensors"):
        load_weights(tmp_path / "none", Net())


def test_a_batch_transform_of_ones_own_changes_training_batches_alone(
    rendered: RenderedSet,
) -> None:
    """The class is the one in docs/fastai.md."""
    text = (Path(__file__).parents[2] / "docs" / "fastai.md").read_text()
    source = text[text.index("class Louder") :].partition("\n\n\n")[0]
    names: dict[str, Any] = {"torch": torch, "Transform": Transform, "TensorImage": TensorImage}
    exec(source, names)
    seen = []

    class Looking(names["Louder"]):  # type: ignore[misc]
        def encodes(self, x: TensorImage) -> TensorImage:
            seen.append((x.shape[1], float(x.min()), float(x.max())))
            return super().encodes(x)

    dls = spectro.dataloaders(rendered, fold=1, batch_size=4)
    dls.valid.one_batch()
    for dl in dls:
        dl.after_batch.add(Looking())
    dls.valid.one_batch()
    assert not seen
    x, _ = dls.train.one_batch()
    assert seen[0][0] == 3 and 0 <= seen[0][1] <= seen[0][2] <= 1
    assert float(x.min()) < 0, "normalised afterwards, once"
    expected = spectro.training.data.networks.statistics("resnet18")
    assert [n.order for n in dls.train.after_batch.fs] == sorted(
        n.order for n in dls.train.after_batch.fs
    )
    (norm,) = [f for f in dls.train.after_batch.fs if type(f).__name__ == "Normalize"]
    np.testing.assert_allclose(norm.mean.flatten().cpu(), expected[0], rtol=1e-5)
