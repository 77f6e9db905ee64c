"""A small typed client for people."""
