"""Features as numbers: where their values lie, which are absurd, what scales them."""
