"""Pairs of genes that the predictions of final models depend on."""
