"""Proof of hearing: a known clip is mixed into what a source hears, and must raise its event.

The mix is heard beside the real sound, by a session of its own with the same model and settings, so
that neither disturbs the other: all that is proved is proved from the samples of the source on.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import soxr

from spectro.clips.waveform import load
from spectro.errors import AudioError
from spectro.listening.events.finding import Origin
from spectro.listening.live.clock import local_time
from spectro.listening.live.hearing.ears import Ears, Site
from spectro.listening.live.hearing.session import Session
from spectro.listening.live.settings import ProofSettings
from spectro.listening.live.sources.fault import FLAT
from spectro.listening.live.sources.pcm import Format, Samples

__all__ = ["Proof", "Result", "mixed_in", "next_time"]

_LONGEST = 60.0  # s of a clip
_PATIENCE = 60.0  # s beyond what it takes, in which the source must give its sound
_CLIP_SR = 48_000


class Result(NamedTuple):
    """What became of a proof.

    Parameters
    ----------
    heard : bool
    text : str
        In words.
    """

    heard: bool
    text: str


def next_time(at: tuple[str, ...], now: float) -> float:
    """Return the next of these times of day, here, in seconds since 1970.

    Examples
    --------
    >>> noon = datetime(2026, 5, 1, 12).timestamp()
    >>> datetime.fromtimestamp(next_time(("06:00", "18:00"), noon)).hour
    18
    """
    today = local_time(now).replace(second=0, microsecond=0, tzinfo=None)
    times = []
    for day in (0, 1):
        for time in at:
            hour, minute = map(int, time.split(":"))
            moment: datetime = today.replace(hour=hour, minute=minute) + timedelta(days=day)
            times.append(moment.timestamp())
    return min(time for time in times if time > now)


def mixed_in(background: Samples, clip: Samples, at: int, snr: float) -> Samples:
    """Mix a clip into sound, so many dB above it.

    Parameters
    ----------
    background : np.ndarray [shape=(n, channels)], float32
    clip : np.ndarray [shape=(m,)], float32
    at : int
        Where it starts; all of it must fit.
    snr : float
        Power of the clip over that of the sound it is mixed with, in dB; the mean over both, of the
        channel that is loudest, about its mean: a constant is no sound.

    Returns
    -------
    mix : np.ndarray [shape=(n, channels)], float32
        Cut at full scale, as a converter does.
    """
    under = background[at : at + len(clip)].astype(np.float64)
    noise = float(np.max(np.var(under, axis=0), initial=0.0))
    power = float(np.mean(clip.astype(np.float64) ** 2))
    mix = background.copy()
    gain = np.sqrt(noise * 10 ** (snr / 10) / power)
    mix[at : at + len(clip)] += np.float32(gain) * clip[:, np.newaxis]
    return mix.clip(-1, 1)


class Proof:
    """One clip that one source must hear at its times.

    Parameters
    ----------
    settings : ProofSettings
    now, monotonic : float
        The two clocks. It is done once at the start, then at its times.

    Raises
    ------
    AudioError
        If the clip cannot be read, is silent, or is longer than a minute.
    """

    def __init__(self, settings: ProofSettings, now: float, monotonic: float) -> None:
        self.settings = settings
        self._clip = load(settings.clip, sr=_CLIP_SR, end=_LONGEST + 1)
        if len(self._clip) > _LONGEST * _CLIP_SR:
            raise AudioError(f"{settings.clip}: is longer than {_LONGEST:g} s; cut it")
        if not np.any(self._clip):
            raise AudioError(f"{settings.clip}: is silent; choose a clip that can be heard")
        self.due = next_time(settings.at, now)
        self._parts: list[Samples] | None = None
        self._form: Format | None = None
        self._until = 0.0
        self.start(monotonic)

    def start_if_due(self, now: float, monotonic: float) -> None:
        """Begin to gather sound, if it is time."""
        if self.due - now > 86_400:  # the clock was set back
            self.due = next_time(self.settings.at, now)
        if now >= self.due:
            self.due = next_time(self.settings.at, now)
            self.start(monotonic)

    def start(self, monotonic: float) -> None:
        """Begin to gather sound."""
        self._parts, self._form = [], None
        self._until = monotonic + 2 * len(self._clip) / _CLIP_SR + _PATIENCE

    def push(self, samples: Samples, form: Format, ears: Ears, site: Site) -> Result | None:
        """Take in sound of the source; when there is enough, return what came of it."""
        if self._parts is None:
            return None
        if form != self._form:  # another stretch
            self._parts, self._form = [], form
        self._parts.append(samples)
        lead = ears.backend.card.spectrogram.duration
        clip = soxr.resample(self._clip, _CLIP_SR, form.sr).astype(np.float32)
        first = round(lead * form.sr)
        if sum(map(len, self._parts)) < 2 * first + len(clip):
            return None
        sound, self._parts = np.concatenate(self._parts), None
        if ears.backend.card.spectrogram.channels == "first":  # the model hears no other
            sound, form = sound[:, :1], form._replace(channels=1)
        under = sound[first : first + len(clip)]
        if np.var(under, axis=0, dtype=np.float64).max() <= FLAT:
            self._parts = []  # nothing is proved where no sound is
            return None
        mix = mixed_in(sound, clip, first, self.settings.snr)
        return self._heard(mix, form, first, ears, site)

    def broken(self) -> None:
        """Begin anew: there was a hole in the sound."""
        if self._parts is not None:
            self._parts = []

    def given_up(self, monotonic: float) -> Result | None:
        """Return that it was not heard, if the source gave too little sound for too long."""
        if self._parts is None or monotonic < self._until:
            return None
        self._parts = None
        return self.failed("the source gave no sound")

    def failed(self, why: str) -> Result:
        """Return that it was not heard, and why."""
        return self._told(False, f"no: {why}")

    def _heard(self, mix: Samples, form: Format, first: int, ears: Ears, site: Site) -> Result:
        session = Session(ears, site, form, Origin("proof of hearing"))
        found = session.push(mix) + session.finish()
        begin, end = first / form.sr, (first + len(self._clip) * form.sr / _CLIP_SR) / form.sr
        for _, raised, _ in found:
            event = raised.event
            if event.label == self.settings.label and event.start < end and event.end > begin:
                return self._told(True, f"yes, at {event.peak:.2f}")
        others = sorted({raised.event.label for _, raised, _ in found})
        return self._told(False, f"no; {', '.join(others)} instead" if others else "no")

    def _told(self, heard: bool, answer: str) -> Result:
        own = self.settings
        question = f"would have heard {own.label} at {own.snr:+g} dB"
        return Result(heard, f"{question}: {answer}")
