"""How well a network does, and how surely that is known."""
