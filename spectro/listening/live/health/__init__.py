"""How listening goes, for people, for probes and for Prometheus."""
