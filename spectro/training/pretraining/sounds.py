"""Synthesised sounds: one or two sources, a background, a room, a microphone.

All of a step are synthesised together, on the device that trains, and none is written anywhere. The
same seed and step give the same sounds on the same device; processes that share a step make others.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spectro.training.pretraining.parameters import (
    KINDS,
    PARAMETERS,
    SCENE,
    USED,
    Ranges,
    index,
)
from spectro.training.pretraining.waves import (
    Draw,
    angles,
    echoed,
    envelope,
    filtered,
    harmonics,
    loudness,
    noise,
    resonator,
    shaped,
)

__all__ = ["VERSION", "Plan", "Synthesiser"]

VERSION = 4
"""Raised when the same seed and step give other sounds, pictures or errors to learn from."""

_TAU = 2 * math.pi
_FORMANT_3 = 2_900.0  # Hz, of a voice
_SIXTY_DB = math.log(1_000)  # time constants until an echo is 60 dB down
_SECOND, _ROOM, _EMPTY = 0.5, 0.5, 0.03  # shares of the sounds that have these
_QUIET, _CUT = 0.3, 0.3  # shares without a background, and of clips shorter than the picture
_SHORTEST = 0.1  # of the picture, of such clips
_SPARE = 1.25, 8  # more impulses are drawn than come on average: so many times, and so many
_FAINT = 0.1  # depth of modulation below which its rate is not asked for


@dataclass(frozen=True)
class Plan:
    """What sounds are to be made of.

    Attributes
    ----------
    kinds : Tensor [shape=(n, 2)], int64
        Number of the kind of the first and of the second source.
    places : Tensor [shape=(n, 2, parameters)]
        Of the parameters of both sources, from 0 to 1; those of the scene count from the first.
    ranges : Ranges
        What places stand for.
    second, room, empty, quiet : Tensor [shape=(n,)], bool
        Whether there is a second source, an echo, no source at all, and no background.
    ends : Tensor [shape=(n,)]
        Where the clip ends, as a share of the picture, from 0.1 to 1.
    """

    kinds: Tensor
    places: Tensor
    ranges: Ranges
    second: Tensor
    room: Tensor
    empty: Tensor
    quiet: Tensor
    ends: Tensor

    def changed(self, draw: Draw, by: float) -> Plan:
        """Move all parameters a little, and back from the ends of their ranges.

        Parameters
        ----------
        draw : Draw
        by : float
            Standard deviation of the move, where a parameter's range is 1.
        """
        places = self.places + by * draw.normal(*self.places.shape)
        places = places.remainder(2)
        return replace(self, places=torch.where(places > 1, 2 - places, places))

    def elsewhere(self, draw: Draw) -> Plan:
        """Put the same sources into other scenes: room, background, microphone, end of the clip."""
        n, places = len(self.kinds), self.places.clone()
        columns = [index(name) for name in SCENE if name != "second"]  # how loud is of the sources
        places[:, 0, columns] = draw.even(n, len(columns))
        chance = draw.even(n, 2)
        return replace(
            self,
            places=places,
            room=chance[:, 0] < _ROOM,
            quiet=chance[:, 1] < _QUIET,
            ends=_ends(draw, n),
        )

    @property
    def present(self) -> Tensor:
        """Tell which kinds sound, and echo, and that none does: 0 and 1, shape (n, kinds + 2)."""
        has = torch.nn.functional.one_hot(self.kinds, len(KINDS))
        each = (has[:, 0] + has[:, 1] * self.second[:, None]).clamp(max=1)
        sound = ~self.empty[:, None]
        return torch.cat([each * sound, self.room[:, None] & sound, ~sound], dim=1).float()

    @property
    def used(self) -> Tensor:
        """Tell which parameters of the first source are asked for, shape (n, parameters)."""
        first, value = self.places[:, 0], self.ranges.value
        used = torch.tensor(USED, device=first.device)[self.kinds[:, 0]] & ~self.empty[:, None]
        stops = (value(first, "duty") < 1)[:, 0]
        room = _room(first, self.ranges)
        if_so = {
            "second": self.second,
            "echo": self.room,
            "wet": self.room,
            "background": ~self.quiet,
            "slope": ~self.quiet,
            "event_rate": stops | (self.kinds[:, 0] == list(KINDS).index("chirps")),
            "duty": stops,
            "attack": stops,
            "release": stops,
            "am_rate": (value(first, "am_depth") > _FAINT)[:, 0],
            "fm_index": (room >= value(first, "fm_index"))[:, 0],
            "fm_ratio": (room > _FAINT)[:, 0],
            "mode_2": self._has_mode("mode_2"),
            "mode_3": self._has_mode("mode_3"),
        }
        for name, heard in if_so.items():
            used[:, index(name)] &= heard
        return used

    def _has_mode(self, name: str) -> Tensor:
        """Tell whether a mode of what resonates lies below half the sampling rate."""
        first, value = self.places[:, 0], self.ranges.value
        return (value(first, "resonance") * value(first, name) < self.ranges.sr / 2)[:, 0]


def _room(places: Tensor, ranges: Ranges) -> Tensor:
    """Return the index of modulation whose sidebands just stay below half the sampling rate.

    By Carson's rule they reach ``(index + 1) * ratio`` times the pitch beyond it.
    """
    value = ranges.value
    glide, vibrato = value(places, "glide").abs() / 2, value(places, "vibrato")
    top = value(places, "pitch") * torch.exp2(glide) * (1 + vibrato)
    return (0.48 * ranges.sr / top - 1) / value(places, "fm_ratio") - 1


def _ends(draw: Draw, n: int) -> Tensor:
    """Draw where clips end: most of them with the picture."""
    is_cut, share = draw.even(2, n)
    return torch.where(is_cut < _CUT, _SHORTEST + (1 - _SHORTEST) * share, 1.0)


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
        self.ranges = Ranges(sr, samples / sr)
        self._value = self.ranges.value
        self._wanted = torch.tensor([name not in leave_out for name in KINDS], device=device)
        self._f = torch.fft.rfftfreq(samples, 1 / sr).to(device)
        self._t = torch.arange(samples, device=device) / sr

    def draw(self, step: int, rank: int = 0) -> Draw:
        """Return the random numbers of a step.

        Parameters
        ----------
        step : int
        rank : int
            Number of the process, of those that share the step.
        """
        generator = torch.Generator(device=self.device)
        generator.manual_seed(self.seed_of(step, rank))
        return Draw(generator)

    def seed_of(self, step: int, rank: int = 0) -> int:
        """Return the seed of a step; CPU generators use only the low 32 bits, so all are mixed."""
        of = f"{self.seed} {step} {rank}" if rank else f"{self.seed} {step}"
        mixed = hashlib.sha256(of.encode()).digest()
        return int.from_bytes(mixed[:8], "little") >> 1

    def plan(self, draw: Draw, n: int) -> Plan:
        """Draw what sounds are to be made of.

        Parameters
        ----------
        draw : Draw
            Of :meth:`draw`.
        n : int
            How many.
        """
        wanted = self._wanted.nonzero().flatten()
        kinds = wanted[(draw.even(n, 2) * len(wanted)).long().clamp(max=len(wanted) - 1)]
        chance = draw.even(n, 4)
        return Plan(
            kinds,
            draw.even(n, 2, len(PARAMETERS)),
            self.ranges,
            chance[:, 0] < _SECOND,
            chance[:, 1] < _ROOM,
            chance[:, 2] < _EMPTY,
            chance[:, 3] < _QUIET,
            _ends(draw, n),
        )

    def make(self, draw: Draw, plan: Plan) -> Tensor:
        """Synthesise the sounds of a plan; what it does not say, as phases, is drawn anew.

        Parameters
        ----------
        draw : Draw
            Of :meth:`draw`.
        plan : Plan
            Of :meth:`plan`, of `n` sounds.

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
            y[both] += 10 ** (self._value(scene[both], "second") / 20) * other
        rooms = plan.room.nonzero().flatten()
        if len(rooms):
            decay, wet = (self._value(scene[rooms], name) for name in ("echo", "wet"))
            y[rooms] = echoed(draw, y[rooms], self.sr, decay / _SIXTY_DB, wet)
        y = y * ~plan.empty[:, None] + self._background(draw, scene) * ~plan.quiet[:, None]
        y = filtered(y, self._microphone(scene))
        at = torch.arange(self.samples, device=self.device)
        y = y * (at < plan.ends[:, None] * self.samples)
        peak = y.abs().amax(dim=1, keepdim=True)
        return y / (peak + 1e-9) * (0.05 + 0.95 * draw.even(len(y), 1))

    def _sources(self, draw: Draw, kinds: Tensor, places: Tensor) -> Tensor:
        """Synthesise a source each, of a root mean square of 1 before it comes and goes."""
        y = torch.empty(len(kinds), self.samples, device=self.device)
        turn = (self._t * self._value(places, "event_rate") + draw.even(len(y), 1)).frac()
        for number, make in enumerate(_SOURCES):
            those = (kinds == number).nonzero().flatten()
            if len(those):
                y[those] = make(self, draw, places[those], turn[those])
        return self._come_and_go(draw, y, places, turn)

    def _come_and_go(self, draw: Draw, y: Tensor, places: Tensor, turn: Tensor) -> Tensor:
        names = ("event_rate", "duty", "attack", "release", "am_rate", "am_depth")
        get = {name: self._value(places, name) for name in names}
        shape = envelope(turn, get["event_rate"], get["duty"], get["attack"], get["release"])
        wave = 0.5 - 0.5 * torch.cos(_TAU * get["am_rate"] * self._t + draw.phase(len(y)))
        return y / (loudness(y) + 1e-9) * shape * (1 - get["am_depth"] * wave)

    def _pitch(self, draw: Draw, places: Tensor, name: str = "pitch") -> tuple[Tensor, Tensor]:
        """Return the cycles of a tone with glide and vibrato, and the highest frequency it has."""
        way = self._t / self._t[-1].clamp(min=1 / self.sr) - 0.5
        rate, depth = self._value(places, "vibrato_rate"), self._value(places, "vibrato")
        trembling = 1 + depth * torch.sin(_TAU * rate * self._t + draw.phase(len(places)))
        f = self._value(places, name) * torch.exp2(self._value(places, "glide") * way) * trembling
        return self._cycles(draw, f), f.amax(dim=1, keepdim=True)

    def _cycles(self, draw: Draw, f: Tensor) -> Tensor:
        """Add up frequencies to cycles since a moment drawn, in float64."""
        return torch.cumsum(f / self.sr, dim=1, dtype=torch.float64) + draw.even(len(f), 1)

    def _breath(self, draw: Draw, y: Tensor, places: Tensor) -> Tensor:
        return y + loudness(y) * 10 ** (self._value(places, "breath") / 20) * draw.normal(*y.shape)

    def harmonics(self, draw: Draw, places: Tensor, turn: Tensor) -> Tensor:
        """Make tones with harmonics, as of reeds, strings, horns and engines."""
        cycles, top = self._pitch(draw, places)
        y = harmonics(angles(cycles), self._value(places, "tilt"), 0.48 * self.sr / top)
        return self._breath(draw, y, places)

    def voice(self, draw: Draw, places: Tensor, turn: Tensor) -> Tensor:
        """Make tones as of vocal folds, through the formants of a mouth."""
        cycles, top = self._pitch(draw, places, "voice_pitch")
        y = harmonics(angles(cycles), torch.full_like(top, -6.0), 0.48 * self.sr / top)
        y = self._breath(draw, y, places)
        mouth = torch.zeros(len(y), len(self._f), device=self.device)
        third = torch.full_like(top, _FORMANT_3)
        for centre, loud in (
            (self._value(places, "formant_1"), 1.0),
            (self._value(places, "formant_2"), 0.6),
            (third, 0.3),
        ):
            mouth = mouth + loud * resonator(self._f, centre, torch.full_like(top, 0.004)).abs()
        return filtered(y, mouth)

    def modulated(self, draw: Draw, places: Tensor, turn: Tensor) -> Tensor:
        """Make tones whose frequency is modulated by another, as of bells and sirens."""
        cycles, _ = self._pitch(draw, places)
        ratio = self._value(places, "fm_ratio")
        strength = torch.minimum(
            self._value(places, "fm_index"), _room(places, self.ranges).clamp(min=0)
        )
        return torch.sin(angles(cycles) + strength * torch.sin(angles(cycles, ratio)))

    def chirps(self, draw: Draw, places: Tensor, turn: Tensor) -> Tensor:
        """Make sweeps that begin anew with each event, as of birds and alarms."""
        f = self._value(places, "pitch") * torch.exp2(
            2 * self._value(places, "glide") * (turn - 0.5)
        )
        f = f.clamp(max=0.45 * self.sr)
        highest = 0.48 * self.sr / f.amax(dim=1, keepdim=True)
        return harmonics(angles(self._cycles(draw, f)), 1.5 * self._value(places, "tilt"), highest)

    def noise(self, draw: Draw, places: Tensor, turn: Tensor) -> Tensor:
        """Make bands of noise, as of wind, water, rubbing and hissing."""
        octaves = torch.log2(self._f.clamp(min=1) / self._value(places, "centre"))
        gain = torch.exp(-0.5 * (octaves / (0.5 * self._value(places, "width"))).square())
        return shaped(noise(draw, len(places), self.samples), gain, self.samples)

    def impulses(self, draw: Draw, places: Tensor, turn: Tensor) -> Tensor:
        """Make blows on something that resonates, as of hammers, clicks and raindrops."""
        rate, jitter = self._value(places, "impulse_rate"), self._value(places, "jitter")
        times, more = _SPARE
        most = int(times * PARAMETERS["impulse_rate"].high * self.samples / self.sr) + more
        steps = (1 + jitter * draw.normal(len(places), most)).clamp(min=0.05) / rate
        at = ((steps.cumsum(dim=1) - steps[:, :1] * draw.even(len(places), 1)) * self.sr).long()
        blows = torch.zeros(len(places), self.samples + 1, device=self.device)
        strength = 0.5 + draw.even(len(places), most)
        blows.scatter_add_(1, at.clamp(max=self.samples), strength)
        body = torch.zeros(len(places), len(self._f), dtype=torch.complex64, device=self.device)
        low, ringing = self._value(places, "resonance"), self._value(places, "ringing")
        second, third = (self._value(places, name) for name in ("mode_2", "mode_3"))
        for loud, f in ((1.0, low), (0.6, low * second), (0.4, low * third)):
            body = body + loud * resonator(self._f, f, ringing)
        return filtered(blows[:, :-1], body)

    def _background(self, draw: Draw, scene: Tensor) -> Tensor:
        level = self._value(scene, "background")
        octaves = torch.log2(self._f.clamp(min=30) / 1_000)
        gain = 10 ** (self._value(scene, "slope") * octaves / 20)
        y = shaped(noise(draw, len(scene), self.samples), gain, self.samples)
        return y * 10 ** (level / 20)

    def _microphone(self, scene: Tensor) -> Tensor:
        """Compute what is let through: of second order at both ends."""
        f = self._f.clamp(min=1)
        low, high = self._value(scene, "low_cut"), self._value(scene, "high_cut")
        gain: Tensor = 1 / (1 + (low / f).square()) / (1 + (f / high).square().square()).sqrt()
        return gain


_SOURCES = tuple(getattr(Synthesiser, name) for name in KINDS)
