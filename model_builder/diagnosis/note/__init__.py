"""Findings from free text: symptoms as somebody tells them, or a report."""
