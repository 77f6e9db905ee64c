"""Writes down who called what, and a sample of what was asked and answered."""
