"""Metrics: counted in the workers, added up in their supervisor, shown and sent from there."""
