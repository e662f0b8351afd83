"""Messages on their way out: an outbox on disk, and couriers that take each message to its end."""
