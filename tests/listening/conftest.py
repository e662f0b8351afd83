"""Where nothing of training is installed, what asks it for the truth is left out."""

from importlib.util import find_spec

NEED_TRAINING = ["test_backends.py", "test_classifier.py", "test_silence.py"]
collect_ignore = [] if find_spec("torch") else NEED_TRAINING
