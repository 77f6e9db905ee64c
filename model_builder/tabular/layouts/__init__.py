"""What the known data sets look like: their columns, codes and targets."""
