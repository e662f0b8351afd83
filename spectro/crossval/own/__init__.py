"""Learners of the user's own: what they are made of, and their training under our protocol."""
