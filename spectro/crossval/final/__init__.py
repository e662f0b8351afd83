"""One network on all folds of a run: the model that is put to work."""
