"""The ten sounds of UrbanSound8K, each synthesised from the physics of what makes it.

A sound is a function of a `Take`: it draws the instrument from ``take.source``, what the
instrument does in these seconds from ``take.moment``, and returns ``take.n`` dry samples.
The ten differ above all in how they move: their average spectra are made to overlap, so that a
classifier has to look at time and frequency together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from spectro.clips.sample.blocks import (
    Sound,
    Take,
    Values,
    add,
    coloured_noise,
    decay,
    drift,
    equalise,
    harmonic_tone,
    impulses,
    onsets,
    resonate,
    swell,
    timbre,
)

__all__ = ["SOUNDS"]


def air_conditioner(take: Take) -> Sound:
    """Mains hum under a steady rush of air; nothing moves but the slow beat of the fan."""
    draw = take.source
    mains = draw.choice([50.0, 60.0]) * draw.choice([1, 2, 4])
    hum = harmonic_tone(np.full(take.n, mains), timbre(draw, 24, draw.uniform(-9, -2)), take.sr)
    peak = draw.uniform(150, 900)
    slopes = [-draw.uniform(3, 15), 0.0, -draw.uniform(12, 36)]
    rush = coloured_noise(take.moment, take.n, take.sr, [peak / 8, peak, peak * 8], slopes)
    mix, depth, beat = draw.uniform(0.15, 0.9), draw.uniform(0, 0.2), draw.uniform(0.3, 1.5)
    wave = 1 + depth * np.sin(2 * np.pi * (beat * take.t + take.moment.uniform()))
    return ((mix * hum + (1 - mix) * rush) * wave).astype(np.float32)


def car_horn(take: Take) -> Sound:
    """Two reeds a third apart, held at one pitch and cut off sharply, in one or more honks."""
    draw = take.source
    low, ratio = draw.uniform(300, 520), draw.choice([1.19, 1.25, 1.33])
    brass = timbre(draw, 24, draw.uniform(-6, -1))
    chord = harmonic_tone(np.full(take.n, low), brass, take.sr)
    chord += harmonic_tone(np.full(take.n, low * ratio), brass, take.sr)
    rate, share = draw.uniform(0.3, 2.2), draw.uniform(0.35, 0.85)
    starts = onsets(take, rate, draw.uniform(0, 0.25))
    starts = np.append(starts, take.moment.uniform(-0.3, 0.1))
    since = take.t[:, None] - starts
    pressed = np.any((since >= 0) & (since < share / rate), axis=1)
    return chord * _smooth(pressed.astype(np.float32), take.sr, 0.012)


def _smooth(y: Sound, sr: int, seconds: float) -> Sound:
    """Average over a window of `seconds`, so that a switch does not click."""
    width = max(1, int(seconds * sr))
    total = np.cumsum(np.pad(y, (width, 0)), dtype=np.float64)
    return ((total[width:] - total[:-width]) / width).astype(np.float32)


def children_playing(take: Take) -> Sound:
    """Several children at once: short shouts at 250 to 600 Hz that glide through two vowels."""
    pitches = take.source.uniform(230, 560, take.source.integers(2, 5))
    rate = take.source.uniform(0.7, 1.6)

    def shouts() -> Iterator[tuple[float, Sound]]:
        for pitch in pitches:
            for time in onsets(take, rate, 0.35):
                yield time, _shout(take, pitch * 2 ** take.moment.normal(0, 0.15))

    return add(take.silence(), take.sr, shouts())


def _shout(take: Take, pitch: float) -> Sound:
    """One voiced call: a glottal tone with a rise and fall of pitch, coloured by a vowel."""
    draw = take.moment
    call = take.seconds(draw.uniform(0.12, 0.8))
    arc = draw.uniform(-0.2, 0.6) * swell(call.n) + draw.uniform(-0.3, 0.3) * call.t / call.duration
    vibrato = 0.02 * np.sin(2 * np.pi * draw.uniform(4, 8) * call.t)
    voice = harmonic_tone(pitch * 2 ** (arc + vibrato), timbre(draw, 20, -5), call.sr)
    vowel = [draw.uniform(450, 1100), draw.uniform(1300, 2900), draw.uniform(3200, 4200)]
    return resonate(voice, call.sr, vowel, 4, [0, -3, -9]) * swell(call.n, 0.5)


def dog_bark(take: Take) -> Sound:
    """Barks of a fifth of a second: a harmonic glide up and down, rough with breath noise."""
    draw = take.source
    pitch, glide, length = draw.uniform(220, 800), draw.uniform(0.3, 1), draw.uniform(0.08, 0.25)
    throat = [draw.uniform(500, 1200), draw.uniform(1300, 2600)]
    voice, breath = timbre(draw, 20, draw.uniform(-6, -2)), draw.uniform(0.1, 0.7)
    rate, jitter = draw.uniform(0.8, 3.2), draw.uniform(0.05, 0.35)

    def bark() -> Sound:
        call = take.seconds(length * take.moment.uniform(0.8, 1.25))
        arc = glide * (swell(call.n).astype(np.float64) - 0.5) + take.moment.normal(0, 0.05)
        noise = take.moment.standard_normal(call.n, dtype=np.float32)
        mixed = harmonic_tone(pitch * 2**arc, voice, call.sr) + np.float32(breath) * noise
        return resonate(mixed, call.sr, throat, 3, [0, -4]) * swell(call.n, 1.5)

    times = np.append(onsets(take, rate, jitter), take.moment.uniform(0, 0.03))
    return add(take.silence(), take.sr, ((time, bark()) for time in times))


def drilling(take: Take) -> Sound:
    """Whine of a motor that sags in pitch and roughens whenever the bit bites."""
    draw = take.source
    speed, sag = draw.uniform(150, 700), draw.uniform(0.25, 0.7)
    whine, grit = timbre(draw, 30, draw.uniform(-5, -1)), draw.uniform(0.5, 1.5)
    peak = draw.uniform(1500, 6000)
    load = _load(take, draw.uniform(0.4, 1.2))
    wobble = 0.01 * drift(take, 12)
    tone = harmonic_tone(speed * 2 ** (-sag * load + wobble), whine, take.sr)
    noise = coloured_noise(take.moment, take.n, take.sr, [peak / 8, peak, peak * 4], [-15, 0, -12])
    return (tone + grit * (0.15 + load) * noise).astype(np.float32)


def _load(take: Take, rate: float) -> Values:
    """Return how hard the bit is pressed, 0 to 1, shape (n,): on and off `rate` times a second."""
    edges = np.append(0, onsets(take, 2 * rate, 0.3))
    index = np.searchsorted(edges, take.t, side="right")
    pressed = ((index + take.moment.integers(2)) % 2).astype(np.float32)
    return _smooth(pressed, take.sr, 0.25).astype(np.float64)


def engine_idling(take: Take) -> Sound:
    """Cylinders firing 10 to 28 times a second, unevenly, through the exhaust's resonances."""
    draw = take.source
    rate, cylinders = draw.uniform(10, 28), draw.integers(2, 5)
    balance = draw.uniform(0.25, 1, cylinders)
    pipe, boom = np.sort(draw.uniform(40, 300, 4)), draw.uniform(-12, 0, 4)
    hiss, slope = draw.uniform(0.02, 0.2), draw.uniform(-40, -15)
    times = onsets(take, rate, 0.04)
    strength = balance[np.arange(len(times)) % cylinders] * take.moment.uniform(0.8, 1, len(times))
    fired = resonate(impulses(take, times, strength), take.sr, pipe, 3, boom)
    puffs = resonate(impulses(take, times, strength), take.sr, [30], 0.7, [0])
    noise = coloured_noise(take.moment, take.n, take.sr, [100, 10000], [0, slope])
    idle: Sound = _level(fired) + np.float32(hiss) * noise * (1 + np.abs(_level(puffs)))
    return idle


def _level(y: Sound) -> Sound:
    """Scale to a root mean square of 1."""
    return y / np.float32(max(float(np.sqrt(np.mean(y**2))), 1e-9))


def gun_shot(take: Take) -> Sound:
    """Blast that decays within tens of ms and darkens as it does; single shots or bursts."""
    draw = take.source
    spread, dark = draw.uniform(0.015, 0.12), draw.uniform(400, 3000)
    boom = draw.uniform(0.3, 1.5)
    rate = draw.choice([0.4, 1.2, 3.0, 9.0]) * draw.uniform(0.7, 1.4)

    def blast() -> Sound:
        shot = take.seconds(8 * spread)
        white = take.moment.standard_normal(shot.n, dtype=np.float32)
        low = equalise(white, take.sr, [dark, dark * 8], [0, -36])
        crack = white * decay(shot.n, take.sr, 0.0005, spread / 6)
        return crack + np.float32(boom) * low * decay(shot.n, take.sr, 0.001, spread)

    times = np.append(onsets(take, rate, 0.08), take.moment.uniform(0, 0.02))
    return add(take.silence(), take.sr, ((time, blast()) for time in times))


def jackhammer(take: Take) -> Sound:
    """Eight to eighteen blows a second, each a click that rings in the steel and the ground."""
    draw = take.source
    rate = draw.uniform(8, 18)
    steel, ring = np.sort(draw.uniform(500, 4500, 5)), draw.uniform(-15, 0, 5)
    hiss, peak = draw.uniform(0.02, 0.3), draw.uniform(600, 4000)
    times = onsets(take, rate, 0.02)
    blows = impulses(take, times, take.moment.uniform(0.7, 1, len(times)))
    struck = resonate(blows, take.sr, steel, draw.uniform(4, 14), ring)
    air = coloured_noise(take.moment, take.n, take.sr, [peak / 8, peak, peak * 8], [-18, 0, -24])
    return _level(struck) + np.float32(hiss) * air


def siren(take: Take) -> Sound:
    """One loud tone whose pitch sweeps: a slow wail, a fast yelp or two alternating notes."""
    draw = take.source
    low, span = draw.uniform(450, 900), draw.uniform(0.35, 1.1)
    style = draw.choice(["wail", "yelp", "hi-lo"])
    rates = {"wail": (0.2, 0.5), "yelp": (1.5, 4.0), "hi-lo": (0.5, 1.2)}
    cycle = (take.t * draw.uniform(*rates[style]) + take.moment.uniform()) % 1
    if style == "hi-lo":
        sweep = (cycle < 0.5).astype(np.float64)
    else:
        sweep = np.where(cycle < 0.6, cycle / 0.6, (1 - cycle) / 0.4)
    horn = timbre(draw, 16, draw.uniform(-12, -6))
    return harmonic_tone(low * 2 ** (span * sweep), horn, take.sr)


def street_music(take: Take) -> Sound:
    """Plucked chords and a melody on the beat of one scale, over a drum."""
    draw = take.source
    tonic, tempo = 165 * 2 ** draw.uniform(0, 1), draw.uniform(1.3, 3.2)
    string, ring = timbre(draw, 16, draw.uniform(-9, -5)), draw.uniform(0.12, 0.6)
    drum = draw.uniform(0, 0.8)
    scale = np.array([0, 2, 4, 7, 9, 12, 14, 16])

    def note(semitones: float, seconds: float) -> Sound:
        tone = take.seconds(seconds)
        f0 = np.full(tone.n, tonic * 2 ** (semitones / 12))
        return harmonic_tone(f0, string, tone.sr) * decay(tone.n, tone.sr, 0.008, ring)

    def band() -> Iterator[tuple[float, Sound]]:
        for beat, time in enumerate(onsets(take, tempo, 0.01)):
            yield time, note(take.moment.choice(scale) + 12, 1 / tempo)
            yield time, np.float32(drum) * _hit(take)
            if beat % 2 == 0:
                root = take.moment.choice(scale[:5])
                for step in (0, 4, 7):
                    yield time, 0.6 * note(root + step, 2 / tempo)

    return add(take.silence(), take.sr, band())


def _hit(take: Take) -> Sound:
    """One beat of a drum: a burst of noise that fades in 40 ms."""
    hit = take.seconds(0.2)
    return take.moment.standard_normal(hit.n, dtype=np.float32) * decay(hit.n, hit.sr, 0.001, 0.04)


SOUNDS: dict[str, Callable[[Take], Sound]] = {
    "air_conditioner": air_conditioner,
    "car_horn": car_horn,
    "children_playing": children_playing,
    "dog_bark": dog_bark,
    "drilling": drilling,
    "engine_idling": engine_idling,
    "gun_shot": gun_shot,
    "jackhammer": jackhammer,
    "siren": siren,
    "street_music": street_music,
}
"""The sound of each class by name, in the order of UrbanSound8K's class IDs 0 to 9."""
