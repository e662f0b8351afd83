"""Weights pretrained on synthesised sounds: data that spectro finds by the name of the package."""
