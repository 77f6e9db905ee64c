"""Findings from measurements: named numbers."""
