"""Builds models that name a finding from measurements."""
