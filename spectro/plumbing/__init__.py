"""What the rest stands on: files, paths, workers, downloads. Nothing here knows what a sound is."""
