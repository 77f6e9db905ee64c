"""Learns a linear rule from two numbers and a category."""
