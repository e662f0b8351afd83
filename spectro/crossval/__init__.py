"""Cross-validation: runs, their folds, nested choices, and the comparison of runs."""
