"""Builds models that name a finding from an image, a note or measurements."""
