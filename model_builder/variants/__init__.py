"""Variants of a release for CPUs: the same network, rewritten, quantised, stored short or pruned."""
