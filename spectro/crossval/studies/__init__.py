"""Studies over folds: a probe, a learning curve, nested choices, a fit to a time budget."""
