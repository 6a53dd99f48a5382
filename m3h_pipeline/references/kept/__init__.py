"""References as arrays: what predicts new rows without the package that fitted them."""
