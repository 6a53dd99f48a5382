"""Networks compared on the same rows and folds: their plan and the comparison."""
