"""Pretraining on synthesised sounds: the sounds are what their plan says, and nothing is lost."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from spectro.cli.app import app
from spectro.crossval.studies.probe import score_body
from spectro.errors import ConfigError, DivergedError, ModelError
from spectro.models.networks import build as networks
from spectro.models.weights import resolve
from spectro.pictures.rendered import RenderedSet
from spectro.pictures.settings import SpectrogramConfig
from spectro.pictures.spectrogram import spectrogram_image
from spectro.training.loop import timing
from spectro.training.loop.processes import Rank
from spectro.training.pretraining import checkpoint, sounds
from spectro.training.pretraining.objectives import Heads, contrast, parameter_errors
from spectro.training.pretraining.parameters import KINDS, PARAMETERS, SCENE, USED, Ranges, index
from spectro.training.pretraining.pictures import Pictures
from spectro.training.pretraining.pretrain import WEIGHTS, Pretraining, Probe, _rate
from spectro.training.pretraining.settings import PretrainConfig
from spectro.training.pretraining.sounds import VERSION, Plan, Synthesiser
from spectro.training.pretraining.waves import (
    Draw,
    echoed,
    envelope,
    harmonics,
    loudness,
    resonator,
)

CPU = torch.device("cpu")
SR = 16_000
RANGES = Ranges(SR, 1.0)
SMALL = SpectrogramConfig(sr=4_000, duration=0.5, n_fft=256, hop_length=64, n_mels=32, fmax=2_000)
FEW = PretrainConfig(sounds=48, batch_size=8, precision="fp32")


def synthesiser(seed: int = 0, **options: tuple[str, ...]) -> Synthesiser:
    return Synthesiser(SR, SR, seed=seed, device=CPU, **options)


def plan_of(kind: str, n: int = 2, **values: float) -> Plan:
    """One source alone, dry, without background, of parameters that are asked for."""
    dry = {"high_cut": 1.0, "low_cut": 0.0, "am_depth": 0.0, "duty": 1.0}
    dry |= {"glide": 0.5, "vibrato": 0.0, "breath": 0.0}
    places = torch.full((n, 2, len(PARAMETERS)), 0.5)
    for name, place in {**dry, **values}.items():
        places[:, :, index(name)] = place
    no, yes = torch.zeros(n, dtype=torch.bool), torch.ones(n, dtype=torch.bool)
    kinds = torch.full((n, 2), list(KINDS).index(kind))
    return Plan(kinds, places, RANGES, second=no, room=no, empty=no, quiet=yes, ends=torch.ones(n))


def loudest(y: torch.Tensor) -> float:
    spectrum = torch.fft.rfft(y * torch.hann_window(len(y))).abs()
    return float(spectrum.argmax()) * SR / len(y)


# --------------------------------------------------------------------------- what is synthesised


def test_a_step_has_its_own_sounds_and_always_the_same() -> None:
    def made(seed: int, step: int) -> tuple[Plan, torch.Tensor]:
        draw = synthesiser(seed).draw(step)
        plan = synthesiser(seed).plan(draw, 12)
        return plan, synthesiser(seed).make(draw, plan)

    (plan, y), (again, same) = made(3, 7), made(3, 7)
    assert torch.equal(plan.places, again.places) and torch.equal(y, same)
    assert y.isfinite().all() and y.abs().max() <= 1 and y.shape == (12, SR)
    for other in (made(3, 8), made(4, 7)):
        assert not torch.equal(plan.places, other[0].places) and not torch.equal(y, other[1])


def test_all_kinds_come_as_often_and_those_left_out_never() -> None:
    plan = synthesiser().plan(synthesiser().draw(0), 3_000)
    counts = torch.bincount(plan.kinds.flatten(), minlength=len(KINDS)) / 6_000
    assert counts.tolist() == pytest.approx([1 / len(KINDS)] * len(KINDS), abs=0.03)
    less = synthesiser(leave_out=("noise", "voice"))
    kinds = less.plan(less.draw(0), 3_000).kinds.unique().tolist()
    assert [list(KINDS)[k] for k in kinds] == ["harmonics", "modulated", "chirps", "impulses"]


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_tone_has_its_pitch(place: float) -> None:
    plan = plan_of("harmonics", pitch=place, tilt=0.0)
    pitch = float(RANGES.value(plan.places[:, 0], "pitch")[0])
    y = synthesiser().make(synthesiser().draw(0), plan)
    assert loudest(y[0]) == pytest.approx(pitch, rel=0.03)


@pytest.mark.parametrize("place", [0.3, 0.6])
def test_noise_lies_in_its_band_and_a_blow_rings_at_its_resonance(place: float) -> None:
    made = synthesiser()
    plan = plan_of("noise", centre=place, width=0.2)
    spectrum = torch.fft.rfft(made.make(made.draw(0), plan)[0]).abs().square()
    f = torch.fft.rfftfreq(SR, 1 / SR)
    middle = float((spectrum * f.clamp(min=1).log()).sum() / spectrum.sum())
    assert math.exp(middle) == pytest.approx(
        float(RANGES.value(plan.places[:, 0], "centre")[0]), rel=0.1
    )
    modes = {"mode_2": 0.3, "mode_3": 0.9}
    blows = plan_of("impulses", resonance=place, ringing=0.9, impulse_rate=0.1, **modes)
    rings = float(RANGES.value(blows.places[:, 0], "resonance")[0])
    assert loudest(made.make(made.draw(1), blows)[0]) == pytest.approx(rings, rel=0.05)


def test_a_plan_without_a_source_says_so_and_what_cannot_be_heard_is_not_asked() -> None:
    plan = plan_of("harmonics")
    plan = dataclasses.replace(plan, empty=torch.tensor([True, False]))
    assert plan.present[0].tolist() == [0.0] * len(KINDS) + [0.0, 1.0]
    assert plan.present[1].tolist() == [1.0] + [0.0] * (len(KINDS) - 1) + [0.0, 0.0]
    assert not plan.used[0].any()
    asked = {name for name, used in zip(PARAMETERS, plan.used[1], strict=True) if used}
    whole = {name for name, used in zip(PARAMETERS, USED[0], strict=True) if used}
    assert whole - asked == {
        "second", "echo", "wet", "background", "slope",  # neither is there
        "event_rate", "duty", "attack", "release", "am_rate",  # it does not stop, nor tremble
    }  # fmt: skip
    y = synthesiser().make(synthesiser().draw(0), plan)
    assert y[0].abs().max() < 1e-6 < y[1].abs().max()


def test_a_cut_clip_ends_before_the_picture_and_a_background_is_there_alone() -> None:
    n = 40
    plan = plan_of("harmonics", n)
    cut = dataclasses.replace(plan, ends=torch.linspace(0.1, 1, n))
    y = synthesiser().make(synthesiser().draw(0), cut)
    ends = [float((row != 0).nonzero().max()) / SR for row in y]
    assert ends == pytest.approx(cut.ends.tolist(), abs=0.001)
    drawn = synthesiser().plan(synthesiser().draw(0), 2_000).ends
    assert (drawn < 1).float().mean() == pytest.approx(0.3, abs=0.03)
    assert 0.1 <= drawn.min() < 0.12 and drawn[drawn < 1].mean() == pytest.approx(0.55, abs=0.03)
    empty = torch.ones(n, dtype=torch.bool)
    alone = dataclasses.replace(plan, empty=empty, quiet=~empty)
    assert (synthesiser().make(synthesiser().draw(0), alone).std(dim=1) > 0.001).all()


@pytest.mark.parametrize(("pitch", "ratio", "index_at"), [(0.3, 0.5, 0.3), (0.45, 0.8, 0.5)])
def test_a_modulated_tone_has_the_lines_of_its_formula(
    pitch: float, ratio: float, index_at: float
) -> None:
    plan = plan_of("modulated", pitch=pitch, fm_ratio=ratio, fm_index=index_at)
    f, r, b = (
        float(RANGES.value(plan.places[:, 0], name)[0])
        for name in ("pitch", "fm_ratio", "fm_index")
    )
    assert f * (1 + (b + 1) * r) < SR / 2 and plan.used[0, index("fm_index")]
    y = synthesiser().make(synthesiser().draw(0), plan)[0]
    spectrum = torch.fft.rfft(y * torch.hann_window(SR)).abs()
    spectrum = (spectrum * (torch.fft.rfftfreq(SR, 1 / SR) > 40)) / spectrum.max()
    lines = {abs(round(f * (1 + k * r))) for k in range(-12, 13)}
    far = torch.ones(len(spectrum), dtype=torch.bool)
    for line in lines:
        trembling = 5 + line // 100  # the least there is
        far[max(0, line - trembling) : line + trembling + 1] = False
    assert float(spectrum[far].max()) < 0.02  # nothing but the lines: no click, no other ratio


def test_nothing_of_a_modulated_tone_lies_above_what_there_is_room_for() -> None:
    made = synthesiser()
    plan = plan_of("modulated", 200)
    places = plan.places.clone()
    for name in ("pitch", "fm_ratio", "fm_index", "glide"):
        places[:, 0, index(name)] = made.draw(5).even(200)
    plan = dataclasses.replace(plan, places=places)
    asked = plan.used[:, index("fm_index")]
    assert 0.2 < asked.float().mean() < 0.9  # the others are cut to what there is room for
    spectra = torch.fft.rfft(made.make(made.draw(0), plan)).abs().square()
    high = spectra[:, int(0.49 * SR) :].sum(dim=1) / spectra.sum(dim=1)
    assert float(high.max()) < 0.01


def test_chirps_begin_anew_where_their_envelope_does() -> None:
    plan = plan_of("chirps", pitch=0.5, glide=0.8, event_rate=0.6, duty=0.2, attack=0.0,
                   release=0.0, tilt=0.0)  # fmt: skip
    y = synthesiser().make(synthesiser().draw(3), plan)[0]
    rate = float(RANGES.value(plan.places[:, 0], "event_rate")[0])
    low = float(RANGES.value(plan.places[:, 0], "pitch")[0]) * 2 ** -float(
        RANGES.value(plan.places[:, 0], "glide")[0]
    )
    loud = y.abs().unfold(0, 160, 160).amax(dim=1)
    rises = [i for i in range(2, len(loud) - 6) if loud[i] > 0.3 * loud.max() > 10 * loud[i - 2]]
    assert rises and rate > 1
    start = rises[0] * 160
    piece = y[start : start + 800]
    crossings = ((piece[:-1] < 0) & (piece[1:] >= 0)).sum() / (len(piece) / SR)
    assert float(crossings) == pytest.approx(low, rel=0.5)  # each begins at the low end


def test_a_changed_plan_lies_near_and_within() -> None:
    made = synthesiser()
    plan = made.plan(made.draw(0), 500)
    other = plan.changed(made.draw(1), 0.1)
    moved = (other.places - plan.places).flatten()
    assert 0.09 < moved.std() < 0.1 and abs(moved.mean()) < 0.005
    assert other.places.min() >= 0 and other.places.max() <= 1
    assert torch.equal(other.kinds, plan.kinds)


def test_another_scene_keeps_the_sources() -> None:
    made = synthesiser()
    plan = made.plan(made.draw(0), 500)
    other = plan.elsewhere(made.draw(1))
    scene = [index(name) for name in SCENE if name != "second"]
    sources = [k for k in range(len(PARAMETERS)) if k not in scene]
    assert torch.equal(other.places[..., sources], plan.places[..., sources])
    assert ((other.ends < 1).float().mean() - 0.3).abs() < 0.08
    assert not torch.equal(other.ends, plan.ends)
    assert torch.equal(plan.changed(made.draw(2), 0.1).ends, plan.ends)
    for name in ("kinds", "second", "empty"):
        assert torch.equal(getattr(other, name), getattr(plan, name))
    assert abs((other.places - plan.places)[:, 0, scene].abs().mean() - 1 / 3) < 0.03
    for name, share in (("room", 0.5), ("quiet", 0.3)):
        assert abs(getattr(other, name).float().mean() - share) < 0.08
        assert not torch.equal(getattr(other, name), getattr(plan, name))


def test_pairs_are_heard_in_new_scenes_where_asked(tmp_path: Path) -> None:
    pairs = FEW.replace(objective="pairs")
    kept, new = (
        Pretraining(tmp_path, pairs.replace(scene=scene), SMALL)._sounds(0)[0]
        for scene in ("same", "new")
    )
    assert torch.equal(kept[0].places, new[0].places)
    assert torch.equal(kept[0].room, kept[1].room) and not torch.equal(new[0].room, new[1].room)


def test_harmonics_are_a_sum_of_sines() -> None:
    phase = torch.linspace(0, 50, 2_000).repeat(2, 1)
    tilt, highest = torch.tensor([[-6.0], [-3.0]]), torch.tensor([[5.5], [40.0]])
    found = harmonics(phase, tilt, highest)
    for row, (slope, count) in enumerate(((-6.0, 5), (-3.0, 24))):
        naive = sum(
            10 ** (slope * math.log2(k) / 20) * torch.sin(k * phase[row].double())
            for k in range(1, count + 1)
        )
        assert (found[row] - naive).abs().max() < 2e-3


def test_an_envelope_is_the_naive_one() -> None:
    turn = torch.linspace(0, 0.999, 400)[None]
    rate, duty, attack, release = (torch.tensor([[v]]) for v in (2.0, 0.4, 0.05, 0.1))
    found = envelope(turn, rate, duty, attack, release)[0]
    left = 0.0
    for _ in range(20):  # one event after another, until what is left of each is the same
        gains = []
        for i in range(400):
            seconds = float(turn[0, i]) / 2
            rise = left + (1 - left) * min(1.0, seconds / 0.05)
            fall = 1.0 if seconds < 0.2 else math.exp(-(seconds - 0.2) / 0.1)
            gains.append(rise * fall)
        left = math.exp(-(0.5 - 0.2) / 0.1)
    assert found.tolist() == pytest.approx(gains, abs=1e-5)
    assert envelope(turn, rate, torch.ones(1, 1), attack, release).eq(1).all()


def test_a_sound_never_comes_or_goes_with_a_jump() -> None:
    draw = synthesiser().draw(1)
    places = draw.even(2_000, len(PARAMETERS))
    names = ("event_rate", "duty", "attack", "release")
    rate, duty, attack, release = (RANGES.value(places, name) for name in names)
    turn = torch.tensor([[0.0, 1 - 1e-6]]).repeat(2_000, 1)
    start, end = envelope(turn, rate, duty, attack, release).T
    assert (start - end).abs().max() < 1e-3
    assert start.max() <= 1 and (start[(duty < 0.5)[:, 0]] < 0.9).all()  # but it does come and go


@pytest.mark.parametrize("sr", [1_000, 4_000, 8_000, 22_050])
def test_what_is_asked_for_can_be_heard_at_any_rate(sr: int) -> None:
    ranges = Ranges(sr, 2.0)
    ends = torch.tensor([[0.0], [1.0]]).repeat(1, len(PARAMETERS))
    for name in ("pitch", "formant_1", "formant_2", "centre", "resonance", "high_cut"):
        low, high = ranges.value(ends, name)[:, 0].tolist()
        assert 0 < low <= high / 2 and high <= 0.45 * sr + 1e-3
    highest = ranges.value(ends, "pitch")[1, 0] * 2**0.75 * 1.08  # glide and vibrato at their most
    assert highest < sr / 2
    assert ranges.value(ends, "event_rate")[0, 0] == pytest.approx(0.5)  # one in two seconds
    for samples in (1, 2, sr // 10):
        made = Synthesiser(samples, sr, seed=0, device=CPU)
        plan = made.plan(made.draw(0), 60)
        assert made.make(made.draw(1), plan).isfinite().all()
    modes = plan.used[:, index("mode_3")]
    reached = ranges.value(plan.places[:, 0], "resonance") * ranges.value(
        plan.places[:, 0], "mode_3"
    )
    assert not modes[(reached >= sr / 2)[:, 0]].any()


def test_a_second_source_a_breath_and_a_background_are_as_loud_as_planned() -> None:
    made, n = synthesiser(), 8
    plan = plan_of("harmonics", n, pitch=0.3, tilt=0.0, second=0.75)
    plan.places[:, 1, index("pitch")] = 0.6
    both = dataclasses.replace(plan, second=torch.ones(n, dtype=torch.bool))
    spectra = torch.fft.rfft(made.make(made.draw(0), both) * torch.hann_window(SR)).abs().square()

    def power(source: int) -> torch.Tensor:
        f = float(RANGES.value(plan.places[:, source], "pitch")[0])
        return spectra[:, round(0.97 * f) : round(1.03 * f)].sum(dim=1)

    level = 10 * (power(1) / power(0)).log10()
    assert level.tolist() == pytest.approx([-8.0] * n, abs=0.5)
    tone = torch.sin(torch.arange(SR) * 0.3).repeat(n, 1)
    scene = torch.full((n, len(PARAMETERS)), 0.5)
    breath = made._breath(made.draw(0), tone, scene) - tone
    loud = (loudness(breath) / loudness(tone)).flatten().tolist()
    assert loud == pytest.approx([10 ** (-23 / 20)] * n, rel=0.05)
    background = made._background(made.draw(0), scene)
    loud = loudness(background).flatten().tolist()
    assert loud == pytest.approx([10 ** (-32.5 / 20)] * n, rel=1e-3)
    octaves = torch.fft.rfft(background).abs().square().mean(dim=0)
    fall = 10 * math.log10(float(octaves[2_000:2_100].mean() / octaves[1_000:1_050].mean()))
    assert fall == pytest.approx(-4.5, abs=1)


def test_an_echo_is_60_db_down_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = dataclasses.replace(plan_of("noise", echo=0.5), room=torch.ones(2, dtype=torch.bool))
    decays: list[float] = []

    def noted(draw: Draw, y: torch.Tensor, sr: int, decay: torch.Tensor, wet: torch.Tensor) -> Any:
        decays.extend(decay.flatten().tolist())
        return y

    monkeypatch.setattr(sounds, "echoed", noted)
    synthesiser().make(synthesiser().draw(0), plan)
    rt60 = math.sqrt(0.2 * 2.5)  # the middle, by equal ratios
    assert [math.exp(-rt60 / decay) for decay in decays] == pytest.approx([1e-3] * 2, rel=1e-3)


def test_impulses_last_to_the_end() -> None:
    fast = plan_of("impulses", 64, impulse_rate=1.0, jitter=1.0, ringing=0.0)
    y = synthesiser().make(synthesiser().draw(1), fast)
    assert (y[:, -SR // 5 :].abs().amax(dim=1) > 0.1 * y.abs().amax(dim=1)).all()


def test_a_room_answers_as_loud_and_as_long_as_planned() -> None:
    click = torch.zeros(4, SR)
    click[:, 0] = 1
    decay, wet = torch.full((4, 1), 0.1), torch.full((4, 1), -6.0)
    echo = echoed(synthesiser().draw(0), click, SR, decay, wet) - click
    assert (loudness(echo) / loudness(click)).flatten().tolist() == pytest.approx(
        [10 ** (-6 / 20)] * 4, rel=1e-3
    )
    within = echo[:, : SR // 10].square().sum(dim=1) / echo.square().sum(dim=1)
    assert within.tolist() == pytest.approx([1 - math.exp(-2)] * 4, abs=0.02)


def test_a_microphone_cuts_high_and_low() -> None:
    made = synthesiser()
    f = torch.fft.rfftfreq(SR, 1 / SR)

    def bands(**cuts: float) -> list[float]:
        plan = plan_of("noise", centre=0.5, width=1.0, **cuts)
        power = torch.fft.rfft(made.make(made.draw(0), plan)[0]).abs().square()
        return [float(power[(f > low) & (f < high)].sum() / power.sum())
                for low, high in ((10, 100), (3_000, 8_000))]  # fmt: skip

    (deep, high), (deep_cut, _), (_, high_cut) = bands(), bands(low_cut=1.0), bands(high_cut=0.0)
    assert deep_cut < 0.1 * deep and high_cut < 0.2 * high


def test_a_voice_has_its_formants() -> None:
    made = synthesiser()
    f = torch.fft.rfftfreq(SR, 1 / SR)
    for place in (0.05, 0.95):
        plan = plan_of("voice", pitch=0.05, formant_1=place, formant_2=0.9)
        centre = float(RANGES.value(plan.places[:, 0], "formant_1")[0])
        power = torch.fft.rfft(made.make(made.draw(0), plan)[0]).abs().square()
        low = power * (f < 1_600) * (f > 150)
        assert float(f[int(low.argmax())]) == pytest.approx(centre, abs=60)


def test_what_is_learned_from_has_another_version_when_it_is_made_otherwise(
    tmp_path: Path,
) -> None:
    """A run that goes on would else hear other sounds: raise VERSION, and the values here."""
    made = synthesiser()
    plan = made.plan(made.draw(1), 4)
    ranges = repr((PARAMETERS, KINDS)).encode()
    told = hashlib.sha256(ranges + plan.places.numpy().tobytes() + plan.kinds.numpy().tobytes())
    assert (VERSION, told.hexdigest()[:12]) == (4, "195b0bdafee9")
    training = Pretraining(tmp_path, FEW.replace(arch="cnn4", batch_size=32, drawing="new"), SMALL)
    plans, levels = training._sounds(1)
    features = torch.linspace(-1, 1, 32)[:, None] * torch.linspace(-1, 1, 1_024).sin()
    torch.manual_seed(0)
    for parameter in training._heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    errors = training._errors(features[:, : training._heads.present.in_features], plans)
    found = [levels.float().mean().item(), *(float(error.detach()) for error in errors.values())]
    assert found == pytest.approx([106.51, 0.69865, 8.2222, 7.8385], rel=0.01)


def test_a_resonator_is_the_transform_of_a_decaying_sine() -> None:
    t = torch.arange(SR * 4) / SR
    decaying = torch.exp(-t / 0.05 + 2j * math.pi * 1_000 * t)
    f = torch.fft.rfftfreq(SR, 1 / SR)
    truth = torch.fft.fft(decaying)[: 2 * SR : 4][: len(f) - 1].abs()
    found = resonator(f, torch.tensor([[1_000.0]]), torch.tensor([[0.05]]))[0, :-1].abs()
    near = (f[:-1] - 1_000).abs() < 300
    assert ((found - truth / truth.max())[near].abs() < 0.01).all()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"db_range": "auto"},
        {"ref": 1.0, "top_db": 60.0},
        {"win_length": 300, "n_mels": 40},
        {"win_length": 301},
    ],
)
def test_pictures_are_those_that_rendering_draws(changes: dict[str, object]) -> None:
    config = SpectrogramConfig(sr=SR, duration=1, n_fft=512, hop_length=128, fmax=8_000, **changes)
    made = synthesiser()
    draw = made.draw(0)
    y = made.make(draw, made.plan(draw, 8))
    y[3] = 0
    levels = Pictures(config, CPU)(y)
    assert levels.shape == (8, 1, *config.shape) and levels.dtype == torch.uint8
    for row, sound in zip(levels, y, strict=True):
        ours = np.asarray(spectrogram_image(sound.numpy(), config)).astype(int)
        assert np.abs(ours - row[0].numpy()).max() <= 1
    with pytest.raises(ConfigError, match="synthesised sounds have one"):
        Pictures(config.replace(channels="both"), CPU)


class Given(Draw):
    """Draws what it was told to, one value for all sounds a time."""

    def __init__(self, *values: float) -> None:
        self.values, self.device = list(values), CPU

    def even(self, *shape: int) -> torch.Tensor:
        return torch.full(shape, self.values.pop(0))


@pytest.mark.parametrize(
    ("given", "settings"),
    [
        ((0.0, 2 / 3, 0.9), {}),
        ((0.5, 0.0, 0.9), {"win_length": 256, "top_db": 40.0}),
        ((0.9999999, 1.0, 0.1), {"win_length": 128, "top_db": 100.0, "db_range": "auto"}),
    ],
)
def test_pictures_are_drawn_by_other_settings_as_rendering_would(
    given: tuple[float, ...], settings: dict[str, object]
) -> None:
    config = SpectrogramConfig(sr=SR, duration=1, n_fft=512, hop_length=128, fmax=8_000)
    made = synthesiser()
    draw = made.draw(0)
    y = made.make(draw, made.plan(draw, 8))
    y[3] = 0
    levels = Pictures(config, CPU)(y, Given(*given))
    for row, sound in zip(levels, y, strict=True):
        ours = np.asarray(spectrogram_image(sound.numpy(), config.replace(**settings))).astype(int)
        assert np.abs(ours - row[0].numpy()).max() <= 1


def test_each_sound_is_drawn_in_a_way_of_its_own_where_asked(tmp_path: Path) -> None:
    made, pictures = synthesiser(), Pictures(SMALL, CPU)
    draw = made.draw(0)
    y = made.make(draw, plan_of("harmonics", 1, glide=0.9))[:, : SMALL.n_samples].expand(40, -1)
    levels = pictures(y, made.draw(1))
    assert len({row.numpy().tobytes() for row in levels}) == 40
    assert torch.equal(levels, pictures(y, made.draw(1)))
    config = FEW.replace(objective="both")
    (plans, same), (again, new) = (
        Pretraining(tmp_path, config.replace(drawing=drawing), SMALL)._sounds(0)
        for drawing in ("same", "new")
    )
    assert all(torch.equal(a.places, b.places) for a, b in zip(plans, again, strict=True))
    assert same.shape == new.shape and not torch.equal(same, new)


# --------------------------------------------------------------------------- what is asked


def test_the_contrast_is_the_naive_one() -> None:
    torch.manual_seed(0)
    heads, features = Heads(16).eval(), torch.randn(10, 16)
    all_sound = torch.ones(10, dtype=torch.bool)
    z = heads.project(features).detach()
    z = z / z.norm(dim=1, keepdim=True)
    naive = []
    for i in range(10):
        alike = [math.exp(float(z[i] @ z[k]) / 0.2) for k in range(10) if k % 5 != i % 5]
        own = math.exp(float(z[i] @ z[(i + 5) % 10]) / 0.2)
        naive.append(-math.log(own / sum(alike)))
    assert contrast(heads, features, 0.2, all_sound).item() == pytest.approx(
        sum(naive) / 10, rel=1e-4
    )
    silent = torch.tensor([2, 7])  # a sound without a source, and its other rendering
    some = all_sound.index_fill(0, silent, value=False)
    others = [error for i, error in enumerate(naive) if i not in silent]
    found = contrast(heads, features, 0.2, some).item()
    assert found == pytest.approx(sum(others) / 8, rel=1e-4)
    assert contrast(heads, features, 0.2, ~all_sound).item() == 0
    same = torch.ones(10, 16)
    assert contrast(heads, same, 0.2, all_sound).item() == pytest.approx(math.log(8), rel=1e-4)


def test_a_network_that_knows_nothing_leaves_all_of_the_variance() -> None:
    made = synthesiser()
    plan = made.plan(made.draw(0), 4_000)
    assert 0 < plan.used.float().mean() < 0.8
    present, places = parameter_errors(Heads(8), torch.randn(4_000, 8), plan)
    assert places.item() == pytest.approx(1, abs=0.02)
    assert present.item() == pytest.approx(math.log(2), abs=1e-5)


def test_settings_that_cannot_be_are_told() -> None:
    for given, told in (
        ({"leave_out": ("drums",)}, "leave_out names 'drums'; there are harmonics, voice"),
        ({"leave_out": tuple(KINDS)[1:]}, "fewer than two kinds"),
        ({"objective": "pairs", "batch_size": 9}, "pairs need an even number"),
        ({"temperature": 1e-40}, "temperature"),
    ):
        with pytest.raises(ConfigError, match=told):
            PretrainConfig(**given)
    one, other = (
        PretrainConfig(leave_out=kinds) for kinds in (("voice", "noise"), ("noise", "voice"))
    )
    assert one == other
    with pytest.raises(ConfigError, match="synthesised sounds have one; take 'mean'"):
        Pictures(SMALL.replace(channels="both"), CPU)
    assert SMALL.replace(channels="mean")


# --------------------------------------------------------------------------- training


@pytest.mark.long
def test_it_learns_to_tell_what_sounds_are_made_of(tmp_path: Path) -> None:
    config = PretrainConfig(sounds=1_600, batch_size=16, precision="fp32")
    rows: list[checkpoint.LogRow] = []
    assert Pretraining(tmp_path, config, SMALL).run(every=400, told=rows.append)
    assert [row.sounds for row in rows] == [400, 800, 1_200, 1_600]
    assert rows[-1].present < rows[0].present < 0.7
    assert rows[-1].places < min(1, rows[0].places)
    log = pd.read_csv(tmp_path / "log.csv")
    assert (
        log["sounds"].tolist() == [400, 800, 1_200, 1_600]
        and log["seconds"].is_monotonic_increasing
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "arch"),
    [("both", "resnet18"), ("parameters", "efficientnet_b0")],  # which drops whole layers by chance
)
def test_broken_off_and_gone_on_it_ends_the_same(tmp_path: Path, objective: str, arch: str) -> None:
    config = FEW.replace(objective=objective, arch=arch)

    def stop(row: checkpoint.LogRow) -> None:
        if row.sounds == 24:
            raise KeyboardInterrupt

    assert Pretraining(tmp_path / "whole", config, SMALL).run(every=16)
    torch.manual_seed(5)  # what else draws numbers does not matter
    with pytest.raises(KeyboardInterrupt):
        Pretraining(tmp_path / "parts", config, SMALL).run(every=12, told=stop)
    going_on = Pretraining(tmp_path / "parts", config, SMALL)
    assert going_on.about.steps == 3
    assert going_on.run(every=16)
    whole, parts = (
        safetensors.torch.load_file(tmp_path / name / checkpoint.STATE)
        for name in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    again = Pretraining(tmp_path / "whole", config, SMALL)
    before = (tmp_path / "whole" / checkpoint.STATE).stat().st_mtime_ns
    assert again.run() and (tmp_path / "whole" / checkpoint.STATE).stat().st_mtime_ns == before


def test_a_probe_on_the_way_changes_nothing(rendered: RenderedSet, tmp_path: Path) -> None:
    """It once laid the network out otherwise in memory, through which the optimizer goes."""
    config = FEW.replace(objective="both", arch="cnn4")

    def score(body: torch.nn.Sequential) -> float:
        return score_body(body, "cnn4", rendered, rendered.folds)

    def stop(row: checkpoint.LogRow) -> None:
        if row.sounds == 32:
            raise KeyboardInterrupt

    probe = Probe(score, "all folds")
    assert Pretraining(tmp_path / "without", config, SMALL).run(every=16)
    assert Pretraining(tmp_path / "with", config, SMALL).run(every=16, probe=probe)
    with pytest.raises(KeyboardInterrupt):
        Pretraining(tmp_path / "parts", config, SMALL).run(every=16, probe=probe, told=stop)
    assert Pretraining(tmp_path / "parts", config, SMALL).run(every=16, probe=probe)
    without, *others = (
        safetensors.torch.load_file(tmp_path / name / checkpoint.STATE)
        for name in ("without", "with", "parts")
    )
    for other in others:
        assert all(torch.equal(tensor, other[name]) for name, tensor in without.items())


@pytest.mark.long
def test_a_killed_process_goes_on(tmp_path: Path) -> None:
    words = ["pretrain", "--out", tmp_path / "net", "--sounds", 4_000, "--batch-size", 8,
             "--every", 16, "--precision", "fp32", "--sr", 4_000, "--fmax", 2_000,
             "--duration", 0.5, "--n-mels", 32, "--n-fft", 256, "--hop-length", 64]  # fmt: skip
    command = [sys.executable, "-m", "spectro", *map(str, words)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert process.stdout is not None
    while b"16 sounds" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    done = subprocess.run([*command, "--time-budget", "0.02"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"goes on after " in done.stdout and b"the same command goes on" in done.stdout
    left = {path.name for path in (tmp_path / "net").iterdir()}
    assert left == {checkpoint.STATE, "log.csv", WEIGHTS, "README.md"}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that heard 48 sounds."""
    folder = tmp_path_factory.mktemp("pretrained")
    Pretraining(folder, FEW, SMALL).run()
    return folder


def test_training_starts_from_its_weights(net: Path) -> None:
    found = resolve(str(net / WEIGHTS), "resnet18")
    assert found.source == "file" and found.state is not None
    ours = networks.body("resnet18", found.state).eval()
    own = Pretraining(net, FEW, SMALL).body.eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), own(x), rtol=0.05, atol=0.02)
    assert os.stat(net / WEIGHTS).st_mode & 0o044 == 0o044 & ~_umask()
    text = (net / "README.md").read_text()
    assert "\n48 synthesised sounds" in text and "[pretrain]" in text


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("arch", ["resnet18", "convnext_tiny", "tf_efficientnet_lite0"])
def test_a_body_goes_into_its_librarys_names_and_back(arch: str) -> None:
    torch.manual_seed(0)
    built = networks.body(arch).eval()
    again = networks.body(arch, networks.library_state(arch, built)).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(built(x), again(x))


def test_what_is_there_of_other_settings_or_damaged_is_kept_and_told(
    net: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"begun with other settings \(lr 0.002, now 0.001\)"):
        Pretraining(net, FEW.replace(lr=1e-3), SMALL)
    with pytest.raises(ConfigError, match="n_mels 32, now 40"):
        Pretraining(net, FEW, SMALL.replace(n_mels=40))
    content = (net / checkpoint.STATE).read_bytes()
    foreign = safetensors.torch.save({"a": torch.ones(2)})
    for bad in (content[: len(content) // 2], b"", b"\0" * 500, foreign):
        (tmp_path / checkpoint.STATE).write_bytes(bad)
        with pytest.raises(ModelError, match="cannot be read as a pretraining's"):
            Pretraining(tmp_path, FEW, SMALL)
        assert (tmp_path / checkpoint.STATE).read_bytes() == bad
    log = (net / checkpoint.LOG).read_text()
    (tmp_path / checkpoint.STATE).write_bytes(content)
    for bad in (log.replace("48,", "x,"), log.replace("sounds,", "noises,"), f"{log},,,é"):
        (tmp_path / checkpoint.LOG).write_text(bad, encoding="latin-1")
        with pytest.raises(ModelError, match=r"log\.csv: cannot be read as a log"):
            Pretraining(tmp_path, FEW, SMALL)
    (tmp_path / checkpoint.LOG).unlink()
    assert Pretraining(tmp_path, FEW, SMALL).log == []
    (tmp_path / checkpoint.LOG).write_text(log + log.splitlines()[-1].replace("48,", "56,") + "\n")
    assert [row.sounds for row in Pretraining(tmp_path, FEW, SMALL).log] == [48]
    state = safetensors.torch.load(content)
    with safetensors.safe_open(net / checkpoint.STATE, "pt") as file:
        about = file.metadata()
    odd = {**state, "body.0.weight": torch.ones(3)}
    (tmp_path / checkpoint.STATE).write_bytes(safetensors.torch.save(odd, about))
    with pytest.raises(ModelError, match="does not fit its own settings"):
        Pretraining(tmp_path, FEW, SMALL)


def test_a_state_of_numbers_that_cannot_be_is_told(net: Path, tmp_path: Path) -> None:
    state = safetensors.torch.load_file(net / checkpoint.STATE)
    about, _ = checkpoint.read(net)

    def told(**changes: object) -> str:
        text = json.dumps({**json.loads(about.model_dump_json()), **changes})
        (tmp_path / checkpoint.STATE).write_bytes(safetensors.torch.save(state, {"spectro": text}))
        with pytest.raises((ModelError, ConfigError)) as caught:
            Pretraining(tmp_path, FEW, SMALL)
        return str(caught.value)

    for wrong in (
        *({"steps": steps} for steps in (7, -3, 10**400)),
        {"precision": "fp8"},
        {"seconds": -1},
        {"config": {"sound": 1}},
        {"version": 1, "steps": -3},
    ):
        assert "cannot be read as a pretraining's; name another folder" in told(**wrong)
    later = told(version="99.0", config={"pace": 1})
    assert "was written by spectro 99.0, and this is" in later and "remove" not in later
    assert "was begun with generator 1 of sounds" in told(generator=1)
    fewer = {name: t for name, t in state.items() if name != "optimizer.3.exp_avg"}
    (tmp_path / checkpoint.STATE).write_bytes(
        safetensors.torch.save(fewer, {"spectro": about.model_dump_json()})
    )
    with pytest.raises(ModelError, match="does not fit its own settings"):
        Pretraining(tmp_path, FEW, SMALL)
    (tmp_path / checkpoint.STATE).write_bytes((net / checkpoint.STATE).read_bytes())
    (tmp_path / checkpoint.LOG).write_bytes(b" " * (checkpoint._LONGEST_LOG + 1))
    with pytest.raises(
        ModelError, match=r"log\.csv: cannot be read as a log \(is larger than 16 MiB"
    ):
        Pretraining(tmp_path, FEW, SMALL)


def test_a_folder_of_something_else_is_left_alone(net: Path, tmp_path: Path) -> None:
    for name in ("README.md", "log.csv", WEIGHTS):  # ours, too, without the state to go on from
        folder = tmp_path / name.split(".")[0]
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(ModelError, match="holds something else; name another --out"):
            Pretraining(folder, FEW, SMALL)
        assert [(p.name, p.read_text()) for p in folder.iterdir()] == [(name, "mine")]
    with pytest.raises(ModelError, match="holds something else"):
        Pretraining(tmp_path / "log" / "log.csv", FEW, SMALL)


SOON = FEW.replace(arch="cnn4", sounds=16)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_processes_do_not_write_over_each_other(tmp_path: Path) -> None:
    told = "another process goes on with it; this one stops"
    first, second = (Pretraining(tmp_path, SOON, SMALL) for _ in range(2))  # both in a new folder

    def stop(row: checkpoint.LogRow) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(every=8, told=stop)
    before = files(tmp_path)
    with pytest.raises(ModelError, match=told):
        second.run()
    assert files(tmp_path) == before
    third, fourth = (Pretraining(tmp_path, SOON, SMALL) for _ in range(2))  # both go on

    def meanwhile(body: torch.nn.Module) -> float:  # while one scores, the other ends
        assert fourth.run()
        before.update(files(tmp_path))
        return 0.5

    with pytest.raises(ModelError, match=told):
        third.run(probe=Probe(meanwhile, "folds"))
    assert files(tmp_path) == before


def test_weights_that_no_loss_reaches_are_no_obstacle_to_going_on(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    config = SOON.replace(arch="mobilenetv3_small_050")  # of which the last layer is not used
    with pytest.raises(ZeroDivisionError):
        Pretraining(tmp_path, config, SMALL).run(every=8, told=lambda row: 1 / 0)
    assert Pretraining(tmp_path, config, SMALL).run(every=8)


def test_a_row_whose_scoring_was_killed_is_scored_when_it_goes_on(tmp_path: Path) -> None:
    def killed(body: torch.nn.Module) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pretraining(tmp_path, SOON, SMALL).run(probe=Probe(killed, "folds 1, 2"))
    rows: list[checkpoint.LogRow] = []
    half = Probe(lambda body: 0.5, "folds 1, 2")
    assert Pretraining(tmp_path, SOON, SMALL).run(probe=half, told=rows.append)
    assert [row.score for row in rows] == [0.5]
    assert pd.read_csv(tmp_path / "log.csv")["score"].tolist() == [0.5]
    assert "Score when it stopped on folds 1, 2: 50" in (tmp_path / "README.md").read_text()


def test_time_that_is_over_stops_it_on_the_way_and_the_card_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Pretraining(tmp_path, SOON, SMALL)
    now = iter((0.0, 0.0, 0.0, 5.0, 5.0, 5.0))  # over after the first step
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    assert not training.run(seconds=1)
    monkeypatch.undo()
    card = (tmp_path / "README.md").read_text()
    assert "8 of 16 synthesised sounds" in card and "It was stopped on the way" in card
    assert not Pretraining(tmp_path, SOON, SMALL).run(seconds=0)  # not a step, nor a row
    assert pd.read_csv(tmp_path / "log.csv")["sounds"].tolist() == [8]
    assert Pretraining(tmp_path, SOON, SMALL).run()
    assert "stopped on the way" not in (tmp_path / "README.md").read_text()
    with pytest.raises(ConfigError, match="a row every 1 of 1,000,000 sounds would be more than"):
        Pretraining(tmp_path / "b", SOON.replace(sounds=10**6), SMALL).run(every=1)


def test_the_rate_rises_and_falls_to_nothing() -> None:
    rates = [_rate(step, 200) for step in range(200)]
    assert rates[:10] == pytest.approx(np.linspace(0.1, 1, 10))
    assert rates[10] == pytest.approx(1) and rates[105] == pytest.approx(0.5, abs=0.01)
    assert rates[199] < 1e-3 and sorted(rates[10:], reverse=True) == rates[10:]


def test_what_cannot_be_trained_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = SpectrogramConfig(
        sr=4_000, duration=0.1, n_fft=256, hop_length=2_048, n_mels=16, fmax=2_000
    )
    with pytest.raises(ConfigError, match="alexnet cannot take pictures of 16 x 1"):
        Pretraining(tmp_path / "a", FEW.replace(arch="alexnet"), tiny)
    monkeypatch.setattr(timing, "choose_precision", lambda *_: ("bf16", "the processor has it"))
    timed = FEW.replace(arch="alexnet", sounds=8_000, precision="auto")
    with pytest.raises(ConfigError, match="alexnet cannot take pictures of 16 x 1"):
        Pretraining(tmp_path / "a", timed, tiny)
    long = SMALL.replace(duration=600.0)
    with pytest.raises(ModelError, match=r"a batch of 4096 sounds of 600 s: needs .* of memory"):
        Pretraining(tmp_path / "a", FEW.replace(batch_size=4_096), long)
    training = Pretraining(tmp_path / "a", SOON, SMALL)
    (tmp_path / "a").mkdir()
    training._keep()
    with torch.no_grad():
        next(training.body.parameters()).fill_(torch.nan)
    with pytest.raises(DivergedError, match="loss is not finite at step 0; name another folder"):
        training.run()


def test_the_arithmetic_is_timed_as_that_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def rates(*network: Any) -> dict[str, float]:
        asked.append(network)
        return {"fp32": 1.0, "bf16": 0.9}

    monkeypatch.setattr(timing, "choose_precision", lambda *_: ("bf16", "the processor has it"))
    monkeypatch.setattr(timing, "_rates", rates)
    config = FEW.replace(arch="cnn4", batch_size=8, precision="auto")
    long = Pretraining(tmp_path / "a", config.replace(sounds=800), SMALL)
    assert long.about.precision == "fp32"
    assert asked == [("cnn4", 10, SMALL.shape, True, None)]
    assert Pretraining(tmp_path / "b", config, SMALL).about.precision == "bf16"  # soon done
    two = Rank(0, 2)
    shared = Pretraining(tmp_path / "c", config.replace(sounds=800), SMALL, rank=two)
    assert shared.about.precision == "bf16"
    assert len(asked) == 1


def test_what_the_optimizer_keeps_replaces_no_state_if_it_is_not_finite(tmp_path: Path) -> None:
    """The square of a huge gradient may be, while the weights stay as they are."""
    assert Pretraining(tmp_path, FEW.replace(sounds=8), SMALL).run()
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    training = Pretraining(tmp_path, FEW.replace(sounds=8), SMALL)
    next(iter(training._optimizer.state.values()))["exp_avg_sq"].fill_(torch.inf)
    with pytest.raises(DivergedError, match="optimizer keeps is not finite after step 1; name"):
        training._keep()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_weights_that_are_not_finite_are_told_and_replace_none(tmp_path: Path) -> None:
    """A last step may spoil them, after a loss that was in order."""
    assert Pretraining(tmp_path, FEW.replace(sounds=8), SMALL).run()
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    training = Pretraining(tmp_path, FEW.replace(sounds=8), SMALL)
    with torch.no_grad():
        next(training._heads.parameters()).fill_(torch.inf)
    with pytest.raises(DivergedError, match=r"weights are not finite after step 1; name another"):
        training._keep()
    assert kept == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_it_starts_from_weights_and_keeps_numbers_too_large_for_half(
    net: Path, tmp_path: Path
) -> None:
    config = FEW.replace(weights=str(net / WEIGHTS), sounds=8)
    training = Pretraining(tmp_path, config, SMALL)
    assert training.about.start.startswith(f"{WEIGHTS}, sha256 ")
    given = resolve(str(net / WEIGHTS), "resnet18").state
    assert given is not None
    assert torch.equal(next(training.body.parameters()), given["conv1.weight"])
    with torch.no_grad():
        training.body[1].running_var.fill_(1e6)
    training._write_weights()
    found = resolve(str(tmp_path / WEIGHTS), "resnet18").state
    assert found is not None and found["bn1.running_var"].eq(1e6).all()


def test_the_small_network_is_pretrained_too(tmp_path: Path) -> None:
    training = Pretraining(tmp_path, FEW.replace(arch="cnn4", objective="both"), SMALL)
    assert training.run()
    weights = resolve(str(tmp_path / WEIGHTS), "cnn4")
    assert weights.state is not None
    found = networks.body("cnn4", weights.state).state_dict()
    for name, tensor in training.body.state_dict().items():
        torch.testing.assert_close(found[name], tensor, atol=1e-3, rtol=2e-3)


def test_the_command_and_its_probe(rendered: RenderedSet, tmp_path: Path) -> None:
    drawn = rendered.config
    words = ["pretrain", "--out", tmp_path / "net", "--sounds", 16, "--batch-size", 8]
    words += ["--n-mels", drawn.n_mels, "--hop-length", drawn.hop_length]
    words += ["--leave-out", "noise", "--leave-out", "voice"]

    def run(*more: object) -> str:
        result = CliRunner().invoke(app, [*map(str, (*words, *more))])
        return f"{result.exit_code} {result.output} {result.exception or ''}"

    assert "--fold says on which folds of --probe" in run("--fold", 1)
    assert "has no fold 9" in run("--probe", rendered.folder, "--fold", 9)
    assert "name two" in run("--probe", rendered.folder, "--fold", rendered.folds[0])
    other = run("--probe", rendered.folder, "--n-fft", 1_024)
    assert "its pictures are drawn otherwise (n_fft 1024, now 2048)" in other
    free = run("--probe", rendered.folder, "--drawing", "new", "--n-fft", 1_024, "--fmin", 50)
    assert "its pictures are drawn otherwise (fmin 50.0, now 0.0)" in free
    assert "unknown arch 'resnet1'" in run("--arch", "resnet1")
    assert "leave_out names 'drums'" in run("--leave-out", "drums")
    idle = run("--objective", "parameters", "--scene", "same")
    assert "--scene is of pairs; it changes nothing" in idle
    drawn_anew = run("--drawing", "new", "--db-range", "auto")
    assert "--db-range changes nothing if drawing is new: each picture has its own" in drawn_anew
    (tmp_path / "p.toml").write_text('[pretrain]\nobjective = "parameters"\nscene = "same"\n')
    assert "resnet1" in run("--arch", "resnet1", "--config", tmp_path / "p.toml")  # a card may
    assert not (tmp_path / "net").exists()
    told = run("--probe", rendered.folder, "--duration", 2)  # shorter, at the same scale
    assert told.startswith("0 resnet18, 16 synthesised sounds of 2 s, objective both")
    assert "probe " in told and f"--weights {tmp_path / 'net' / WEIGHTS}" in told
    [row] = pd.read_csv(tmp_path / "net" / "log.csv").to_dict("records")
    body = Pretraining(
        tmp_path / "net",
        PretrainConfig(sounds=16, batch_size=8, leave_out=("noise", "voice")),
        drawn.replace(duration=2.0),
    ).body.eval()
    again = score_body(body, "resnet18", rendered, rendered.folds)
    assert row["score"] == pytest.approx(again, abs=0.03)
    on = f"folds {', '.join(map(str, rendered.folds))} of {rendered.folder.name}"
    assert row["scored_on"] == on
    card = (tmp_path / "net" / "README.md").read_text()
    assert "generator 4" in card and f"Score when it stopped on {on}: " in card
    (tmp_path / "same.toml").write_text(card.split("```toml\n")[1].split("```")[0])
    going_on = ["pretrain", "--out", tmp_path / "net", "--config", tmp_path / "same.toml"]
    result = CliRunner().invoke(app, [*map(str, going_on)])
    assert "goes on after 16 sounds" in result.output, result.output
    (tmp_path / "same.toml").write_text("[pretrian]\nsounds = 3\n")
    result = CliRunner().invoke(app, [*map(str, going_on)])
    assert "did you mean [pretrain]?" in str(result.exception)


def test_a_probe_finds_what_features_tell_and_nothing_where_they_do_not(
    rendered: RenderedSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spectro.crossval.studies import probe

    clips = rendered.clips
    told = pd.get_dummies(clips["label"]).to_numpy(np.float32)
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 1))
    monkeypatch.setattr(probe, "extract", lambda *_, **__: told)
    assert score_body(body, "resnet18", rendered, rendered.folds) == 1
    noise = np.random.default_rng(0).normal(size=(len(clips), 5)).astype(np.float32)
    monkeypatch.setattr(probe, "extract", lambda *_, **__: noise)
    assert score_body(body, "resnet18", rendered, rendered.folds) < 0.5


def test_loudness_is_the_root_mean_square() -> None:
    y = torch.randn(3, 1_000)
    np.testing.assert_allclose(
        loudness(y)[:, 0], np.sqrt(np.mean(np.square(y.numpy()), 1)), rtol=1e-5
    )
