"""Searches for better hyperparameters, by what the validation says of them."""
