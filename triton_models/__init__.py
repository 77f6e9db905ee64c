"""What the gateway and the model builder agree on: tensors, releases, where they lie."""
