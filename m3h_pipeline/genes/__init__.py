"""What a transformer knows of genes before it is trained: their networks and vectors; reads the split."""
