"""What each domain means: messages to tensors and back. No gRPC, no Triton."""
