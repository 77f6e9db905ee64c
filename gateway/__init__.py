"""The typed gRPC gateway in front of Triton."""
