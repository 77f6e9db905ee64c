"""What is written down of each training, and where."""
