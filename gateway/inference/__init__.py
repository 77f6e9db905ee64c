"""Which release answers, when, and what it says: arrays in, arrays out."""
