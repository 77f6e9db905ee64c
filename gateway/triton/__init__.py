"""Talks to Triton: arrays, never meanings."""
