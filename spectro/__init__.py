"""Labelled sound to spectrogram pictures to a classifier that people can trust.

What people import most stands here, loaded when it is first used, so that ``import spectro`` stays
quick::

    import spectro

    dataset = spectro.load_dataset("my-sounds", n_folds=5)
    spectro.render(dataset, "pictures", spectro.SpectrogramConfig())
    pictures = spectro.RenderedSet.load("pictures")
    run = spectro.cross_validate(pictures, "runs/first")
    spectro.Classifier.load("runs/first/fold1/model").predict(["new.wav"])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spectro.clips.datasets import load as load_dataset
    from spectro.clips.sample.write import write_sample
    from spectro.clips.table import Dataset
    from spectro.crossval.folds import cross_validate
    from spectro.crossval.own.training import score
    from spectro.crossval.run import Run
    from spectro.crossval.runs import compare_runs
    from spectro.errors import SpectroError
    from spectro.listening.classifier import Classifier
    from spectro.pictures.render import render
    from spectro.pictures.rendered import RenderedSet
    from spectro.pictures.settings import SpectrogramConfig
    from spectro.pictures.spectrogram import clip_image, load_clip
    from spectro.report.write import write_report
    from spectro.training.own import dataloaders
    from spectro.training.recipes import recipe
    from spectro.training.settings import Phase, TrainConfig

__all__ = [
    "Classifier",
    "Dataset",
    "Phase",
    "RenderedSet",
    "Run",
    "SpectroError",
    "SpectrogramConfig",
    "TrainConfig",
    "__version__",
    "clip_image",
    "compare_runs",
    "cross_validate",
    "dataloaders",
    "load_clip",
    "load_dataset",
    "recipe",
    "render",
    "score",
    "write_report",
    "write_sample",
]

__version__ = "0.1.0"

_WHERE = {
    "Classifier": "listening.classifier",
    "Dataset": "clips.table",
    "Phase": "training.settings",
    "RenderedSet": "pictures.rendered",
    "Run": "crossval.run",
    "SpectroError": "errors",
    "SpectrogramConfig": "pictures.settings",
    "TrainConfig": "training.settings",
    "clip_image": "pictures.spectrogram",
    "compare_runs": "crossval.runs",
    "cross_validate": "crossval.folds",
    "dataloaders": "training.own",
    "load_clip": "pictures.spectrogram",
    "load_dataset": "clips.datasets:load",
    "recipe": "training.recipes",
    "render": "pictures.render",
    "score": "crossval.own.training",
    "write_report": "report.write",
    "write_sample": "clips.sample.write",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'spectro' has no attribute {name!r}")
    module, _, own = _WHERE[name].partition(":")
    try:
        value = getattr(importlib.import_module(f"spectro.{module}"), own or name)
    except ModuleNotFoundError as error:
        from spectro.plumbing import extras

        raise extras.explained(error, f"spectro.{name}") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
