"""Findings from images."""
