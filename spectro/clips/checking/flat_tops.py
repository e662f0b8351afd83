"""What was cut off a channel, and what wrapped around, found block by block.

Clipping is looked for in the waveform, not in the peak. A top that was cut off is flat for three
samples or more and is met at a slope; a round top of that length is met gently. So a loud sine at
full scale is not clipped, at 8 bits neither. A square wave is indistinguishable from a sine that
was cut off all over; one that knows nothing but its two extremes and silence is let be.

Numbers that were too large for their integer type wrap around instead: a peak just above full scale
becomes one at the opposite end. Careless resampling and scaling do that, and each time is a loud
click. (A sawtooth at full scale is the same as a ramp that wraps, and is taken for one.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["NEAR", "STEP", "FlatTops", "Wraps"]

NEAR = 0.95  # of full scale: tops below were cut off by nobody, or long ago
STEP = 2.0**-15  # between neighbouring values at full scale, in most codecs
_SHORTEST_TOP = 3  # samples: two equal ones at the top are common in any sound
_RIPPLE = 0.03  # of the top: how far resampling and lossy codecs unsettle a flat one
_STEEP = 3.0  # times the slope at which a round top of that length is met

_ACROSS = 1.8  # a step this large leads from one end of the scale to the other
_CALM = 0.5  # steps before and after it, where it is a number that wrapped around
_WILD = 0.1  # share of steps above 1 from which a sound is too high or noisy to tell
_REACH = 3  # samples kept from block to block: a step, and the one before it

Waveform = npt.NDArray[np.float32]


class FlatTops:
    """Counts the samples of a channel that lie on tops that were cut off.

    Parameters
    ----------
    high, low : float
        The channel's extremes.
    step : float
        Between neighbouring values near full scale: tops of a coarse codec are flat by nature.
    """

    def __init__(self, high: float, low: float, step: float = STEP) -> None:
        self._high, self._low = high, low
        self._samples, self._square = 0, True
        bands = (step / 2, _RIPPLE)
        self._sides = [
            (sign, [_Band(top, band, step) for band in bands])
            for sign, top in ((1, high), (-1, -low))
            if top >= NEAR
        ]

    def feed(self, x: Waveform) -> None:
        """Go on with the channel's next samples."""
        self._samples += len(x)
        if not self._sides:
            return
        extremes = (x == self._high) | (x == self._low) | (x == 0)
        self._square = self._square and bool(extremes.all())
        for sign, bands in self._sides:
            z = x if sign > 0 else -x
            for band in bands:
                band.feed(z)

    def share(self) -> float:
        """Return the share of samples that lie on such tops, from 0 to 1."""
        if self._square or not self._samples:
            return 0.0
        return sum(max(band.found for band in bands) for _, bands in self._sides) / self._samples


class _Band:
    """Counts the samples in long runs within `band` of the highest that are met at a slope.

    A parabola that stays within `band` of its top for ``n`` samples leaves it at ``4 * band / n`` a
    sample.
    """

    def __init__(self, top: float, band: float, step: float) -> None:
        self.found = 0
        self._from, self._band, self._step = np.float32(top) - band, band, step
        self._n, self._rise = 0, 0.0  # of the run that the block before ended in
        self._before: float | None = None

    def feed(self, x: Waveform) -> None:
        near = np.flatnonzero(x >= self._from)
        if self._n and (len(near) == 0 or near[0]):
            self._close(np.array([self._n]), np.array([self._rise]), (self._before or 0) - x[:1])
            self._n = 0
        if len(near):
            self._runs(x, near)
        self._before = x[-1]

    def _runs(self, x: Waveform, near: npt.NDArray[np.intp]) -> None:
        gaps = np.flatnonzero(np.diff(near) > 1)
        first, last = near[np.r_[0, gaps + 1]], near[np.r_[gaps, len(near) - 1]]
        n = last - first + 1
        rise = x[first] - x[np.maximum(first - 1, 0)]
        fall = x[last] - x[np.minimum(last + 1, len(x) - 1)]
        if self._n:
            n[0] += self._n
            rise[0] = self._rise
        elif first[0] == 0 and self._before is not None:
            rise[0] = x[0] - self._before
        open_ended = last[-1] == len(x) - 1
        self._n, self._rise = (int(n[-1]), rise[-1]) if open_ended else (0, 0.0)
        closed = len(n) - int(open_ended)
        self._close(n[:closed], rise[:closed], fall[:closed])

    def _close(
        self, n: npt.NDArray[np.intp], rise: npt.NDArray[np.floating], fall: Waveform
    ) -> None:
        slope = np.maximum(_STEEP * 4 * self._band / n, 2 * self._step)
        cut = (n >= _SHORTEST_TOP) & (np.minimum(rise, fall) > slope)
        self.found += int(n[cut].sum())


class Wraps:
    """Counts the steps of a channel that a number too large for its integer type explains.

    A step across the scale, in a sound that is calm before and after it once the step is taken the
    short way round. A wave that is level beside the step is square or cut off, not wrapped.
    """

    def __init__(self) -> None:
        self._held = np.empty(0, dtype=np.float32)
        self._steps = self._large = self._found = 0

    def feed(self, x: Waveform) -> None:
        """Go on with the channel's next samples."""
        known = max(0, len(self._held) - 1)  # steps that were counted before
        joined = np.concatenate([self._held, x]) if len(self._held) else x
        sizes = np.abs(np.diff(joined))
        self._steps += len(sizes) - known
        self._large += int((sizes[known:] > 1).sum())
        self._found += self._calm_ones(joined, skip=max(0, known - 1), ends=False)
        self._held = joined[-_REACH:].copy()

    def number(self) -> int:
        """Return how many there are; the channel ends here."""
        known = max(0, len(self._held) - 1)
        found = self._found + self._calm_ones(self._held, skip=max(0, known - 1), ends=True)
        return found if self._large <= _WILD * self._steps else 0

    def _calm_ones(self, x: Waveform, *, skip: int, ends: bool) -> int:
        """Count them among the steps behind the first `skip`, the last one only if `x` ends."""
        steps = np.diff(x)
        sizes = np.abs(steps)
        across = sizes > _ACROSS
        if not across.any():
            return 0
        around = np.where(across, 2 - sizes, sizes)
        calm = np.pad((around < _CALM) & (steps != 0), 1, constant_values=True)
        found = across & calm[:-2] & calm[2:]
        return int(found[skip : len(found) if ends else len(found) - 1].sum())
