"""Pretraining: in each step sounds are made and drawn, and the network learns from them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from spectro import __version__
from spectro.errors import ConfigError, DivergedError, ModelError
from spectro.models import tensors
from spectro.models.networks import build as networks
from spectro.models.networks.precision import autocast
from spectro.models.weights import resolve
from spectro.pictures.settings import SpectrogramConfig
from spectro.plumbing.files import is_taken, replacing, sweep, write_text
from spectro.plumbing.workers import ACTIVATIONS, keep_memory
from spectro.training.data import device as usual_device
from spectro.training.loop import timing
from spectro.training.loop.processes import ALONE, Rank, any_of_them, average
from spectro.training.pixels import Colour, TensorLevels
from spectro.training.pretraining import checkpoint
from spectro.training.pretraining.card import card
from spectro.training.pretraining.checkpoint import STATE, Checkpoint, LogRow
from spectro.training.pretraining.objectives import Heads, contrast, parameter_errors
from spectro.training.pretraining.pictures import Pictures
from spectro.training.pretraining.settings import PretrainConfig
from spectro.training.pretraining.sounds import VERSION, Plan, Synthesiser

__all__ = ["WEIGHTS", "Pretraining", "Probe"]

WEIGHTS = "weights.safetensors"
_WARM_UP = 0.05  # of the steps, over which the rate rises
_MOST_ROWS = 100_000  # of the log; all are read when it is gone on with
_N_CLASSES = 10  # of the network whose steps are timed; any number takes as long
_WAVES = 8  # of the length of a sound that are in memory at one time, as sound, phase and noise
_SPECTRA = 3  # as many of all its frames: windowed, transformed, as powers


@dataclass(frozen=True)
class Probe:
    """How a network is scored on the way, for each row of the log.

    Parameters
    ----------
    score : callable
        Given the network, returns its score in 0..1; leaves the network as it is.
    on : str
        On what, in words, for log and card.
    """

    score: Callable[[nn.Sequential], float]
    on: str


class Pretraining:
    """A network that learns from synthesised sounds, in a folder where it can be gone on with.

    Parameters
    ----------
    folder : str or Path
        Where state, log and weights go; what is there already is gone on with.
    config : PretrainConfig
        Settings; those of a folder that is there must be the same.
    spectrogram : SpectrogramConfig
        How pictures are drawn.
    device : torch.device or None
        None means a GPU where there is one.
    rank : Rank
        Of this process among those that share each step (:mod:`spectro.training.loop.processes`).
        Only the first writes to the folder, and scores.

    Raises
    ------
    ConfigError
        If the folder's settings are others, there is no such network, or it cannot take pictures
        of this size.
    ModelError
        If the folder holds something else, its state cannot be read, weights to start from cannot
        be had, or a step would take more memory than this machine has.
    """

    def __init__(
        self,
        folder: str | Path,
        config: PretrainConfig,
        spectrogram: SpectrogramConfig,
        *,
        device: torch.device | None = None,
        rank: Rank = ALONE,
    ) -> None:
        _check_memory(config, spectrogram)
        self.folder, self.config, self.spectrogram = Path(folder), config, spectrogram
        self.device, self._rank = device or usual_device(), rank
        self._draw_pictures = Pictures(spectrogram, self.device)
        self._synthesiser = Synthesiser(
            spectrogram.n_samples,
            spectrogram.sr,
            seed=config.seed,
            device=self.device,
            leave_out=config.leave_out,
        )
        networks.check_name(config.arch)
        networks.check_takes(config.arch, spectrogram.shape)
        mean, std = networks.statistics(config.arch)
        self._pool = networks.ConcatPool()  # as the head of a classifier pools
        self._colour = Colour(spectrogram.cmap, None, mean, std)
        self.log: list[LogRow] = []
        self._written = _stamp(self.folder / STATE)
        if (self.folder / STATE).is_file():
            self.about, self.log = self._there()
            self._build(None)
            checkpoint.restore(self.folder / STATE, self.about, self._modules, self._optimizer)
        else:
            sweep(self.folder)  # what a killed process left half written
            if is_taken(self.folder):
                raise ModelError(
                    f"{self.folder}: is there and holds something else; name another --out"
                )
            self.about, start = self._new()
            self._build(start)

    def _new(self) -> tuple[Checkpoint, dict[str, Tensor] | None]:
        """Say how it begins, and from which tensors."""
        start = resolve(self.config.weights, self.config.arch)
        precision = self._precision()
        return Checkpoint(
            version=__version__, config=self.config, spectrogram=self.spectrogram,
            generator=VERSION, precision=precision, start=start.detail, steps=0, gpus=self._rank.n,
        ), start.state  # fmt: skip

    def _precision(self) -> str:
        """Settle the arithmetic: timed, but where several would have to agree."""
        asked, arch = self.config.precision, self.config.arch
        n_steps = self.config.steps if self._rank.n == 1 else 0
        pictures = (_N_CLASSES, self.spectrogram.shape)
        precision, _ = timing.of_steps(asked, self.device, n_steps, arch, *pictures)
        return "fp32" if precision == "fp16" else precision  # whose gradients want scaling

    def _there(self) -> tuple[Checkpoint, list[LogRow]]:
        """Read how far the folder is; refuse it if its settings are others."""
        about, log = checkpoint.read(self.folder)
        if about.generator != VERSION:
            raise ConfigError(
                f"{self.folder}: was begun with generator {about.generator} of sounds, and this is "
                f"generator {VERSION}; name another folder"
            )
        if about.gpus != self._rank.n:
            raise ConfigError(
                f"{self.folder}: was begun with --gpus {about.gpus}, which has other batches; go "
                "on with it, or name another folder"
            )
        other = [*about.config.differences(self.config)]
        other += about.spectrogram.differences(self.spectrogram)
        if other:
            raise ConfigError(
                f"{self.folder}: was begun with other settings ({'; '.join(other)}); name another "
                "folder, or go on with its own"
            )
        return about, log

    def _build(self, start: dict[str, Tensor] | None) -> None:
        """Build network, heads and optimizer, as they begin."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            self.body = networks.body(self.config.arch, start)
            shape = self.spectrogram.shape
            self._heads = Heads(2 * networks.n_features(self.body, shape, self.config.arch))
        self.body.to(memory_format=torch.channels_last)  # before the optimizer: it goes by memory
        if self._rank.n > 1 and self.device.type == "cuda":
            networks.synchronise_norms(self.body)
            networks.synchronise_norms(self._heads)
        for module in (self.body, self._heads):
            module.to(self.device)
        modules = [*self.body.parameters(), *self._heads.parameters()]
        self._optimizer = torch.optim.AdamW(
            modules, lr=self.config.lr, weight_decay=self.config.weight_decay, fused=True
        )

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return {"body": self.body, "heads": self._heads}

    def run(
        self,
        *,
        every: int = 2_000,
        seconds: float = math.inf,
        probe: Probe | None = None,
        told: Callable[[LogRow], None] = lambda row: None,
    ) -> bool:
        """Train to the end, or as long as there is time.

        Parameters
        ----------
        every : int
            Sounds between two rows of the log.
        seconds : float
            After so many it stops, where it can be gone on with.
        probe : Probe or None
            Scores the network for each row of the log.
        told : callable
            Given each row.

        Returns
        -------
        done : bool
            Whether it is at its end; ``weights.safetensors`` is written then, and whenever it
            stops.

        Raises
        ------
        ConfigError
            If there would be more than 100,000 rows.
        DivergedError
            If loss or weights are not finite; what was written last stays.
        ModelError
            If another process has written to the folder since; nothing is written over.
        """
        if self.config.sounds / every > _MOST_ROWS:
            raise ConfigError(
                f"a row every {every:,} of {self.config.sounds:,} sounds would be more than "
                f"{_MOST_ROWS:,}; take a row less often, with --every"
            )
        keep_memory(ACTIVATIONS)
        stop, end = time.monotonic() + seconds, self.config.steps
        if self._rank.number == 0:
            self._begin(probe, told)
        while self.about.steps < end and not self._is_over(stop):
            self.log.append(self._some(every, stop))
            if self._rank.number == 0:
                self._keep()
                told(self.log[-1] if probe is None else self._scored(probe))
        if self._rank.number == 0:
            self._write_weights()
        return self.about.steps == end

    def _begin(self, probe: Probe | None, told: Callable[[LogRow], None]) -> None:
        """Make the folder, or catch up on what a process left that was killed."""
        self._check_alone()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / STATE).is_file():
            self._keep()  # from here on the folder is known as ours
        elif probe is not None and self.log and self.log[-1].score is None:
            told(self._scored(probe))

    def _is_over(self, stop: float) -> bool:
        """Tell whether there is no more time, the same in all processes, which all must ask."""
        return any_of_them(time.monotonic() >= stop, self._rank, self.device)

    def _some(self, every: int, stop: float) -> LogRow:
        """Train until a row is due, or time is over, but for one step at least."""
        began, sums = time.monotonic(), _Sums()
        steps, size = self.about.steps, self.config.batch_size
        due = (steps * size // every + 1) * every
        while True:
            sums.add(self._step(steps))
            steps += 1
            if steps == self.config.steps or steps * size >= due or self._is_over(stop):
                break
        row = sums.row(steps * size, self.about.seconds + time.monotonic() - began)
        self.about = self.about.replace(steps=steps, seconds=row.seconds)
        return row

    def _scored(self, probe: Probe) -> LogRow:
        """Score the network as it is, for the last row of the log."""
        self.log[-1] = self.log[-1].replace(score=probe.score(self.body), scored_on=probe.on)
        self._check_alone()
        checkpoint.write_log(self.folder, self.log)
        return self.log[-1]

    def _step(self, step: int) -> dict[str, float]:
        """Make the sounds of a step and learn from them; return the errors."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.lr * _rate(step, self.config.steps)
        plans, levels = self._sounds(step)
        self.body.train()
        self._heads.train()
        devices = [] if self.device.type == "cpu" else [self.device]
        with torch.random.fork_rng(devices, device_type=self.device.type):
            torch.manual_seed(
                self._synthesiser.seed_of(step, self._rank.number)
            )  # what dropout and its like draw
            with autocast(self.device, self.about.precision):
                features = self._features(levels)
        errors = self._errors(features, plans)
        loss = torch.stack(list(errors.values())).sum()
        if not bool(loss.isfinite()):
            raise self._diverged(f"the loss is not finite at step {step}")
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        means = torch.stack([error.detach() for error in errors.values()])
        average([*(p.grad for p in parameters if p.grad is not None), means], self._rank)
        self._optimizer.step()
        return dict(zip(errors, means.tolist(), strict=True))

    @torch.no_grad()
    def _sounds(self, step: int) -> tuple[list[Plan], Tensor]:
        """Make the sounds of a step; of pairs, all first renderings come before all others."""
        draw = self._synthesiser.draw(step, self._rank.number)
        n = self.config.batch_size // self._rank.n
        if self.config.objective == "parameters":
            plans = [self._synthesiser.plan(draw, n)]
        else:
            first = self._synthesiser.plan(draw, n // 2)
            second = first.changed(draw, self.config.change)
            plans = [first, second.elsewhere(draw) if self.config.scene == "new" else second]
        y = torch.cat([self._synthesiser.make(draw, plan) for plan in plans])
        return plans, self._draw_pictures(y, draw if self.config.drawing == "new" else None)

    def _features(self, levels: Tensor) -> Tensor:
        pixels = self._colour.encodes(TensorLevels(levels)).as_subclass(Tensor)
        maps: Tensor = self.body(pixels.contiguous(memory_format=torch.channels_last))
        pooled: Tensor = self._pool(maps.float())
        return pooled

    def _errors(self, features: Tensor, plans: list[Plan]) -> dict[str, Tensor]:
        errors: dict[str, Tensor] = {}
        if self.config.objective != "pairs":
            each = [
                parameter_errors(self._heads, part, plan)
                for part, plan in zip(features.chunk(len(plans)), plans, strict=True)
            ]
            present, places = zip(*each, strict=True)
            errors = {"present": sum(present) / len(each), "places": sum(places) / len(each)}
        if self.config.objective != "parameters":
            sounding = ~torch.cat([plan.empty for plan in plans])
            errors["pairs"] = contrast(self._heads, features, self.config.temperature, sounding)
        return errors

    def _diverged(self, what: str) -> DivergedError:
        return DivergedError(
            f"{self.folder}: {what}; name another folder with a lower --lr, or --precision fp32"
        )

    def _keep(self) -> None:
        """Write log and state, but none that cannot be gone on with."""
        self._check_alone()
        weights = (t for module in self._modules.values() for t in module.state_dict().values())
        if not all(bool(tensor.isfinite().all()) for tensor in weights):
            raise self._diverged(f"weights are not finite after step {self.about.steps}")
        averages = (t for kept in self._optimizer.state.values() for t in kept.values())
        if not all(bool(tensor.isfinite().all()) for tensor in averages):
            raise self._diverged(
                f"what the optimizer keeps is not finite after step {self.about.steps}"
            )
        if self.log:
            checkpoint.write_log(self.folder, self.log)
        checkpoint.write(self.folder, self.about, self._modules, self._optimizer)
        self._written = _stamp(self.folder / STATE)

    def _check_alone(self) -> None:
        """Stop if another process has written since."""
        if _stamp(self.folder / STATE) != self._written:
            raise ModelError(
                f"{self.folder}: another process goes on with it; this one stops, having written "
                "nothing over it"
            )

    def _write_weights(self) -> None:
        """Write the network as it is, for ``--weights``, and what it is."""
        self._check_alone()
        state = networks.library_state(self.config.arch, self.body)
        half = {name: _halved(t).cpu().contiguous() for name, t in state.items()}
        with replacing(self.folder / WEIGHTS) as path:
            tensors.write_tensors(half, path)
        write_text(self.folder / "README.md", card(self.about, self.log, WEIGHTS))


def _halved(tensor: Tensor) -> Tensor:
    """Give a tensor in half precision, unless a number is too large for it."""
    half = tensor.half() if tensor.is_floating_point() else tensor
    return half if half.isfinite().all() else tensor


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tell one writing of a file from another."""
    try:
        about = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return about.st_size, about.st_mtime_ns


def _check_memory(config: PretrainConfig, spectrogram: SpectrogramConfig) -> None:
    """Refuse a batch whose sounds alone would fill the memory; the network needs more."""
    wave, frames = 4 * spectrogram.n_samples, spectrogram.shape[1]
    spectrum = 8 * (1 + spectrogram.n_fft // 2) * frames
    about = f"a batch of {config.batch_size} sounds of {spectrogram.duration:g} s"
    tensors.check_memory(config.batch_size * (_WAVES * wave + _SPECTRA * spectrum), about)


class _Sums:
    """Errors since the last row of the log."""

    def __init__(self) -> None:
        self._steps = 0
        self._sums: dict[str, float] = {}

    def add(self, errors: dict[str, float]) -> None:
        self._steps += 1
        for name, error in errors.items():
            self._sums[name] = self._sums.get(name, 0.0) + error

    def row(self, sounds: int, seconds: float) -> LogRow:
        means = {name: round(total / self._steps, 6) for name, total in self._sums.items()}
        return LogRow(
            sounds=sounds, loss=round(sum(means.values()), 6), seconds=round(seconds, 3), **means
        )


def _rate(step: int, steps: int) -> float:
    """Return the share of the peak rate at a step: up, then down by a cosine."""
    rise = max(1, round(_WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 + 0.5 * math.cos(math.pi * (step - rise) / max(1, steps - rise))
