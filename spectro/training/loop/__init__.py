"""The training loop: fastai's learner, its callbacks, threads, GPUs, progress and log."""
