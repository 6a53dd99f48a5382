"""Synthetic cohorts with planted structure, written as the files of HAIM-MIMIC-MM and read like them."""
