"""Training a network on synthesised sound before it meets any recording."""
