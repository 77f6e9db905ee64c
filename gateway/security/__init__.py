"""Says who calls and what they may: certificates, tokens, keys, permissions."""
