"""Sounds that nobody recorded: one or two sources, a background, a room, a microphone.

All of a step are synthesised together, on the device that trains, and none is written anywhere. The
same seed and step give the same sounds on the same device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spectro.training.pretraining.parameters import KINDS, PARAMETERS, USED, index, value
from spectro.training.pretraining.waves import (
    Draw,
    echoed,
    envelope,
    filtered,
    harmonics,
    loudness,
    noise,
    resonator,
    shaped,
)

__all__ = ["Plan", "Synthesiser"]

_TAU = 2 * math.pi
_FORMANT_3 = 2_900.0  # Hz, of a voice
_SECOND, _ROOM, _SILENT = 0.5, 0.5, 0.02  # shares of the sounds that have these
_NO_BACKGROUND = -58.0  # dB from which on there is none

Source = Callable[[Draw, Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Plan:
    """What sounds are to be made of.

    Attributes
    ----------
    kinds : Tensor [shape=(n, 2)], int64
        Number of the kind of the first and of the second source.
    places : Tensor [shape=(n, 2, parameters)]
        Of the parameters of both sources, from 0 to 1; those of the scene count from the first.
    second, room, silent : Tensor [shape=(n,)], bool
        Whether there is a second source, an echo, no sound at all.
    """

    kinds: Tensor
    places: Tensor
    second: Tensor
    room: Tensor
    silent: Tensor

    def changed(self, draw: Draw, by: float) -> Plan:
        """Move all parameters a little, normally distributed, back from the ends."""
        places = self.places + by * draw.normal(*self.places.shape)
        places = places.remainder(2)
        return replace(self, places=torch.where(places > 1, 2 - places, places))

    @property
    def present(self) -> Tensor:
        """Tell which kinds sound, and echo and silence, as 0 and 1, shape (n, kinds + 2)."""
        has = torch.nn.functional.one_hot(self.kinds, len(KINDS))
        each = (has[:, 0] + has[:, 1] * self.second[:, None]).clamp(max=1)
        sound = ~self.silent[:, None]
        return torch.cat([each * sound, self.room[:, None] & sound, ~sound], dim=1).float()

    @property
    def used(self) -> Tensor:
        """Tell which parameters of the first source can be heard, shape (n, parameters)."""
        first = self.places[:, 0]
        used = torch.tensor(USED, device=first.device)[self.kinds[:, 0]] & ~self.silent[:, None]
        stops = (value(first, "duty") < 1)[:, 0]
        if_so = {
            "second": self.second,
            "echo": self.room,
            "wet": self.room,
            "slope": (value(first, "background") > _NO_BACKGROUND)[:, 0],
            "event_rate": stops | (self.kinds[:, 0] == list(KINDS).index("chirps")),
            "attack": stops,
            "release": stops,
        }
        for name, heard in if_so.items():
            used[:, index(name)] &= heard
        return used


class Synthesiser:
    """Makes sounds.

    Parameters
    ----------
    samples : int
        Of each.
    sr : int
        Sampling rate in Hz.
    seed : int
    device : torch.device
    leave_out : tuple of str
        Kinds of source that it does not make.
    """

    def __init__(
        self,
        samples: int,
        sr: int,
        *,
        seed: int,
        device: torch.device,
        leave_out: tuple[str, ...] = (),
    ) -> None:
        self.samples, self.sr, self.seed, self.device = samples, sr, seed, device
        self._wanted = torch.tensor([name not in leave_out for name in KINDS], device=device)
        self._f = torch.fft.rfftfreq(samples, 1 / sr).to(device)

    def draw(self, step: int) -> Draw:
        """Return the random numbers of a step."""
        generator = torch.Generator(device=self.device)
        # Of a seed the generator of processors takes 32 bits alone: ours are mixed into them.
        mixed = hashlib.sha256(f"{self.seed} {step}".encode()).digest()
        generator.manual_seed(int.from_bytes(mixed[:8], "little") >> 1)
        return Draw(generator)

    def plan(self, draw: Draw, n: int) -> Plan:
        """Draw what `n` sounds are to be made of."""
        wanted = self._wanted.nonzero().flatten()
        kinds = wanted[(draw.even(n, 2) * len(wanted)).long().clamp(max=len(wanted) - 1)]
        chance = draw.even(n, 3)
        return Plan(
            kinds,
            draw.even(n, 2, len(PARAMETERS)),
            chance[:, 0] < _SECOND,
            chance[:, 1] < _ROOM,
            chance[:, 2] < _SILENT,
        )

    def make(self, draw: Draw, plan: Plan) -> Tensor:
        """Synthesise the sounds of a plan; what it does not say, as phases, is drawn anew.

        Returns
        -------
        y : Tensor [shape=(n, samples)]
            Between -1 and 1.
        """
        scene = plan.places[:, 0]
        y = self._sources(draw, plan.kinds[:, 0], plan.places[:, 0])
        both = plan.second.nonzero().flatten()
        if len(both):
            other = self._sources(draw, plan.kinds[both, 1], plan.places[both, 1])
            y[both] += 10 ** (value(scene[both], "second") / 20) * other
        rooms = plan.room.nonzero().flatten()
        if len(rooms):
            decay, wet = (value(scene[rooms], name) for name in ("echo", "wet"))
            y[rooms] = echoed(draw, y[rooms], self.sr, decay, wet)
        y = y * ~plan.silent[:, None]
        y = filtered(y + self._background(draw, scene), self._microphone(scene))
        peak = y.abs().amax(dim=1, keepdim=True)
        return y / (peak + 1e-9) * (0.05 + 0.95 * draw.even(len(y), 1))

    def _sources(self, draw: Draw, kinds: Tensor, places: Tensor) -> Tensor:
        """Synthesise a source each, of a root mean square of 1 while it sounds."""
        y = torch.empty(len(kinds), self.samples, device=self.device)
        for number, make in enumerate(_SOURCES):
            those = (kinds == number).nonzero().flatten()
            if len(those):
                y[those] = make(self, draw, places[those])
        return self._come_and_go(draw, y, places)

    def _come_and_go(self, draw: Draw, y: Tensor, places: Tensor) -> Tensor:
        get = {name: value(places, name) for name in PARAMETERS}
        t = torch.arange(self.samples, device=self.device) / self.sr
        turn = (t * get["event_rate"] + draw.even(len(y), 1)).frac()
        shape = envelope(turn, get["event_rate"], get["duty"], get["attack"], get["release"])
        wave = 0.5 - 0.5 * torch.cos(_TAU * get["am_rate"] * t + draw.phase(len(y)))
        return y / (loudness(y) + 1e-9) * shape * (1 - get["am_depth"] * wave)

    def _pitch(self, draw: Draw, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return the phase of a gliding, trembling tone, and the highest frequency it reaches."""
        t = torch.arange(self.samples, device=self.device) / self.sr
        way = t / t[-1] - 0.5
        pitch, glide = value(places, "pitch"), value(places, "glide")
        rate, depth = value(places, "vibrato_rate"), value(places, "vibrato")
        trembling = 1 + depth * torch.sin(_TAU * rate * t + draw.phase(len(places)))
        f = pitch * 2 ** (glide * way) * trembling
        phase = torch.cumsum(f, dim=1) * (_TAU / self.sr) + draw.phase(len(places))
        return phase.remainder(_TAU), f.amax(dim=1, keepdim=True)

    def _breath(self, draw: Draw, y: Tensor, places: Tensor) -> Tensor:
        return y + loudness(y) * 10 ** (value(places, "breath") / 20) * draw.normal(*y.shape)

    def harmonics(self, draw: Draw, places: Tensor) -> Tensor:
        """Make tones with harmonics, as of reeds, strings, horns and engines."""
        phase, top = self._pitch(draw, places)
        y = harmonics(phase, value(places, "tilt"), 0.48 * self.sr / top)
        return self._breath(draw, y, places)

    def voice(self, draw: Draw, places: Tensor) -> Tensor:
        """Make tones as of vocal folds, through the formants of a mouth."""
        phase, top = self._pitch(draw, places)
        y = harmonics(phase, torch.full_like(top, -6.0), 0.48 * self.sr / top)
        y = self._breath(draw, y, places)
        mouth = torch.zeros(len(y), len(self._f), device=self.device)
        third = torch.full_like(top, _FORMANT_3)
        for centre, loud in (
            (value(places, "formant_1"), 1.0),
            (value(places, "formant_2"), 0.6),
            (third, 0.3),
        ):
            mouth = mouth + loud * resonator(self._f, centre, torch.full_like(top, 0.004)).abs()
        return filtered(y, mouth)

    def modulated(self, draw: Draw, places: Tensor) -> Tensor:
        """Make tones whose frequency is modulated by another, as of bells and sirens."""
        phase, top = self._pitch(draw, places)
        ratio, strength = value(places, "fm_ratio"), value(places, "fm_index")
        room = (0.45 * self.sr / top - 1).clamp(min=0.1) / ratio  # Carson's rule
        return torch.sin(phase + torch.minimum(strength, room) * torch.sin(ratio * phase))

    def chirps(self, draw: Draw, places: Tensor) -> Tensor:
        """Make sweeps that begin anew with each event, as of birds and alarms."""
        t = torch.arange(self.samples, device=self.device) / self.sr
        rate = value(places, "event_rate")
        turn = (t * rate + draw.even(len(places), 1)).frac()
        f = value(places, "pitch") * 2 ** (2 * value(places, "glide") * (turn - 0.5))
        f = f.clamp(max=0.45 * self.sr)
        phase = (torch.cumsum(f, dim=1) * (_TAU / self.sr)).remainder(_TAU)
        return harmonics(phase, value(places, "tilt") * 1.5, 0.48 * self.sr / f.amax(1, True))

    def noise(self, draw: Draw, places: Tensor) -> Tensor:
        """Make bands of noise, as of wind, water, rubbing and hissing."""
        octaves = torch.log2(self._f.clamp(min=1) / value(places, "centre"))
        gain = torch.exp(-0.5 * (octaves / (0.5 * value(places, "width"))).square())
        return shaped(noise(draw, len(places), self.samples), gain, self.samples)

    def impulses(self, draw: Draw, places: Tensor) -> Tensor:
        """Make blows on something that resonates, as of hammers, clicks and raindrops."""
        rate, jitter = value(places, "impulse_rate"), value(places, "jitter")
        most = int(PARAMETERS["impulse_rate"].high * self.samples / self.sr) + 2
        steps = (1 + jitter * draw.normal(len(places), most)).clamp(min=0.05) / rate
        at = ((steps.cumsum(dim=1) - steps[:, :1] * draw.even(len(places), 1)) * self.sr).long()
        blows = torch.zeros(len(places), self.samples + 1, device=self.device)
        strength = 0.5 + draw.even(len(places), most)
        blows.scatter_add_(1, at.clamp(max=self.samples), strength)
        body = torch.zeros(len(places), len(self._f), dtype=torch.complex64, device=self.device)
        low, ringing = value(places, "resonance"), value(places, "ringing")
        for loud in (1.0, 0.6, 0.4):
            ratio = 1 if loud == 1 else 1 + 2 * draw.even(len(places), 1)
            body = body + loud * resonator(self._f, low * ratio, ringing)
        return filtered(blows[:, :-1], body)

    def _background(self, draw: Draw, scene: Tensor) -> Tensor:
        level = value(scene, "background")
        octaves = torch.log2(self._f.clamp(min=30) / 1_000)
        gain = 10 ** (value(scene, "slope") * octaves / 20)
        y = shaped(noise(draw, len(scene), self.samples), gain, self.samples)
        return y * 10 ** (level / 20) * (level > _NO_BACKGROUND)

    def _microphone(self, scene: Tensor) -> Tensor:
        """Compute what is let through: of second order at both ends."""
        f = self._f.clamp(min=1)
        low, high = value(scene, "low_cut"), value(scene, "high_cut")
        gain: Tensor = 1 / (1 + (low / f).square()) / (1 + (f / high).pow(4)).sqrt()
        return gain


_SOURCES = tuple(getattr(Synthesiser, name) for name in KINDS)
