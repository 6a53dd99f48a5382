"""Cohorts from MIMIC-IV as distributed: samples, features and label inputs from `hosp/` and `icu/`."""
