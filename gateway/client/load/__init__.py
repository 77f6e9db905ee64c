"""Makes load: real requests, sent when they are due, each one's latency noted."""
