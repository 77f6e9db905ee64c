"""Builds models that score the risk of a credit."""
