"""A sound file, a piece of it, tables of pieces: read, decoded, measured and checked."""
