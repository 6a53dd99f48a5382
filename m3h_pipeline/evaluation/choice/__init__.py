"""Which model to use for a task: candidates, blends, recalibration, the choice and what it is worth."""
