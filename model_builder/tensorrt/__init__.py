"""Whether networks fit TensorRT, and how they become plans where a GPU is."""
