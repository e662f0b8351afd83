"""Commands that put a model to work: a file a command."""
