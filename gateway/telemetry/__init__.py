"""Says where the time goes."""
