"""Cohorts: a folder per kind of source, and what they share: the writer, subgroups, diagnoses."""
