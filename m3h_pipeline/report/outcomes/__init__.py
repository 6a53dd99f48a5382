"""The page of each outcome: what its problem class has to show."""
