"""Which tasks to learn together: combinations, packs, greedy rounds, selection."""
