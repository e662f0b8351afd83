"""The precision that "auto" means: what is faster for this network here, and kept by a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from spectro.cli import steps
from spectro.crossval import folds as crossval
from spectro.crossval import runs
from spectro.crossval import start as starting
from spectro.crossval.run import Run
from spectro.crossval.studies import learning_curve
from spectro.crossval.studies.nested import Nested, inner_folder
from spectro.errors import ModelError
from spectro.models.weights import Weights
from spectro.pictures.rendered import RenderedSet
from spectro.training.loop import learner, timing
from spectro.training.loop.progress import Listener
from spectro.training.settings import TrainConfig
from tests.conftest import SHORT_TRAINING
from tests.pretending import pretend

CPU = torch.device("cpu")
LONG = TrainConfig(arch="cnn4", weights="none")
BRIEF = SHORT_TRAINING.with_last_phase(epochs=1).replace(arch="cnn4")


@pytest.fixture
def sixteen_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that multiplies sixteen bits."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})


def rates(monkeypatch: pytest.MonkeyPatch, fp32: float, bf16: float) -> list[int]:
    """Have timing find these rates; the threads of each timing are in the list."""
    threads: list[int] = []
    timing._rates.cache_clear()

    def rate(step: Any, seconds: float) -> float:
        threads.append(torch.get_num_threads())
        step()
        return bf16 if used == {torch.bfloat16} else fp32

    used: set[torch.dtype] = set()

    def note(_: Any, __: Any, made: torch.Tensor) -> None:
        used.clear()
        used.add(made.dtype)

    real = timing.networks.build

    def build(*args: Any) -> Any:
        model = real(*args)
        model[0].register_forward_hook(note)
        return model

    monkeypatch.setattr(timing.networks, "build", build)
    monkeypatch.setattr(timing, "rate", rate)
    return threads


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen"), [(30.0, 22.0, "fp32"), (21.0, 39.0, "bf16"), (20.0, 21.0, "fp32")]
)
def test_the_faster_is_taken_and_fp32_where_there_is_little_in_it(
    sixteen_bits: None, monkeypatch: pytest.MonkeyPatch, fp32: float, bf16: float, chosen: str
) -> None:
    rates(monkeypatch, fp32, bf16)
    found, why = timing.choose(LONG, 3, (64, 87), 1_000, CPU)
    assert found == chosen
    told = f"{8 * fp32:.2g} in fp32, {8 * bf16:.2g} in bf16"
    assert why == f"pictures/s timed: {told}; --precision overrides"


@pytest.mark.parametrize("phases", [LONG.phases, ()])
def test_timing_changes_nothing(
    sixteen_bits: None, monkeypatch: pytest.MonkeyPatch, phases: Any
) -> None:
    """A step is one of training, or of a probe; threads and generators are left as they were."""
    threads = rates(monkeypatch, 1, 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    try:
        assert timing.choose(LONG.replace(phases=phases), 3, (64, 87), 9_000, CPU)[0] == "bf16"
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {1, 2}
    assert torch.equal(torch.get_rng_state(), state)


def test_all_runs_of_a_study_train_in_one_arithmetic(
    sixteen_bits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates(monkeypatch, 1, 2)
    first = timing.choose(LONG, 3, (64, 87), 9_000, CPU)
    monkeypatch.setattr(timing, "rate", lambda *_, **__: 1.0)  # other work, the other way round
    assert timing.choose(LONG.replace(seed=1), 3, (64, 87), 8_000, CPU) == first
    timing._rates.cache_clear()
    assert timing.choose(LONG, 3, (64, 87), 9_000, CPU) != first


def test_only_the_threads_that_are_asked_for_are_timed(
    sixteen_bits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = rates(monkeypatch, 1, 2)
    before = torch.get_num_threads()
    timing.choose(LONG, 3, (64, 87), 9_000, CPU, 1)
    assert set(threads) == {1}
    assert torch.get_num_threads() == before


def test_what_need_not_be_timed_is_not(sixteen_bits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "fastest", lambda *_: pytest.fail("timed"))
    few, many = 50, 10_000
    for precision in ("fp32", "bf16"):
        asked = LONG.replace(precision=precision)
        assert timing.choose(asked, 3, (64, 87), many, CPU) == (precision, "as asked")
    assert timing.choose(LONG, 3, (64, 87), few, CPU)[0] == "bf16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert timing.choose(LONG, 3, (64, 87), many, CPU)[0] == "fp32"


def test_a_run_goes_on_in_the_precision_that_it_began_in(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []
    real = learner.new_learner
    monkeypatch.setattr(
        learner,
        "new_learner",
        lambda dls, config, w: trained.append(config) or real(dls, config, w),
    )
    for found in ("bf16", "fp32"):  # the machine is busier the second time
        monkeypatch.setattr(timing, "choose", lambda *_, found=found: (found, "timed"))
        training = crossval.Training.open(tmp_path / "run", rendered, BRIEF)
        fold = len(training.run.finished_folds) + 1
        assert training.fold(fold).precision == training.run.record.precision == "bf16"
    assert training.reason == "as the run began"
    assert [config.precision for config in trained] == ["bf16", "bf16"]
    with pytest.raises(ModelError, match="holds a run with other precision"):
        crossval.Training.open(tmp_path / "run", rendered, BRIEF.replace(precision="fp32"))


@pytest.mark.parametrize("study", ["candidates", "shares", "seeds"])
def test_a_study_goes_on_in_the_precision_that_its_first_run_began_in(
    study: str, rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda train, config: 0.5)
    found: list[str] = []
    for number, chosen in enumerate(("bf16", "fp32")):  # the second time in another process
        monkeypatch.setattr(timing, "choose", lambda *_, chosen=chosen: (chosen, "timed"))
        if study == "shares":
            one = learning_curve.open_share(tmp_path, rendered, BRIEF, 0.5 + 0.5 * number)
            found.append(one.run.record.precision)
        elif study == "candidates":
            both = Nested.open(tmp_path, rendered, BRIEF, {"a": BRIEF}, watch)
            fold = rendered.folds[number]
            both.fold(fold)
            found.append(Run.load(inner_folder(both.run, fold, "a")).record.precision)
        else:
            monkeypatch.setattr(steps, "score", lambda run, pictures: 0.5)
            monkeypatch.setattr(runs, "write", broken_off)
            with pytest.raises(KeyboardInterrupt):
                steps.repeat(rendered, BRIEF, tmp_path, steps.Rounds(), 1 + number)
            folders = [runs.folder_of(tmp_path, seed) for seed in range(1 + number)]
            found = [Run.load(folder).record.precision for folder in folders]
    assert found == ["bf16", "bf16"]


def broken_off(folder: Path, runs: list[Run]) -> None:
    raise KeyboardInterrupt


@contextmanager
def watch(what: str, epochs: int) -> Iterator[Listener]:
    yield Listener()


def test_a_run_goes_on_with_the_network_that_it_began_with(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where none was asked for, and later other weights can be had."""
    asked = BRIEF.replace(arch="auto")
    begun = crossval.Training.open(tmp_path / "run", rendered, asked).run
    assert begun.config.arch == "resnet18"
    monkeypatch.setattr(starting, "settle", lambda spec, arch: (arch, Weights("random", "")))
    again = crossval.Training.open(tmp_path / "run", rendered, asked).run
    assert again.config == begun.config


def test_every_run_of_a_study_tells_why_another_network_is_trained(
    rendered: RenderedSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settle(spec: str, arch: str) -> tuple[str, Weights]:
        none_asked = arch == "auto"
        why = "those of resnet18 cannot be had" if none_asked else ""
        return ("cnn4" if none_asked else arch), Weights("random", "", instead=why)

    monkeypatch.setattr(starting, "settle", settle)
    asked = BRIEF.replace(arch="auto")
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, like in ((first, []), (second, [first]), (second, [])):  # and gone on with
        training = crossval.Training.open(folder, rendered, asked, like=like)
        assert training.run.config.arch == "cnn4"
        assert training.run.record.weights.instead == "those of resnet18 cannot be had"
        assert training.begun.weights.instead == "those of resnet18 cannot be had"
