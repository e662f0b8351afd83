"""Every fold gets its turn to be scored: runs, their folds, and what they compare."""
