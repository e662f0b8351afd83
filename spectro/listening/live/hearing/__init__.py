"""From sound to events, one source at a time, as a scan does it."""
