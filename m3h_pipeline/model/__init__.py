"""The network with a leading model axis: encoders, cross-task attention, heads, losses."""
