"""The parts of the embedded Triton: what is installed, how it is started, how it ends."""
