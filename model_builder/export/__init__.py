"""From a trained network to models that Triton serves."""
