"""A clip becomes a mel-spectrogram picture, a dataset a folder of them."""
