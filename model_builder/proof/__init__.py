"""Whether a release, as it is served, answers as the trained network did."""
