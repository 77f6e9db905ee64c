"""Recommends the next item from a log of who had what, when."""
