"""Trains models and publishes them as releases."""
