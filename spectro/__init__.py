"""Labelled sound to spectrogram pictures to a classifier that people can trust.

Importing this package imports nothing heavy; its parts do::

    from spectro.clips import datasets
    from spectro.pictures.settings import SpectrogramConfig
    from spectro.pictures.render import render
    from spectro.listening.classifier import Classifier
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
