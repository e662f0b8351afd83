"""One network learns from pictures, or from sounds."""
