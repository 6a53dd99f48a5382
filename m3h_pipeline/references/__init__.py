"""What a user would pick instead of the network: reference models on the same folds, and their registry."""
