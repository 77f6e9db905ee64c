"""Makes releases of networks that were trained elsewhere: ONNX, Keras 3, TensorFlow."""
