"""The page that goes with pretrained weights: how they came about, and what they scored."""

from __future__ import annotations

from spectro.plumbing.words import percent
from spectro.training.pretraining.checkpoint import Checkpoint, LogRow

__all__ = ["card"]


def card(about: Checkpoint, log: list[LogRow], weights: str) -> str:
    """Describe the weights for a person.

    Parameters
    ----------
    about : Checkpoint
        How they came about.
    log : list of LogRow
        Its last row has the score, if there is one.
    weights : str
        Name of their file.
    """
    config, heard = about.config, about.steps * about.config.batch_size
    counted = f"{heard:,}" if heard >= config.sounds else f"{heard:,} of {config.sounds:,}"
    on = f" on {about.gpus} GPUs" if about.gpus > 1 else ""
    lines = [
        f"# {config.arch}, pretrained on synthesised sound",
        "",
        f"{counted} synthesised sounds of {about.spectrogram.duration:g} s were heard "
        f"in {about.seconds / 60:,.0f} minutes{on}, with spectro {about.version}, generator "
        f"{about.generator}, seed {config.seed}; objective: {config.objective}. It started from "
        f"{about.start}.",
        "",
        f"`{weights}`: the state dict of {config.arch} without its classifier, in half precision "
        "but for numbers that are too large for it: "
        f"`--arch {config.arch} --weights {weights}`.",
        "",
        "```toml",
        config.to_toml().strip(),
        "",
        about.spectrogram.to_toml().strip(),
        "```",
    ]
    if heard < config.sounds:
        lines[4:4] = ["It was stopped on the way, where the learning rate is high still.", ""]
    if log and log[-1].score is not None:
        on = f" on {log[-1].scored_on}" if log[-1].scored_on else ""
        lines[4:4] = [f"Score when it stopped{on}: {percent(log[-1].score)}.", ""]
    return "\n".join(lines) + "\n"
