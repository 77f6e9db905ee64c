"""Reads traces and shows where the time went."""
