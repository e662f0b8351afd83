"""The number of threads: chosen by the clock, overridden by the user, and no change of results."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from fastai.learner import Learner
from fastai.torch_core import get_random_states, set_random_states

from spectro.errors import ConfigError
from spectro.models.weights import resolve
from spectro.pictures.rendered import RenderedSet
from spectro.training.data import dataloaders
from spectro.training.loop import threads as module
from spectro.training.loop.learner import fit, new_learner, predict_clips
from spectro.training.loop.progress import Listener
from spectro.training.loop.threads import Threads, candidates, one_step, quickest
from spectro.training.settings import Phase
from spectro.training.splits import split
from spectro.training.train import train
from tests.conftest import SHORT_TRAINING

CONFIG = SHORT_TRAINING.replace(arch="cnn4", phases=(Phase(epochs=2),), background=0.5)


@pytest.fixture(autouse=True)
def torchs_number() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads, and no OMP_NUM_THREADS: there is something to choose, however short."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(module, "WORTH", 1)
    torch.set_num_threads(2)


@dataclass
class Machine:
    """A clock that a step moves on, by what it takes with torch's present number of threads."""

    seconds: dict[int, float]
    now: float = 0.0

    def clock(self) -> float:
        return self.now

    def step(self) -> None:
        self.now += self.seconds[torch.get_num_threads()]


def learner(rendered: RenderedSet) -> Learner:
    parts = split(rendered.clips, 1)
    dls = dataloaders(parts.train, parts.watch, rendered.labels, CONFIG, rendered.config)
    return new_learner(dls, CONFIG, resolve("none", "cnn4"))


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({4: 0.1, 2: 0.2, 1: 0.4}, 4),
        ({4: 0.4, 2: 0.2, 1: 0.3}, 2),
        ({4: 3.0, 2: 2.5, 1: 1.0}, 1),
        ({4: 0.105, 2: 0.1, 1: 0.2}, 4),  # less than a tenth faster
    ],
)
def test_the_quickest_number_is_taken_and_the_first_wins_a_near_tie(
    seconds: dict[int, float], best: int
) -> None:
    machine = Machine(seconds)
    found, rates = quickest(machine.step, [4, 2, 1], machine.clock)
    assert found == best == torch.get_num_threads()
    assert rates == pytest.approx({number: 1 / each for number, each in seconds.items()})


def test_numbers_are_halved_down_to_one_and_slow_steps_are_timed_once() -> None:
    assert [candidates(n) for n in (1, 2, 3, 16)] == [[1], [2, 1], [3, 1], [16, 8, 4, 2, 1]]
    machine = Machine({2: 10.0, 1: 10.0})
    quickest(machine.step, [2, 1], machine.clock)
    assert machine.now == 2 * (1 + 1) * 10.0


def test_what_the_user_set_is_kept_and_not_timed(
    free: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offered(wanted: int | None = None, steps: int = 1_000) -> int:
        with Threads(wanted) as threads:
            return len(threads.callbacks(lambda line: None, steps))

    assert offered() == 1
    assert offered(wanted=1) == 0
    monkeypatch.setattr(module, "WORTH", 100)
    assert (offered(steps=99), offered(steps=100)) == (0, 1)
    torch.set_num_threads(1)
    assert offered() == 0
    torch.set_num_threads(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert offered() == 0


def test_a_wanted_number_holds_inside_and_the_callers_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError), Threads(1) as threads:
        assert (torch.get_num_threads(), threads.used) == (1, [1])
        _ = 1 / 0
    assert torch.get_num_threads() == 2
    for wrong in (0, -1, 5):
        with pytest.raises(ConfigError, match=f"--threads {wrong}: give 1 to 4"):
            Threads(wrong)


def test_a_timed_step_changes_no_weight_order_or_random_state(rendered: RenderedSet) -> None:
    timed, left = learner(rendered), learner(rendered)

    def states(learn: Learner) -> list[Any]:
        drawn = [random.random(), torch.rand(3).tolist()]
        batches = [torch.Tensor(x).tolist() for x, _ in learn.dls.train]
        weights = [x.tolist() for x in learn.model.state_dict().values()]
        frozen = [p.requires_grad for p in learn.model.parameters()]
        return [drawn, batches, weights, frozen]

    before = get_random_states()
    with one_step(timed) as step:
        step()
        step()
    first = states(timed)
    set_random_states(**before)
    assert states(left) == first
    assert all(p.grad is None for p in timed.model.parameters())


@pytest.mark.parametrize("members", [1, 2])
def test_a_training_whose_threads_were_chosen_is_byte_for_byte_one_with_that_number(
    rendered: RenderedSet, free: None, monkeypatch: pytest.MonkeyPatch, members: int
) -> None:
    def one_is_best(step: Any, numbers: list[int]) -> tuple[int, dict[int, float]]:
        step()
        torch.set_num_threads(1)
        return 1, {2: 1.25, 1: 2.0}

    monkeypatch.setattr(module, "quickest", one_is_best)
    config, parts = CONFIG.replace(members=members), split(rendered.clips, 1)
    lines: list[str] = []

    def probabilities(threads: Threads) -> bytes:
        with threads:
            learn, _ = train(
                parts, rendered.labels, config, resolve("none", "cnn4"), rendered.config,
                Listener(say=lines.append), threads=threads,
            )  # fmt: skip
            return predict_clips(learn, parts.score).tobytes()

    chosen, given = Threads(), Threads(1)
    assert probabilities(chosen) == probabilities(given)
    assert chosen.used == given.used == [1]
    assert lines == [
        "training with 1 of 2 threads (steps/s: 1.2 with 2, 2 with 1); --threads overrides"
    ]
    assert torch.get_num_threads() == 2


def test_a_slow_epoch_is_followed_by_another_choice_and_both_are_kept(
    rendered: RenderedSet, free: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs of 10, 14, 10, 16, 16 and 99 s: the fourth is slow, and after the sixth it is over."""
    best = iter([2, 1])
    asked: list[list[int]] = []

    def choose(step: Any, numbers: list[int]) -> tuple[int, dict[int, float]]:
        asked.append(numbers)
        torch.set_num_threads(1)  # quicker here
        return next(best), {2: 1.0, 1: 1.0}

    monkeypatch.setattr(module, "quickest", choose)
    learn = learner(rendered)
    took = [10.0, 14.0, 10.0, 16.0, 16.0, 99.0]
    ticks = iter([time for seconds in took for time in (0.0, seconds)])
    lines: list[str] = []
    with Threads() as threads:
        (callback,) = threads.callbacks(lines.append, 100)
        callback.clock = lambda: next(ticks)
        fit(learn, CONFIG.replace(phases=(Phase(epochs=6),)), callbacks=[callback])
    assert threads.used == [2, 1]
    assert asked == [[2, 1], [2, 1]]
    assert [line.split(" (")[0] for line in lines] == [
        "training with 2 of 2 threads", "training with 1 of 2 threads"
    ]  # fmt: skip
