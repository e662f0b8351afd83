"""A trained model hears new sound."""
