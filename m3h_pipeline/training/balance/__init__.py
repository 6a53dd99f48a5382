"""Weights of the losses of a model: fixed, or learned while it is trained."""
