"""Cohorts from HAIM-MIMIC-MM as published: one wide CSV of embeddings, read by name."""
