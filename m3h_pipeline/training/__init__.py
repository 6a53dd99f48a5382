"""Fits: seeds, stacks, prepared data, the trainer, scoring, the store, models on their own."""
