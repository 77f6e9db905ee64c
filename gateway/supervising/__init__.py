"""Keeps the worker processes of one gateway running, on one port."""
