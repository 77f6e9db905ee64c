"""Variants of a release for CPUs: its networks rewritten, quantised, stored short or pruned."""
