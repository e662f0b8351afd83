"""A model as a service: sounds over HTTP in, probabilities and events out; and a page."""
