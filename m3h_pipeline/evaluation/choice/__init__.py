"""Which model to use for a task: candidates, blends of them, the choice and what it is worth."""
